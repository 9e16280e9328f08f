package registry

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/statordb/stator/internal/cluster"
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
	s, err := Open(ctx, cluster.NewSolo(ctx, nil), lateStore{store}, 't', func(*counted) ID { return id })
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
	again, err := Open(ctx, cluster.NewSolo(ctx, nil), store, 't', func(*counted) ID { return id })
	if err != nil {
		t.Fatal(err)
	}
	if memory, stored := s.Get(id).N, again.Get(id).N; memory != workers*each || stored != memory {
		t.Errorf("lookups find %d, the store has %d, want %d", memory, stored, workers*each)
	}
	if err := s.Remove(ctx, id, func(txn kv.Txn) error { return txn.Put([]byte("also"), nil) }); err != nil || s.Get(id) != nil || len(s.List("account", "region")) != 0 {
		t.Errorf("removed: %v, %v", s.Get(id), err)
	}
}
