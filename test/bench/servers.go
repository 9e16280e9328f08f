package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/test/process"
)

// server is a server to be measured, or several that share their data.
type server struct {
	*process.Process
	name   string
	dir    string          // data directory
	synced bool            // each write is on disk before it is acknowledged
	broken map[string]bool // workloads that it doesn't support
	// others are the further processes of several servers.
	others []*process.Process
}

// together returns servers of the same data as one, whose load is spread over them.
func together(name string, list ...*server) *server {
	all := *list[0]
	all.name = name
	for _, s := range list[1:] {
		all.others = append(all.others, s.Process)
	}
	return &all
}

// addrs returns the addresses of all processes.
func (s *server) addrs() []string {
	out := []string{s.Addr}
	for _, p := range s.others {
		out = append(out, p.Addr)
	}
	return out
}

// CPU returns the CPU time of all processes.
func (s *server) CPU() time.Duration {
	total := s.Process.CPU()
	for _, p := range s.others {
		total += p.CPU()
	}
	return total
}

// launcher starts a server, which keeps its data, if any, in dir.
type launcher struct {
	name   string
	synced bool
	start  func(dir string) (*process.Process, error)
}

// start starts servers in the given order. stop ends those that were started, even after an error.
func start(list ...launcher) (servers []*server, stop func(), err error) {
	root, err := os.MkdirTemp(*scratch, "stator-bench")
	if err != nil {
		return nil, func() {}, err
	}
	stop = func() {
		for _, s := range servers {
			s.Kill()
		}
		os.RemoveAll(root)
	}
	for i, l := range list {
		dir := filepath.Join(root, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return servers, stop, err
		}
		p, err := l.start(dir)
		if err != nil {
			return servers, stop, fmt.Errorf("%s: %w", l.name, err)
		}
		servers = append(servers, &server{Process: p, name: l.name, dir: dir, synced: l.synced, broken: map[string]bool{}})
	}
	return servers, stop, nil
}

var (
	statorMemory = launcher{"Stator in memory", false, func(string) (*process.Process, error) {
		return process.Stator(*statorBinary, "--in-memory")
	}}
	statorDurable = launcher{"Stator durable", true, func(dir string) (*process.Process, error) {
		return process.Stator(*statorBinary, "--data-dir", dir)
	}}
	emptyFasthttp = launcher{"empty fasthttp", false, func(string) (*process.Process, error) { return yardstick("fasthttp", "") }}
	emptyNetHTTP  = launcher{"empty net/http", false, func(string) (*process.Process, error) { return yardstick("net/http", "") }}
	// fasthttpPebble shows what a server could reach that only commits.
	fasthttpPebble = launcher{"fasthttp + bare Pebble", true, func(dir string) (*process.Process, error) { return yardstick("pebble", dir) }}
)

// peerLaunchers returns the peers named by flags.
func peerLaunchers() []launcher {
	var out []launcher
	for _, binary := range strings.FieldsFunc(*beforeBinaries, func(r rune) bool { return r == ',' }) {
		out = append(out,
			launcher{binary + ", durable", true, func(dir string) (*process.Process, error) {
				return process.Stator(binary, "--data-dir", dir)
			}},
			launcher{binary + ", in memory", false, func(string) (*process.Process, error) {
				return process.Stator(binary, "--in-memory")
			}})
	}
	add := func(name, flag string, synced bool, args func(addr, port, dir string) []string) {
		file, err := program(flag)
		if err != nil {
			if flag != "" {
				fmt.Fprintf(os.Stderr, "%s is left out: %v\n", name, err)
			}
			return
		}
		out = append(out, launcher{name, synced, func(dir string) (*process.Process, error) {
			addr, err := process.FreeAddr()
			if err != nil {
				return nil, err
			}
			_, port, _ := net.SplitHostPort(addr)
			return process.Start(addr, nil, append([]string{file}, args(addr, port, dir)...)...)
		}})
	}
	if *localJars != "" {
		out = append(out,
			launcher{"DynamoDB Local, memory", false, func(string) (*process.Process, error) {
				return process.DynamoDBLocal(*localJars, "-inMemory")
			}},
			launcher{"DynamoDB Local, file", false, func(dir string) (*process.Process, error) {
				return process.DynamoDBLocal(*localJars, "-dbPath", dir)
			}})
	}
	add("dynalite, memory", *dynaliteFile, false, func(_, port, _ string) []string {
		return []string{"--host", "127.0.0.1", "--port", port, "--createTableMs", "0"}
	})
	add("dynalite, file", *dynaliteFile, false, func(_, port, dir string) []string {
		return []string{"--host", "127.0.0.1", "--port", port, "--createTableMs", "0", "--path", dir}
	})
	add("moto", *motoFile, false, func(_, port, _ string) []string { return []string{"-H", "127.0.0.1", "-p", port} })
	add("dynoxide, memory", *dynoxideFile, false, func(_, port, _ string) []string { return []string{"serve", "--port", port, "--log", "quiet"} })
	add("dynoxide, file", *dynoxideFile, true, func(_, port, dir string) []string {
		return []string{"serve", "--port", port, "--log", "quiet", "--db-path", filepath.Join(dir, "data.db")}
	})
	return out
}

// yardstickEnv turns this program into an empty server of the named kind. It listens at the address in yardstickAddrEnv, and keeps its
// data, if any, where yardstickDirEnv says: in a directory or, given a URL, a database.
const (
	yardstickEnv     = "BENCH_YARDSTICK"
	yardstickAddrEnv = "BENCH_YARDSTICK_ADDR"
	yardstickDirEnv  = "BENCH_YARDSTICK_DIR"
)

// yardstick starts an empty server. Like the others, it has a process of its own.
func yardstick(kind, dir string) (*process.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	return process.Start(addr, []string{yardstickEnv + "=" + kind, yardstickAddrEnv + "=" + addr, yardstickDirEnv + "=" + dir}, self)
}

// serveYardstick answers every request with the headers and body of a GetItem, regardless of the request.
func serveYardstick(kind string) error {
	const (
		contentType = "application/x-amz-json-1.0"
		requestID   = "0123456789ABCDEFGHIJKLMNOPQRSTUV0123456789ABCDEFGHIJ"
		crc         = "1234567890"
	)
	body := []byte(`{"Item":` + itemJSON(0) + `}`)
	addr := os.Getenv(yardstickAddrEnv)
	if kind == "net/http" {
		return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Server", "Server")
			h.Set("Content-Type", contentType)
			h.Set("Content-Length", strconv.Itoa(len(body)))
			h.Set("x-amzn-RequestId", requestID)
			h.Set("x-amz-crc32", crc)
			_, _ = w.Write(body) // the client may have gone
		}))
	}
	commit := func([]byte) {}
	if kind == "pebble" {
		db, err := pebble.Open(os.Getenv(yardstickDirEnv), barePebbleOptions())
		if err != nil {
			return err
		}
		body = []byte("{}")
		var n atomic.Uint64
		commit = func(body []byte) {
			if err := db.Set(fmt.Appendf(nil, "table-user-%d", n.Add(1)%items), body, pebble.Sync); err != nil {
				panic(err)
			}
		}
	}
	answer := func(c *fasthttp.RequestCtx, body []byte) {
		c.Response.Header.SetContentType(contentType)
		c.Response.Header.Set("x-amzn-RequestId", requestID)
		c.Response.Header.Set("x-amz-crc32", crc)
		c.SetBody(body)
	}
	handler := func(c *fasthttp.RequestCtx) {
		if c.IsPost() {
			commit(c.Request.Body())
		}
		answer(c, body)
	}
	if kind == "pgx" {
		var err error
		if handler, err = behindHTTP(os.Getenv(yardstickDirEnv), body, answer); err != nil {
			return err
		}
	}
	s := &fasthttp.Server{Name: "Server", NoDefaultContentType: true, Handler: handler}
	return s.ListenAndServe(addr)
}

func barePebbleOptions() *pebble.Options {
	return &pebble.Options{MemTableSize: 64 << 20, Logger: quiet{}}
}

// barePebble returns how many synced commits per second n writers reach, each of a key and value as large as a PutItem's.
func barePebble(n int, d time.Duration) (float64, error) {
	dir, err := os.MkdirTemp(*scratch, "stator-bench-pebble")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	db, err := pebble.Open(dir, barePebbleOptions())
	if err != nil {
		return 0, err
	}
	value := make([]byte, 1000)
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for k := 0; time.Since(start) < d; k++ {
				if err := db.Set([]byte(fmt.Sprintf("table-user-%d-%d", i, k%items)), value, pebble.Sync); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		}()
	}
	wg.Wait()
	rate := float64(done.Load()) / time.Since(start).Seconds()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return rate, db.Close()
}

// quiet discards Pebble's messages.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
