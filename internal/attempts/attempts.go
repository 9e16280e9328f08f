// Package attempts finds out which background job ends the process that runs it, so that the job is not restarted forever.
//
// A job counts its runs durably, before each one starts; a retry in the same process belongs to the same run. A run that a shutdown
// stops is taken off the count, and one that ends by itself settles its job. What remains are runs that ended with their process, on
// this server or another. After [Max] of them, the job is given up.
//
// Not every process that is killed was killed by its jobs, let alone by all of them. Two rules protect innocent jobs:
//
//   - A job counts its steps, usually items, and a run that gets further than every run before it restarts the count: a job that ends
//     the process by its own data does so at the same step each time. Recording every step would cost too much, so a run counts as
//     having got further when it reaches the next power of two.
//   - Of the jobs whose last run ended with its process, a server runs one at a time, until that one has got further. So a job that
//     ends the process a second time does so alone.
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

// Max is how many runs may end with their process without any of them getting further than those before.
const Max = 2

// ErrGivenUp is the reason why a job is not run again.
var ErrGivenUp = errors.New("the server ended twice while it ran, both times at the same point")

// Count is the part of a job's record that counts its runs.
type Count struct {
	Starts   int `json:",omitempty"` // runs since the furthest point was reached that did not end, or ended with their process
	Furthest int `json:",omitempty"` // furthest point of all runs: the bit length of the number of steps
	// Last identifies the last run counted, so that none is counted twice: a write that failed may have happened all the same.
	Last string `json:",omitempty"`
}

// Suspects runs, one at a time, the jobs whose last run ended with its process. All jobs of a server share one.
type Suspects struct{ alone *semaphore.Weighted }

// NewSuspects returns Suspects for a server.
func NewSuspects() *Suspects { return &Suspects{semaphore.NewWeighted(1)} }

// Run is a job on this server, including its retries. It is safe for concurrent use.
type Run struct {
	// Change changes the Count in the job's record durably. If change fails, Change returns its error and stores nothing.
	Change func(ctx context.Context, change func(*Count) error) error
	// Suspects are shared by all jobs of the server.
	Suspects *Suspects

	steps    atomic.Int64 // steps done, including earlier runs'
	furthest atomic.Int64 // Count.Furthest as stored
	mu       sync.Mutex
	name     string // random; identifies the run in Count.Last
	begun    bool
	alone    bool // holds Suspects.alone
}

// errSuspect means that the job must run alone.
var errSuspect = errors.New("attempts: the last run ended with its process")

// Begin counts the run, the first time that it is called on this server: a retry after an error has not ended the
// process. It may wait for other jobs. It returns ErrGivenUp if the job must be given up. done is the number of steps
// that earlier runs have completed for good. End must follow, even if the job panics: other suspects wait for it.
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

// Step counts n steps, and records progress at powers of two.
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

// release lets the next suspect run.
func (r *Run) release() {
	if r.alone {
		r.alone = false
		r.Suspects.alone.Release(1)
	}
}

// End ends the run. If ctx has ended, the server is stopping; the run is then removed from the count, because it has
// not ended the process, and End returns ctx's error.
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
