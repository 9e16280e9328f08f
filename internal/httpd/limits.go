package httpd

import (
	"cmp"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// maxHeaders is the largest size of a request's headers in bytes; session tokens take some.
	maxHeaders = 16 << 10
	// largeBody is the size in bytes from which request bodies are counted one by one.
	largeBody = 1 << 20

	defaultIdle        = 2 * time.Minute
	defaultConnections = 20_000
	defaultInFlight    = 4096
	defaultBodies      = 256 << 20
)

// Limits bound what clients can make the server hold at a time. Past them a client gets an error at once that SDKs retry.
type Limits struct {
	// Connections is the number of open connections; 0 for 20,000.
	Connections int
	// InFlight is the number of requests being executed; 0 for 4,096.
	InFlight int
	// Bodies is the bytes of request bodies over 1 MB being read or executed; 0 for 256 MB.
	Bodies int64
	// Idle is how long a client may take to begin and send a request, or to receive the answer, give or take a tenth; 0 for
	// two minutes.
	Idle time.Duration
}

func (l Limits) orDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, defaultConnections)
	l.InFlight = cmp.Or(l.InFlight, defaultInFlight)
	l.Bodies = cmp.Or(l.Bodies, defaultBodies)
	l.Idle = cmp.Or(l.Idle, defaultIdle)
	return l
}

// load is what clients make the server hold now.
type load struct {
	limits   Limits
	requests atomic.Int64 // so far
	inFlight atomic.Int64
	bodies   atomic.Int64
	large    sync.Map // bytes of the large bodies, by the *fasthttp.RequestHeader in front of them
}

// enter counts a request; false if there are too many.
func (l *load) enter() bool {
	l.requests.Add(1)
	if l.inFlight.Add(1) > int64(l.limits.InFlight) {
		l.inFlight.Add(-1)
		return false
	}
	return true
}

func (l *load) leave() { l.inFlight.Add(-1) }

// headerReceived decides, before a body is read, how large it may be.
func (l *load) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	config := fasthttp.RequestConfig{MaxRequestBodySize: MaxBody + readPast}
	size := int64(h.ContentLength())
	if size < 0 { // chunked: it may be as large as any
		size = MaxBody
	}
	l.bodyDone(h) // of a request on this connection that broke off
	if size < largeBody || size > MaxBody+readPast {
		return config
	}
	if l.bodies.Add(size) > l.limits.Bodies {
		l.bodies.Add(-size)
		config.MaxRequestBodySize = 1
		size = 0
	}
	l.large.Store(h, size)
	return config
}

// bodyDone gives back what headerReceived counted, and reports whether it had refused the body.
func (l *load) bodyDone(h *fasthttp.RequestHeader) (refused bool) {
	size, ok := l.large.LoadAndDelete(h)
	if !ok {
		return false
	}
	l.bodies.Add(-size.(int64))
	return size.(int64) == 0
}

// connections closes connections that are idle, or whose client is slow to send or to receive. Deadlines of the network
// library would do the same, but setting one for each request costs as much as decoding it, and a connection wrapped to set
// fewer is written to piece by piece.
type connections struct {
	open sync.Map // *progress by net.Conn
	now  atomic.Int64
}

// progress is when a connection's last request was read, in ticks of the reaper.
type progress struct{ last atomic.Int64 }

// state follows the life of a connection.
func (cs *connections) state(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		p := &progress{}
		p.last.Store(cs.now.Load())
		cs.open.Store(c, p)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		cs.open.Delete(c)
	}
}

// moved says that a request was read from the connection.
func (cs *connections) moved(c net.Conn) {
	if p, ok := cs.open.Load(c); ok {
		p.(*progress).last.Store(cs.now.Load())
	}
}

// reap closes connections that have not moved for the timeout, until stop is closed.
func (cs *connections) reap(stop <-chan struct{}, timeout time.Duration) {
	const ticks = 10 // in a timeout
	tick := time.NewTicker(timeout / ticks)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := cs.now.Add(1)
		cs.open.Range(func(c, p any) bool {
			if now-p.(*progress).last.Load() > ticks {
				_ = c.(net.Conn).Close() // its reader or writer finds it closed
			}
			return true
		})
	}
}
