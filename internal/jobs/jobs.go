// Package jobs runs what takes long in the background: each job once at a time, again if it fails, until the server ends.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/statordb/stator/internal/guard"
)

// PanicError is the error of a job whose run has panicked.
type PanicError = guard.PanicError

// retryPause is how long after a failure a job is tried again.
const retryPause = 5 * time.Second

// Runner runs jobs.
type Runner struct {
	// Report hears of failures.
	Report func(error)
	// Busy, if not nil, is called before the first job of several begins, and with false when none runs any more.
	Busy    func(bool)
	claims  Claims
	ctx     context.Context
	mu      sync.Mutex
	running map[string]context.CancelFunc
	ended   bool
	work    sync.WaitGroup
}

// Claims are on jobs, by their names.
type Claims interface {
	// Claim makes a job this server's, until Release; false if it is another's.
	Claim(ctx context.Context, job string) (bool, error)
	Release(job string)
}

// Claim makes a job this server's; false if another does it. Start does so too: this is for those who prepare a job.
func (r *Runner) Claim(ctx context.Context, name string) (bool, error) {
	return r.claims.Claim(ctx, name)
}

// New returns a Runner whose jobs end with ctx. claims say which server does a job.
func New(ctx context.Context, claims Claims, report func(error)) *Runner {
	return &Runner{Report: report, claims: claims, ctx: ctx, running: map[string]context.CancelFunc{}}
}

// Start is StartWith for a job that has nothing to note when it panics.
func (r *Runner) Start(name string, job func(context.Context) error, done func()) {
	r.StartWith(name, Job{Run: job, Done: done})
}

// Job is what a Runner runs.
type Job struct {
	Run func(context.Context) error
	// Panicked, if not nil, is called in place of another Run when Run, or a goroutine that it waits for, has panicked. It ends the
	// job's record as FAILED with the panic as the reason, so that no restart runs the job again. While it returns an error, which is
	// reported, it is called again; if it panics itself, the job ends.
	Panicked func(context.Context, *PanicError) error
	// Done, if not nil, is called when the job will not run again, or not at all.
	Done func()
}

// StartWith runs a job unless one of that name is running, here or on another server. A job that returns an error is reported and run
// again; one whose error is context.Canceled, or whose run panics, is not.
func (r *Runner) StartWith(name string, job Job) {
	done := job.Done
	if done == nil {
		done = func() {}
	}
	r.mu.Lock()
	if r.ended || r.ctx.Err() != nil || r.running[name] != nil {
		r.mu.Unlock()
		done()
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	if len(r.running) == 0 && r.Busy != nil {
		r.Busy(true)
	}
	r.running[name] = cancel
	r.work.Add(1)
	r.mu.Unlock()
	guard.Go(nil, name, func() { // run reports what panics
		defer r.work.Done()
		defer func() {
			cancel()
			r.mu.Lock()
			if delete(r.running, name); len(r.running) == 0 && r.Busy != nil {
				r.Busy(false)
			}
			r.mu.Unlock()
			done()
		}()
		r.run(ctx, name, &job)
	})
}

// run runs a job until it succeeds, panics or is cancelled.
func (r *Runner) run(ctx context.Context, name string, job *Job) {
	mine := false
	defer func() {
		if mine {
			r.claims.Release(name)
		}
	}()
	step := job.Run
	for {
		var err error
		if !mine {
			if mine, err = r.Claim(ctx, name); err == nil && !mine {
				return
			}
		}
		if err == nil {
			err = guard.Run(nil, name, func() error { return step(ctx) })
		}
		p, panicked := errors.AsType[*PanicError](err)
		switch {
		case panicked:
			r.Report(fmt.Errorf("%s is not tried again: %w", name, err))
			if job.Panicked == nil {
				return
			}
			note := job.Panicked
			step = func(ctx context.Context) error { return note(ctx, p) }
			job = &Job{} // a panic of note ends the job
			continue
		case err == nil || errors.Is(err, context.Canceled) || ctx.Err() != nil:
			return
		}
		r.Report(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryPause):
		}
	}
}

// Cancel ends a job, which sees it by its context. It returns at once.
func (r *Runner) Cancel(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel := r.running[name]; cancel != nil {
		cancel()
	}
}

// Wait returns when no job runs, and none can be started any more. The context of New must have ended.
func (r *Runner) Wait() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.work.Wait()
}
