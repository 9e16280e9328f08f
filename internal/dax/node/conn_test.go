package node

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/cache"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
)

// database is a Database in which each account has a table "Tab". Tests decide what its scans, reads and writes do.
type database struct {
	reads int // bytes that a Scan reads
	scan  func(context.Context) (*api.ScanOutput, error)
	get   func(context.Context) (*api.GetItemOutput, error)
	put   func(context.Context) error
}

func (d *database) Operations() []smithy.Handler {
	return []smithy.Handler{
		smithy.Bind(api.Scan, func(ctx context.Context, call *smithy.Call, _ *api.ScanInput) (*api.ScanOutput, error) {
			if d.reads > 0 && !call.Memory.Take(d.reads) {
				return nil, overloaded()
			}
			return d.scan(ctx)
		}),
		smithy.Bind(api.GetItem, func(ctx context.Context, _ *smithy.Call, _ *api.GetItemInput) (*api.GetItemOutput, error) {
			return d.get(ctx)
		}),
		smithy.Bind(api.PutItem, func(ctx context.Context, _ *smithy.Call, _ *api.PutItemInput) (*api.PutItemOutput, error) {
			return &api.PutItemOutput{}, d.put(ctx)
		}),
	}
}

func (d *database) Identify(call *smithy.Call, _, name, _ string) (id ops.TableIdentity, err error) {
	if name != "Tab" {
		return id, awserr.NotFound()
	}
	return ops.TableIdentity{ID: 7, Account: call.Caller.Account, PartitionKey: ops.KeyAttribute{Name: "pk", Type: attribute.TypeS}}, nil
}

func (d *database) CheckProjection(string, smithy.Map[string]) error { return nil }

func (d *database) Namespace(caller smithy.Caller) (account, region string) {
	return caller.Account, caller.Region
}

func (d *database) AttributeListID(context.Context, string, []byte) (int64, error) {
	return 0, errors.New("not expected")
}

func (d *database) AttributeList(context.Context, string, int64) ([]byte, error) { return nil, nil }

// pipes is a listener of in-memory connections.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.accept:
		return nc, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// pipe is the server's end of a connection with a remote address of the test's choice.
type pipe struct {
	net.Conn
	from string
}

func (p *pipe) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.from + ":1"))
}

func (p *pipe) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8111} }

// client is the client's end of a connection.
type client struct {
	t *testing.T
	net.Conn
	in []byte
}

// served is a node in a synctest bubble of fake time, with its log.
type served struct {
	t *testing.T
	*Node
	service *Service
	pipes   *pipes
	log     *bytes.Buffer
}

// serveNode starts a node. It must be called in a bubble, and end must be called in the same one.
func serveNode(t *testing.T, opt ServiceOptions) *served {
	t.Helper()
	s := &served{t: t, pipes: newPipes(), log: &bytes.Buffer{}}
	if opt.Database == nil {
		opt.Database = &database{}
	}
	if opt.Auth == nil {
		opt.Auth = &auth.Authenticator{}
	}
	opt.Now, opt.Logger = time.Now, slog.New(slog.NewTextHandler(s.log, nil))
	s.service = NewService(opt)
	s.Node = s.service.NewNode(Options{Cache: cache.Options{ItemTTL: time.Hour, QueryTTL: time.Hour, Now: time.Now}})
	go s.Serve(s.pipes)
	return s
}

// end closes the node, and checks that its connections have left nothing behind.
func (s *served) end() {
	s.t.Helper()
	s.pipes.Close()
	s.Close(context.Background())
	if all, strangers := s.service.gate.counts(); all != 0 || strangers != 0 || len(s.service.gate.addresses) != 0 {
		s.t.Errorf("%d connections and %d strangers are counted at the end", all, strangers)
	}
	if taken := s.service.budget.taken(); taken != 0 {
		s.t.Errorf("%d bytes are taken at the end", taken)
	}
	if len(s.service.many) != 0 || len(s.service.refills) != 0 {
		s.t.Error("a turn was not given back")
	}
}

// dial opens a connection from a remote address.
func (s *served) dial(from string) *client {
	ours, theirs := net.Pipe()
	s.pipes.accept <- &pipe{theirs, from}
	return &client{t: s.t, Conn: ours}
}

func preambleBytes() []byte {
	out := wire.AppendInt(wire.AppendText(nil, magic), 0)
	return wire.AppendInt(wire.AppendMap(wire.AppendText(out, "0"), 0), 0)
}

func request(method int64, values ...[]byte) []byte {
	return append(wire.AppendInt(wire.AppendInt(nil, serviceID), method), bytes.Join(values, nil)...)
}

// authorization returns a signed authorization ("Create a signed AWS API request").
func authorization(key, secret, token string, at time.Time) []byte {
	stamp := at.UTC().Format("20060102T150405Z")
	hash := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	sign := func(key []byte, s string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(s))
		return h.Sum(nil)
	}
	canonical := "POST\n/\n\nhost:dax.amazonaws.com\nx-amz-date:" + stamp + "\n\nhost;x-amz-date\n" + hash("")
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + stamp[:8] + "/us-east-1/dax/aws4_request\n" + hash(canonical)
	k := sign(sign(sign(sign([]byte("AWS4"+secret), stamp[:8]), "us-east-1"), "dax"), "aws4_request")
	values := wire.AppendText(wire.AppendText(nil, key), hex.EncodeToString(sign(k, text)))
	values = wire.AppendBytes(values, []byte(text))
	if token == "" {
		values = wire.AppendNull(values)
	} else {
		values = wire.AppendText(values, token)
	}
	return request(methodAuthorize, wire.AppendNull(values))
}

func bytesOf(s string) []byte { return wire.AppendBytes(nil, []byte(s)) }

var (
	scanTab = request(methodScan, bytesOf("Tab"), []byte{0xf6})
	getTab  = request(methodGetItem, bytesOf("Tab"), bytesOf("k"), []byte{0xf6})
)

// send writes bytes. It returns false if the server has closed the connection.
func (c *client) send(b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

// greet sends the preamble.
func (c *client) greet() *client {
	c.t.Helper()
	if !c.send(preambleBytes()) {
		c.t.Fatal("the server has closed the connection")
	}
	return c
}

// receive reads an answer: the name of its error, or "" and its single value.
func (c *client) receive() (code string, payload []byte, err error) {
	values := func(n int) (out []byte, err error) {
		var s wire.Skimmer
		for n > 0 {
			whole, err := s.Value(c.in)
			switch {
			case err != nil:
				return nil, err
			case whole:
				n--
				s.Reset(s.Pos())
			default:
				buf := make([]byte, 4096)
				m, err := c.Read(buf)
				if c.in = append(c.in, buf[:m]...); err != nil {
					return nil, err
				}
			}
		}
		out, c.in = c.in[:s.Pos()], c.in[s.Pos():]
		return out, nil
	}
	status, err := values(1)
	if err != nil {
		return "", nil, err
	}
	if r := wire.NewReader(status); r.Array() == 0 {
		payload, err = values(1)
		return "", payload, err
	}
	rest, err := values(2)
	if err != nil {
		return "", nil, err
	}
	r := wire.NewReader(rest)
	r.Text()
	r.Array()
	r.Text()
	return string(r.Text()), nil, nil
}

// call sends a request and returns the name of the error, "" for success, or "closed" if the connection is closed.
func (c *client) call(b []byte) string {
	if !c.send(b) {
		return "closed"
	}
	code, _, err := c.receive()
	if err != nil {
		return "closed"
	}
	return code
}

// wait returns how long the server leaves the connection open while nothing is sent on it.
func (c *client) wait() time.Duration {
	c.t.Helper()
	began := time.Now()
	if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
		c.t.Errorf("got %x, %v", b, err)
	}
	return time.Since(began)
}

func noItems(context.Context) (*api.ScanOutput, error) {
	return &api.ScanOutput{Count: smithy.Some(int64(0)), ScannedCount: smithy.Some(int64(0))}, nil
}

// TestIdleStrangers opens far more idle connections than the limit, from one address and from many, before and after the preamble.
// New clients always get in, even from the same address, and authenticated clients stay.
func TestIdleStrangers(t *testing.T) {
	for name, addresses := range map[string]int{"one address": 1, "many addresses": 200} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serveNode(t, ServiceOptions{Connections: 100, Database: &database{scan: noItems}})
				defer s.end()
				friend := s.dial("10.0.0.1").greet()
				if code := friend.call(request(methodEndpoints)); code != "" {
					t.Fatal(code)
				}
				var idle []*client
				for i := range 1000 {
					c := s.dial("192.0.2." + string("0123456789"[i%addresses%10]))
					if i%2 == 0 {
						c.send(preambleBytes())
					}
					idle = append(idle, c)
				}
				synctest.Wait()
				if all, strangers := s.service.gate.counts(); all > 100 || addresses == 1 && strangers > 100/strangerShare {
					t.Errorf("%d connections, %d of strangers", all, strangers)
				}
				for _, from := range []string{"10.0.0.2", "192.0.2.0"} {
					if code := s.dial(from).greet().call(scanTab); code != "" {
						t.Errorf("a new client from %s: %s", from, code)
					}
				}
				if code := friend.call(scanTab); code != "" {
					t.Errorf("the client that was there: %s", code)
				}
				for _, c := range idle {
					c.Close()
				}
			})
		})
	}
}

// TestIdleClients lets one address take all connections, with a request on each. A client from elsewhere gets in at the cost of that
// address's longest idle connection; connections with a running request stay.
func TestIdleClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serveNode(t, ServiceOptions{Connections: 20, Database: &database{scan: func(ctx context.Context) (*api.ScanOutput, error) {
			<-release
			return noItems(ctx)
		}}})
		defer s.end()
		friend := s.dial("10.0.0.1").greet()
		friend.call(request(methodEndpoints))
		var many []*client
		for range 19 {
			c := s.dial("192.0.2.1").greet()
			if code := c.call(request(methodEndpoints)); code != "" {
				t.Fatal(code)
			}
			many = append(many, c)
			if len(many) < 10 { // half a request doesn't protect a connection
				c.send(scanTab[:3])
			}
			time.Sleep(time.Second)
		}
		alive := func(c *client) bool { return c.call(request(methodEndpoints)) == "" }
		// From three quarters of the limit on, the address is bounded by its share.
		if alive(many[0]) || !alive(many[len(many)-1]) {
			t.Error("the address keeps more than its share, or not its last connections")
		}
		for range 20 {
			if !alive(s.dial("10.0.0.2").greet()) {
				t.Fatal("a client from another address is kept out")
			}
		}
		if !alive(friend) {
			t.Error("the client of the address with one connection was closed")
		}
		if all, _ := s.service.gate.counts(); all > 20 {
			t.Errorf("%d connections", all)
		}
		close(release)
	})
}

// TestBusyClients has a request running on every connection: none is closed for a new one.
func TestBusyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := serveNode(t, ServiceOptions{Connections: 4, Database: &database{scan: func(ctx context.Context) (*api.ScanOutput, error) {
			<-release
			return noItems(ctx)
		}}})
		defer s.end()
		var busy []*client
		for _, from := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
			c := s.dial(from).greet()
			c.send(scanTab)
			busy = append(busy, c)
		}
		synctest.Wait()
		if c := s.dial("10.0.0.5"); c.wait() != 0 {
			t.Error("the new connection is not refused at once")
		}
		close(release)
		for i, c := range busy {
			if code, _, err := c.receive(); code != "" || err != nil {
				t.Errorf("client %d: %s, %v", i, code, err)
			}
		}
	})
}

// TestDeadlines has clients that stop at each stage. Idle authenticated clients stay.
func TestDeadlines(t *testing.T) {
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(credentials, []byte(`[{"accessKeyId":"A","secretAccessKey":"a"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verified := range []bool{false, true} {
		for name, c := range map[string]struct {
			send [][]byte // sent a second apart
			want time.Duration
		}{
			"nothing":                 {nil, preambleTimeout},
			"half a preamble":         {[][]byte{preambleBytes()[:5]}, preambleTimeout},
			"a preamble bit by bit":   {bytes.SplitAfter(preambleBytes(), nil), preambleTimeout},
			"a preamble":              {[][]byte{preambleBytes()}, authTimeout},
			"half an authorization":   {[][]byte{append(preambleBytes(), authorization("A", "a", "", time.Unix(0, 0))[:100]...)}, preambleTimeout},
			"a refused authorization": {[][]byte{append(preambleBytes(), authorization("A", "b", "", time.Unix(0, 0))...)}, authTimeout},
		} {
			if name == "a refused authorization" && !verified {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				a := &auth.Authenticator{}
				if verified {
					var err error
					if a, err = auth.Load(credentials, time.Now); err != nil {
						t.Fatal(err)
					}
				}
				s := serveNode(t, ServiceOptions{Auth: a})
				defer s.end()
				conn := s.dial("10.0.0.1")
				open := make(chan time.Duration, 1)
				go func() { open <- conn.wait() }()
				for i, b := range c.send {
					if i > 0 {
						time.Sleep(time.Second)
					}
					if !conn.send(b) {
						break
					}
				}
				if took := <-open; took != c.want {
					t.Errorf("%s, verified %v: closed after %v, want %v", name, verified, took, c.want)
				}
			})
		}
		synctest.Test(t, func(t *testing.T) {
			a := &auth.Authenticator{}
			if verified {
				var err error
				if a, err = auth.Load(credentials, time.Now); err != nil {
					t.Fatal(err)
				}
			}
			s := serveNode(t, ServiceOptions{Auth: a, Database: &database{scan: noItems}})
			defer s.end()
			conn := s.dial("10.0.0.1").greet()
			conn.send(authorization("A", "a", "", time.Now()))
			if code := conn.call(scanTab); code != "" {
				t.Fatal(code)
			}
			time.Sleep(24 * time.Hour)
			conn.send(authorization("A", "a", "", time.Now()))
			if code := conn.call(scanTab); code != "" {
				t.Errorf("after a day: %s", code)
			}
			// A request that stops halfway, and one that is sent too slowly.
			conn.send(scanTab[:7])
			if took := conn.wait(); took != transferTimeout {
				t.Errorf("half a request: closed after %v", took)
			}
			conn = s.dial("10.0.0.1").greet()
			conn.send(authorization("A", "a", "", time.Now()))
			put := request(methodPutItem, bytesOf("Tab"), bytesOf("k"), wire.AppendBytes(nil, make([]byte, 300<<10)))
			began := time.Now()
			for conn.send(put[:1000]) {
				put = put[1000:]
				time.Sleep(time.Second)
			}
			if took := time.Since(began); took > transferTimeout+10*time.Second {
				t.Errorf("a slow request is read for %v", took)
			}
		})
	}
}

// TestHandshakeDeadline has clients that stop during the TLS handshake.
func TestHandshakeDeadline(t *testing.T) {
	for name, hello := range map[string][]byte{"nothing": nil, "half a hello": {0x16, 3, 1, 2, 0, 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := serveNode(t, ServiceOptions{})
			defer s.end()
			ours, theirs := net.Pipe()
			s.pipes.accept <- tls.Server(&pipe{theirs, "10.0.0.1"}, &tls.Config{})
			c := &client{t: t, Conn: ours}
			c.send(hello)
			if took := c.wait(); took != preambleTimeout {
				t.Errorf("%s: closed after %v", name, took)
			}
		})
	}
}

// TestSlowReader has a client that doesn't receive its answers.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveNode(t, ServiceOptions{Database: &database{scan: noItems}})
		defer s.end()
		c := s.dial("10.0.0.1").greet()
		for range 3 { // with a fresh deadline and with a shared one
			if code := c.call(scanTab); code != "" {
				t.Fatal(code)
			}
			time.Sleep(20 * time.Second)
		}
		c.send(scanTab)
		began := time.Now()
		for s.Clients() > 0 {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < transferTimeout/2 || took > transferTimeout+time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

// TestClientGone has clients go away while their requests run: a scan, a read, a write, and one that waits for another's read. Their
// contexts end, and the remaining waiters of the same read get its result.
func TestClientGone(t *testing.T) {
	for name, b := range map[string][]byte{
		"scan": scanTab, "get": getTab, "consistent get": request(methodGetItem, bytesOf("Tab"), bytesOf("k"), []byte{0xa1, 2, 1}),
		"put": request(methodPutItem, bytesOf("Tab"), bytesOf("k"), bytesOf("\x01"), []byte{0xf6}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls, ended atomic.Int64
				wait := func(ctx context.Context) error {
					if calls.Add(1) > 1 {
						return nil
					}
					<-ctx.Done()
					ended.Add(1)
					return ctx.Err()
				}
				s := serveNode(t, ServiceOptions{Database: &database{
					scan: func(ctx context.Context) (*api.ScanOutput, error) {
						if err := wait(ctx); err != nil {
							return nil, err
						}
						return noItems(ctx)
					},
					get: func(ctx context.Context) (*api.GetItemOutput, error) { return &api.GetItemOutput{}, wait(ctx) },
					put: wait,
				}})
				defer s.end()
				leader := s.dial("10.0.0.1").greet()
				leader.send(b)
				synctest.Wait()
				other := s.dial("10.0.0.2").greet()
				other.send(b)
				synctest.Wait()
				// The leader has pipelined more bytes, which must not hide that it goes.
				leader.send(scanTab[:3])
				leader.Close()
				if code, _, err := other.receive(); code != "" || err != nil {
					t.Errorf("the other got %s, %v", code, err)
				}
				time.Sleep(2 * watchAfter)
				synctest.Wait()
				if ended.Load() != 1 || s.Clients() != 1 {
					t.Errorf("%d requests have ended, %d clients are there", ended.Load(), s.Clients())
				}
				if code := other.call(scanTab); code != "" { // its connection was watched too, and still works
					t.Errorf("afterwards: %s", code)
				}
				if s.log.Len() > 0 {
					t.Errorf("logged: %s", s.log)
				}
			})
		})
	}
}

// TestPipelined pipelines requests while another runs long: they are answered in order, including those that the watcher has read.
func TestPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveNode(t, ServiceOptions{Database: &database{scan: func(ctx context.Context) (*api.ScanOutput, error) {
			time.Sleep(3 * watchAfter)
			return noItems(ctx)
		}}})
		defer s.end()
		c := s.dial("10.0.0.1").greet()
		const requests = 50
		sent := make(chan bool)
		go func() {
			ok := true
			for i := range requests {
				if time.Sleep(time.Duration(i%5) * watchAfter); i%2 == 0 {
					ok = c.send(scanTab[:5]) && c.send(scanTab[5:]) && ok
				} else {
					ok = c.send(request(methodEndpoints)) && ok
				}
			}
			sent <- ok
		}()
		for i := range requests {
			code, payload, err := c.receive()
			if code != "" || err != nil {
				t.Fatalf("answer %d: %s, %v", i, code, err)
			}
			if scanned := payload[0] == 0xbf; scanned != (i%2 == 0) {
				t.Errorf("answer %d is %x", i, payload)
			}
		}
		if !<-sent {
			t.Error("the connection did not take all")
		}
	})
}

// TestReadsAreCounted runs a request without and with room in the budget: what it reads is taken, and given back.
func TestReadsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used int64
		db := &database{reads: 1 << 20}
		s := serveNode(t, ServiceOptions{Database: db})
		defer s.end()
		b := s.service.budget
		db.scan = func(ctx context.Context) (*api.ScanOutput, error) {
			b.mu.Lock()
			used = b.used
			b.mu.Unlock()
			return noItems(ctx)
		}
		c := s.dial("10.0.0.1").greet()
		other := &conn{}
		b.force(other, b.max)
		if code := c.call(scanTab); code != "ThrottlingException" {
			t.Errorf("without room: %q", code)
		}
		b.give(other, 0)
		if code := c.call(scanTab); code != "" || used < 1<<20-largeBuffer {
			t.Errorf("answered %q with %d bytes counted", code, used)
		}
		synctest.Wait()
		if n := b.taken(); n != 0 {
			t.Errorf("%d bytes stay taken", n)
		}
	})
}

// TestPanic has requests panic. Each ends its own connection, with an answer; the stack is logged, and other connections stay.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &database{scan: func(context.Context) (*api.ScanOutput, error) { panic("of the test") }}
		s := serveNode(t, ServiceOptions{Database: db})
		defer s.end()
		other := s.dial("10.0.0.2").greet()
		other.call(request(methodEndpoints))
		c := s.dial("10.0.0.1").greet()
		if code := c.call(scanTab); code != "InternalServerError" {
			t.Errorf("answered %q", code)
		}
		if took := c.wait(); took != 0 {
			t.Errorf("the connection ends after %v", took)
		}
		synctest.Wait()
		if text := s.log.String(); !strings.Contains(text, "of the test") || !strings.Contains(text, "conn_test.go") {
			t.Errorf("logged: %s", text)
		}
		s.log.Reset()
		// A panic outside of a request.
		ours, theirs := net.Pipe()
		s.pipes.accept <- &panicking{&pipe{theirs, "10.0.0.3"}}
		if took := (&client{t: t, Conn: ours}).wait(); took != 0 {
			t.Errorf("the broken connection ends after %v", took)
		}
		synctest.Wait() // it is logged once the connection has ended
		if text := s.log.String(); !strings.Contains(text, "of a connection") || !strings.Contains(text, "conn_test.go") {
			t.Errorf("logged: %s", text)
		}
		db.scan = noItems
		if code := other.call(scanTab); code != "" {
			t.Errorf("another connection: %s", code)
		}
	})
}

// panicking is a connection whose Read panics.
type panicking struct{ *pipe }

func (p *panicking) Read([]byte) (int, error) { panic("of a connection") }

// TestAcceptErrors has a listener that is out of file descriptors. Accept is retried with pauses, an idle connection is closed to free
// a descriptor, and the node can be closed meanwhile.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveNode(t, ServiceOptions{})
		idle := s.dial("10.0.0.1")
		full := &fullListener{}
		ended := make(chan struct{})
		go func() {
			s.Serve(full)
			close(ended)
		}()
		if took := idle.wait(); took != 0 {
			t.Errorf("the idle stranger was closed after %v", took)
		}
		time.Sleep(time.Minute)
		if n := full.asked.Load(); n < 30 || n > 80 {
			t.Errorf("the listener was asked %d times in a minute", n)
		}
		if n := strings.Count(s.log.String(), "can't be accepted"); n != 1 {
			t.Errorf("%d lines were logged", n)
		}
		s.end()
		<-ended
	})
}

// fullListener is a listener whose process is out of file descriptors.
type fullListener struct{ asked atomic.Int64 }

func (l *fullListener) Accept() (net.Conn, error) {
	l.asked.Add(1)
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}
func (l *fullListener) Close() error   { return nil }
func (l *fullListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestClose has requests that end with their contexts, and one that doesn't. Close keeps its time limit.
func TestClose(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			s := serveNode(t, ServiceOptions{Database: &database{scan: func(ctx context.Context) (*api.ScanOutput, error) {
				if stubborn {
					<-release
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}}})
			clients := []*client{s.dial("10.0.0.1").greet(), s.dial("10.0.0.1").greet(), s.dial("10.0.0.1")}
			clients[0].send(scanTab)
			clients[1].send(scanTab[:4])
			synctest.Wait()
			s.pipes.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			began := time.Now()
			s.Close(ctx)
			want := 10 * time.Second
			if stubborn {
				want += closeGrace
			}
			if took := time.Since(began); took != want {
				t.Errorf("stubborn %v: Close took %v", stubborn, took)
			}
			for _, c := range clients {
				c.wait()
			}
			close(release)
			synctest.Wait()
			s.end()
		})
	}
}

// TestBudgetIsGivenBack cuts large requests, and their answers, at many points.
func TestBudgetIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := atomic.Bool{}
		db := &database{
			scan: func(context.Context) (*api.ScanOutput, error) {
				return nil, awserr.New(awserr.Validation, strings.Repeat("x", 200<<10))
			},
			put: func(context.Context) error {
				if fails.Load() {
					panic("of the test")
				}
				return nil
			},
		}
		s := serveNode(t, ServiceOptions{Database: db})
		defer s.end()
		put := request(methodPutItem, bytesOf("Tab"), bytesOf("k"), wire.AppendBytes(nil, append([]byte{1}, make([]byte, 300<<10)...)), []byte{0xf6})
		zero := func(what string) {
			t.Helper()
			synctest.Wait()
			if taken := s.service.budget.taken(); taken != 0 {
				t.Fatalf("%s: %d bytes are taken", what, taken)
			}
		}
		for n := 1; n < len(put); n += 16 << 10 {
			c := s.dial("10.0.0.1").greet()
			c.send(put[:n])
			synctest.Wait()
			if taken := s.service.budget.taken(); (taken > 0) != (n > largeBuffer) || taken > int64(2*n) {
				t.Errorf("with %d bytes of a request %d are taken", n, taken)
			}
			c.Close()
			zero("a request that broke off")
		}
		for _, panics := range []bool{false, true} {
			fails.Store(panics)
			c := s.dial("10.0.0.1").greet()
			c.call(put)
			zero("a request that was answered")
			c.Close()
		}
		// An answer that the client doesn't receive.
		c := s.dial("10.0.0.1").greet()
		c.send(scanTab)
		buf := make([]byte, 1000)
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
		c.Close()
		zero("an answer that broke off")
	})
}

// TestBudget uses up the budget. Connections that wait for their clients are closed for those that need memory, the slowest first;
// connections with running requests stay.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		newOne := func() *conn {
			ours, theirs := net.Pipe()
			c := &conn{net: theirs}
			c.ctx, c.cancel = context.WithCancel(context.Background())
			t.Cleanup(func() { ours.Close() })
			return c
		}
		slow, slower, runs, late := newOne(), newOne(), newOne(), newOne()
		take := func(c *conn, n int64, waits, want bool) {
			t.Helper()
			if got := b.take(c, n, waits); got != want {
				t.Errorf("take returns %v", got)
			}
		}
		take(runs, 40, false, true)
		take(slower, 20, true, true)
		time.Sleep(time.Second)
		take(slow, 40, true, true)
		take(late, 10, true, false)
		time.Sleep(patience)
		take(late, 10, true, true) // displaces the slower one
		if slower.ctx.Err() == nil || slow.ctx.Err() != nil || b.taken() != 90 {
			t.Errorf("the wrong connection was closed, %d bytes are taken", b.taken())
		}
		time.Sleep(time.Second)
		take(late, 45, true, true)
		take(newOne(), 45, true, false)
		b.waits(runs, true)
		b.waits(late, false)
		time.Sleep(2 * patience)
		take(newOne(), 45, true, true)
		if runs.ctx.Err() == nil || late.ctx.Err() != nil || b.taken() != 100 {
			t.Errorf("the wrong connection was closed, %d bytes are taken", b.taken())
		}
		b.give(late, 5)
		b.give(runs, 0)
		if b.taken() != 50 {
			t.Errorf("%d bytes are taken", b.taken())
		}
	})
}

// TestRefusedIdentities has session tokens, keys revoked while their connection is open, clocks that are ahead, and oversized
// messages of strangers.
func TestRefusedIdentities(t *testing.T) {
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(credentials, []byte(`[{"accessKeyId":"A","secretAccessKey":"a"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a, err := auth.Load(credentials, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		keys := func(list string) {
			t.Helper()
			if err := errors.Join(os.WriteFile(credentials, []byte(list), 0o600), a.Reload()); err != nil {
				t.Fatal(err)
			}
		}
		s := serveNode(t, ServiceOptions{Auth: a, Database: &database{scan: noItems}})
		defer s.end()
		c := s.dial("10.0.0.1").greet()
		expect := func(want string) {
			t.Helper()
			if code := c.call(scanTab); code != want {
				t.Errorf("got %q, want %q", code, want)
			}
		}
		expect("MissingAuthenticationTokenException")
		c.send(authorization("A", "a", "a session token", time.Now()))
		expect("UnrecognizedClientException")
		c.send(authorization("A", "a", "", time.Now().Add(14*time.Minute)))
		expect("")
		time.Sleep(maxAge)
		expect("")
		time.Sleep(time.Second)
		expect("MissingAuthenticationTokenException")
		c.send(authorization("A", "a", "", time.Now()))
		expect("")
		keys(`[{"accessKeyId":"B","secretAccessKey":"b"}]`)
		expect("UnrecognizedClientException")
		if _, strangers := s.service.gate.counts(); strangers != 1 {
			t.Errorf("%d strangers", strangers)
		}
		keys(`[{"accessKeyId":"A","secretAccessKey":"a"}]`)
		expect("UnrecognizedClientException") // the client must authorize again
		c.send(authorization("A", "a", "", time.Now()))
		expect("")
		// A stranger can't send much, whatever length it announces.
		stranger := s.dial("10.0.0.1").greet()
		if code := stranger.call(append(request(methodPutItem), 0x5a, 0, 1, 0, 0)); code != "RequestEntityTooLargeException" {
			t.Errorf("64 KB of a stranger: %s", code)
		}
	})
}

// TestNamespacesAreBounded has clients name more Regions than are counted separately.
func TestNamespacesAreBounded(t *testing.T) {
	n := NewService(ServiceOptions{Database: &database{}, Auth: &auth.Authenticator{}, Now: time.Now}).NewNode(Options{})
	for i := range 3 * maxNamespaces {
		n.leave(n.enter("000000000000", time.Duration(i).String()))
	}
	if len(n.counters) > maxNamespaces {
		t.Errorf("%d namespaces", len(n.counters))
	}
}

// TestBatchAnswerIsBounded has the cache hold more than a BatchGetItem may return.
func TestBatchAnswerIsBounded(t *testing.T) {
	g := &batchGet{items: make([][]byte, 100), unread: make([]bool, 100)}
	for i := range g.items {
		if i%2 == 0 {
			g.items[i] = make([]byte, 400<<10)
		}
	}
	bound([]*batchGet{g})
	total, left := 0, 0
	for i, item := range g.items {
		total += len(item)
		if g.unread[i] {
			left++
		}
	}
	if total > maxBatchAnswer || total+400<<10 < maxBatchAnswer || left != 10 {
		t.Errorf("%d bytes, %d keys are left", total, left)
	}
}
