package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
)

type counted struct{ N int }

// lateStore returns from commits late, so that goroutines that are not serialized overtake each other.
type lateStore struct{ kv.Store }

type lateTxn struct{ kv.Txn }

func (s lateStore) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	txn, err := s.Store.Begin(ctx, opt)
	return lateTxn{txn}, err
}

func (t lateTxn) Commit(ctx context.Context) error {
	err := t.Txn.Commit(ctx)
	for range rand.IntN(20) {
		runtime.Gosched()
	}
	return err
}

// TestSet changes a record from many goroutines. In the end, lookups must find what is stored, with all changes in it.
func TestSet(t *testing.T) {
	ctx := context.Background()
	store, err := pebblekv.Open(pebblekv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	id := ID{"account", "region", "name"}
	s, err := Open[counted](ctx, Storage{cluster.NewSolo(ctx, nil), lateStore{store}}, Kind{keyspace.Jobs('t')})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Change(ctx, id, func(*counted) error { t.Error("changed"); return nil }); got != nil || err != nil {
		t.Fatalf("a record that is not there: %v, %v", got, err)
	}
	if err := s.Put(ctx, id, &counted{}); err != nil {
		t.Fatal(err)
	}
	const workers, each = 8, 500
	var all sync.WaitGroup
	var done sync.Mutex
	latest := 0 // highest count of a change that has returned
	for range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			for range each {
				mine := 0
				if _, err := s.Change(ctx, id, func(c *counted) error { c.N++; mine = c.N; return nil }); err != nil {
					t.Error(err)
				}
				done.Lock()
				latest = max(latest, mine)
				if got := s.Get(id).N; got < latest {
					t.Errorf("lookups find %d after %d was stored", got, latest)
				}
				done.Unlock()
			}
		}()
	}
	all.Wait()
	again, err := Open[counted](ctx, Storage{cluster.NewSolo(ctx, nil), store}, Kind{keyspace.Jobs('t')})
	if err != nil {
		t.Fatal(err)
	}
	if memory, stored := s.Get(id).N, again.Get(id).N; memory != workers*each || stored != memory {
		t.Errorf("lookups find %d, the store has %d, want %d", memory, stored, workers*each)
	}
	if err := s.Remove(ctx, id); err != nil || s.Get(id) != nil || len(s.List("account", "region")) != 0 {
		t.Errorf("removed: %v, %v", s.Get(id), err)
	}
}

// TestUpdate changes records of two sets, and another key, in one transaction. Lookups find nothing of one that fails, and all of one that
// is committed, even if its request has ended; lists are in order.
func TestUpdate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store, err := pebblekv.Open(pebblekv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	open := func(kind byte) *Set[counted] {
		s, err := Open[counted](context.Background(), Storage{cluster.NewSolo(context.Background(), nil), store}, Kind{keyspace.Jobs(kind)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	few, many := open('f'), open('m')
	other := []byte("other")
	ids := []ID{{"a", "r", "x\x001"}, {"b", "r", "x"}, {"a", "r", "y"}, {"a", "q", "x"}, {"a", "r", "x\x002"}}
	failed := errors.New("failed")
	for _, outcome := range []error{failed, nil} {
		err := Update(ctx, store, kv.TxnOpt{}, func(txn *Txn) error {
			if err := errors.Join(few.PutIn(txn, ids[0], &counted{7}), txn.Put(other, nil)); err != nil {
				return err
			}
			for n, id := range ids {
				if err := many.PutIn(txn, id, &counted{n}); err != nil {
					return err
				}
			}
			if outcome == nil {
				cancel()
			}
			return outcome
		})
		if !errors.Is(err, outcome) {
			t.Fatalf("%v, want %v", err, outcome)
		}
		if outcome != nil && (few.Get(ids[0]) != nil || many.All() != nil) {
			t.Error("lookups find what was not committed")
		}
	}
	if raw, err := kv.ReadLatest(context.Background(), store, other); raw == nil || err != nil || few.Get(ids[0]).N != 7 {
		t.Errorf("%v was put: %v; the other set has %v", raw, err, few.Get(ids[0]))
	}
	for range 2 { // from changes, and from the store
		for what, c := range map[string]struct {
			got  []*counted
			want []int
		}{
			"all": {many.All(), []int{3, 0, 4, 2, 1}}, "of a region": {many.List("a", "r"), []int{0, 4, 2}}, "of another": {many.List("a", "s"), nil},
			"under a name": {many.Under(ID{"a", "r", "x\x00"}), []int{0, 4}},
		} {
			var got []int
			for _, v := range c.got {
				got = append(got, v.N)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", what, got, c.want)
			}
		}
		many = open('m')
	}
	before := many.Version()
	if err := Update(context.Background(), store, kv.TxnOpt{}, func(txn *Txn) error {
		one, err1 := many.GetIn(txn, ids[2])
		none, err2 := many.GetIn(txn, ID{"a", "r", "none"})
		list, err3 := many.ListIn(context.Background(), txn, "a", "r")
		if one == nil || one.N != 2 || none != nil || len(list) != 3 || list[0].N != 0 || list[2].N != 2 {
			t.Errorf("a transaction sees %v and %v of %v", one, none, list)
		}
		return errors.Join(err1, err2, err3)
	}); err != nil || many.Version() != before {
		t.Errorf("reading: %v; the version is %d after %d", err, many.Version(), before)
	}
	var changed []int
	many.Changed = func(v *counted) { changed = append(changed, v.N) }
	err = Update(context.Background(), store, kv.TxnOpt{}, func(txn *Txn) error {
		v, err := many.ChangeIn(txn, ids[2], func(v *counted) error { v.N += 10; return nil })
		if v.N != 12 {
			t.Errorf("changed to %d", v.N)
		}
		return errors.Join(err, many.RemoveIn(txn, ids[1]), few.RemoveIn(txn, ids[0]))
	})
	if many.Version() != before+2 {
		t.Errorf("after two changes the version is %d, and was %d", many.Version(), before)
	}
	if err != nil || few.All() != nil || many.Get(ids[1]) != nil || many.Get(ids[2]).N != 12 || !slices.Equal(changed, []int{12}) {
		t.Errorf("%v; %v and %v are left, %v was changed", err, few.All(), many.All(), changed)
	}
	if _, err := many.Change(context.Background(), ids[2], func(v *counted) error { v.N++; return failed }); !errors.Is(err, failed) || many.Get(ids[2]).N != 12 {
		t.Errorf("a change that fails: %v", err)
	}
}
