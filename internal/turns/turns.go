// Package turns makes requests that compute for long take turns, so that short ones find a processor at once.
//
// Go runs goroutines in the order in which they became ready, each for up to 10 ms, and polls the network only when
// none is ready. A hundred concurrent Scans would keep a GetItem waiting for half a second on two processors. With
// turns, no more requests compute concurrently than there are processors, and one fewer while short requests arrive.
//
// A request calls [Turn.Begin] and [Turn.End]. Loops that may compute for long call [Turn.Yield] often; a request that
// is about to wait for something else calls [Turn.Leave] first.
//
// Background work takes no turns. It has a [Pace], and computes in short steps while the processors are idle.
package turns

import (
	"container/list"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/stage"
)

const (
	// short is how long a request may compute without a turn: several times what a request for a few items takes.
	short = 200 * time.Microsecond
	// slice is how long a turn lasts while other requests wait, if there are several processors; on one it lasts for short.
	slice = 2 * time.Millisecond
	// recent is how long a processor is kept free after a short request.
	recent = 100 * time.Millisecond
)

// Turns are the turns of a server. Owners of requests, which are accounts, get them round-robin, so that an account
// with many requests does not starve others; the requests of one owner get them in order of arrival.
type Turns struct {
	processors int
	short      atomic.Int64 // requests that ended without a turn

	mu     sync.Mutex
	used   int       // turns given out
	seen   int64     // short, when busy last looked
	last   time.Time // when busy last saw a new short request
	lines  list.List // of *line: the owners that wait, in the order in which they get turns
	owners map[string]*list.Element
}

// line is the queue of an owner's requests.
type line struct {
	owner    string
	requests list.List // of *Turn
}

// processors is the number of processors for computing. It is read once, since GOMAXPROCS may later be raised for
// threads that wait for the disk.
var processors = runtime.GOMAXPROCS(0)

// New returns the turns of a server.
func New() *Turns { return of(processors) }

func of(n int) *Turns { return &Turns{processors: n, owners: map[string]*list.Element{}} }

// free reports whether a turn can be given out. The caller holds mu.
func (a *Turns) free() bool {
	return a.used < a.processors && (a.used < a.processors-1 || a.processors == 1 || !a.busy())
}

// busy reports whether short requests have arrived recently. The caller holds mu.
func (a *Turns) busy() bool {
	now := time.Now()
	if n := a.short.Load(); n != a.seen {
		a.seen, a.last = n, now
	}
	return now.Sub(a.last) < recent
}

// Turn is the turn of one request after another. A nil Turn and the zero value never wait. A request must call Leave
// before it waits for anything that another request holds, such as a lock, since that request may be waiting for a
// turn; it should do so before it waits for a network.
type Turn struct {
	all   *Turns
	owner string
	since time.Time // when the request began to compute, or its turn began
	has   bool      // the request has a turn
	long  bool      // the request has had a turn
	// computed is how long the request has computed since it last let short requests run.
	computed time.Duration

	given chan struct{}
	place *list.Element // in the owner's line; nil unless waiting
}

// Begin begins a request of an owner. It must end with End.
func (t *Turn) Begin(all *Turns, owner string, now time.Time) {
	t.all, t.owner, t.since, t.long, t.computed = all, owner, now, false, 0
}

// End ends the request and gives its turn back. On a single processor, a long request first lets short ones run.
func (t *Turn) End() {
	t.Leave()
	switch {
	case t.all == nil:
	case t.long:
		t.rest()
	default:
		t.all.short.Add(1)
	}
	t.all, t.owner = nil, ""
}

// Leave gives the turn back, if the request has one. The next Yield waits for a new one.
func (t *Turn) Leave() {
	if t == nil || !t.has {
		return
	}
	t.compute(time.Now())
	t.has, t.since = false, time.Time{}
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.all.back()
}

// compute adds the time since the last call to what the request has computed.
func (t *Turn) compute(now time.Time) {
	if !t.since.IsZero() {
		t.computed += now.Sub(t.since)
	}
	t.since = now
}

// rest lets short requests run, if they share a single processor with the request.
func (t *Turn) rest() {
	if t.all.single() {
		rest(longRest * t.computed)
	}
	t.computed = 0
}

// Long reports whether the request has had a turn.
func (t *Turn) Long() bool { return t.long }

// Yield must be called at least every few tens of microseconds by loops that may compute for long. It waits for a turn
// once the request has computed for some time, and again whenever its turn is over. Its error is ctx's.
func (t *Turn) Yield(ctx context.Context) error {
	if err := ctx.Err(); err != nil || t == nil || t.all == nil {
		return err
	}
	enough := short
	if t.has && t.all.processors > 1 {
		enough = slice
	}
	if time.Since(t.since) < enough {
		return nil
	}
	return t.wait(ctx)
}

// Take waits for a turn, unless the request has one, before work that is known to take long. Its error is ctx's.
func (t *Turn) Take(ctx context.Context) error {
	if t == nil || t.all == nil || t.has {
		return ctx.Err()
	}
	return t.wait(ctx)
}

// wait gives the turn back, if there is one, and waits for the next.
func (t *Turn) wait(ctx context.Context) error {
	a := t.all
	t.compute(time.Now())
	a.mu.Lock()
	t.long = true
	if t.has {
		t.has = false
		a.back()
	}
	// No request waits: take a free turn at once.
	if a.lines.Len() == 0 && a.free() {
		a.used++
		a.mu.Unlock()
		t.begin()
		return nil
	}
	if t.given == nil {
		t.given = make(chan struct{}, 1)
	}
	a.queue(t)
	a.mu.Unlock()
	defer stage.Turn.Since(time.Now())
	select {
	case <-t.given:
		t.begin()
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.place == nil { // the turn was given at the same time
		<-t.given
		a.back()
	} else {
		a.remove(t)
	}
	return ctx.Err()
}

// begin begins a turn.
func (t *Turn) begin() {
	t.rest()
	t.has, t.since = true, time.Now()
}

// single reports whether short requests and long ones share a single processor.
func (a *Turns) single() bool {
	if a.processors > 1 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.busy()
}

// queue appends a request to its owner's line. The caller holds mu.
func (a *Turns) queue(t *Turn) {
	e := a.owners[t.owner]
	if e == nil {
		e = a.lines.PushBack(&line{owner: t.owner})
		a.owners[t.owner] = e
	}
	t.place = e.Value.(*line).requests.PushBack(t)
}

// remove removes a request from its owner's line. The caller holds mu.
func (a *Turns) remove(t *Turn) {
	e := a.owners[t.owner]
	l := e.Value.(*line)
	l.requests.Remove(t.place)
	t.place = nil
	if l.requests.Len() == 0 {
		a.lines.Remove(e)
		delete(a.owners, t.owner)
	}
}

// back takes a turn back, and gives all free turns to the first requests of the next owners. The caller holds mu.
func (a *Turns) back() {
	a.used--
	for a.lines.Len() > 0 && a.free() {
		e := a.lines.Front()
		a.lines.MoveToBack(e)
		t := e.Value.(*line).requests.Front().Value.(*Turn)
		a.remove(t)
		a.used++
		t.given <- struct{}{}
	}
}
