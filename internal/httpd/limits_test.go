package httpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/turns"
)

// served is a Server that listens on a real socket: only there do connections get a state, and clients go away.
type served struct {
	*Server
	t       *testing.T
	address string
}

func serve(t *testing.T, opt Options) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, opt)
}

func serveOn(t *testing.T, l net.Listener, opt Options) *served {
	t.Helper()
	if opt.Auth == nil {
		opt.Auth = &auth.Authenticator{}
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Operations == nil {
		opt.Operations = []smithy.Handler{echo()}
	}
	return run(t, l, New(opt))
}

// run makes a server that is ready serve on a listener.
func run(t *testing.T, l net.Listener, server *Server) *served {
	s := &served{Server: server, t: t, address: l.Addr().String()}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-done
	})
	return s
}

func (s *served) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// until polls for a state that other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(time.Millisecond)
	}
}

const signature = "X-Amz-Target: DynamoDB_20120810.Echo\r\nX-Amz-Date: 20260101T000000Z\r\n" +
	"Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00\r\n"

// post returns a whole request with the body.
func post(body string, header ...string) string {
	return "POST / HTTP/1.1\r\nHost: h\r\n" + signature + strings.Join(header, "") + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
}

// chunked returns a whole request with a chunked body.
func chunked(body string) string {
	const size = 100_000
	b := "POST / HTTP/1.1\r\nHost: h\r\n" + signature + "Transfer-Encoding: chunked\r\n\r\n"
	for len(body) > 0 {
		n := min(size, len(body))
		b += fmt.Sprintf("%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b + "0\r\n\r\n"
}

// ask sends a request and returns the answer's status, or 0 if there is none.
func ask(c net.Conn, request string) int {
	go func() { _, _ = io.WriteString(c, request) }()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// TestBudgetGivenBack: however and at whichever byte a request ends, it returns all of its budget.
func TestBudgetGivenBack(t *testing.T) {
	s := serve(t, Options{Limits: Limits{Bodies: 8 << 20}})
	large := `"` + strings.Repeat("x", 1<<20) + `"`
	bomb := string(compressed(t, "gzip", large))
	requests := map[string]string{
		"fixed":    post(large),
		"chunked":  chunked(large),
		"GET":      strings.Replace(post(large), "POST", "GET", 1),
		"DELETE":   strings.Replace(chunked(large), "POST", "DELETE", 1),
		"gzip":     post(bomb, "Content-Encoding: gzip\r\n"),
		"no gzip":  post(large, "Content-Encoding: gzip\r\n"),
		"panic":    strings.Replace(post(`"panic"`+strings.Repeat(" ", 1<<20)), "Host", "X: y\r\nHost", 1),
		"unsigned": strings.Replace(post(large), "Authorization", "X-Authorization", 1),
		"unknown":  strings.Replace(post(large), ".Echo", ".Nothing", 1),
		"expect":   post(large, "Expect: 100-continue\r\n"),
		"too long": post(strings.Repeat("x", 1<<20), "X: y\r\n"),
	}
	for name, request := range requests {
		// Cut at every few bytes of the headers and of the first chunk's size, then at some offsets of the body.
		head := strings.Index(request, "\r\n\r\n") + 12
		step := max(1, head/40)
		for end := 1; end <= len(request); end += step {
			c := s.dial()
			if _, err := io.WriteString(c, request[:end]); err != nil && name == "fixed" {
				t.Fatal(name, err)
			}
			c.Close()
			if end > head {
				step = 101_111
			}
		}
		ask(s.dial(), request)
	}
	until(t, "the end of all requests", func() bool {
		return s.load.bodies.taken.Load() == 0 && s.load.inFlight.Load() == 0 && s.http.GetOpenConnectionsCount() <= int32(len(requests))
	})
	s.load.bodies.mu.Lock()
	if n := len(s.load.bodies.arriving); n != 0 {
		t.Errorf("%d bodies are still said to arrive", n)
	}
	s.load.bodies.mu.Unlock()
	for range 10 {
		if status := ask(s.dial(), post(large)); status != 200 {
			t.Fatalf("a large body afterwards: %d", status)
		}
	}
}

// TestAnnouncedBodies: the bytes that arrive count, not the announced length.
func TestAnnouncedBodies(t *testing.T) {
	s := serve(t, Options{Limits: Limits{Bodies: 1 << 20}})
	head := "POST / HTTP/1.1\r\nHost: h\r\n" + signature + "Content-Length: 16000000\r\n\r\n"
	for range 100 {
		if _, err := io.WriteString(s.dial(), head+strings.Repeat("x", freeBody)); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if status := ask(s.dial(), post(strings.Repeat(" ", 100_000)+`""`)); status != 200 {
			t.Fatalf("a body of 100 kB beside those of 16 MB that have not come: %d", status)
		}
	}
}

// TestInflatedBodies: bodies count at their decompressed size.
func TestInflatedBodies(t *testing.T) {
	s := serve(t, Options{Limits: Limits{Bodies: 1 << 20}})
	bomb := string(compressed(t, "gzip", strings.Repeat(" ", 4<<20)+"{}"))
	if status := ask(s.dial(), post(bomb, "Content-Encoding: gzip\r\n")); status != 503 {
		t.Errorf("%d bytes that become 4 MB where there is 1: %d", len(bomb), status)
	}
	// A body too long to be discarded is refused at once.
	huge := "POST / HTTP/1.1\r\nHost: h\r\n" + signature + "Content-Length: 1000000000000\r\n\r\n" + strings.Repeat(" ", freeBody)
	if status := ask(s.dial(), huge); status != 413 {
		t.Errorf("a terabyte: %d", status)
	}
	small := string(compressed(t, "gzip", strings.Repeat(" ", 200_000)+"{}"))
	if status := ask(s.dial(), post(small, "Content-Encoding: gzip\r\n")); status != 200 {
		t.Errorf("200 kB: %d", status)
	}
}

// TestTooManyBodies: large bodies are refused while others occupy the budget.
func TestTooManyBodies(t *testing.T) {
	s := serve(t, Options{Limits: Limits{Bodies: 3 << 20, Patience: time.Hour}})
	large := post(strings.Repeat(" ", 2<<20) + "{}")
	slow := s.dial()
	if _, err := io.WriteString(slow, large[:3<<19]); err != nil {
		t.Fatal(err)
	}
	until(t, "the slow body", func() bool { return s.load.bodies.taken.Load() > 2_000_000 })
	if status := ask(s.dial(), large); status != 503 {
		t.Errorf("a second large body: %d", status)
	}
	if status := ask(slow, large[3<<19:]); status != 200 {
		t.Errorf("the first: %d", status)
	}
	if status := ask(s.dial(), large); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

// TestHurriedBodies: slow clients that keep others from sending large bodies are disconnected, the slowest first.
func TestHurriedBodies(t *testing.T) {
	s := serve(t, Options{Limits: Limits{Bodies: 1 << 20, Patience: time.Nanosecond}})
	slow := s.dial()
	if _, err := io.WriteString(slow, post(strings.Repeat("x", 2<<20))[:700_000]); err != nil {
		t.Fatal(err)
	}
	// Its memory has doubled for the last time: a body that still grows may be refused before its connection is closed.
	until(t, "the slow body", func() bool { return s.load.bodies.taken.Load() > 1_000_000 })
	until(t, "room for another", func() bool { return ask(s.dial(), post(strings.Repeat(" ", 600_000)+"{}")) == 200 })
	if _, err := slow.Read(make([]byte, 1)); err == nil {
		t.Error("the slow client is still connected")
	}
}

// reading is an operation that reads the given number of bytes, in parts, and answers with as many.
func reading(bytes int) smithy.Handler {
	return smithy.Handler{
		Target: "DynamoDB_20120810.Echo",
		Decode: func(*smithy.Call, []byte) (any, *awserr.Error) { return nil, nil },
		Run: func(_ context.Context, call *smithy.Call, _ any) (smithy.Renderer, error) {
			for range 16 {
				if !call.Memory.Take(bytes / 16) {
					return nil, overloaded()
				}
			}
			return verbatim(make([]byte, bytes)), nil
		},
	}
}

// TestAnswersNotTaken: answers that clients don't receive count, make further reads fail while the budget is used up, and are
// released when their clients go.
func TestAnswersNotTaken(t *testing.T) {
	const size = 16 << 20 // more than the buffers of a socket
	s := serve(t, Options{Operations: []smithy.Handler{reading(size)}, Limits: Limits{Answers: 2*size + size/2, Patience: time.Hour}})
	idle := func(n int64) func() bool {
		return func() bool { return s.load.answers.taken.Load()/size == n && s.load.inFlight.Load() == 0 }
	}
	var slow []net.Conn
	for n := range int64(2) {
		c := s.dial()
		if _, err := io.WriteString(c, post("{}")); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
		until(t, "an answer that is not taken", idle(n+1))
	}
	if status := ask(s.dial(), post("{}")); status != 503 {
		t.Errorf("a third large read: %d", status)
	}
	for n, c := range slow {
		c.Close()
		until(t, "the end of the connection", idle(int64(1-n)))
	}
	c := s.dial()
	for range 3 {
		if status := ask(c, post("{}")); status != 200 {
			t.Errorf("afterwards: %d", status)
		}
		until(t, "the end of the answer", func() bool { return s.load.answers.taken.Load() == 0 })
	}
	if n := s.conns.holding.Load(); n != 0 || len(s.load.answers.arriving) != 0 {
		t.Errorf("%d connections are said to send answers", n)
	}
}

// TestHurriedAnswers: clients that don't receive their answers are disconnected when others need the memory.
func TestHurriedAnswers(t *testing.T) {
	const size = 16 << 20
	s := serve(t, Options{Operations: []smithy.Handler{reading(size)}, Limits: Limits{Answers: size + size/2, Patience: time.Nanosecond}})
	if _, err := io.WriteString(s.dial(), post("{}")); err != nil {
		t.Fatal(err)
	}
	until(t, "the answer", func() bool { return s.conns.holding.Load() == 1 })
	until(t, "room for another", func() bool { return ask(s.dial(), post("{}")) == 200 })
}

// TestIdleConnectionsAreSmall: a connection keeps no memory of a large answer once it is sent.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const size, n = 1 << 20, 100
	s := serve(t, Options{Operations: []smithy.Handler{reading(size)}})
	for range n {
		if status := ask(s.dial(), post("{}")); status != 200 {
			t.Fatal(status)
		}
	}
	until(t, "the end of all answers", func() bool { return s.conns.holding.Load() == 0 })
	runtime.GC() // sync.Pool keeps buffers for one collection
	runtime.GC()
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc > n*size/2 {
		t.Errorf("%d idle connections keep %d MB", n, m.HeapAlloc>>20)
	}
}

// TestRefusedBodiesHoldNothing: a refused body holds no memory while its client keeps sending.
func TestRefusedBodiesHoldNothing(t *testing.T) {
	s := serve(t, Options{})
	c := s.dial()
	head := "POST / HTTP/1.1\r\nHost: h\r\n" + signature + "Transfer-Encoding: chunked\r\n\r\n"
	if _, err := io.WriteString(c, head+fmt.Sprintf("%x\r\n%s\r\n1\r\n", MaxBody+1, strings.Repeat("x", MaxBody+1))); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal", func() bool { return s.load.bodies.taken.Load() == 0 })
}

// TestTruncatedBodies: a body whose client closes its sending half too early is not run as a request.
func TestTruncatedBodies(t *testing.T) {
	var ran atomic.Bool
	operation := echo()
	operation.Run = func(context.Context, *smithy.Call, any) (smithy.Renderer, error) {
		ran.Store(true)
		return verbatim("{}"), nil
	}
	s := serve(t, Options{Operations: []smithy.Handler{operation}})
	body := "{}" + strings.Repeat(" ", 3*freeBody)
	fixed, pieces := post(body), chunked(body)
	for name, request := range map[string]string{
		"fixed": fixed[:len(fixed)-freeBody], "chunks without the last": strings.TrimSuffix(pieces, "0\r\n\r\n"), "half of the last chunk": strings.TrimSuffix(pieces, "\r\n"),
	} {
		c := s.dial()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if answer, _ := io.ReadAll(c); ran.Load() || bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
			t.Errorf("%s: ran: %.100s", name, answer)
		}
	}
}

// TestSlowCompression: a body that is slow to decompress takes turns, small ones don't wait for it, and its client's exit ends it.
func TestSlowCompression(t *testing.T) {
	all := turns.New()
	s := serve(t, Options{Turns: all})
	large := post(string(compressed(t, "gzip", strings.Repeat("x", MaxBody)))+strings.Repeat("\x00", promptBody), "Content-Encoding: gzip\r\n")
	for range runtime.GOMAXPROCS(0) {
		var others turns.Turn
		others.Begin(all, "", time.Now())
		if err := others.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer others.End()
	}
	waiting := s.dial()
	if _, err := io.WriteString(waiting, large); err != nil {
		t.Fatal(err)
	}
	until(t, "the large body", func() bool { return s.load.inFlight.Load() == 1 })
	if status := ask(s.dial(), post(string(compressed(t, "gzip", "{}")), "Content-Encoding: gzip\r\n")); status != 200 {
		t.Errorf("a small body meanwhile: %d", status)
	}
	waiting.Close()
	until(t, "the end of the request", func() bool { return s.load.inFlight.Load() == 0 })

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := pausing{bytes.NewReader(make([]byte, 2*inflateStep)), ctx, nil}
	if _, err := r.Read(make([]byte, 1)); err != context.Canceled {
		t.Error(err)
	}
	if _, err := io.ReadAll(bytesOnly{r}); err != context.Canceled {
		t.Error(err)
	}
}

// bytesOnly reads byte by byte, as decompressors do.
type bytesOnly struct{ io.ByteReader }

func (b bytesOnly) Read(p []byte) (n int, err error) {
	p[0], err = b.ReadByte()
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// TestStrangersMakeRoom: no number of silent or refused connections keeps a client out, or disconnects an authenticated one.
func TestStrangersMakeRoom(t *testing.T) {
	const limit = 32
	s := serve(t, Options{Limits: Limits{Connections: limit}})
	client := s.dial()
	if status := ask(client, post("{}")); status != 200 {
		t.Fatal(status)
	}
	for i := range 4 * limit {
		c := s.dial()
		if i%2 == 0 {
			ask(c, strings.Replace(post("{}"), "Authorization", "X-Authorization", 1))
		}
	}
	until(t, "a place for a client", func() bool { return ask(s.dial(), post("{}")) == 200 })
	if status := ask(client, post("{}")); status != 200 {
		t.Errorf("a client that was there: %d", status)
	}
}

// TestOneProtocol: a request that is CBOR by its path, which is signed, can't become a form by its headers, which need not be.
func TestOneProtocol(t *testing.T) {
	s := New(Options{Auth: &auth.Authenticator{}, Services: []*protocol.Service{{Name: "Watch", SigningName: "monitoring", Version: "1"}}})
	for path, want := range map[string]bool{"/": true, "": true, "/service/Watch/operation/Describe": false, "/service/Watch/operation/": false} {
		var c fasthttp.RequestCtx
		c.Request.Header.SetMethod("POST")
		c.Request.SetRequestURI(path)
		c.Request.Header.SetContentType("application/x-www-form-urlencoded; charset=utf-8")
		if to := s.route(&c); to.form != want {
			t.Errorf("%q is a form: %v, want %v", path, to.form, want)
		}
	}
}

// TestNotReadyIsLoggedOnce: polling /readyz doesn't fill the log.
func TestNotReadyIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	broken := errors.New("no storage")
	s := New(Options{Auth: &auth.Authenticator{}, Logger: slog.New(slog.NewTextHandler(&log, nil)), Ready: func(context.Context) error { return broken }})
	ask := func() int {
		var c fasthttp.RequestCtx
		c.Request.Header.SetMethod("GET")
		c.Request.SetRequestURI("/readyz")
		s.Handle(&c)
		return c.Response.StatusCode()
	}
	for range 3 {
		if status := ask(); status != 503 {
			t.Error(status)
		}
	}
	if n := strings.Count(log.String(), "not ready"); n != 1 {
		t.Errorf("%d lines for three requests", n)
	}
	broken = nil
	if status := ask(); status != 200 {
		t.Error(status)
	}
	broken = errors.New("no storage again")
	if ask(); strings.Count(log.String(), "not ready") != 2 {
		t.Errorf("the second outage is not logged: %s", log.String())
	}
}

// TestAmbiguousLength: a request that states its length twice is refused, and the bytes behind it are not run as a request.
func TestAmbiguousLength(t *testing.T) {
	s := serve(t, Options{})
	for _, lengths := range []string{
		"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "TRANSFER-encoding: identity\r\ncontent-LENGTH: 2\r\n",
	} {
		c := s.dial()
		request := "POST / HTTP/1.1\r\nHost: h\r\n" + signature + lengths + "\r\n2\r\n{}\r\n0\r\n\r\n" + post("{}")
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		answers, _ := io.ReadAll(c)
		if n := bytes.Count(answers, []byte("HTTP/1.1 ")); n != 1 || !bytes.HasPrefix(answers, []byte("HTTP/1.1 400 ")) {
			t.Errorf("%q: %s", lengths, answers)
		}
	}
}

// blocking is an operation that runs until its context ends.
func blocking(began chan<- struct{}, ended chan<- error) smithy.Handler {
	return smithy.Handler{
		Target: "DynamoDB_20120810.Echo",
		Decode: func(*smithy.Call, []byte) (any, *awserr.Error) { return nil, nil },
		Run: func(ctx context.Context, _ *smithy.Call, _ any) (smithy.Renderer, error) {
			began <- struct{}{}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		},
	}
}

// TestClientGone: a request ends when its client goes, even with another request pipelined behind it. Nothing is logged as an error.
func TestClientGone(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	var log bytes.Buffer // slog handlers write one line at a time
	s := serve(t, Options{Operations: []smithy.Handler{blocking(began, ended)}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, request := range []string{post("{}"), post("{}") + post("{}")} {
		c := s.dial()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		<-began
		c.Close()
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
		until(t, "the connection's end", func() bool { return s.http.GetOpenConnectionsCount() == 0 })
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}

// TestShutdownEnds: requests that run when Shutdown runs out of patience are canceled, and slow senders don't hold it up.
func TestShutdownEnds(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	s := serve(t, Options{Operations: []smithy.Handler{blocking(began, ended)}})
	if _, err := io.WriteString(s.dial(), post("{}")); err != nil {
		t.Fatal(err)
	}
	<-began
	for _, part := range []string{"POST / HT", post(strings.Repeat("x", 100_000))[:50_000]} {
		if _, err := io.WriteString(s.dial(), part); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the connections", func() bool { return s.http.GetOpenConnectionsCount() == 3 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.end()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
}

// TestStrangersGetNoWorkDone: with credentials, nothing is decompressed or decoded before the signature is verified.
func TestStrangersGetNoWorkDone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte(`[{"accessKeyId":"KNOWN","secretAccessKey":"secret"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	authenticator, err := auth.Load(file, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var decoded atomic.Int64
	operation := echo()
	operation.Decode = func(*smithy.Call, []byte) (any, *awserr.Error) {
		decoded.Add(1)
		return nil, nil
	}
	s := serve(t, Options{Operations: []smithy.Handler{operation}, Auth: authenticator, Limits: Limits{Bodies: 1 << 20}})
	bomb := string(compressed(t, "gzip", strings.Repeat(" ", 4<<20)+"{}"))
	for _, request := range []string{
		post("{}"), post(bomb, "Content-Encoding: gzip\r\n"), strings.Replace(post("{}"), "=AKID/", "=KNOWN/", 1),
		strings.Replace(post(bomb, "Content-Encoding: gzip\r\n"), "=AKID/", "=KNOWN/", 1),
	} {
		if status := ask(s.dial(), request); status != 400 {
			t.Errorf("%d", status)
		}
	}
	// A stranger's large body is refused before it arrives.
	if status := ask(s.dial(), post(strings.Repeat("x", 1<<20))[:2*freeBody]); status != 400 {
		t.Errorf("a body that does not come: %d", status)
	}
	if status := ask(s.dial(), "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"); status != 403 {
		t.Errorf("metrics without a signature: %d", status)
	}
	if n := decoded.Load(); n != 0 {
		t.Errorf("%d requests of strangers were decoded", n)
	}
}

// parts is an answer that is rendered in small parts, as items are.
type parts int

// AppendJSON implements smithy.Renderer.
func (n parts) AppendJSON(dst []byte) []byte {
	for end := len(dst) + int(n); len(dst) < end; {
		dst = append(dst, '0')
	}
	return dst
}

// TestLargeAnswerMemory: the memory for a large answer is allocated once.
func TestLargeAnswerMemory(t *testing.T) {
	const size = 16 << 20
	read := smithy.Handler{
		Target: "DynamoDB_20120810.Echo",
		Decode: func(*smithy.Call, []byte) (any, *awserr.Error) { return nil, nil },
		Run: func(_ context.Context, call *smithy.Call, _ any) (smithy.Renderer, error) {
			call.Memory.Take(size)
			return parts(size), nil
		},
	}
	s := serve(t, Options{Operations: []smithy.Handler{read}})
	c := s.dial()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if status := ask(c, post("{}")); status != 200 {
		t.Fatalf("status %d", status)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size*3/2 {
		t.Errorf("an answer of %d MiB allocates %d MiB", size>>20, took>>20)
	}
}
