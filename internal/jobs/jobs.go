// Package jobs runs background work. A [Runner] runs long jobs: each at most once at a time over all servers, and again if it fails,
// until the server ends. [Every] runs a short one at intervals.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/wait"
)

// PanicError is the error of a job that has panicked.
type PanicError = guard.PanicError

// retryPause is the pause before a failed job is run again.
const retryPause = 5 * time.Second

// Runner runs jobs. Its zero value is not usable; see New.
type Runner struct {
	// Report receives the errors of jobs.
	Report  func(error)
	claims  Claims
	ctx     context.Context
	mu      sync.Mutex
	running map[string]context.CancelFunc
	ended   bool
	work    sync.WaitGroup
}

// Claims are leases on jobs, by their names; cluster.Coordinator implements it.
type Claims interface {
	// Claim takes the lease of a job for this server, until Release; it returns false if another server holds it.
	Claim(ctx context.Context, job string) (bool, error)
	Release(job string)
	// CatchUp returns once this server's caches hold everything that was changed before.
	CatchUp(ctx context.Context) error
}

// Claim takes the lease of a job that is due; it returns false if another server holds it or the job is not due. due reads the job's
// record. It is asked once this server has the lease and its caches hold what earlier holders have done: a server that finishes a job
// releases the lease before other servers' caches show the end. Start does all of this itself: Claim is for callers that must prepare a
// job that they alone run.
func (r *Runner) Claim(ctx context.Context, name string, due func() bool) (bool, error) {
	mine, err := r.claims.Claim(ctx, name)
	if err != nil || !mine {
		return false, err
	}
	if err = r.claims.CatchUp(ctx); err == nil && due() {
		return true, nil
	}
	r.claims.Release(name)
	return false, err
}

// New returns a Runner whose jobs end with ctx. claims decide which server runs a job; report receives errors.
func New(ctx context.Context, claims Claims, report func(error)) *Runner {
	return &Runner{Report: report, claims: claims, ctx: ctx, running: map[string]context.CancelFunc{}}
}

// Job is what a Runner runs.
type Job struct {
	Run func(context.Context) error
	// Due reports whether the job's record still asks for the job; see [Runner.Claim].
	Due func() bool
	// Panicked, if not nil, is called once Run, or a goroutine that it waits for, has panicked. It should mark the
	// job's record as FAILED, with the panic as the reason, so that no restart runs the job again. If it returns an
	// error, the error is reported and it is called again; if it panics, the job ends.
	Panicked func(context.Context, *PanicError) error
	// Done, if not nil, is called once the job will not run again, also if it never ran.
	Done func()
}

// Start runs a job in the background, unless one with that name is running, here or on another server. After an error, which
// is reported, the job runs again, except after context.Canceled or a panic.
func (r *Runner) Start(name string, job Job) {
	if job.Done == nil {
		job.Done = func() {}
	}
	ctx, ok := r.begin(name)
	if !ok {
		job.Done()
		return
	}
	guard.Go(nil, name, func() { // run reports panics
		defer r.work.Done()
		defer job.Done()
		defer r.end(name)
		r.run(ctx, name, &job)
	})
}

// begin notes that a job runs here, unless it does already or no more jobs may start. ctx is the job's.
func (r *Runner) begin(name string) (ctx context.Context, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.ctx.Err() != nil || r.running[name] != nil {
		return nil, false
	}
	ctx, r.running[name] = context.WithCancel(r.ctx)
	r.work.Add(1)
	return ctx, true
}

// end notes that a job has ended.
func (r *Runner) end(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[name]()
	delete(r.running, name)
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
			// Cancel does not interrupt this: a job that is cancelled early still runs, and records that it was cancelled.
			if mine, err = r.Claim(r.ctx, name, job.Due); err == nil && !mine {
				return // another server runs the job, or has ended it
			}
		}
		if err == nil {
			err = guard.Run(nil, name, func() error { return step(ctx) })
		}
		p, panicked := errors.AsType[*PanicError](err)
		switch {
		case panicked:
			r.Report(fmt.Errorf("not retrying %s: %w", name, err))
			if job.Panicked == nil {
				return
			}
			note := job.Panicked
			step = func(ctx context.Context) error { return note(ctx, p) }
			job = &Job{} // if note panics too, the job ends
			continue
		case err == nil || errors.Is(err, context.Canceled) || ctx.Err() != nil:
			return
		}
		r.Report(err)
		if wait.Pause(ctx, retryPause) != nil {
			return
		}
	}
}

// Cancel cancels the context of a job. It does not wait.
func (r *Runner) Cancel(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel := r.running[name]; cancel != nil {
		cancel()
	}
}

// Wait returns once no job runs, and prevents new ones from starting. The context given to New must have ended.
func (r *Runner) Wait() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.work.Wait()
}
