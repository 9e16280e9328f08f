package turns

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// compute runs a request that computes in steps until its context ends. It calls step in each.
func compute(ctx context.Context, all *Turns, owner string, step func()) error {
	var t Turn
	t.Begin(all, owner, time.Now())
	defer t.End()
	for {
		if err := t.Yield(ctx); err != nil {
			return err
		}
		step()
	}
}

func (a *Turns) idle() bool { return a.used == 0 && a.lines.Len() == 0 && len(a.owners) == 0 }

// TestOwnersTakeTurns has two owners compute, one with nine requests and one with a single request. That request must
// get as many slices as it can use, and no more requests may compute concurrently than there are turns.
func TestOwnersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const turns, runs = 2, 100 * slice
		all := of(turns)
		ctx, cancel := context.WithTimeout(t.Context(), runs)
		defer cancel()
		took := map[string]time.Duration{}
		var mu sync.Mutex
		var computing, most int
		var done sync.WaitGroup
		for i := range 10 {
			owner := "many"
			if i == 0 {
				owner = "one"
			}
			done.Go(func() {
				time.Sleep(time.Duration(i)) // start them one after the other
				err := compute(ctx, all, owner, func() {
					mu.Lock()
					computing++
					if time.Since(started(t, ctx, runs)) > 2*short {
						most = max(most, computing)
					}
					mu.Unlock()
					time.Sleep(short / 4)
					mu.Lock()
					computing--
					took[owner] += short / 4
					mu.Unlock()
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the request ended with %v", err)
				}
			})
		}
		done.Wait()
		if most != turns {
			t.Errorf("%d requests computed at a time, want %d", most, turns)
		}
		// An even share per request would be 0.2 turns. The single request can use at most one, and waits half a slice
		// after each.
		if part := took["one"].Seconds() / runs.Seconds(); part < 0.45 {
			t.Errorf("the owner of one request had %.2f turns of %d beside the owner of nine", part, turns)
		}
		if !all.idle() {
			t.Errorf("%d turns were not given back", all.used)
		}
	})
}

// started returns when a context with that timeout was made.
func started(t *testing.T, ctx context.Context, timeout time.Duration) time.Time {
	t.Helper()
	at, _ := ctx.Deadline()
	return at.Add(-timeout)
}

// TestShortNeedNone checks that a short request never waits, and that Take always waits while all turns are taken.
func TestShortNeedNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := of(1)
		var long, brief Turn
		long.Begin(all, "a", time.Now())
		if err := long.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		brief.Begin(all, "a", began)
		for time.Since(began) < short {
			if err := brief.Yield(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(short / 10)
		}
		if took := time.Since(began); took != short {
			t.Errorf("a request of %v took %v", short, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := brief.Yield(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request continued without a turn: %v", err)
		}
		time.AfterFunc(time.Second, long.End)
		if err := brief.Take(t.Context()); err != nil || !brief.has {
			t.Errorf("a turn that was given back was not given to the next request: %v", err)
		}
		brief.End()
		if !all.idle() {
			t.Error("a turn was not given back")
		}
	})
}

// TestNone checks that requests without turns never wait, and fail when their contexts end.
func TestNone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for _, turn := range []*Turn{nil, new(Turn)} {
		if err := errors.Join(turn.Yield(ctx), turn.Take(ctx)); err != nil {
			t.Error(err)
		}
	}
	cancel()
	for _, turn := range []*Turn{nil, new(Turn)} {
		for _, err := range []error{turn.Yield(ctx), turn.Take(ctx)} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("it continued: %v", err)
			}
		}
	}
}

// TestNothingIsLost ends requests at random, while they compute and while they wait, and checks that all turns come back.
func TestNothingIsLost(t *testing.T) {
	const turns = 3
	all := of(turns)
	var computing atomic.Int64
	var done sync.WaitGroup
	for i := range 64 {
		done.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			var turn Turn
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				stop := context.AfterFunc(ctx, func() {})
				if r.IntN(2) == 0 {
					go func() {
						runtime.Gosched()
						cancel()
					}()
				}
				turn.Begin(all, string(rune('a'+r.IntN(5))), time.Now().Add(-short))
				for range r.IntN(4) {
					if err := turn.Yield(ctx); err != nil {
						break
					}
					if n := computing.Add(1); n > turns {
						t.Errorf("%d compute at a time", n)
					}
					runtime.Gosched()
					computing.Add(-1)
					turn.since = turn.since.Add(-slice)
				}
				turn.End()
				cancel()
				stop()
			}
		})
	}
	done.Wait()
	if !all.idle() {
		t.Errorf("%d turns were not given back", all.used)
	}
}

// TestOneIsKeptFree checks that requests compute on all processors, on all but one after a short request, and on all
// again some time later.
func TestOneIsKeptFree(t *testing.T) {
	for _, processors := range []int{1, 2, 4} {
		synctest.Test(t, func(t *testing.T) {
			all := of(processors)
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			for range 2 * processors {
				done.Go(func() { _ = compute(ctx, all, "a", func() { time.Sleep(short / 4) }) })
			}
			using := func(what string, want int) {
				t.Helper()
				time.Sleep(2 * slice)
				synctest.Wait()
				all.mu.Lock()
				defer all.mu.Unlock()
				if all.used != want {
					t.Errorf("%d processors: %s %d requests compute, want %d", processors, what, all.used, want)
				}
			}
			using("at first", processors)
			var quick Turn
			quick.Begin(all, "b", time.Now())
			quick.End()
			using("after a short request", max(1, processors-1))
			time.Sleep(recent)
			using("long after it", processors)
			cancel()
			done.Wait()
			if !all.idle() {
				t.Errorf("%d turns were not given back", all.used)
			}
		})
	}
}
