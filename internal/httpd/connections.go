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

// watchInterval is how often connections with a request under way are looked at, and so about how long a request goes on after
// its client has gone.
const watchInterval = 250 * time.Millisecond

// connections closes connections that are idle, or whose client is slow to send or to receive, and ends requests whose client has
// gone. Deadlines of the network library would do the former, but setting one for each request costs as much as decoding it, and a
// connection wrapped to set fewer is written to piece by piece.
type connections struct {
	open    sync.Map // *progress by net.Conn
	now     atomic.Int64
	limit   int // of connections
	answers *bodyBudget
	holding atomic.Int64 // connections with an answer that counts
	outs    sync.Pool    // *[]byte: memory of answers that were sent

	mu        sync.Mutex
	count     int
	strangers list.List // of net.Conn, the oldest first
}

// crowded is the part of the limit, as a divisor, that is kept free of strangers for new connections.
const crowded = 16

// progress is how far a connection is.
type progress struct {
	last  atomic.Int64 // when its last request was read, in calls of reap
	known atomic.Bool  // a request of it was let in
	// stranger is its place among the strangers until then; of connections.mu.
	stranger *list.Element

	mu     sync.Mutex
	cancel context.CancelFunc // of the request under way; nil for none
	seen   bool               // that request was under way at the last look
	answer body               // the answer that is being sent, if it counts
}

// state follows the life of a connection.
func (cs *connections) state(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		p := &progress{}
		p.last.Store(cs.now.Load())
		cs.open.Store(c, p)
		cs.admit(c, p)
	case fasthttp.StateIdle:
		cs.letGo(c)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		cs.letGo(c)
		if p, ok := cs.open.LoadAndDelete(c); ok {
			cs.leave(p.(*progress))
		}
	}
}

// admit counts a connection as a stranger, until a request of it is let in. Where there are too many connections the oldest stranger
// makes room, so that no number of idle connections keeps clients out.
func (cs *connections) admit(c net.Conn, p *progress) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.count++
	p.stranger = cs.strangers.PushBack(c)
	if oldest := cs.strangers.Front(); cs.count > cs.limit-cs.limit/crowded && oldest != p.stranger {
		_ = oldest.Value.(net.Conn).Close() // its reader finds it closed
		cs.strangers.MoveToBack(oldest)     // another one is next if that takes a while
	}
}

// introduced says that a request of the connection was let in.
func (cs *connections) introduced(p *progress) {
	if p == nil || p.known.Swap(true) {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.forget(p)
}

func (cs *connections) leave(p *progress) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.count--
	cs.forget(p)
}

func (cs *connections) forget(p *progress) {
	if p.stranger != nil {
		cs.strangers.Remove(p.stranger)
		p.stranger = nil
	}
}

// hold has the connection keep an answer and count it, until it is sent or the connection is closed. It returns false for a connection
// that is not one of the listener's.
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

// letGo says that the connection has sent its answer.
func (cs *connections) letGo(c net.Conn) {
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

// memory returns memory for an answer; nil if none was kept.
func (cs *connections) memory() []byte {
	if out, ok := cs.outs.Get().(*[]byte); ok {
		return *out
	}
	return nil
}

// moved says that the headers of a request were read from the connection.
func (cs *connections) moved(c net.Conn) {
	if p, ok := cs.open.Load(c); ok {
		p.(*progress).last.Store(cs.now.Load())
	}
}

// begin says that a request of the connection is executed from now on. Its context ends when the client has gone, or when the
// server can't wait for it any longer.
func (cs *connections) begin(c net.Conn) running {
	ctx, cancel := context.WithCancel(context.Background())
	r := running{ctx: ctx, cancel: cancel}
	if found, ok := cs.open.Load(c); ok {
		r.on = found.(*progress)
		r.on.last.Store(cs.now.Load())
		r.on.mu.Lock()
		r.on.cancel, r.on.seen = cancel, false
		r.on.mu.Unlock()
	}
	return r
}

// running is a request that is being executed.
type running struct {
	ctx    context.Context
	cancel context.CancelFunc
	on     *progress
}

// done says that the request was executed.
func (r *running) done() {
	if r.on != nil {
		r.on.mu.Lock()
		r.on.cancel = nil
		r.on.mu.Unlock()
	}
	r.cancel()
}

// watch ends requests whose client has gone.
func (cs *connections) watch() {
	cs.open.Range(func(c, p any) bool {
		p.(*progress).look(c.(net.Conn))
		return true
	})
}

// look ends the connection's request if its client has gone. Short requests are over before anything asks.
func (p *progress) look(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil {
		return
	}
	if p.seen && gone(c) {
		p.cancel()
	}
	p.seen = true
}

// end ends all requests under way, and closes the connections of those that have not come whole.
func (cs *connections) end() {
	cs.open.Range(func(c, found any) bool {
		p := found.(*progress)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cancel != nil {
			p.cancel()
		} else {
			_ = c.(net.Conn).Close() // its reader finds it closed
		}
		return true
	})
}

// idleTicks is how many times reap looks in Limits.Idle.
const idleTicks = 10

// reap closes connections that have not moved for idleTicks calls of it.
func (cs *connections) reap() {
	now := cs.now.Add(1)
	cs.open.Range(func(c, p any) bool {
		if now-p.(*progress).last.Load() > idleTicks {
			_ = c.(net.Conn).Close() // its reader or writer finds it closed
		}
		return true
	})
}
