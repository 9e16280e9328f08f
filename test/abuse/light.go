package abuse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/statordb/stator/test/process"
)

// Light is a client with a light load: a GetItem every 10 ms and a PutItem every 50 ms, each on a connection of its own.
type Light struct {
	key Key

	mu      sync.Mutex
	target  *Target
	written map[int]bool // acknowledged items, by number
	next    int
	down    bool // the server is down on purpose
	LightResult
}

// LightResult is the outcome of Light.Run.
type LightResult struct {
	Latencies []time.Duration
	Errors    int
	First     string // first error
	Written   []int  // numbers of the acknowledged items
}

// lightTimeout is how long the light client waits for an answer.
const lightTimeout = 10 * time.Second

// NewLight creates the light client's table, which is Alice's, with one item.
func NewLight(t *Target) (*Light, error) {
	l := &Light{target: t, key: Alice, written: map[int]bool{}}
	ctx := context.Background()
	r := t.Call(ctx, l.key, "CreateTable", `{"TableName":"light","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]}`)
	if err := r.Is("CreateTable", "ok"); err != nil {
		return nil, err
	}
	return l, l.put(&lightConn{light: l})
}

func (l *Light) item(i int) string { return fmt.Sprintf(`{"pk":{"S":"item-%d"}`, i) }

// put puts the next item, and remembers it once it is acknowledged.
func (l *Light) put(c *lightConn) error {
	l.mu.Lock()
	i := l.next
	l.next++
	l.mu.Unlock()
	_, err := c.do(l.key, "PutItem", `{"TableName":"light","Item":`+l.item(i)+fmt.Sprintf(`,"v":{"N":"%d"}}}`, i))
	if err == nil {
		l.mu.Lock()
		l.written[i] = true
		l.Written = append(l.Written, i)
		l.mu.Unlock()
	}
	return err
}

// get reads an acknowledged item.
func (l *Light) get(c *lightConn, i int) error {
	body, err := c.do(l.key, "GetItem", `{"TableName":"light","ConsistentRead":true,"Key":`+l.item(i)+`}}`)
	if err == nil && !bytes.Contains(body, fmt.Appendf(nil, `"v":{"N":"%d"}`, i)) {
		err = fmt.Errorf("item %d, which was acknowledged, is %s", i, body)
	}
	return err
}

// Both sends one request of each kind on a new connection.
func (l *Light) Both() error {
	c := &lightConn{light: l}
	defer c.close()
	return errors.Join(l.put(c), l.get(c, 0))
}

// Check verifies that every acknowledged item is there.
func (l *Light) Check() error {
	c := &lightConn{light: l}
	defer c.close()
	l.mu.Lock()
	written := slices.Collect(maps.Keys(l.written))
	l.mu.Unlock()
	for _, i := range written {
		if err := l.get(c, i); err != nil {
			return err
		}
	}
	return nil
}

// Run sends requests until the context ends. Latencies count from when a request was due.
func (l *Light) Run(ctx context.Context) {
	var all sync.WaitGroup
	every := func(interval time.Duration, ask func(*lightConn) error) {
		all.Go(func() {
			c := &lightConn{light: l}
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
				if l.isDown() {
					c.close()
					continue
				}
				err := ask(c)
				if ctx.Err() != nil {
					return
				}
				if !l.isDown() {
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
	l.Latencies = append(l.Latencies, took)
	if err != nil {
		if l.Errors++; l.First == "" {
			l.First = err.Error()
		}
	}
}

func (l *Light) server() *Target {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.target
}

func (l *Light) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// Within returns the latency within which a fraction of the requests was answered; 0 if there were none.
func (r *LightResult) Within(part float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	slices.Sort(r.Latencies)
	return r.Latencies[int(float64(len(r.Latencies)-1)*part)]
}

// RunLight is the process of a light client, which starts with item number next. Each input line is the server's new address, or empty
// while the server is down on purpose. When the input ends, RunLight writes its LightResult as JSON.
func RunLight(in io.Reader, out io.Writer, next int) error {
	l := &Light{key: Alice, next: next, written: map[int]bool{}, down: true}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ran := make(chan struct{})
	go func() { l.Run(ctx); close(ran) }()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		l.mu.Lock()
		l.target, l.down = &Target{Process: &process.Process{Addr: lines.Text()}}, lines.Text() == ""
		l.mu.Unlock()
	}
	stop()
	<-ran
	return errors.Join(lines.Err(), json.NewEncoder(out).Encode(&l.LightResult))
}

// lightProcess is a running RunLight. It is a process of its own so that the attacker's work doesn't distort its measurements.
type lightProcess struct {
	light *Light
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   bytes.Buffer
}

// start starts a process for the client. The program must have a flag -light that calls RunLight with its value.
func (l *Light) start() (*lightProcess, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &lightProcess{light: l, cmd: exec.Command(program, "-light", strconv.Itoa(l.next))}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, p.tell(l.target.Addr)
}

// tell reports the server's address, or "" while it is down.
func (p *lightProcess) tell(address string) error {
	_, err := io.WriteString(p.in, address+"\n")
	return err
}

// end ends the process and returns its result.
func (p *lightProcess) end() (r LightResult, err error) {
	if err := errors.Join(p.in.Close(), p.cmd.Wait()); err != nil {
		return r, fmt.Errorf("the light client: %w", err)
	}
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("the light client: %w", err)
	}
	l := p.light
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range r.Written {
		l.written[i], l.next = true, max(l.next, i+1)
	}
	return r, nil
}

// lightConn is a connection that is opened on demand, and again after an error.
type lightConn struct {
	light *Light
	conn  net.Conn
	in    *bufio.Reader
}

func (c *lightConn) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do sends a request and returns the answer. Any status other than 200 is an error.
func (c *lightConn) do(key Key, operation, body string) (answer []byte, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	t := c.light.server()
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", t.Addr, lightTimeout); err != nil {
			return nil, err
		}
		c.in = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(lightTimeout)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c.conn, t.Message(key, operation, body)); err != nil {
		return nil, err
	}
	r := reply(http.ReadResponse(c.in, nil))
	return r.Body, r.Is(operation, "ok")
}
