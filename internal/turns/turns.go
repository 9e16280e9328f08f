// Package turns has requests that compute for long take turns, so that short ones find a processor at once.
//
// Go runs goroutines in the order in which they became ready, each for up to 10 ms, and looks for what has come from the network only
// when none is ready. A hundred Scans at a time would keep a GetItem waiting for half a second on two processors. With turns all of them
// together use all processors but one.
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
	// free is how long a request computes without a turn: several times what one for a few items takes.
	free = 200 * time.Microsecond
	// slice is how long a turn lasts while other requests wait for one.
	slice = 2 * time.Millisecond
	// pause is for how long a request stops after a slice where there is only one processor, so that others get it.
	pause = 20 * time.Microsecond
	// waits is how many turns there are for each processor where requests wait for storage over the network during theirs.
	waits = 16
)

// Turns are the turns of a server. The owners of requests, which are accounts, get them one after the other; an owner's requests do in
// the order in which they asked.
type Turns struct {
	waiting atomic.Int64 // requests
	single  bool         // there is only one processor

	mu     sync.Mutex
	unused int
	lines  list.List // of *line: the owners that wait, the next one first
	owners map[string]*list.Element
}

// line is where the requests of an owner wait.
type line struct {
	owner    string
	requests list.List // of *Turn
}

// New returns the turns of a server: one less than there are processors, but at least one. remote says that its storage is behind a
// network, for which requests wait during their turns; then there are more.
func New(remote bool) *Turns {
	if remote {
		return of(waits * runtime.GOMAXPROCS(0))
	}
	processors := runtime.GOMAXPROCS(0)
	a := of(max(1, processors-1))
	a.single = processors == 1
	return a
}

func of(n int) *Turns { return &Turns{unused: n, owners: map[string]*list.Element{}} }

// Turn is the turn of one request at a time. A nil one, and the zero value, never wait. A request must give its turn back with Leave before
// it waits for anything that other requests keep, such as a lock: one of those may be waiting for a turn.
type Turn struct {
	all   *Turns
	owner string
	since time.Time // when the request began to compute, or when its turn began
	has   bool
	long  bool // Yield had to get it a turn

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
	t.all, t.owner = nil, ""
}

// Leave gives the turn back, if the request has one.
func (t *Turn) Leave() {
	if t == nil || !t.has {
		return
	}
	t.has, t.since = false, time.Now()
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.all.pass()
}

// Long reports whether the request has computed for so long that it needed a turn.
func (t *Turn) Long() bool { return t.long }

// Yield is called by loops that may compute for long, at least once in some tens of microseconds. It waits for a turn once the request
// has computed for some time, and again whenever its turn is over. Its error is ctx's.
func (t *Turn) Yield(ctx context.Context) error {
	if err := ctx.Err(); err != nil || t == nil || t.all == nil {
		return err
	}
	took := time.Since(t.since)
	switch {
	case t.has && took < slice, !t.has && took < free:
		return nil
	case t.has && t.all.waiting.Load() == 0:
		if t.all.single {
			time.Sleep(pause)
		}
		t.since = time.Now()
		return nil
	}
	t.long = true
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
	if t.has {
		t.has = false
		a.pass()
	}
	if a.unused > 0 { // so nothing waits
		a.unused--
		a.mu.Unlock()
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
		a.pass()
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
	a.waiting.Add(1)
}

// remove takes a request out of its owner's line.
func (a *Turns) remove(t *Turn) {
	e := a.owners[t.owner]
	l := e.Value.(*line)
	l.requests.Remove(t.place)
	t.place = nil
	a.waiting.Add(-1)
	if l.requests.Len() == 0 {
		a.lines.Remove(e)
		delete(a.owners, t.owner)
	}
}

// pass gives a turn that is over to the first request of the next owner.
func (a *Turns) pass() {
	e := a.lines.Front()
	if e == nil {
		a.unused++
		return
	}
	a.lines.MoveToBack(e)
	t := e.Value.(*line).requests.Front().Value.(*Turn)
	a.remove(t)
	t.given <- struct{}{}
}
