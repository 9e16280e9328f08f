// Package turns has requests that compute for long take turns, so that short ones find a processor at once.
//
// Go runs goroutines in the order in which they became ready, each for up to 10 ms, and looks for what has come from the network only
// when none is ready. A hundred Scans at a time would keep a GetItem waiting for half a second on two processors. With turns, no more of
// them compute at a time than there are processors, and one less while there are short requests.
package turns

import (
	"container/list"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// short is how long a request computes without a turn: several times what one for a few items takes.
	short = 200 * time.Microsecond
	// slice is how long a turn lasts while other requests wait for one.
	slice = 2 * time.Millisecond
	// pause is for how long a request stops after a slice where there is only one processor, so that short ones get it.
	pause = 20 * time.Microsecond
	// recent is for how long a processor is kept free after a short request.
	recent = 100 * time.Millisecond
)

// Turns are the turns of a server. The owners of requests, which are accounts, get them one after the other; an owner's requests do in
// the order in which they asked.
type Turns struct {
	processors int
	short      atomic.Int64 // requests that ended without having had a turn

	mu     sync.Mutex
	used   int
	seen   int64     // of short
	last   time.Time // when there was a short request
	lines  list.List // of *line: the owners that wait, the next one first
	owners map[string]*list.Element
}

// line is where the requests of an owner wait.
type line struct {
	owner    string
	requests list.List // of *Turn
}

// processors is how many the process may use: later it may let more threads run than that, for those that wait for the disk.
var processors = runtime.GOMAXPROCS(0)

// New returns the turns of a server.
func New() *Turns { return of(processors) }

func of(n int) *Turns { return &Turns{processors: n, owners: map[string]*list.Element{}} }

// free reports whether there is a turn that no request has. The caller has mu.
func (a *Turns) free() bool {
	return a.used < a.processors && (a.used < a.processors-1 || a.processors == 1 || !a.busy())
}

// busy reports whether there are short requests. The caller has mu.
func (a *Turns) busy() bool {
	now := time.Now()
	if n := a.short.Load(); n != a.seen {
		a.seen, a.last = n, now
	}
	return now.Sub(a.last) < recent
}

// Turn is the turn of one request at a time. A nil one, and the zero value, never wait. A request must give its turn back with Leave before
// it waits for anything that other requests keep, such as a lock, since one of those may be waiting for a turn; it should before it waits for a network.
type Turn struct {
	all   *Turns
	owner string
	since time.Time // when the request began to compute, or when its turn began
	has   bool
	long  bool // it has had a turn

	given chan struct{}
	place *list.Element // in the owner's line
}

// Begin begins a request of an owner, which must end with End.
func (t *Turn) Begin(all *Turns, owner string, now time.Time) {
	t.all, t.owner, t.since, t.long = all, owner, now, false
}

// End ends the request.
func (t *Turn) End() {
	t.Leave()
	if t.all != nil && !t.long {
		t.all.short.Add(1)
	}
	t.all, t.owner = nil, ""
}

// Leave gives the turn back, if the request has one. The next Yield waits for another.
func (t *Turn) Leave() {
	if t == nil || !t.has {
		return
	}
	t.has, t.since = false, time.Time{}
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.all.back()
}

// Long reports whether the request has had a turn.
func (t *Turn) Long() bool { return t.long }

// Yield is called by loops that may compute for long, at least once in some tens of microseconds. It waits for a turn once the request
// has computed for some time, and again whenever its turn is over. Its error is ctx's.
func (t *Turn) Yield(ctx context.Context) error {
	if err := ctx.Err(); err != nil || t == nil || t.all == nil {
		return err
	}
	enough := short
	if t.has {
		enough = slice
	}
	if time.Since(t.since) < enough {
		return nil
	}
	return t.wait(ctx)
}

// Take waits for a turn, if the request has none, before it does what is known to take long. Its error is ctx's.
func (t *Turn) Take(ctx context.Context) error {
	if t == nil || t.all == nil || t.has {
		return ctx.Err()
	}
	return t.wait(ctx)
}

// wait gives the turn back, if there is one, and waits for the next.
func (t *Turn) wait(ctx context.Context) error {
	a := t.all
	a.mu.Lock()
	t.long = true
	again := t.has
	if again {
		t.has = false
		a.back()
	}
	if a.lines.Len() == 0 && a.free() {
		a.used++
		stop := again && a.processors == 1 && a.busy()
		a.mu.Unlock()
		if stop {
			time.Sleep(pause)
		}
		t.begin()
		return nil
	}
	if t.given == nil {
		t.given = make(chan struct{}, 1)
	}
	a.queue(t)
	a.mu.Unlock()
	select {
	case <-t.given:
		t.begin()
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.place == nil { // its turn has come just now
		<-t.given
		a.back()
	} else {
		a.remove(t)
	}
	return ctx.Err()
}

func (t *Turn) begin() { t.has, t.since = true, time.Now() }

// queue puts a request at the end of its owner's line.
func (a *Turns) queue(t *Turn) {
	e := a.owners[t.owner]
	if e == nil {
		e = a.lines.PushBack(&line{owner: t.owner})
		a.owners[t.owner] = e
	}
	t.place = e.Value.(*line).requests.PushBack(t)
}

// remove takes a request out of its owner's line.
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

// back takes a turn back, and gives those that are free to the first requests of the next owners. The caller has mu.
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
