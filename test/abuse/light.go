package abuse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Light is a client that asks for little: a GetItem each 10 ms and a PutItem each 50 ms, each on a connection of its own.
type Light struct {
	target *Target
	key    Key

	mu           sync.Mutex
	written      map[int]bool // acknowledged, by number
	next         int
	latencies    []time.Duration
	errs         int
	firstProblem error
}

// lightTimeout is how long it waits for an answer.
const lightTimeout = 10 * time.Second

// NewLight makes the table of a light client, with an item. It is Alice's.
func NewLight(t *Target) (*Light, error) {
	l := &Light{target: t, key: Alice, written: map[int]bool{}}
	ctx := context.Background()
	r := t.Call(ctx, l.key, "CreateTable", `{"TableName":"light","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]}`)
	if err := r.Is("CreateTable", "ok"); err != nil {
		return nil, err
	}
	return l, l.put(&lightConn{target: t})
}

func (l *Light) item(i int) string { return fmt.Sprintf(`{"pk":{"S":"item-%d"}`, i) }

// put puts the next item and remembers it once it is acknowledged.
func (l *Light) put(c *lightConn) error {
	l.mu.Lock()
	i := l.next
	l.next++
	l.mu.Unlock()
	_, err := c.do(l.key, "PutItem", `{"TableName":"light","Item":`+l.item(i)+fmt.Sprintf(`,"v":{"N":"%d"}}}`, i))
	if err == nil {
		l.mu.Lock()
		l.written[i] = true
		l.mu.Unlock()
	}
	return err
}

// get gets an item that was acknowledged.
func (l *Light) get(c *lightConn, i int) error {
	body, err := c.do(l.key, "GetItem", `{"TableName":"light","ConsistentRead":true,"Key":`+l.item(i)+`}}`)
	if err == nil && !bytes.Contains(body, fmt.Appendf(nil, `"v":{"N":"%d"}`, i)) {
		err = fmt.Errorf("item %d, which was acknowledged, is %s", i, body)
	}
	return err
}

// Both sends a request of either kind on a new connection.
func (l *Light) Both() error {
	c := &lightConn{target: l.target}
	defer c.close()
	return errors.Join(l.put(c), l.get(c, 0))
}

// Check looks whether every item that was acknowledged is there.
func (l *Light) Check() error {
	c := &lightConn{target: l.target}
	defer c.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.written {
		if err := l.get(c, i); err != nil {
			return err
		}
	}
	return nil
}

// Run asks until the context ends.
func (l *Light) Run(ctx context.Context) {
	var all sync.WaitGroup
	every := func(interval time.Duration, ask func(*lightConn) error) {
		all.Go(func() {
			c := &lightConn{target: l.target}
			defer c.close()
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for {
				var due time.Time
				select {
				case <-ctx.Done():
					return
				case due = <-tick.C:
				}
				restarts := l.target.restarts.Load()
				if restarts%2 == 1 {
					c.close()
					continue
				}
				err := ask(c)
				if ctx.Err() != nil {
					return
				}
				if l.target.restarts.Load() == restarts {
					l.count(time.Since(due), err)
				}
			}
		})
	}
	every(10*time.Millisecond, func(c *lightConn) error { return l.get(c, 0) })
	every(50*time.Millisecond, l.put)
	all.Wait()
}

func (l *Light) count(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latencies = append(l.latencies, took)
	if err != nil {
		l.errs++
		if l.firstProblem == nil {
			l.firstProblem = err
		}
	}
}

// Result returns the latencies at which half and 99 of 100 requests were answered, how many there were and how many failed, and the
// first error.
func (l *Light) Result() (p50, p99 time.Duration, n, errs int, first error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.latencies) == 0 {
		return 0, 0, 0, l.errs, l.firstProblem
	}
	slices.Sort(l.latencies)
	n = len(l.latencies)
	return l.latencies[n/2], l.latencies[n*99/100], n, l.errs, l.firstProblem
}

// lightConn is a connection that is opened when it is needed, and again after an error.
type lightConn struct {
	target *Target
	conn   net.Conn
	in     *bufio.Reader
}

func (c *lightConn) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do sends a request and returns the answer, or as an error what is not a 200.
func (c *lightConn) do(key Key, operation, body string) (answer []byte, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.target.Addr, lightTimeout); err != nil {
			return nil, err
		}
		c.in = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(lightTimeout)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c.conn, c.target.Message(key, operation, body)); err != nil {
		return nil, err
	}
	r := reply(http.ReadResponse(c.in, nil))
	return r.Body, r.Is(operation, "ok")
}
