// Package httpd is the HTTP front end: bytes in, an operation's answer out. It knows AWS's JSON protocol as far as HTTP
// carries it (target, checksum, request id, compression, health, CORS) and no DynamoDB.
package httpd

import (
	"context"
	"errors"
	"hash/crc32"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// MaxBody is the largest request body in bytes, also after decompression ("Quotas in Amazon DynamoDB").
const MaxBody = 16 << 20

// Names of headers as AWS spells them, in the form that fasthttp takes without changing it.
var (
	headerRequestID = []byte("x-amzn-RequestId")
	headerCRC32     = []byte("x-amz-crc32")
)

const (
	contentType = "application/x-amz-json-1.0"
	// readPast is how many bytes above MaxBody are still read, so that the client, which is still sending, gets an answer
	// and not a reset connection.
	readPast = 8 << 20
	// minCompress is the smallest answer in bytes that is worth compressing.
	minCompress = 1024
)

// Options configure a Server.
type Options struct {
	Operations []smithy.Handler
	// Services are the APIs of those operations that are not DynamoDB's.
	Services []*protocol.Service
	// Missing are the targets of operations that clients know and this server does not have.
	Missing []string
	Auth    *auth.Authenticator
	Logger  *slog.Logger
	Limits  Limits
	// Control are further paths: each gets a request's body and returns the answer's, or why the body is no good.
	Control map[string]func(body []byte) ([]byte, error)
	// Metrics returns what was measured, as Prometheus reads it, and its content type.
	Metrics func(context.Context) (contentType string, body []byte, err error)
	// Ready reports what keeps the server from serving; nil if nothing does.
	Ready func(context.Context) error
	// Web says which web pages may use the server, and to which names it answers, where Auth verifies no signatures.
	Web Web
}

// Server answers requests.
type Server struct {
	opt        Options
	operations map[string]*smithy.Handler
	missing    map[string]bool
	services   map[string]*protocol.Service // by name
	http       *fasthttp.Server
	calls      sync.Pool
	load       load
	conns      connections
	web        guard
	ctx        context.Context
	cancel     context.CancelFunc
}

// New returns a Server.
func New(opt Options) *Server {
	s := &Server{opt: opt, operations: map[string]*smithy.Handler{}, missing: map[string]bool{}, services: map[string]*protocol.Service{}, load: load{limits: opt.Limits.orDefaults()}, web: guard{Web: opt.Web, open: !opt.Auth.Verifies()}}
	for i := range opt.Operations {
		s.operations[opt.Operations[i].Target] = &opt.Operations[i]
	}
	for _, service := range opt.Services {
		s.services[service.Name] = service
	}
	for _, target := range opt.Missing {
		s.missing[target] = true
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &fasthttp.Server{
		Name:                         "Server",
		Handler:                      s.handle,
		ErrorHandler:                 s.handleError,
		MaxRequestBodySize:           MaxBody + readPast,
		HeaderReceived:               s.load.headerReceived,
		Concurrency:                  s.load.limits.Connections,
		ConnState:                    s.conns.state,
		ReadBufferSize:               maxHeaders,
		MaxIdleWorkerDuration:        time.Second, // goroutines of connections that have gone
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		Logger:                       fasthttpLogger{opt.Logger},
	}
	return s
}

// fasthttpLogger passes on what fasthttp says of connections that broke; none of it is the server's fault.
type fasthttpLogger struct{ log *slog.Logger }

func (l fasthttpLogger) Printf(format string, args ...any) {
	l.log.Debug(strings.TrimSpace(format), "args", args, "component", "http")
}

// Handle answers one request that was read already; it is for benchmarks.
func (s *Server) Handle(c *fasthttp.RequestCtx) { s.handle(c) }

// Serve answers requests of the listener until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	go s.conns.reap(s.ctx.Done(), s.load.limits.Idle)
	return s.http.Serve(l)
}

// Requests returns how many requests for operations have come so far.
func (s *Server) Requests() int64 { return s.load.requests.Load() }

// Shutdown stops listening and waits for the requests under way, until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.ShutdownWithContext(ctx)
	s.cancel()
	return err
}

func (s *Server) handle(c *fasthttp.RequestCtx) {
	s.conns.moved(c.Conn())
	if s.stranger(c) {
		return
	}
	if s.opt.Control != nil {
		if control := s.opt.Control[string(c.Path())]; control != nil {
			s.control(c, control)
			return
		}
	}
	switch {
	case c.IsPost():
		s.post(c)
	case c.IsGet() || c.IsHead():
		s.get(c)
	case c.IsOptions():
		s.options(c)
	default:
		s.fail(c, awserr.New(awserr.UnknownOperation, ""), 404)
	}
}

// control answers a request to one of Options.Control.
func (s *Server) control(c *fasthttp.RequestCtx, run func(body []byte) ([]byte, error)) {
	answer, err := run(c.Request.Body())
	if err != nil {
		c.SetStatusCode(400)
		answer = []byte(err.Error())
	}
	c.SetContentType("application/json")
	c.SetBody(append(answer, '\n'))
}

// get answers health checks: the root as AWS's endpoint does, /healthz as long as the process runs, /readyz if it can
// serve; and /metrics.
func (s *Server) get(c *fasthttp.RequestCtx) {
	c.SetContentType("text/plain")
	switch string(c.Path()) {
	case "/":
		c.Response.Header.SetCanonical(headerRequestID, smithy.AppendRequestID(nil))
		c.SetBodyString("healthy: " + string(c.Host()) + " ")
	case "/healthz":
		c.SetBodyString("ok\n")
	case "/metrics":
		contentType, body, err := s.opt.Metrics(s.ctx)
		if err != nil {
			s.opt.Logger.Error("metrics", "error", err)
			c.SetStatusCode(500)
			return
		}
		c.SetContentType(contentType)
		c.SetBody(body)
	case "/readyz":
		if err := s.opt.Ready(s.ctx); err != nil {
			s.opt.Logger.Warn("not ready", "error", err)
			c.SetStatusCode(503)
			c.SetBodyString("not ready: " + err.Error() + "\n")
			return
		}
		c.SetBodyString("ready\n")
	default:
		s.fail(c, awserr.New(awserr.UnknownOperation, ""), 404)
	}
}

// options answers a browser's preflight request.
func (s *Server) options(c *fasthttp.RequestCtx) {
	c.Response.Header.SetCanonical(headerRequestID, smithy.AppendRequestID(nil))
	s.web.preflight(c)
}

// post runs an operation.
func (s *Server) post(c *fasthttp.RequestCtx) {
	if c.Request.Header.ContentLength() < 0 || c.Request.Header.ContentLength() >= largeBody {
		defer s.load.bodyDone(&c.Request.Header)
	}
	if !s.load.enter() {
		s.fail(c, overloaded(), 0)
		return
	}
	defer s.load.leave()
	w, ok := s.calls.Get().(*work)
	if !ok {
		w = &work{}
	}
	target := wirejson.View(c.Request.Header.Peek("X-Amz-Target"))
	if op := s.operations[target]; op != nil && op.Service == "" {
		out, err := s.run(c, op, nil, &w.call, w.out[:0])
		if err != nil {
			s.fail(c, s.clientError(target, err), 0)
		} else {
			s.answer(c, out, 200)
			w.out = out
		}
	} else {
		s.serve(c, target, w)
	}
	w.call.Release()
	if cap(w.call.Reader.Arena) <= maxKept && cap(w.out) <= maxKept {
		s.calls.Put(w)
	}
}

// work is what a request needs and the next one can use again.
type work struct {
	call smithy.Call
	out  []byte
}

// maxKept is how many bytes of memory are kept for the next request: enough for a page of Scan. Larger requests give theirs
// back.
const maxKept = 4 << 20

// run finds, decodes, authenticates and executes a request, in this order, as AWS does.
func (s *Server) run(c *fasthttp.RequestCtx, op *smithy.Handler, codec protocol.Codec, call *smithy.Call, dst []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = awserr.Internal(errors.New("panic: " + panicText(p)))
		}
	}()
	body, err := requestBody(c)
	if err != nil {
		return nil, err
	}
	if codec != nil {
		var bad *awserr.Error
		if body, bad = codec.Request(body); bad != nil {
			return nil, bad
		}
	}
	in, decodeErr := op.Decode(call, body)
	if decodeErr != nil && decodeErr.Message == "" {
		return nil, decodeErr // malformed JSON is found before the signature is looked at
	}
	id, authErr := s.opt.Auth.Authenticate(&auth.Request{
		Method: "POST",
		Path:   string(c.URI().PathOriginal()),
		Query:  string(c.URI().QueryString()),
		Header: func(name string) string { return wirejson.View(c.Request.Header.Peek(name)) },
		Body:   c.Request.Body(),
	})
	if authErr != nil {
		return nil, authErr
	}
	if decodeErr != nil {
		return nil, decodeErr
	}
	call.Caller = smithy.Caller{Account: id.Account, Region: id.Region}
	call.Host = wirejson.View(c.Host())
	answer, err := op.Run(s.ctx, call, in)
	if err != nil {
		return nil, err
	}
	return answer.AppendJSON(dst), nil
}

// unknown is the error for a target that no operation has.
func (s *Server) unknown(target string) *awserr.Error {
	message := ""
	if _, name, _ := strings.Cut(target, "."); s.missing[target] {
		message = name + " is not supported by this endpoint"
	}
	return awserr.New(awserr.UnknownOperation, message)
}

// serve runs an operation of another API than DynamoDB's.
func (s *Server) serve(c *fasthttp.RequestCtx, target string, w *work) {
	target, codec := s.route(c, target)
	if codec == nil {
		s.fail(c, s.unknown(target), 0)
		return
	}
	var id [52]byte
	request := string(smithy.AppendRequestID(id[:0]))
	var a protocol.Answer
	err := error(s.unknown(target))
	if op := s.operations[target]; op != nil {
		var out []byte
		if out, err = s.run(c, op, codec, &w.call, nil); err == nil {
			a, err = codec.Answer(out, request)
		}
	}
	if err != nil {
		a = codec.Error(s.clientError(target, err), request)
	}
	h := &c.Response.Header
	c.SetStatusCode(a.Status)
	h.SetContentType(a.ContentType)
	h.SetCanonical(headerRequestID, []byte(request))
	for _, field := range a.Header {
		h.Set(field[0], field[1])
	}
	s.web.answer(c)
	c.Response.SetBody(a.Body)
}

// route finds out in which protocol a request is, and its target; a nil codec is none that is known.
func (s *Server) route(c *fasthttp.RequestCtx, target string) (string, protocol.Codec) {
	if target != "" {
		name, _, _ := strings.Cut(target, ".")
		if service := s.services[name]; service != nil {
			return target, protocol.JSON{Service: service}
		}
		return target, nil
	}
	if string(c.Request.Header.Peek("smithy-protocol")) == "rpc-v2-cbor" {
		// /service/NAME/operation/OPERATION
		parts := strings.Split(string(c.Path()), "/")
		if len(parts) < 4 || parts[len(parts)-4] != "service" || parts[len(parts)-2] != "operation" {
			return "", nil
		}
		name, operation := parts[len(parts)-3], parts[len(parts)-1]
		if service := s.services[name]; service != nil && service.Schema != nil {
			return name + "." + operation, protocol.CBOR{Service: service, Operation: operation}
		}
		return name + "." + operation, nil
	}
	if strings.HasPrefix(string(c.Request.Header.ContentType()), "application/x-www-form-urlencoded") {
		body, err := requestBody(c)
		if err != nil {
			return "", nil
		}
		action, version := protocol.Action(body)
		for name, service := range s.services {
			if service.Version != "" && service.Version == version {
				return name + "." + action, protocol.Query{Service: service, Operation: action}
			}
		}
	}
	return "", nil
}

func panicText(p any) string {
	if err, ok := p.(error); ok {
		return err.Error()
	}
	if s, ok := p.(string); ok {
		return s
	}
	return "of another type"
}

// requestBody returns the body, decompressed.
func requestBody(c *fasthttp.RequestCtx) ([]byte, error) {
	var body []byte
	var err error
	switch encoding := c.Request.Header.ContentEncoding(); string(encoding) {
	case "", "identity":
		if body = c.Request.Body(); len(body) > MaxBody {
			return nil, tooLarge()
		}
		return body, nil
	case "gzip":
		body, err = inflate(c.Request.Body(), gzipReader)
	case "deflate":
		body, err = inflate(c.Request.Body(), zlibReader)
	default:
		return nil, awserr.New(awserr.Serialization, "")
	}
	if errors.Is(err, errTooLarge) {
		return nil, tooLarge()
	}
	if err != nil {
		return nil, awserr.New(awserr.Serialization, "")
	}
	return body, nil
}

// overloaded is what a client gets when a limit is met.
func overloaded() *awserr.Error {
	return awserr.New(awserr.ServiceUnavailable, "Service is unable to process your request: too many at a time")
}

func tooLarge() *awserr.Error {
	return awserr.New(awserr.RequestEntityTooLarge, "Request body must be at most "+strconv.Itoa(MaxBody)+" bytes")
}

// clientError makes every error one that clients may see; what is internal is logged here, and only here.
func (s *Server) clientError(target string, err error) *awserr.Error {
	var e *awserr.Error
	if !errors.As(err, &e) {
		e = awserr.Internal(err)
	}
	if cause := e.Unwrap(); cause != nil {
		s.opt.Logger.Error("request failed", "target", target, "error", cause.Error())
	}
	return e
}

func (s *Server) fail(c *fasthttp.RequestCtx, e *awserr.Error, status int) {
	if status == 0 {
		status = e.Status()
	}
	s.answer(c, e.AppendJSON(nil), status)
}

func (s *Server) answer(c *fasthttp.RequestCtx, body []byte, status int) {
	h := &c.Response.Header
	c.SetStatusCode(status)
	h.SetContentType(contentType)
	var id [52]byte
	h.SetCanonical(headerRequestID, smithy.AppendRequestID(id[:0]))
	if len(body) >= minCompress {
		body = compress(c, body)
	}
	var sum [10]byte
	h.SetCanonical(headerCRC32, strconv.AppendUint(sum[:0], uint64(crc32.ChecksumIEEE(body)), 10))
	s.web.answer(c)
	c.Response.SetBody(body)
}

// handleError answers what fasthttp could not read.
func (s *Server) handleError(c *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	refused := s.load.bodyDone(&c.Request.Header)
	switch {
	case refused && errors.Is(err, fasthttp.ErrBodyTooLarge):
		c.SetConnectionClose()
		s.fail(c, overloaded(), 0)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		s.fail(c, tooLarge(), 0)
	case errors.As(err, &small):
		s.fail(c, awserr.New(awserr.Serialization, ""), 431)
	default:
		s.fail(c, awserr.New(awserr.Serialization, ""), 400)
	}
}
