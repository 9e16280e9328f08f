package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
)

// TestMemoryLimit checks when the limit rises and falls, and that a runtime without a limit is left alone.
func TestMemoryLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	const least = 1 << 30
	m := newMemoryLimit(least)
	var now usage
	for _, step := range []struct {
		what  string
		share float64 // of the collector since the last step
		goal  uint64  // the heap's size at the next collection, in bytes; 100 bytes are live
		tick  bool    // after a second, not after a collection
		want  int64   // bytes above least
	}{
		{"little to collect", 0.04, 110, false, 0},
		{"much to collect", 0.06, 110, false, limitStep},
		{"still much", 0.06, 149, false, 2 * limitStep},
		{"the limit isn't what makes it collect", 0.5, 150, false, 2 * limitStep},
		{"a second of some collecting", 0.02, 110, true, 2 * limitStep},
		{"a second of next to none", 0.005, 110, true, limitStep},
		{"a second without a collection", 0, 110, true, 0},
		{"nothing left to lower", 0, 110, true, 0},
	} {
		m.atCollection, m.atTick = now, now
		if step.share > 0 {
			now.collecting, now.total = now.collecting+step.share, now.total+1
		}
		now.live, now.goal = 100, step.goal
		if step.tick {
			m.tick(now)
		} else {
			m.collected(now)
		}
		if got := debug.SetMemoryLimit(-1) - least; got != step.want {
			t.Errorf("%s: the limit is %d MB above the least, want %d", step.what, got>>20, step.want>>20)
		}
	}
	m.add(5)
	if got := debug.SetMemoryLimit(-1); got != least+5 {
		t.Errorf("with a cache of 5 bytes the limit is %d", got)
	}
	none := newMemoryLimit(0)
	none.add(5)
	none.collected(usage{collecting: 1, total: 1})
	if got := debug.SetMemoryLimit(-1); got != least+5 {
		t.Errorf("without a limit to manage, it became %d", got)
	}
}

// TestEachCollection checks that the hook is called after each collection, and what it can read then.
func TestEachCollection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := make(chan usage, 100) // more than the runtime collects by itself meanwhile
	before := readUsage()
	eachCollection(ctx, func() { calls <- readUsage() })
	for range 3 {
		runtime.GC()
		u := <-calls
		if u.share(before) <= 0 || u.live == 0 || u.goal <= u.live {
			t.Errorf("usage %+v after %+v", u, before)
		}
		before = u
	}
}
