package pebblekv

import (
	"context"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/kvtest"
)

func TestContract(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  func(t *testing.T) Options
	}{
		{"InMemory", func(*testing.T) Options { return Options{} }},
		{"Sync", func(t *testing.T) Options { return Options{Dir: t.TempDir(), Sync: true} }},
		{"Interval", func(t *testing.T) Options { return Options{Dir: t.TempDir(), Interval: time.Millisecond} }},
		{"None", func(t *testing.T) Options { return Options{Dir: t.TempDir()} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			kvtest.Run(t, func(t *testing.T) kv.Store {
				s, err := Open(c.opt(t))
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	for i := range 3 {
		s, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		err = kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Add([]byte("opened"), []int64{1}) })
		if err != nil {
			t.Fatal(err)
		}
		r, _ := s.Latest(ctx)
		n, err := r.Counters([]byte("opened"))
		if err != nil || n[0] != int64(i+1) {
			t.Fatalf("opened %v times, %v", n, err)
		}
		r.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestChecked checks that kv.Checked finds callers that break the contract.
func TestChecked(t *testing.T) {
	ctx := context.Background()
	all := kv.Range{Start: []byte("a"), End: []byte("z")}
	for name, misuse := range map[string]func(s kv.Store){
		"reader that has ended": func(s kv.Store) {
			r, _ := s.Latest(ctx)
			_ = r.Close()
			_, _ = r.Get([]byte("k"))
		},
		"transaction that has ended": func(s kv.Store) {
			txn, _ := s.Begin(ctx, kv.TxnOpt{})
			_ = txn.Rollback()
			_ = txn.Put([]byte("k"), nil)
		},
		"open iterator": func(s kv.Store) {
			r, _ := s.Snapshot(ctx)
			_, _ = r.Scan(all, kv.ScanOpt{})
			_ = r.Close()
		},
		"iterator that is not positioned": func(s kv.Store) {
			r, _ := s.Latest(ctx)
			it, _ := r.Scan(all, kv.ScanOpt{})
			it.Key()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(Options{})
			if err != nil {
				t.Fatal(err)
			}
			// A misused reader stays open, so the store can't be closed.
			defer func() {
				if recover() == nil {
					t.Error("not noticed")
				}
			}()
			misuse(kv.Checked(s))
		})
	}
}

// TestPanicInEach: a visitor that panics leaves no iterator open, which would keep the store from closing.
func TestPanicInEach(t *testing.T) {
	s, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	store := kv.Checked(s)
	if err := kv.Update(t.Context(), store, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Put([]byte("k"), nil) }); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		snap, err := store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		_ = kv.Each(t.Context(), snap, kv.Range{}, func(_, _ []byte) error { panic("visitor") })
	}()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}
