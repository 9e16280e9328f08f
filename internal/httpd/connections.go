package httpd

import (
	"container/list"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// watchInterval is how often connections with a request in flight are checked for clients that have gone. A request outlives its
// client by one to two intervals.
const watchInterval = 250 * time.Millisecond

// connections closes connections that are idle or whose client sends or receives too slowly, and cancels requests whose client has
// gone. Network deadlines could do the first, but setting one per request costs as much as decoding the request.
type connections struct {
	open    sync.Map     // net.Conn to *progress
	now     atomic.Int64 // number of reap calls so far: the clock of progress.last
	limit   int          // maximum number of connections
	answers *bodyBudget
	holding atomic.Int64 // number of connections that hold a counted answer
	outs    sync.Pool    // *[]byte: buffers of answers already sent, for reuse

	mu        sync.Mutex
	count     int       // open connections
	strangers list.List // of net.Conn, the oldest first; see admit
}

// crowded is a divisor: limit/crowded connections stay free for newcomers. Above that, strangers make room.
const crowded = 16

// progress is the state of one connection.
type progress struct {
	last  atomic.Int64 // when its last request was read, as a count of reap calls
	known atomic.Bool  // one of its requests has passed authentication
	// stranger is the connection's element in connections.strangers until then; guarded by connections.mu.
	stranger *list.Element

	mu     sync.Mutex
	ctx    context.Context // of its requests, made by the first one: a context for each would cost two allocations
	cancel context.CancelFunc
	busy   bool // a request is in flight
	seen   bool // the request was already in flight at the last check
	answer body // the answer being sent, if it counts
}

// state is fasthttp's hook for each step in a connection's life.
func (cs *connections) state(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		p := &progress{}
		p.last.Store(cs.now.Load())
		cs.open.Store(c, p)
		cs.admit(c, p)
	case fasthttp.StateIdle:
		cs.answerSent(c)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		cs.answerSent(c)
		if found, ok := cs.open.LoadAndDelete(c); ok {
			p := found.(*progress)
			p.end()
			cs.leave(p)
		}
	}
}

// admit registers a connection as a stranger, until one of its requests passes authentication. When connections run short, the
// oldest stranger is closed: no number of idle connections keeps clients out.
func (cs *connections) admit(c net.Conn, p *progress) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.count++
	p.stranger = cs.strangers.PushBack(c)
	if oldest := cs.strangers.Front(); cs.count > cs.limit-cs.limit/crowded && oldest != p.stranger {
		sever(oldest.Value.(net.Conn))
		cs.strangers.MoveToBack(oldest) // so that the next admission picks another one if closing takes a while
	}
}

// introduced records that a request of the connection has passed authentication: the connection is no stranger any more.
func (cs *connections) introduced(p *progress) {
	if p == nil || p.known.Swap(true) {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.forget(p)
}

// leave removes a closed connection from the count.
func (cs *connections) leave(p *progress) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.count--
	cs.forget(p)
}

// forget removes the connection from the strangers. cs.mu is held.
func (cs *connections) forget(p *progress) {
	if p.stranger != nil {
		cs.strangers.Remove(p.stranger)
		p.stranger = nil
	}
}

// hold hands an answer to the connection and counts its memory until the answer is sent or the connection closes. It returns
// false for a connection that the listener didn't accept, such as a benchmark's.
func (cs *connections) hold(c net.Conn, answer []byte) bool {
	found, ok := cs.open.Load(c)
	if !ok {
		return false
	}
	p := found.(*progress)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer.counted == 0 {
		cs.holding.Add(1)
	}
	p.answer.conn, p.answer.bytes = c, answer
	cs.answers.force(&p.answer, int64(cap(answer)))
	return true
}

// answerSent releases the connection's answer once it is sent.
func (cs *connections) answerSent(c net.Conn) {
	if cs.holding.Load() == 0 {
		return
	}
	found, ok := cs.open.Load(c)
	if !ok {
		return
	}
	p := found.(*progress)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer.counted == 0 {
		return
	}
	cs.holding.Add(-1)
	cs.answers.arrived(&p.answer)
	cs.answers.give(&p.answer)
	if out := p.answer.bytes; cap(out) <= maxKept {
		cs.outs.Put(&out)
	}
	p.answer.bytes = nil
}

// memory returns a buffer for an answer, or nil if the pool is empty.
func (cs *connections) memory() []byte {
	if out, ok := cs.outs.Get().(*[]byte); ok {
		return *out
	}
	return nil
}

// moved records that the headers of a request have arrived on the connection.
func (cs *connections) moved(c net.Conn) {
	if p, ok := cs.open.Load(c); ok {
		p.(*progress).last.Store(cs.now.Load())
	}
}

// begin registers a request of the connection as in flight. The request's context ends when the client has gone, or when Shutdown
// runs out of patience; no sooner than its connection, if the request ends before.
func (cs *connections) begin(c net.Conn) running {
	found, ok := cs.open.Load(c)
	if !ok {
		return running{ctx: context.Background()}
	}
	p := found.(*progress)
	p.last.Store(cs.now.Load())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithCancel(context.Background())
	}
	p.busy, p.seen = true, false
	return running{ctx: p.ctx, on: p}
}

// running is a request in flight.
type running struct {
	ctx context.Context
	on  *progress // nil if the listener didn't accept the connection
}

// done unregisters the request.
func (r *running) done() {
	if r.on != nil {
		r.on.mu.Lock()
		r.on.busy = false
		r.on.mu.Unlock()
	}
}

// end ends the context of the connection's requests. It reports whether one is in flight.
func (p *progress) end() (busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
	return p.busy
}

// watch cancels requests whose client has gone.
func (cs *connections) watch() {
	cs.open.Range(func(c, p any) bool {
		p.(*progress).look(c.(net.Conn))
		return true
	})
}

// look cancels the connection's request if its client has gone. It asks the kernel only at the second look: most requests are over
// by then.
func (p *progress) look(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.busy {
		return
	}
	if p.seen && left(c) {
		p.cancel()
	}
	p.seen = true
}

// end cancels all requests in flight, and closes connections that are idle or still sending a request.
func (cs *connections) end() {
	cs.open.Range(func(c, found any) bool {
		if !found.(*progress).end() {
			sever(c.(net.Conn))
		}
		return true
	})
}

// idleTicks is the number of reap calls per Limits.Idle.
const idleTicks = 10

// reap closes connections that have made no progress for idleTicks calls.
func (cs *connections) reap() {
	now := cs.now.Add(1)
	cs.open.Range(func(c, p any) bool {
		if now-p.(*progress).last.Load() > idleTicks {
			sever(c.(net.Conn))
		}
		return true
	})
}
