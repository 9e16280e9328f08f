// Package registry keeps long-lived descriptions, such as those of backups and exports: as JSON in the store, and in memory.
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

// ID names a record among those of its kind.
type ID struct {
	Account, Region string
	Name            string
}

// Set has all records of a kind. A record that lookups have found is never changed; a change puts another in its place.
type Set[T any] struct {
	// Changed, if not nil, hears of records that were changed, on this server or another.
	Changed func(*T)

	kv     kv.Store
	kind   byte
	list   atomic.Pointer[map[ID]*T]
	change sync.Mutex // held while what lookups find is brought up to date
}

// Open reads the records of a kind. key returns the ID that a record has.
func Open[T any](ctx context.Context, f cluster.Fleet, store kv.Store, kind byte, id func(*T) ID) (*Set[T], error) {
	s := &Set[T]{kv: store, kind: kind}
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

// Read returns the records of a kind that a snapshot has.
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

// All returns all records.
func (s *Set[T]) All() []*T { return slices.Collect(maps.Values(*s.list.Load())) }

// List returns the records of an account and region.
func (s *Set[T]) List(account, region string) (out []*T) {
	for id, v := range *s.list.Load() {
		if id.Account == account && id.Region == region {
			out = append(out, v)
		}
	}
	return out
}

func (id ID) clone() ID {
	return ID{strings.Clone(id.Account), strings.Clone(id.Region), strings.Clone(id.Name)}
}

func (s *Set[T]) key(id ID) []byte { return keyspace.Job(s.kind, id.Account, id.Region, id.Name) }

// PutIn stores a record that is new as a part of a transaction; publish makes lookups find it, and is to be called after the
// commit.
func (s *Set[T]) PutIn(txn kv.Txn, id ID, v *T) (publish func() error, err error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return func() error { return s.Reload(context.Background(), s.key(id)) }, txn.Put(s.key(id), raw)
}

// Freeze implements fleet.Watcher.
func (s *Set[T]) Freeze([]byte) {}

// Reload implements fleet.Watcher: lookups find what the store has.
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

// publish makes a copy of a record, with no memory of a request's, the one that lookups find; nil makes them find none.
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

// Put stores a record.
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

// Change stores what change makes of a copy of a record; an error of change is returned as it is. It returns nil if there is
// no such record. change may be called more than once.
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

// Remove removes a record. also, if not nil, is a further part of the transaction.
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
