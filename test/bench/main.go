// Command bench measures Stator against an empty HTTP handler and, if it is given, DynamoDB Local, on this machine and in
// one run: rounds are interleaved and medians of ratios are printed, since the machine's speed varies.
//
//	go run ./test/bench -stator bin/stator [-local-classpath 'dir/*'] [-seconds 2] [-rounds 5]
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

var (
	statorBinary = flag.String("stator", "bin/stator", "the binary to measure")
	localJars    = flag.String("local-classpath", "", "class path of DynamoDB Local; empty leaves it out")
	seconds      = flag.Float64("seconds", 2, "length of one measurement")
	rounds       = flag.Int("rounds", 5, "number of rounds, of which medians are taken")
	connections  = flag.Int("connections", 16, "connections that send one request after the other")
)

const items = 1000

// workload is a kind of request; body makes the i-th one.
type workload struct {
	name, op string
	body     func(i int) string
}

var value1K = strings.Repeat("x", 960)

func itemJSON(i int) string {
	return fmt.Sprintf(`{"pk":{"S":"user-%d"},"sk":{"N":"%d"},"n":{"N":"%d"},"data":{"S":"%s"}}`, i%items/20, i%20, i, value1K)
}

func keyJSON(i int) string {
	return fmt.Sprintf(`{"pk":{"S":"user-%d"},"sk":{"N":"%d"}}`, i%items/20, i%20)
}

var workloads = []workload{
	{"GetItem 1 KB", "GetItem", func(i int) string { return `{"TableName":"bench","Key":` + keyJSON(i) + `}` }},
	{"GetItem 1 KB consistent", "GetItem", func(i int) string { return `{"TableName":"bench","ConsistentRead":true,"Key":` + keyJSON(i) + `}` }},
	{"PutItem 1 KB", "PutItem", func(i int) string { return `{"TableName":"bench","Item":` + itemJSON(i) + `}` }},
	{"UpdateItem counter", "UpdateItem", func(i int) string {
		return `{"TableName":"counters","Key":{"pk":{"S":"c` + strconv.Itoa(i%items) + `"}},"UpdateExpression":"SET n = if_not_exists(n, :zero) + :one","ExpressionAttributeValues":{":zero":{"N":"0"},":one":{"N":"1"}}}`
	}},
	{"Query 20 items", "Query", func(i int) string {
		return `{"TableName":"bench","KeyConditionExpression":"pk = :pk","ExpressionAttributeValues":{":pk":{"S":"user-` + strconv.Itoa(i%items/20) + `"}}}`
	}},
	{"BatchWriteItem 25 x 1 KB", "BatchWriteItem", func(i int) string {
		var b strings.Builder
		b.WriteString(`{"RequestItems":{"bench":[`)
		for j := range 25 {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`{"PutRequest":{"Item":` + itemJSON(i*25+j) + `}}`)
		}
		b.WriteString(`]}}`)
		return b.String()
	}},
	{"TransactWriteItems 4", "TransactWriteItems", func(i int) string {
		var b strings.Builder
		b.WriteString(`{"TransactItems":[`)
		for j := range 4 {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"Update":{"TableName":"counters","Key":{"pk":{"S":"t%d-%d"}},"UpdateExpression":"ADD n :one","ExpressionAttributeValues":{":one":{"N":"1"}}}}`, i, j)
		}
		b.WriteString(`]}`)
		return b.String()
	}},
}

// request renders a request as it goes over the wire.
func request(op, body string) []byte {
	return []byte("POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: DynamoDB_20120810." + op +
		"\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Date: 20260101T000000Z\r\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIDBENCHEXAMPLE0000/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=0000000000000000000000000000000000000000000000000000000000000000\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// conn is a keep-alive connection.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

// do sends a request and reads the answer.
func (c *conn) do(req []byte) (status int, body []byte, err error) {
	if _, err = c.Write(req); err != nil {
		return 0, nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length := 0
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		if name, v, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return 0, nil, err
			}
		}
	}
	body = make([]byte, length)
	_, err = io.ReadFull(c.r, body)
	return status, body, err
}

// measure returns the requests answered per second.
func measure(addr string, w workload, duration time.Duration) (float64, error) {
	const prepared = 4096
	reqs := make([][]byte, prepared)
	for i := range reqs {
		reqs[i] = request(w.op, w.body(i*7919))
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, *connections)
	start := time.Now()
	for n := range *connections {
		c, err := dial(addr)
		if err != nil {
			return 0, err
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer c.Close()
			own := reqs[n*prepared / *connections : (n+1)*prepared / *connections]
			for i := 0; time.Since(start) < duration; i++ {
				status, body, err := c.do(own[i%len(own)])
				if err != nil || status != 200 {
					errs <- errors.Join(err, fmt.Errorf("%s: status %d: %.300s", w.name, status, body))
					return
				}
				done.Add(1)
			}
		}()
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}

// server is something to measure.
type server struct {
	name, addr string
	stop       func()
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process starts a command and waits until it answers at addr.
func process(name, addr string, args ...string) *server {
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	if err := cmd.Start(); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	s := &server{name, addr, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }}
	for range 300 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return s
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.stop()
	log.Fatalf("%s does not answer", name)
	return nil
}

// empty is the yardstick: fasthttp with an answer of the size and headers of a GetItem of 1 KB.
func empty() *server {
	body := []byte(`{"Item":` + itemJSON(0) + `}`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s := &fasthttp.Server{Name: "Server", NoDefaultContentType: true, Handler: func(c *fasthttp.RequestCtx) {
		c.Response.Header.SetContentType("application/x-amz-json-1.0")
		c.Response.Header.Set("x-amzn-RequestId", "0123456789ABCDEFGHIJKLMNOPQRSTUV0123456789ABCDEFGHIJ")
		c.Response.Header.Set("x-amz-crc32", "1234567890")
		c.SetBody(body)
	}}
	go func() { _ = s.Serve(l) }()
	return &server{"empty fasthttp handler", l.Addr().String(), func() { _ = s.Shutdown() }}
}

// prepare makes the tables and items.
func prepare(addr string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, body := range []string{
		`{"TableName":"bench","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"}]}`,
		`{"TableName":"counters","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]}`,
	} {
		if status, answer, err := c.do(request("CreateTable", body)); err != nil || status != 200 {
			return fmt.Errorf("CreateTable: %v %s", err, answer)
		}
	}
	for i := range items {
		if status, answer, err := c.do(request("PutItem", workloads[2].body(i))); err != nil || status != 200 {
			return fmt.Errorf("PutItem: %v %s", err, answer)
		}
	}
	return nil
}

func main() {
	flag.Parse()
	log.SetFlags(0)
	if os.Getenv("BENCH_EMPTY") != "" {
		s := empty()
		fmt.Println(s.addr)
		select {}
	}
	// log.Fatal would leave the servers running.
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	// The yardstick runs in a process of its own, as the others do.
	yardstick := emptyProcess()
	defer yardstick.stop()
	dir, err := os.MkdirTemp("", "stator-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	servers := []*server{
		start("stator in memory", "--in-memory"),
		start("stator durable", "--data-dir", dir),
	}
	if *localJars != "" {
		addr := freeAddr()
		_, port, _ := net.SplitHostPort(addr)
		servers = append(servers, process("DynamoDB Local in memory", addr, "java", "-cp", *localJars,
			"software.amazon.dynamodb.services.local.main.ServerRunner", "-inMemory", "-port", port))
	}
	for _, s := range servers {
		defer s.stop()
		if err := prepare(s.addr); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return report(yardstick, servers)
}

func start(name string, args ...string) *server {
	addr := freeAddr()
	return process(name, addr, append([]string{*statorBinary, "serve", "--listen", addr}, args...)...)
}

func emptyProcess() *server {
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "BENCH_EMPTY=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	return &server{"empty fasthttp handler", strings.TrimSpace(addr), func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }}
}

func report(yardstick *server, servers []*server) error {
	duration := time.Duration(*seconds * float64(time.Second))
	fmt.Printf("%d CPUs, %s, %d connections, medians of %d rounds of %v\n\n", runtime.NumCPU(), runtime.Version(), *connections, *rounds, duration)
	fmt.Printf("| workload | server | requests/s | against the empty handler | against DynamoDB Local |\n|---|---|---:|---:|---:|\n")
	for _, w := range workloads {
		rates := make([][]float64, len(servers)+1)
		for range *rounds {
			for i, s := range append([]*server{yardstick}, servers...) {
				rate, err := measure(s.addr, w, duration)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				rates[i] = append(rates[i], rate)
			}
		}
		for i, s := range servers {
			local := "-"
			if last := len(servers); *localJars != "" && i+1 < last {
				local = fmt.Sprintf("%.1fx", ratio(rates[i+1], rates[last]))
			}
			fmt.Printf("| %s | %s | %.0f | %.2f | %s |\n", w.name, s.name, median(rates[i+1]), ratio(rates[i+1], rates[0]), local)
		}
	}
	return nil
}

func median(list []float64) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// ratio is the median of the ratios round by round.
func ratio(a, b []float64) float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return median(r)
}
