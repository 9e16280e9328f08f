package turns

import (
	"sync"
	"time"
)

const (
	// step is how long background work computes until it lets requests run.
	step = 200 * time.Microsecond
	// idle bounds how long letting requests run takes if there are next to none.
	idle = 100 * time.Microsecond
	// The following say how many times as long as work has computed it lets requests run, if there are always some: background work,
	// urgent background work, and long requests on a single processor.
	backgroundRest = 25
	urgentRest     = 10
	longRest       = 5
	// longestRest bounds each of these times.
	longestRest = 20 * time.Millisecond
	// perByte is how long moving a byte takes: a system call, copies, decoding or encoding.
	perByte = 2 * time.Nanosecond
	// pause is how long work sleeps to let requests run where it can't wait for the poller.
	pause = 20 * time.Microsecond
)

// Pace makes background work, which takes no turns, compute in short steps while the processors are idle, or now and then if they never
// are. Without it, Go would run a goroutine for up to 10 ms at a time, and look for requests only when no other goroutine is ready. The
// zero value is ready; it serves one goroutine.
type Pace struct {
	// Urgent work must keep up with requests. At full load it gets a tenth of a processor; all other background work together gets a
	// twenty-fifth.
	Urgent bool
	// Behind, if not nil, reports whether the work can't keep up. Then it shares the processors with requests evenly.
	Behind func() bool

	began time.Time // of the step
}

// Yield must be called at least every few tens of microseconds. It returns at once until a step is over.
func (p *Pace) Yield() {
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	computed := now.Sub(p.began)
	if computed < step {
		return
	}
	computed = min(computed, 2*step) // the work has waited for something if it is more
	switch {
	case p.Behind != nil && p.Behind():
		p.began = rest(0)
	case p.Urgent:
		p.began = rest(urgentRest * computed)
	default:
		p.began = Rest(computed)
	}
}

// Moved lets short requests run after a request has moved bytes between its connection and memory, as after that much computing.
func Moved(bytes int) { rest(longRest * time.Duration(bytes) * perByte) }

// resting is held by the background work that takes the next step.
var resting sync.Mutex

// Rest lets requests run after background work has computed for some time, and returns the time. Work that can't call Yield while it
// computes calls it instead.
func Rest(computed time.Duration) time.Time {
	resting.Lock()
	defer resting.Unlock()
	return rest(backgroundRest * computed)
}

// rest returns once letting requests run takes no time because there are none, or once it has lasted for limit. It returns the time.
func rest(limit time.Duration) time.Time {
	limit = min(limit, longestRest)
	for began, now := time.Now(), time.Now(); ; {
		before := now
		yieldCore()
		yield()
		if now = time.Now(); now.Sub(before) < idle || now.Sub(began) >= limit {
			return now
		}
	}
}
