// Package attempts finds out which background job ends the process that runs it, so that it is not run for ever.
//
// A job counts its runs durably, before each begins. A run that comes to its end, in whatever way, or is stopped by a shutdown, takes
// itself off the count: what is left are runs that ended with their process, on this server or on another. After Max of them the job is given up.
//
// Not every process that is killed was killed by its jobs, and not by all of them. Two rules keep the innocent:
//
//   - A job counts its steps (items, as a rule), and a run that comes further than every run before it begins the count anew: a job whose
//     own data end the process does so at the same step each time. To write it down for each step would cost too much; a run counts as
//     having come further when it reaches the next power of two.
//   - Of the jobs whose last run ended with its process a server runs one at a time, until that has come further. So a job that ends the
//     process a second time does so alone.
package attempts

import (
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Max is how many runs may end with their process without one of them coming further than those before.
const Max = 2

// ErrGivenUp is why a job is not run again.
var ErrGivenUp = errors.New("the server ended twice while it ran, both times at the same point")

// Count is what a job's record has of its runs.
type Count struct {
	Starts   int `json:",omitempty"` // runs that have not ended but with their process, since the furthest point was reached
	Furthest int `json:",omitempty"` // of all runs: bits of the number of steps
	// Last names the last run that was counted, so that none is counted twice: a change may be there although it has failed.
	Last string `json:",omitempty"`
}

// Suspects lets one job at a time run of those whose last run ended with its process. A server has one for all its jobs.
type Suspects struct{ alone *semaphore.Weighted }

// NewSuspects returns Suspects that let a job run.
func NewSuspects() *Suspects { return &Suspects{semaphore.NewWeighted(1)} }

// Run is a job on this server, for as long as it is tried again. It may be used by several goroutines.
type Run struct {
	// Change changes the Count in the job's record durably; an error of change is returned, and nothing is changed.
	Change func(ctx context.Context, change func(*Count) error) error
	// Suspects are those of the server.
	Suspects *Suspects

	steps    atomic.Int64
	furthest atomic.Int64
	mu       sync.Mutex
	name     string
	begun    bool
	alone    bool
}

// errSuspect is that a job must run alone.
var errSuspect = errors.New("attempts: the last run ended with its process")

// Begin counts the run, the first time it is called on this server: what fails and is tried again has not ended the process. It may have
// to wait for other jobs. It returns ErrGivenUp if the job is to be given up. done is the number of steps that an earlier run has done
// for good. End must follow, also where the job panics: other suspects wait for it.
func (r *Run) Begin(ctx context.Context, done int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps.Store(done)
	if r.begun {
		return nil
	}
	if r.name == "" {
		r.name = strconv.FormatUint(rand.Uint64(), 36)
	}
	count := func(c *Count) error {
		switch {
		case c.Last == r.name:
			r.furthest.Store(int64(c.Furthest))
			return nil
		case c.Starts >= Max:
			return ErrGivenUp
		case c.Starts > 0 && !r.alone:
			return errSuspect
		}
		c.Starts++
		c.Last = r.name
		r.furthest.Store(int64(c.Furthest))
		return nil
	}
	err := r.Change(ctx, count)
	if errors.Is(err, errSuspect) {
		if err := r.Suspects.alone.Acquire(ctx, 1); err != nil {
			return err
		}
		r.alone = true
		err = r.Change(ctx, count)
	}
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
		r.release()
	}
	return err
}

// release lets another suspect run.
func (r *Run) release() {
	if r.alone {
		r.alone = false
		r.Suspects.alone.Release(1)
	}
}

// End ends the run. If ctx has ended the server stops, and the run is taken off the count, because it has not ended the process; it
// returns the error of ctx then.
func (r *Run) End(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
	if ctx.Err() == nil {
		return nil
	}
	return errors.Join(ctx.Err(), r.Change(context.WithoutCancel(ctx), func(c *Count) error {
		c.Starts = 0
		return nil
	}))
}
