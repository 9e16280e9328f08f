// Package guard keeps a panic of background work from ending the process.
//
// Package httpd recovers the panics of requests. Work that no request waits for runs under Run, Go or Loop: a panic is logged with its
// stack, counted (the metric stator_background_panics_total), and returned as a *PanicError where there is a caller, which puts aside
// what caused it. TestGoroutines in the root package finds go statements that bypass this package.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// PanicError is a panic that was recovered.
type PanicError struct {
	Value any    // of the panic
	Stack []byte // of the goroutine that panicked, as debug.Stack prints it
}

// Error implements error. It has no stack, so that it can be shown to users.
func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// Unwrap returns the panic's value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// panics counts the recovered panics of the process, like the metrics of Go's runtime.
var panics atomic.Int64

// Panics returns how many panics of background work the process has recovered since its start.
func Panics() int64 { return panics.Load() }

// Run runs f and returns its error, or a *PanicError if it panics. log gets the panic with its stack; if it is nil, the caller logs the
// error by Log.
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

// Log logs an error, with the stack if it is a panic.
func Log(log *slog.Logger, message string, err error) {
	args := []any{"error", err}
	if p, ok := errors.AsType[*PanicError](err); ok {
		args = append(args, "stack", string(p.Stack))
	}
	log.Error(message, args...)
}

// Go runs f in a goroutine of its own, which ends if f panics. log gets the panic; nil discards it.
func Go(log *slog.Logger, work string, f func()) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	go func() {
		_ = Run(log, work, func() error { // Run has logged the panic
			f()
			return nil
		})
	}()
}

// restartPause is how long after a panic Loop begins anew.
const restartPause = time.Second

// Loop runs f, and runs it anew a second after it has panicked, until it returns or ctx ends. log gets the panics; nil discards them.
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
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartPause):
		}
	}
}
