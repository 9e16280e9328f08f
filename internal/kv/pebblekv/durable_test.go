package pebblekv

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/statordb/stator/internal/kv"
)

// TestVisibleMeansDurable delays the fsync of a commit, and checks that nothing that depends on the commit is answered before
// the fsync has returned (K7).
func TestVisibleMeansDurable(t *testing.T) {
	ctx := context.Background()
	key := []byte("key")
	get := func(s *Store) error {
		r, err := s.Latest(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		v, err := r.Get(key)
		if string(v) != "value" {
			return errors.Join(err, errors.New("the commit is not visible"))
		}
		return err
	}
	for name, read := range map[string]func(s *Store) error{
		"Get": get,
		"Get in a snapshot": func(s *Store) error {
			r, err := s.Snapshot(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = r.Get(key)
			return err
		},
		"Scan": func(s *Store) error {
			r, err := s.Latest(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			it, err := r.Scan(kv.Range{Start: []byte("a"), End: []byte("z")}, kv.ScanOpt{})
			if err != nil {
				return err
			}
			return it.Close()
		},
		"commit of nothing": func(s *Store) error {
			return kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
				_, err := txn.Get(key)
				return err
			})
		},
		"refusal": func(s *Store) error {
			refusal := errors.New("condition failed")
			err := kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
				_, err := txn.Get(key)
				return errors.Join(err, refusal)
			})
			if errors.Is(err, refusal) {
				return nil
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var hold atomic.Bool
			release := make(chan struct{})
			fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if hold.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo) {
					<-release
				}
				return nil
			}))
			s, err := Open(Options{Dir: "data", FS: fs, Sync: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			hold.Store(true)
			written := make(chan error, 1)
			go func() {
				written <- kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error { return txn.Put(key, []byte("value")) })
			}()
			for visible := false; !visible; {
				r, err := s.Latest(ctx)
				if err != nil {
					t.Fatal(err)
				}
				it, err := r.Scan(kv.Range{Start: []byte("a"), End: []byte("z")}, kv.ScanOpt{Stale: true})
				if err != nil {
					t.Fatal(err)
				}
				visible = it.Next()
				it.Close()
				r.Close()
			}
			var released atomic.Bool
			done := make(chan bool, 1)
			go func() {
				if err := read(s); err != nil {
					t.Error(err)
				}
				done <- released.Load()
			}()
			time.Sleep(20 * time.Millisecond) // time to fail
			released.Store(true)
			close(release)
			if !<-done {
				t.Error("answered before the fsync")
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}
