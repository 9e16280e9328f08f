// Package guard keeps a panic in background work from ending the process.
//
// Package httpd recovers panics of requests. Work that no request waits for must run under [Run], [Go], [Group] or [Loop]: these
// log a panic with its stack, count it (the metric stator_background_panics_total), and return it as a *[PanicError] if
// there is a caller, which then puts aside whatever caused it. TestGoroutines in the root package finds go statements
// that bypass this package.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/wait"
)

// PanicError is a recovered panic.
type PanicError struct {
	Value any    // value of the panic
	Stack []byte // stack of the goroutine that panicked, as debug.Stack prints it
}

// Error implements error. It omits the stack, so that users may see it.
func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// Unwrap returns the panic's value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// panics counts the recovered panics of the process. It is global, as the metrics of Go's runtime are.
var panics atomic.Int64

// Panics returns the number of panics of background work that the process has recovered.
func Panics() int64 { return panics.Load() }

// Run runs f and returns its error, or a *PanicError if f panics. The panic is logged to log with its stack; if log is
// nil, the caller must log the error with Log.
func Run(log *slog.Logger, work string, f func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		panics.Add(1)
		err = &PanicError{Value: p, Stack: debug.Stack()}
		if log != nil {
			Log(log, work+" panicked", err)
		}
	}()
	return f()
}

// Log logs an error, with its stack if it is a panic.
func Log(log *slog.Logger, message string, err error) {
	args := []any{"error", err}
	if p, ok := errors.AsType[*PanicError](err); ok {
		args = append(args, "stack", string(p.Stack))
	}
	log.Error(message, args...)
}

// Go runs f in a new goroutine, which ends if f panics. log receives the panic; nil discards it.
func Go(log *slog.Logger, work string, f func()) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	go func() {
		_ = Run(log, work, func() error { // logs the panic
			f()
			return nil
		})
	}()
}

// Group is a set of goroutines that run under guard and can be waited for. The zero value is an empty group.
type Group struct{ running sync.WaitGroup }

// Start is Go for a goroutine of the group.
func (g *Group) Start(log *slog.Logger, work string, f func()) {
	g.running.Add(1)
	Go(log, work, func() {
		defer g.running.Done()
		f()
	})
}

// Wait returns once all goroutines of the group have ended. Unless some still run, Start must not be called concurrently.
func (g *Group) Wait() { g.running.Wait() }

// restartPause is the pause between a panic and the next run of a Loop, so that a permanent fault does not spin.
const restartPause = time.Second

// Loop runs f, and runs it again a second after each panic, until f returns or ctx ends. log receives the panics; nil
// discards them.
func Loop(ctx context.Context, log *slog.Logger, work string, f func()) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	for {
		err := Run(log, work, func() error {
			f()
			return nil
		})
		if err == nil {
			return
		}
		if wait.Pause(ctx, restartPause) != nil {
			return
		}
	}
}
