package httpd

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/guard"
)

// ServeMetrics answers GET of /metrics, /healthz and /readyz, and nothing else, on a listener of its own, without signatures. stop
// closes the listener and waits for the requests in flight.
func (s *Server) ServeMetrics(l net.Listener) (stop func(context.Context) error) {
	server := &fasthttp.Server{
		Name: "Server",
		Handler: func(c *fasthttp.RequestCtx) {
			defer s.survive(c)
			switch path := string(c.Path()); {
			case ofPage(&c.Request.Header):
				s.fail(c, awserr.New(awserr.AccessDenied, "Web pages can't read metrics"), 403)
			case path == "/metrics":
				s.metrics(c, s.ctx)
			case path == "/healthz" || path == "/readyz":
				s.get(c)
			default:
				s.fail(c, awserr.New(awserr.UnknownOperation, ""), 404)
			}
		},
		GetOnly: true, Concurrency: 64, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		NoDefaultContentType: true, CloseOnShutdown: true, Logger: fasthttpLogger{s.opt.Logger},
	}
	guard.Go(s.opt.Logger, "serving metrics", func() {
		if err := server.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
			s.opt.Logger.Error("metrics are no longer served", "error", err)
		}
	})
	return func(ctx context.Context) error {
		err := server.ShutdownWithContext(ctx)
		// Shutdown doesn't know the listener if Serve hasn't begun yet.
		if closeErr := l.Close(); !errors.Is(closeErr, net.ErrClosed) {
			err = errors.Join(err, closeErr)
		}
		return err
	}
}

// ofPage reports whether a web page has sent the request, by the headers that browsers add.
func ofPage(h *fasthttp.RequestHeader) bool {
	site := h.Peek("Sec-Fetch-Site")
	return len(h.Peek("Origin")) > 0 || len(site) > 0 && string(site) != "none"
}
