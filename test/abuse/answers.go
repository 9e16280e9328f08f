package abuse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var answerAttacks = []Attack{
	{Point: 5, Name: "150 clients that ask for 15 MB each and do not read the answer", Work: 30 * time.Second, Run: untakenAnswers},
	{Point: 5, Name: "1,500 connections that Scan a megabyte each and stay open", Work: 10 * time.Second, Run: scanEach},
	{Point: 7, Name: "16,200 HTTP connections that never send a valid request", Needs: Needs{Credentials: true}, Once: true, Run: httpStrangers},
}

// largeItems puts 100 items of 150 KB, and returns a BatchGetItem for them. Its answer reaches the limit of 16 MB.
func largeItems(ctx context.Context, t *Target) (batch string, failed error) {
	var keys []string
	for i := range 100 {
		key := fmt.Sprintf(`{"pk":{"S":"large-%d"}`, i)
		keys = append(keys, key+"}")
		r := t.Call(ctx, Alice, "PutItem", `{"TableName":"light","Item":`+key+`,"v":{"S":"`+strings.Repeat("x", 150_000)+`"}}}`)
		if err := r.Is("PutItem", "ok"); err != nil {
			return "", err
		}
	}
	return `{"RequestItems":{"light":{"Keys":[` + strings.Join(keys, ",") + `]}}}`, nil
}

// untakenAnswers requests answers that together far exceed the memory for answers. Some clients must be refused or disconnected.
func untakenAnswers(ctx context.Context, t *Target) error {
	batch, err := largeItems(ctx, t)
	if err != nil {
		return err
	}
	n := 40
	if t.Long {
		n = 150
	}
	message := t.Message(Alice, "BatchGetItem", batch)
	var conns []net.Conn
	for range n {
		c, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		conns = append(conns, c)
		if _, err := io.WriteString(c, message); err != nil {
			return err
		}
	}
	if err := t.Idle(); err != nil {
		return err
	}
	failed := t.Call(ctx, Alice, "ListTables", "{}").Is("beside them", "ok")
	statuses := map[string]int{}
	for _, c := range conns {
		line, _, err := bufio.NewReader(c).ReadLine()
		if err != nil {
			line = []byte("closed")
		}
		statuses[string(line)]++
	}
	const ok, full = "HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"
	if statuses[ok] == 0 || statuses[full] == 0 || statuses[ok]+statuses[full]+statuses["closed"] != n {
		failed = errors.Join(failed, fmt.Errorf("%d clients got %v, want some answers and some 503", n, statuses))
	}
	return failed
}

var heapInUse = regexp.MustCompile(`# HeapInuse = (\d+)`)

// heap returns the memory in use after garbage collection, in bytes.
func (t *Target) heap() (int64, error) {
	t.Collect()
	m := heapInUse.FindStringSubmatch(t.profile("heap?gc=1&debug=1"))
	if m == nil {
		return 0, errors.New("the profile does not say how large the heap is")
	}
	return strconv.ParseInt(m[1], 10, 64)
}

// scanEach reads a large answer on each of many connections, which stay open: they must keep no memory of it.
func scanEach(ctx context.Context, t *Target) error {
	if err := costlyItems(ctx, t); err != nil {
		return err
	}
	n := 150
	if t.Long {
		n = 1500
	}
	before, err := t.heap()
	if err != nil {
		return err
	}
	message := t.Message(Alice, "Scan", `{"TableName":"costly"}`)
	for range n {
		c, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, message); err != nil {
			return err
		}
		r := reply(http.ReadResponse(bufio.NewReader(c), nil))
		if err := r.Is("Scan", "ok"); err != nil {
			return err
		}
		if len(r.Body) < 900_000 {
			return fmt.Errorf("a Scan answers %d bytes", len(r.Body))
		}
	}
	if err := t.Idle(); err != nil {
		return err
	}
	after, err := t.heap()
	if took := after - before; err == nil && took > int64(n*heldMemory)+16<<20 {
		err = fmt.Errorf("%d connections that have read an answer keep %d MiB", n, took>>20)
	}
	return err
}

// httpStrangers opens more connections than a server accepts (16,000). Half are silent, and half send a request without a signature. The
// short form opens fewer, to stay within any machine's limit on open files.
func httpStrangers(ctx context.Context, t *Target) error {
	n := 1000
	if t.Long {
		n = 16_200
	}
	for i := range n {
		c, err := t.DialFrom(ctx, i)
		if err != nil {
			return fmt.Errorf("stranger %d: %w", i, err)
		}
		defer reset(c)
		if i%2 == 0 {
			continue
		}
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+t.Addr+"\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			return fmt.Errorf("stranger %d: %w", i, err)
		}
	}
	if err := t.Idle(); err != nil {
		return err
	}
	var failed error
	for i := range 20 {
		failed = errors.Join(failed, t.Raw(ctx, t.Message(Alice, "ListTables", "{}")).Is(fmt.Sprintf("new client %d beside %d strangers", i, n), "ok"))
	}
	t.hold(ctx)
	return failed
}

// reset closes a connection so that its port is free at once.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails if the server has closed it
	}
	c.Close()
}
