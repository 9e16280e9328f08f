package locks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/statordb/stator/internal/kv"
)

func keys(names ...string) (list [][]byte) {
	for _, n := range names {
		list = append(list, []byte(n))
	}
	return list
}

// empty fails the test if any lock is still in the table.
func (t *Table) empty(test *testing.T) {
	for i := range t.shards {
		if n := len(t.shards[i].held); n > 0 {
			test.Errorf("%d locks are left in shard %d", n, i)
		}
	}
}

// TestOrder: waiters get a lock in order of arrival.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		var got []int
		held, err := table.Acquire(t.Context(), nil, keys("k"), Manner{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			go func() {
				mine, err := table.Acquire(t.Context(), nil, keys("k"), Manner{})
				if err != nil {
					t.Error(err)
				}
				got = append(got, i) // the lock protects it
				table.Release(mine)
			}()
			synctest.Wait()
		}
		table.Release(held)
		synctest.Wait()
		if !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("the lock went to %v", got)
		}
		table.empty(t)
	})
}

// TestManners: which manners wait for a held lock, and which fail.
func TestManners(t *testing.T) {
	plain, exclusive, background, late := Manner{}, Manner{Exclusive: true}, Manner{Background: true}, Manner{Late: true}
	for _, c := range []struct {
		holder, other Manner
		waits         bool
	}{
		{plain, plain, true},
		{plain, exclusive, false},
		{exclusive, plain, false},
		{exclusive, exclusive, false},
		{exclusive, background, true},
		{background, exclusive, true},
		{background, plain, true},
		{plain, late, false},
		{background, late, false},
	} {
		t.Run(fmt.Sprintf("%+v then %+v", c.holder, c.other), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var table Table
				held, err := table.Acquire(t.Context(), nil, keys("k"), c.holder)
				if err != nil {
					t.Fatal(err)
				}
				ended := false
				go func() {
					// The key that is not held comes first or second, and must be released after a failure.
					mine, err := table.Acquire(t.Context(), nil, keys("free", "k"), c.other)
					var locked *kv.LockedError
					switch {
					case c.waits && err != nil:
						t.Error(err)
					case !c.waits && (!errors.As(err, &locked) || locked.Hint != 1 || len(mine) > 0):
						t.Errorf("%v, %d locks", err, len(mine))
					}
					table.Release(mine)
					ended = true
				}()
				synctest.Wait()
				if ended == c.waits {
					t.Errorf("waits: %v", !ended)
				}
				table.Release(held)
				synctest.Wait()
				table.empty(t)
			})
		})
	}
}

// TestCanceled: a waiter that gives up leaves the queue, and one that gives up as it gets the lock passes it on.
func TestCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		held, err := table.Acquire(t.Context(), nil, keys("k"), Manner{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := table.Acquire(ctx, nil, keys("k"), Manner{}); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled: %v", err)
			}
		}()
		synctest.Wait()
		next := false
		go func() {
			mine, err := table.Acquire(t.Context(), nil, keys("k"), Manner{})
			if err != nil {
				t.Error(err)
			}
			next = true
			table.Release(mine)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		table.Release(held)
		synctest.Wait()
		if !next {
			t.Error("the next waiter did not get the lock")
		}
		table.empty(t)
	})
}

// TestDeadlock: transactions that take the same keys in different orders all get them.
func TestDeadlock(t *testing.T) {
	var table Table
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			names := []string{"a", "b", "c", "d", "e", "b"} // a key may be hinted twice
			for range i {
				names = append(names[1:], names[0])
			}
			for range 1000 {
				held, err := table.Acquire(t.Context(), nil, keys(names...), Manner{})
				if err != nil || len(held) != 5 {
					t.Errorf("%d locks, %v", len(held), err)
					return
				}
				table.Release(held)
			}
		})
	}
	all.Wait()
	table.empty(t)
}
