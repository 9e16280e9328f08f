// Package attempts finds out which background job ends the process that runs it, so that it is not run for ever.
//
// A job counts its runs durably, before each begins. A run that comes to its end, in whatever way, or is stopped by a shutdown, takes
// itself off the count: what is left are runs that ended with their process, on this server or on another. After Max of them the job is given up.
//
// Not every process that is killed was killed by its jobs. So a job counts its steps (items, as a rule), and a run that comes further
// than every run before it begins the count anew: a job whose own data end the process does so at the same step each time. To write it
// down for each step would cost too much; a run counts as having come further when it reaches the next power of two.
package attempts

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Max is how many runs may end with their process without one of them coming further than those before.
const Max = 2

// ErrGivenUp is why a job is not run again.
var ErrGivenUp = errors.New("the server ended twice while it ran, both times at the same point")

// Count is what a job's record has of its runs.
type Count struct {
	Starts   int `json:",omitempty"` // runs that have not ended but with their process, since the furthest point was reached
	Furthest int `json:",omitempty"` // of all runs: bits of the number of steps
}

// Run is a job on this server, for as long as it is tried again. It may be used by several goroutines.
type Run struct {
	// Change changes the Count in the job's record durably; an error of change is returned.
	Change func(ctx context.Context, change func(*Count) error) error

	steps    atomic.Int64
	furthest atomic.Int64
	mu       sync.Mutex
	begun    bool
}

// Begin counts the run, the first time it is called on this server: what fails and is tried again has not ended the process. It returns
// ErrGivenUp if the job is to be given up.
func (r *Run) Begin(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps.Store(0)
	if r.begun {
		return nil
	}
	err := r.Change(ctx, func(c *Count) error {
		if c.Starts >= Max {
			return ErrGivenUp
		}
		c.Starts++
		r.furthest.Store(int64(c.Furthest))
		return nil
	})
	r.begun = err == nil
	return err
}

// Step counts n steps.
func (r *Run) Step(ctx context.Context, n int) error {
	reached := int64(bits.Len64(uint64(r.steps.Add(int64(n)))))
	if reached <= r.furthest.Load() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if reached <= r.furthest.Load() {
		return nil
	}
	err := r.Change(ctx, func(c *Count) error {
		c.Furthest = max(c.Furthest, int(reached))
		c.Starts = 1
		return nil
	})
	if err == nil {
		r.furthest.Store(reached)
	}
	return err
}

// Stop takes the run off the count, because the server stops and another is to go on. ctx must not have ended.
func (r *Run) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		return nil
	}
	r.begun = false
	return r.Change(ctx, func(c *Count) error {
		c.Starts = 0
		return nil
	})
}
