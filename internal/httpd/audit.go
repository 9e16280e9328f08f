package httpd

import (
	"crypto/tls"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/wirejson"
)

// record records a request that has been answered, before its answer leaves. failure is nil if it succeeded; out is the answer in JSON.
func (s *Server) record(c *fasthttp.RequestCtx, w *work, out []byte, failure *awserr.Error) {
	if s.opt.Audit == nil {
		return
	}
	if !w.known && w.to.form && w.to.operation == nil && len(w.sent.bytes) <= freeBody {
		s.routeForm(&w.to, w.sent.bytes) // only the body of a form names its operation
	}
	// A stranger's request for nothing that exists is no event.
	if !w.known && w.to.operation == nil || !s.opt.Audit.Wants(w.to.target) {
		return
	}
	h := &c.Request.Header
	r := audit.Request{
		Target: w.to.target, Body: w.json, Answer: out, ID: requestID(&c.Response.Header),
		SourceIP: c.RemoteIP().String(), UserAgent: wirejson.View(h.UserAgent()), Host: wirejson.View(c.Host()),
	}
	if failure != nil {
		r.ErrorCode, r.ErrorMessage = string(failure.Code), failure.Message
	}
	if secure, ok := c.Conn().(*secureConn); ok {
		r.TLS = func() *tls.ConnectionState {
			state := secure.ConnectionState()
			return &state
		}
	}
	switch caller := &w.call.Caller; {
	case !w.known:
		claimed := claimedBy(c)
		r.Sender, r.Region = audit.Unknown("", claimed.key), claimed.region
	case caller.Identity != nil:
		r.Sender, r.Region = audit.Of(caller.Identity, caller.AccessKey), caller.Region
	case caller.Verified:
		r.Sender, r.Region = audit.Root(caller.Account, caller.AccessKey), caller.Region
	default:
		r.Sender, r.Region = audit.Unknown(caller.Account, caller.AccessKey), caller.Region
	}
	s.opt.Audit.Record(&r)
}

// requestID returns the request id in an answer's headers.
func requestID(h *fasthttp.ResponseHeader) string {
	for name, value := range h.All() {
		if string(name) == string(headerRequestID) {
			return string(value)
		}
	}
	return ""
}
