package system

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/statordb/stator/test/process"
	"github.com/statordb/stator/test/workload"
)

var (
	soak = flag.Duration("soak", 3*time.Second, "how long TestSoak runs")
	idle = flag.Int("idle", 500, "how many idle connections TestIdleConnections opens")
)

// usage is a server's use of the machine.
type usage struct {
	memory, disk      int64
	files, goroutines int
}

func (u usage) String() string {
	return fmt.Sprintf("%d MB of memory, %d MB of disk, %d files, %d goroutines", u.memory>>20, u.disk>>20, u.files, u.goroutines)
}

var goroutineCount = regexp.MustCompile(`total (\d+)`)

func measure(t *testing.T, p server, profiles, dir string) usage {
	t.Helper()
	u := usage{memory: p.RSS(), files: p.Files()}
	res, err := http.Get("http://" + profiles + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if m := goroutineCount.FindSubmatch(raw); m != nil {
		u.goroutines, _ = strconv.Atoi(string(m[1]))
	}
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				u.disk += info.Size()
			}
		}
		return nil // files come and go
	})
	return u
}

func profiled(t *testing.T, dir string) (server, string) {
	t.Helper()
	profiles, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, "--data-dir", dir, "--pprof", profiles), profiles
}

// TestSoak runs a load with changing connections for a while, and checks that the server's use of the machine doesn't grow.
func TestSoak(t *testing.T) {
	dir := t.TempDir()
	p, profiles := profiled(t, dir)
	l := workload.New(16)
	if err := l.Setup(p.load()); err != nil {
		t.Fatal(err)
	}
	const parts = 6
	var samples []usage
	for range parts {
		stop := make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- l.Run(p.load(), stop) }()
		time.Sleep(*soak / parts)
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := l.Check(p.load()); err != nil {
			t.Fatal(err)
		}
		http.DefaultClient.CloseIdleConnections()
		samples = append(samples, measure(t, p, profiles, dir))
		t.Logf("%d writes: %v", l.Acknowledged(), samples[len(samples)-1])
	}
	// During the first parts, caches and pools fill up.
	before, after := samples[parts/2-1], samples[parts-1]
	if after.goroutines > before.goroutines+30 || after.files > before.files+50 {
		t.Errorf("from %v to %v", before, after)
	}
	if after.memory > before.memory+before.memory/2+64<<20 || after.disk > 2*before.disk+256<<20 {
		t.Errorf("from %v to %v", before, after)
	}
}

// TestIdleConnections opens many idle connections. Other clients are served meanwhile, and the connections leave nothing behind.
func TestIdleConnections(t *testing.T) {
	dir := t.TempDir()
	p, profiles := profiled(t, dir)
	before := measure(t, p, profiles, dir)
	var conns []net.Conn
	for range *idle {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		// Use each connection once, like those in a client's pool.
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
		buf := make([]byte, 512)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	during := measure(t, p, profiles, dir)
	if status, body, err := p.call("ListTables", "{}"); err != nil || status != 200 {
		t.Errorf("with %d idle connections: %d %s %v", *idle, status, body, err)
	}
	for _, c := range conns {
		c.Close()
	}
	var after usage
	for range 500 {
		if after = measure(t, p, profiles, dir); after.files < before.files+20 && after.goroutines < before.goroutines+20 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if after.files >= before.files+20 || after.goroutines >= before.goroutines+20 {
		t.Errorf("from %v to %v", before, after)
	}
	t.Logf("%v; with %d connections %v (%d KB each); afterwards %v", before, *idle, during, (during.memory-before.memory)>>10/int64(*idle), after)
}
