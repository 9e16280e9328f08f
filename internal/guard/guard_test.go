package guard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// TestRun checks that Run returns the panic's value, logs the stack and counts the panic.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	before := Panics()
	err := Run(log, "counting", func() error { panic(io.ErrUnexpectedEOF) })
	p, ok := errors.AsType[*PanicError](err)
	if !ok || !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Contains(p.Stack, []byte("guard_test.go")) {
		t.Errorf("the error was %v", err)
	}
	if got := out.String(); !strings.Contains(got, "counting panicked") || !strings.Contains(got, "guard_test.go") {
		t.Errorf("the log has %s", got)
	}
	if n := Panics() - before; n != 1 {
		t.Errorf("%d panics were counted, want 1", n)
	}
	if err := Run(log, "counting", func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("an error became %v", err)
	}
}

// TestLoop checks that Loop restarts after panics until the work returns or its context ends.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		Loop(t.Context(), nil, "work", func() {
			if ran++; ran < 3 {
				panic(ran)
			}
		})
		if ran != 3 {
			t.Errorf("ran %d times, want 3", ran)
		}
		ctx, cancel := context.WithCancel(t.Context())
		Loop(ctx, nil, "work", func() {
			cancel()
			panic("again")
		})
		done := make(chan bool)
		Go(nil, "work", func() {
			defer close(done)
			panic("in a goroutine")
		})
		<-done
	})
}
