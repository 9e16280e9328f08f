package pgkv

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/statordb/stator/internal/guard"
)

// TestCombinerPanic checks that a statement that panics fails all its requests, and that the next statement runs.
func TestCombinerPanic(t *testing.T) {
	c := combiner[*get]{most: 10, fail: failGet, log: slog.New(slog.DiscardHandler), run: func(list []*get) {
		close(list[0].done)
		panic("in the middle")
	}}
	wait := func() {
		t.Helper()
		var waiting []*get
		if !c.enter(new(get)) {
			t.Fatal("the first request should wait")
		}
		for range 3 {
			g := &get{done: make(chan struct{})}
			if c.enter(g) {
				t.Fatal("a request runs alone beside another")
			}
			waiting = append(waiting, g)
		}
		c.leave()
		for i, g := range waiting {
			<-g.done
			if _, panicked := errors.AsType[*guard.PanicError](g.err); panicked != (i > 0) {
				t.Errorf("request %d got %v", i, g.err)
			}
		}
	}
	wait()
	for { // the goroutine calls leave after it has failed the requests
		c.mu.Lock()
		running := c.running
		c.mu.Unlock()
		if running == 0 {
			break
		}
	}
	wait()
}
