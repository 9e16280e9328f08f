// Package registry keeps long-lived descriptions, such as those of backups and exports: as JSON in the store, and
// cached in memory. The caches of all servers are kept coherent by package cluster.
package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// ID identifies a record among those of its kind.
type ID struct {
	Account, Region string
	Name            string
}

// Set is all records of a kind. A record returned by a lookup is immutable; a change replaces it. Lookups take no lock.
type Set[T any] struct {
	// Changed, if not nil, is called with each record that was put or changed, on this server or another.
	Changed func(*T)

	kv     kv.Store
	kind   byte
	list   atomic.Pointer[map[ID]*T]
	change sync.Mutex // held while list is updated
}

// Open reads the records of a kind. id returns the ID of a record.
func Open[T any](ctx context.Context, f cluster.Coordinator, store kv.Store, kind byte, id func(*T) ID) (*Set[T], error) {
	s := &Set[T]{kv: store, kind: kind}
	// Watch before reading, so that no change is missed in between.
	f.Watch(keyspace.Jobs(kind), s)
	snap, err := store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	list := map[ID]*T{}
	all, err := Read[T](ctx, snap, kind)
	for _, v := range all {
		list[id(v)] = v
	}
	s.list.Store(&list)
	return s, err
}

// Read returns the records of a kind in a snapshot.
func Read[T any](ctx context.Context, r kv.Reader, kind byte) (list []*T, err error) {
	prefix := keyspace.Jobs(kind)
	err = kv.Each(ctx, r, kv.Range{Start: prefix, End: keyspace.PrefixEnd(prefix)}, func(key, val []byte) error {
		v := new(T)
		if err := json.Unmarshal(val, v); err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		list = append(list, v)
		return nil
	})
	return list, err
}

// Get returns a record, or nil.
func (s *Set[T]) Get(id ID) *T { return (*s.list.Load())[id] }

// All returns all records, in no particular order.
func (s *Set[T]) All() []*T { return slices.Collect(maps.Values(*s.list.Load())) }

// List returns the records of an account and region, in no particular order.
func (s *Set[T]) List(account, region string) (out []*T) {
	for id, v := range *s.list.Load() {
		if id.Account == account && id.Region == region {
			out = append(out, v)
		}
	}
	return out
}

// clone copies the strings, which may be views of a request's memory.
func (id ID) clone() ID {
	return ID{strings.Clone(id.Account), strings.Clone(id.Region), strings.Clone(id.Name)}
}

func (s *Set[T]) key(id ID) []byte { return keyspace.Job(s.kind, id.Account, id.Region, id.Name) }

// PutIn stores a new record as part of a transaction. The caller must call publish after the commit, so that lookups find it.
func (s *Set[T]) PutIn(txn kv.Txn, id ID, v *T) (publish func() error, err error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return func() error { return s.Reload(context.Background(), s.key(id)) }, txn.Put(s.key(id), raw)
}

// Freeze implements cluster.Watcher. Records are changed in transactions of their own, so nothing needs to wait.
func (s *Set[T]) Freeze([]byte) {}

// Reload implements cluster.Watcher: it makes lookups find the stored record.
func (s *Set[T]) Reload(ctx context.Context, key []byte) error {
	account, region, name, ok := keyspace.SplitNamed(key)
	if !ok {
		return nil
	}
	s.change.Lock()
	defer s.change.Unlock()
	raw, err := kv.ReadLatest(ctx, s.kv, key)
	if err != nil {
		return err
	}
	return s.publish(ID{account, region, name}, raw)
}

// publish replaces a record in the cache by a decoded copy, which holds no memory of a request; nil removes it.
func (s *Set[T]) publish(id ID, raw []byte) error {
	list := maps.Clone(*s.list.Load())
	if raw == nil {
		delete(list, id)
	} else {
		fresh := new(T)
		if err := json.Unmarshal(raw, fresh); err != nil {
			return err
		}
		list[id.clone()] = fresh
		if s.Changed != nil {
			defer s.Changed(fresh)
		}
	}
	s.list.Store(&list)
	return nil
}

// Put stores a record, replacing one with that ID.
func (s *Set[T]) Put(ctx context.Context, id ID, v *T) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	key := s.key(id)
	err = kv.Update(ctx, s.kv, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error { return txn.Put(key, raw) })
	if err != nil {
		return err
	}
	return s.Reload(ctx, key)
}

// Change applies change to a copy of a record and stores the copy. It returns nil if there is no such record. If change
// fails, its error is returned and nothing is stored. change may run more than once.
func (s *Set[T]) Change(ctx context.Context, id ID, change func(*T) error) (*T, error) {
	key := s.key(id)
	err := kv.Update(ctx, s.kv, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
		raw, err := txn.Get(key)
		if err != nil || raw == nil {
			return err
		}
		v := new(T)
		if err := json.Unmarshal(raw, v); err != nil {
			return err
		}
		if err := change(v); err != nil {
			return err
		}
		if raw, err = json.Marshal(v); err != nil {
			return err
		}
		return txn.Put(key, raw)
	})
	if err != nil {
		return nil, err
	}
	if err := s.Reload(ctx, key); err != nil {
		return nil, err
	}
	return s.Get(id), nil
}

// Remove removes a record. also, if not nil, runs in the same transaction.
func (s *Set[T]) Remove(ctx context.Context, id ID, also func(kv.Txn) error) error {
	key := s.key(id)
	err := kv.Update(ctx, s.kv, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
		if also != nil {
			if err := also(txn); err != nil {
				return err
			}
		}
		return txn.Delete(key, 0)
	})
	if err != nil {
		return err
	}
	return s.Reload(ctx, key)
}
