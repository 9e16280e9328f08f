package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// request renders a request in its wire form, with the headers of an SDK. Its signature is never verified.
func request(op, body string) []byte {
	if !strings.Contains(op, ".") {
		op = "DynamoDB_20120810." + op
	}
	return []byte("POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: " + op +
		"\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Date: 20260101T000000Z\r\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIDBENCHEXAMPLE0000/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=0000000000000000000000000000000000000000000000000000000000000000\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// requestTimeout bounds a request. The slowest peers need long for a page of a large table.
const requestTimeout = 30 * time.Second

// dialTimeout bounds the opening of a connection. A peer that closes connections after each answer may be slow to accept new ones.
const dialTimeout = 10 * time.Second

// conn is a keep-alive connection.
type conn struct {
	net.Conn
	addr   string
	r      *bufio.Reader
	body   []byte
	closed bool // the server closes it, as announced in its last answer
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, addr: addr, r: bufio.NewReaderSize(c, 64<<10)}, nil
}

// redial reconnects to a server that closes connections after each answer.
func (c *conn) redial() error {
	_ = c.Conn.Close()
	next, err := net.DialTimeout("tcp", c.addr, dialTimeout)
	if err != nil {
		return err
	}
	c.Conn, c.closed = next, false
	c.r.Reset(next)
	return nil
}

// do sends a request and reads the answer. The body is valid until the next call.
func (c *conn) do(req []byte) (status int, body []byte, err error) {
	if c.closed {
		if err := c.redial(); err != nil {
			return 0, nil, err
		}
	}
	if err := c.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return 0, nil, err
	}
	if _, err = c.Write(req); err != nil {
		return 0, nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil { // after "HTTP/1.1 "
		return 0, nil, err
	}
	length, chunked := 0, false
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 { // an empty line ends the header
			break
		}
		name, v, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return 0, nil, err
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("connection")):
			c.closed = bytes.EqualFold(bytes.TrimSpace(v), []byte("close"))
		}
	}
	c.body = c.body[:0]
	if !chunked {
		err = c.read(length)
		return status, c.body, err
	}
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return 0, nil, err
		}
		if err := c.read(int(n)); err != nil {
			return 0, nil, err
		}
		if _, err := c.r.Discard(2); err != nil || n == 0 { // the CRLF after each chunk; the chunk of length 0 is the last
			return status, c.body, err
		}
	}
}

// read appends n bytes to the body.
func (c *conn) read(n int) error {
	at := len(c.body)
	if cap(c.body) < at+n {
		c.body = append(make([]byte, 0, 2*(at+n)), c.body...) // doubled, so that a body of many chunks is copied seldom
	}
	c.body = c.body[:at+n]
	_, err := io.ReadFull(c.r, c.body[at:])
	return err
}

// call sends a request that must be answered with 200.
func (c *conn) call(op, body string) ([]byte, error) {
	status, answer, err := c.do(request(op, body))
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %.300s", status, answer)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return answer, nil
}

// result is the outcome of one measurement.
type result struct {
	requests, items float64
	rate            float64    // requests per second or, for scans, items per second
	cpu             float64    // the server's CPU time in seconds
	quantiles       [3]float64 // latency in milliseconds at resultQuantiles
}

// resultQuantiles are the quantiles in a result, in per cent.
var resultQuantiles = [3]float64{50, 99, 99.9}

// worker is the work of one connection: it sends the i-th request, and returns how many items that concerned.
type worker func(c *conn, i int) (items int, err error)

// measure runs a workload on n connections in a closed loop: each connection sends its next request once it has the answer to the last.
// pace measures at a rate.
func measure(s *server, w workload, n int) (result, error) {
	if w.segments > 0 { // a scan in segments has one connection per segment
		n = w.segments
	}
	workers := make([]worker, n)
	conns := make([]*conn, n)
	addrs := s.addrs()
	for i := range n {
		c, err := dial(addrs[i%len(addrs)])
		if err != nil {
			return result{}, err
		}
		defer c.Close()
		conns[i], workers[i] = c, w.worker(i, n)
	}
	var mu sync.Mutex
	var failed error
	// Latencies are in microseconds, with 3 significant digits. Each connection has its own histogram, so that they don't share a lock.
	total := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	var res result
	var wg sync.WaitGroup
	cpu := s.CPU()
	start := time.Now()
	for i, c := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			h := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
			items, err := loop(c, workers[i], start, h)
			mu.Lock()
			defer mu.Unlock()
			total.Merge(h)
			res.items += float64(items)
			failed = errors.Join(failed, err)
		}()
	}
	wg.Wait()
	if failed != nil {
		return res, fmt.Errorf("%s: %w", w.name, failed)
	}
	elapsed := time.Since(start).Seconds()
	res.cpu = (s.CPU() - cpu).Seconds()
	res.requests = float64(total.TotalCount())
	res.rate = res.requests / elapsed
	if w.segments > 0 {
		res.rate = res.items / elapsed
	}
	for i, q := range resultQuantiles {
		res.quantiles[i] = float64(total.ValueAtQuantile(q)) / 1000
	}
	return res, nil
}

func loop(c *conn, do worker, start time.Time, h *hdrhistogram.Histogram) (items int, err error) {
	end := start.Add(duration())
	for k := 0; ; k++ {
		began := time.Now()
		if !began.Before(end) {
			return items, nil
		}
		count, err := do(c, k)
		if err != nil {
			return items, err
		}
		items += count
		_ = h.RecordValue(max(1, time.Since(began).Microseconds())) // anything above a minute counts as a minute
	}
}
