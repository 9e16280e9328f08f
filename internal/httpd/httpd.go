// Package httpd is the HTTP front end: bytes in, an operation's answer out. It speaks AWS's protocols as far as HTTP carries them:
// target, checksum, request id, compression, CORS, health. It knows nothing of DynamoDB.
//
// A request passes these stages, and each costs an unauthenticated client as little as possible:
//
//	tls.go          TLS, with or without clients' certificates
//	origin.go       refuse web pages that the developer doesn't know
//	route.go        find the operation and the protocol
//	elsewhere.go    answer requests for AWS's other services
//	body.go         receive the body, in memory that counts against a budget
//	auth            verify the signature; only then decompress and decode
//	smithy          run the operation
//	audit.go        record the request
//	compression.go  compress the answer, which counts until the client has received it
//
// Limits bound what clients hold at once; connections replaces network deadlines, which would cost as much as decoding.
package httpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"hash/crc32"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/netio"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/tenant"
	"github.com/statordb/stator/internal/turns"
	"github.com/statordb/stator/internal/wirejson"
)

// MaxBody is the largest request body in bytes, also after decompression ("Quotas in Amazon DynamoDB").
const MaxBody = 16 << 20

// Names of headers in AWS's own capitalization, which fasthttp would otherwise normalize.
var (
	headerRequestID = []byte("x-amzn-RequestId")
	headerCRC32     = []byte("x-amz-crc32")
)

const (
	contentType = "application/x-amz-json-1.0"
	// readPast is how many bytes beyond MaxBody are read and discarded, so that a client that is still sending gets an answer
	// instead of a connection reset.
	readPast = 8 << 20
	// endTimeout is the time that Shutdown leaves to canceled requests before its context ends.
	endTimeout = 3 * time.Second
)

// Options configure a Server.
type Options struct {
	Operations []smithy.Handler
	// Services are the APIs, other than DynamoDB's, to which some Operations belong.
	Services []*protocol.Service
	// Missing are targets that clients know and this server lacks. Their error says so instead of naming a typo.
	Missing []string
	Auth    *auth.Authenticator
	Logger  *slog.Logger
	Limits  Limits
	// Tenants are the limits of accounts; nil for none.
	Tenants *tenant.Tenants
	// Turns keep long requests from starving short ones. All protocols share them.
	Turns *turns.Turns
	// Control maps further paths to handlers. A handler gets the request's body and returns the answer's, or why the body is invalid.
	Control map[string]func(body []byte) ([]byte, error)
	// Metrics returns the metrics in Prometheus's text format, and their content type.
	Metrics func(context.Context) (contentType string, body []byte, err error)
	// Ready returns why the server can't serve, or nil.
	Ready func(context.Context) error
	// Web says which web pages may use the server, and to which host names it answers. It applies only if Auth verifies no
	// signatures.
	Web Web
	// TLS has the settings of HTTPS; nil serves plain HTTP.
	TLS *tls.Config
	// Audit records requests for operations; nil records none.
	Audit *audit.Log
}

// Server answers HTTP requests.
type Server struct {
	opt        Options
	operations map[string]*smithy.Handler
	missing    map[string]bool
	services   map[string]*protocol.Service // by name
	// signingNames are those of all APIs here, sorted.
	signingNames []string
	queries      map[string]*protocol.Service // those with AWS Query, whose requests are forms, by signing name
	// unclaimed gets the forms whose signature names no service of queries: it has the operations that need no signature.
	unclaimed *protocol.Service
	http      *fasthttp.Server
	calls     sync.Pool // *work
	load      load
	conns     connections
	web       webGuard
	unready   atomic.Bool // the last answer of /readyz was an error
	ctx       context.Context
	cancel    context.CancelFunc
}

// New returns a Server.
func New(opt Options) *Server {
	s := &Server{opt: opt, operations: map[string]*smithy.Handler{}, missing: map[string]bool{}, services: map[string]*protocol.Service{}, queries: map[string]*protocol.Service{}, load: load{limits: opt.Limits.orDefaults()}, web: webGuard{Web: opt.Web, open: !opt.Auth.Verifies()}}
	s.load.bodies = newBodyBudget(s.load.limits.Bodies, s.load.limits.Patience)
	s.load.answers = newBodyBudget(s.load.limits.Answers, s.load.limits.Patience)
	s.conns.answers, s.conns.limit = &s.load.answers, s.load.limits.Connections
	for i := range opt.Operations {
		s.operations[opt.Operations[i].Target] = &opt.Operations[i]
	}
	s.signingNames = []string{"dynamodb"}
	for _, service := range opt.Services {
		s.signingNames = append(s.signingNames, service.SigningName)
		s.services[service.Name] = service
		if service.Version != "" {
			s.queries[service.SigningName] = service
			if s.unclaimed == nil || slices.ContainsFunc(opt.Operations, func(h smithy.Handler) bool { return h.Unsigned && h.Service == service.Name }) {
				s.unclaimed = service
			}
		}
	}
	slices.Sort(s.signingNames)
	for _, target := range opt.Missing {
		s.missing[target] = true
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &fasthttp.Server{
		Name:                         "Server",
		Handler:                      s.handle,
		ErrorHandler:                 s.handleError,
		StreamRequestBody:            true, // receive reads bodies, within limits
		MaxRequestBodySize:           math.MaxInt,
		Concurrency:                  s.load.limits.Connections,
		ConnState:                    s.conns.state,
		ReadBufferSize:               maxHeaders,
		WriteBufferSize:              writeBuffer,
		MaxIdleWorkerDuration:        time.Second, // lifetime of idle goroutines in fasthttp's pool
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		Logger:                       fasthttpLogger{opt.Logger},
	}
	return s
}

// Handle answers one request that was read already. Benchmarks use it to bypass the network.
func (s *Server) Handle(c *fasthttp.RequestCtx) { s.handle(c) }

// Serve answers requests of the listener until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	s.periodically("closing stalled connections", s.load.limits.Idle/idleTicks, s.conns.reap)
	s.periodically("canceling requests of clients that have gone", watchInterval, s.conns.watch)
	l = netio.Listener(l)
	if s.opt.TLS != nil {
		l = secureListener{l, s.opt.TLS}
	}
	return s.http.Serve(l)
}

// periodically runs a background job once per interval, until Shutdown.
func (s *Server) periodically(name string, interval time.Duration, job func()) {
	guard.Go(s.opt.Logger, name, func() { jobs.Every(s.ctx, s.opt.Logger, name, interval, job) })
}

// Requests returns the number of requests for operations since the start.
func (s *Server) Requests() int64 { return s.load.requests.Load() }

// InFlight returns the number of requests that are executing.
func (s *Server) InFlight() int64 { return s.load.inFlight.Load() }

// Shutdown stops listening and waits for the requests in flight. Shortly before ctx ends, it cancels them and refuses new ones. An
// error means that some are still running.
func (s *Server) Shutdown(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		end := time.AfterFunc(time.Until(deadline)-endTimeout, s.end)
		defer end.Stop()
	}
	err := s.http.ShutdownWithContext(ctx)
	s.cancel()
	if s.end(); err != nil && s.load.inFlight.Load() == 0 {
		return nil // some connections remain, but none can run anything
	}
	return err
}

// end cancels the requests in flight and refuses new ones.
func (s *Server) end() {
	s.load.ended.Store(true)
	s.opt.Audit.GiveUp()
	s.conns.end()
}

// handle dispatches a request by method and path.
func (s *Server) handle(c *fasthttp.RequestCtx) {
	defer announce(c)
	defer s.survive(c)
	s.conns.moved(c.Conn())
	if ambiguous(&c.Request.Header) {
		c.SetConnectionClose()
		s.fail(c, awserr.New(awserr.Serialization, ""), 400)
		return
	}
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
	case s.elsewhere(c):
	case c.IsGet() || c.IsHead():
		s.get(c)
	case c.IsOptions():
		s.options(c)
	default:
		s.notFound(c)
	}
}

// writeBuffer is the size in bytes of fasthttp's buffer for an answer. A larger answer is written in two pieces, the first of that size.
const writeBuffer = 4 << 10

// announce makes the pieces of a large answer leave together, unless the body alone would fit the buffer: the size of the header is
// not known yet. It must run when the answer is complete.
func announce(c *fasthttp.RequestCtx) {
	if n := len(c.Response.Body()); n > writeBuffer/2 && !c.IsHead() { // headers take less than the other half
		netio.Announce(c.Conn(), n)
	}
}

// survive answers a request whose handler has panicked. Handlers defer it.
func (s *Server) survive(c *fasthttp.RequestCtx) {
	if p := recover(); p != nil {
		c.Response.Reset()
		s.fail(c, s.clientError(string(c.Path()), awserr.Panicked(p)), 0)
	}
}

// ambiguous reports whether a request states its length twice, by Transfer-Encoding and by Content-Length. A proxy in front may have
// chosen the other one and taken the rest for the next request: request smuggling (RFC 9112, section 6.3).
func ambiguous(h *fasthttp.RequestHeader) bool {
	// fasthttp keeps only one of the two headers but marks the connection for closing, so the cheap flag is checked first.
	return h.ConnectionClose() && hasHeader(h.RawHeaders(), "transfer-encoding:") && hasHeader(h.RawHeaders(), "content-length:")
}

// hasHeader reports whether a header line begins with the name, given in lower case with its colon.
func hasHeader(raw []byte, name string) bool {
	for line := range bytes.Lines(raw) {
		if len(line) >= len(name) && strings.EqualFold(wirejson.View(line[:len(name)]), name) {
			return true
		}
	}
	return false
}

// control runs a handler of Options.Control.
func (s *Server) control(c *fasthttp.RequestCtx, run func(body []byte) ([]byte, error)) {
	w := s.work()
	defer s.free(w)
	err := s.receive(c, w, maxServiceBody)
	var answer []byte
	if err == nil {
		answer, err = run(w.sent.bytes)
	}
	if err != nil {
		c.SetStatusCode(400)
		answer = []byte(err.Error())
	}
	c.SetContentType("application/json")
	c.SetBody(append(answer, '\n'))
}

// get answers health checks and /metrics. The root answers like AWS's endpoint, /healthz as long as the process runs, /readyz if the
// server can serve.
func (s *Server) get(c *fasthttp.RequestCtx) {
	if !s.load.enter() {
		s.fail(c, overloaded(), 0)
		return
	}
	defer s.load.leave()
	running := s.conns.begin(c.Conn())
	defer running.done()
	c.SetContentType("text/plain")
	switch string(c.Path()) {
	case "/":
		c.Response.Header.SetCanonical(headerRequestID, smithy.AppendRequestID(nil))
		s.web.answer(c)
		c.SetBodyString("healthy: " + string(c.Host()) + " ")
	case "/healthz":
		c.SetBodyString("ok\n")
	case "/metrics":
		if refused := s.mayMeasure(c); refused != nil {
			s.fail(c, refused, 403)
			return
		}
		s.metrics(c, running.ctx)
	case "/readyz":
		if err := s.opt.Ready(running.ctx); err != nil {
			if !s.unready.Swap(true) { // log each outage once: anyone may poll this path
				s.opt.Logger.Warn("not ready", "error", err)
			}
			c.SetStatusCode(503)
			c.SetBodyString("not ready\n") // the reason is in the log only: strangers can read this answer
			return
		}
		s.unready.Store(false)
		c.SetBodyString("ready\n")
	default:
		s.notFound(c)
	}
}

// notFound answers a request for which AWS's endpoint has no protocol: an unknown path or method.
func (s *Server) notFound(c *fasthttp.RequestCtx) {
	s.send(c, []byte("<UnknownOperationException/>\n"), 404)
}

// mayMeasure returns why the caller may not read /metrics. The metrics cover all accounts, so with credentials they take an operator's
// key. A user or session needs the action stator:GetMetrics.
func (s *Server) mayMeasure(c *fasthttp.RequestCtx) *awserr.Error {
	if !s.opt.Auth.Verifies() {
		return nil
	}
	signed := newAuthRequest()
	id, refused := s.opt.Auth.Authenticate(signed.of(c, "dynamodb", nil))
	switch {
	case refused != nil:
		return refused
	case !id.Operator:
		return awserr.New(awserr.AccessDenied, "Metrics need an operator's access key here; --metrics-listen serves them at an address of their own")
	}
	return access.AuthorizeOperator(&smithy.Call{Caller: smithy.Caller(id), Origin: signed, Time: s.opt.Auth.Now()}, "stator:GetMetrics")
}

// metrics answers /metrics.
func (s *Server) metrics(c *fasthttp.RequestCtx, ctx context.Context) {
	contentType, body, err := s.opt.Metrics(ctx)
	if err != nil {
		s.opt.Logger.Error("metrics can't be collected", "error", err)
		c.SetStatusCode(500)
		return
	}
	c.SetContentType(contentType)
	c.SetBody(body)
}

// options answers a browser's CORS preflight.
func (s *Server) options(c *fasthttp.RequestCtx) {
	if len(c.Request.Header.Peek("Origin")) == 0 {
		s.notFound(c)
		return
	}
	c.Response.Header.SetCanonical(headerRequestID, smithy.AppendRequestID(nil))
	s.web.preflight(c)
}

// post runs an operation and answers in its protocol.
func (s *Server) post(c *fasthttp.RequestCtx) {
	w := s.work()
	defer s.free(w)
	w.to = s.route(c)
	if w.to.operation == nil && s.elsewhere(c) {
		return
	}
	if w.to.nowhere {
		s.notFound(c)
		return
	}
	out, err := s.run(c, w)
	var failure *awserr.Error
	handed := false
	switch {
	case w.to.codec != nil:
		failure = s.encode(c, &w.to, out, err)
	case err != nil:
		failure = s.clientError(w.to.target, err)
		s.fail(c, failure, 0)
	default:
		handed = s.answer(c, out, 200)
	}
	s.record(c, w, out, failure)
	if out != nil && !handed && w.to.codec == nil {
		w.out = out
	}
}

// work holds the memory of one request, for reuse by later ones.
type work struct {
	to     route
	signed *authRequest
	call   smithy.Call
	known  bool   // the request has passed authentication: call.Caller is its sender
	json   []byte // the request's body once it is decompressed and translated; a view
	// sent is the body as received; inflated is the same body decompressed.
	sent, inflated body
	reads          reads
	turn           turns.Turn
	read           bytes.Reader
	out            []byte
}

// work takes a work from the pool, or makes one.
func (s *Server) work() *work {
	if w, ok := s.calls.Get().(*work); ok {
		return w
	}
	w := &work{
		signed: newAuthRequest(), sent: body{budget: &s.load.bodies}, inflated: body{budget: &s.load.bodies},
		reads: reads{body: body{budget: &s.load.answers}},
	}
	w.call.Memory, w.call.Turn = &w.reads, &w.turn
	return w
}

// free returns w to the pool, whatever became of its request. Everything that counts against a budget is released.
func (s *Server) free(w *work) {
	w.call.Release()
	w.sent.release()
	w.inflated.release()
	w.reads.release()
	w.to, w.known, w.json = route{}, false, nil
	w.signed.forget()
	if cap(w.call.Reader.Arena) <= maxKept && cap(w.out) <= maxKept {
		s.calls.Put(w)
	}
}

// maxKept is the largest buffer in bytes that is kept for the next request: enough for a page of Scan. Larger ones go to the garbage
// collector.
const maxKept = 4 << 20

const (
	// largeRequest is the size in bytes from which a body is decoded under a turn.
	largeRequest = 64 << 10
	// largeRead is the number of bytes read from storage from which the answer is encoded under a turn.
	largeRead = 512 << 10
)

// run receives, authenticates, decodes and executes a request, in this order: an unauthenticated request costs no more than hashing
// its body.
func (s *Server) run(c *fasthttp.RequestCtx, w *work) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = awserr.Panicked(p)
		}
	}()
	to := &w.to
	if to.operation == nil && !to.form {
		return nil, s.unknown(to.target)
	}
	limit := MaxBody
	if to.codec != nil {
		limit = maxServiceBody
	}
	signed := !to.form || claimedBy(c) != claim{}
	if !signed {
		limit = maxUnsigned
	}
	// Don't receive a large body for a key that the server doesn't know.
	if length := c.Request.Header.ContentLength(); signed && (length < 0 || length > freeBody) {
		if refused := s.opt.Auth.Recognize(w.signed.of(c, to.service, nil)); refused != nil {
			return nil, refused
		}
	}
	if err := s.receive(c, w, limit); err != nil {
		return nil, err
	}
	if !s.load.enter() {
		return nil, overloaded()
	}
	defer s.load.leave()
	running := s.conns.begin(c.Conn())
	defer running.done()
	id, refused := s.authenticate(c, w, signed)
	if refused != nil {
		return nil, s.orMalformed(c, w, refused)
	}
	s.conns.introduced(running.on)
	w.call.Caller, w.known = smithy.Caller(id), true
	visit, reached := s.opt.Tenants.Enter(id.Account)
	if reached != "" {
		return nil, overLimit(to)
	}
	defer visit.Leave()
	w.turn.Begin(s.opt.Turns, id.Account, time.Now())
	defer w.turn.End()
	in, err := s.decode(running.ctx, c, w, limit)
	if err != nil {
		return nil, err
	}
	w.call.Origin = w.signed
	w.call.Host = wirejson.View(c.Host())
	answer, err := to.operation.Run(running.ctx, &w.call, in)
	if err != nil {
		return nil, err
	}
	if w.turn.Long() || w.reads.total > largeRead {
		// The operation has happened, so it is answered even if Take fails because the client has gone or the server shuts down.
		_ = w.turn.Take(running.ctx)
	}
	// w.out is nil if a connection still owns the memory of the last answer.
	if out, w.out = w.out, nil; out == nil {
		out = s.conns.memory()
	}
	// Append would copy a large answer each time it grows it. Go can't preempt a copy, so a copy of megabytes into fresh memory delays
	// the start of a garbage collection, and with it every request, by up to 15 ms.
	if size := int(w.reads.total + w.reads.total/8); size > largeRead && cap(out) < size {
		out = make([]byte, 0, size)
	}
	return answer.AppendJSON(out[:0]), nil
}

// anonymous is the caller of operations without a signature. It has no policies, so it may do nothing else.
var anonymous = auth.Identity{Verified: true, Identity: &policy.Identity{Type: "Anonymous"}}

// authenticate returns the sender of a request whose body has been received, or AWS's refusal. The signature covers the body as sent:
// nothing has been decompressed yet.
func (s *Server) authenticate(c *fasthttp.RequestCtx, w *work, signed bool) (auth.Identity, *awserr.Error) {
	if !signed {
		if to := w.to; s.routeForm(&to, w.sent.bytes) && to.operation.Unsigned {
			return anonymous, nil
		}
	}
	return s.opt.Auth.Authenticate(w.signed.of(c, w.to.service, w.sent.bytes))
}

// decode decompresses and decodes the request's body. Large bodies take turns.
func (s *Server) decode(ctx context.Context, c *fasthttp.RequestCtx, w *work, limit int) (any, error) {
	defer w.turn.Leave()
	to := &w.to
	body, err := s.inflate(ctx, c, w, limit)
	if err == nil && len(body) > largeRequest {
		err = w.turn.Take(ctx)
	}
	if err != nil {
		return nil, err
	}
	if to.form && !s.routeForm(to, body) {
		return nil, s.unknown(to.target)
	}
	if to.codec != nil {
		var bad *awserr.Error
		if body, bad = to.codec.Request(body); bad != nil {
			return nil, bad
		}
	}
	w.json = body
	in, bad := to.operation.Decode(&w.call, body)
	if bad != nil {
		return nil, bad
	}
	return in, nil
}

// maxScanned is the largest body in bytes that is scanned for valid JSON although its signature is invalid.
const maxScanned = 1 << 20

// orMalformed returns AWS's answer to a request without a valid signature: a malformed body is reported first, or else the refusal.
func (s *Server) orMalformed(c *fasthttp.RequestCtx, w *work, refused *awserr.Error) *awserr.Error {
	if len(c.Request.Header.ContentEncoding()) > 0 || len(w.sent.bytes) > maxScanned || string(c.Request.Header.Peek("X-Amz-Target")) == "" {
		return refused
	}
	if w.call.Reader.Reset(w.sent.bytes); !w.call.Reader.Valid() {
		return awserr.New(awserr.Serialization, "")
	}
	return refused
}

// authRequest adapts a request for auth, and is its smithy.Origin. It is reused, so that its closures are allocated once.
type authRequest struct {
	auth.Request
	c      *fasthttp.RequestCtx
	header *fasthttp.RequestHeader
}

// Address implements smithy.Origin.
func (r *authRequest) Address() string { return r.c.RemoteIP().String() }

// Secure implements smithy.Origin.
func (r *authRequest) Secure() bool { return r.c.IsTLS() }

// UserAgent implements smithy.Origin.
func (r *authRequest) UserAgent() string { return wirejson.View(r.c.UserAgent()) }

// Referer implements smithy.Origin.
func (r *authRequest) Referer() string { return wirejson.View(r.c.Referer()) }

// newAuthRequest returns an authRequest whose closures follow header.
func newAuthRequest() *authRequest {
	r := &authRequest{}
	r.Header = func(name string) string { return wirejson.View(r.header.Peek(name)) }
	r.Headers = func(yield func(name, value string) bool) {
		for name, value := range r.header.All() {
			if !yield(wirejson.View(name), wirejson.View(value)) {
				return
			}
		}
	}
	return r
}

// of points r at a request. The result is valid as long as the request.
func (r *authRequest) of(c *fasthttp.RequestCtx, service string, body []byte) *auth.Request {
	r.c, r.header = c, &c.Request.Header
	r.Method, r.Service, r.Body = wirejson.View(r.header.Method()), service, body
	r.Path, r.Query = string(c.URI().PathOriginal()), string(c.URI().QueryString())
	r.Peer = peerOf(c.Conn())
	return &r.Request
}

// forget drops the references to the request.
func (r *authRequest) forget() {
	r.c, r.header = nil, nil
	r.Method, r.Path, r.Query, r.Service, r.Body, r.Peer = "", "", "", "", nil, nil
}

// unknown is the error for a target without an operation.
func (s *Server) unknown(target string) *awserr.Error {
	message := ""
	if _, name, _ := strings.Cut(target, "."); s.missing[target] {
		message = name + " is not supported by this endpoint"
	}
	return awserr.New(awserr.UnknownOperation, message)
}

// encode answers a request of an API other than DynamoDB's. It returns the error that the client gets, or nil.
func (s *Server) encode(c *fasthttp.RequestCtx, to *route, out []byte, err error) (failure *awserr.Error) {
	var id [52]byte
	request := string(smithy.AppendRequestID(id[:0]))
	var a protocol.Answer
	if err == nil {
		a, err = to.codec.Answer(out, request)
	}
	if err != nil {
		failure = s.clientError(to.target, err)
		a = to.codec.Error(failure, request)
	}
	h := &c.Response.Header
	c.SetStatusCode(a.Status)
	h.SetContentType(a.ContentType)
	h.SetCanonical(headerRequestID, []byte(request))
	for _, field := range a.Header {
		h.Set(field[0], field[1])
	}
	s.web.answer(c)
	s.setBody(c, a.Body)
	return failure
}

// setBody sets the answer's body. It reports whether the connection now owns the body's memory, which then counts until the client
// has received the answer.
func (s *Server) setBody(c *fasthttp.RequestCtx, body []byte) (handed bool) {
	if len(body) <= freeAnswer || !s.conns.hold(c.Conn(), body) {
		c.Response.SetBody(body) // a copy
		return false
	}
	c.Response.SetBodyRaw(body)
	return true
}

// overloaded is the error for a request beyond a limit.
func overloaded() *awserr.Error {
	return awserr.New(awserr.ServiceUnavailable, "Service is unable to process your request: too many at a time")
}

// overLimit is the error for a request of an account that has reached its limit. SDKs retry it.
func overLimit(to *route) *awserr.Error {
	if to.codec != nil {
		return awserr.New(awserr.Throttling, "Rate exceeded")
	}
	return awserr.AccountLimit()
}

// tooLarge is the error for a body of more than limit bytes.
func tooLarge(limit int) *awserr.Error {
	return awserr.New(awserr.RequestEntityTooLarge, "Request body must be at most "+strconv.Itoa(limit)+" bytes")
}

// clientError maps every error to one that clients may see. Internal errors are logged here, and only here.
func (s *Server) clientError(target string, err error) *awserr.Error {
	if errors.Is(err, context.Canceled) { // the client has gone, or the server shuts down
		return awserr.New(awserr.ServiceUnavailable, "Service is unable to process your request")
	}
	var e *awserr.Error
	if !errors.As(err, &e) {
		e = awserr.Internal(err)
	}
	if cause := e.Unwrap(); cause != nil {
		level := slog.LevelError
		if errors.Is(cause, context.Canceled) { // the client has gone, or the server shuts down
			level = slog.LevelDebug
		}
		s.opt.Logger.Log(context.Background(), level, "request failed", "target", target, "error", cause.Error())
	}
	return e
}

// fail answers with an error; status 0 means the error's own.
func (s *Server) fail(c *fasthttp.RequestCtx, e *awserr.Error, status int) {
	if status == 0 {
		status = e.Status()
	}
	s.answer(c, e.AppendJSON(nil), status)
}

// answer answers in DynamoDB's JSON protocol. It reports whether the connection now owns the body's memory.
func (s *Server) answer(c *fasthttp.RequestCtx, body []byte, status int) (handed bool) {
	c.Response.Header.SetContentType(contentType)
	return s.send(c, body, status)
}

// send answers with a body of the content type that is set. It reports whether the connection now owns the body's memory.
func (s *Server) send(c *fasthttp.RequestCtx, body []byte, status int) (handed bool) {
	h := &c.Response.Header
	c.SetStatusCode(status)
	var id [52]byte
	h.SetCanonical(headerRequestID, smithy.AppendRequestID(id[:0]))
	body = compress(c, body, status)
	var sum [10]byte
	h.SetCanonical(headerCRC32, strconv.AppendUint(sum[:0], uint64(crc32.ChecksumIEEE(body)), 10))
	s.web.answer(c)
	return s.setBody(c, body)
}

// handleError answers a request whose headers fasthttp could not parse, or that are too large.
func (s *Server) handleError(c *fasthttp.RequestCtx, _ error) {
	s.fail(c, awserr.New(awserr.Serialization, ""), 400)
}
