// Package registry keeps long-lived records, such as those of backups, alarms and scaling policies: as JSON in the store, and
// cached in memory, in order. The caches of all servers are kept coherent by package cluster.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// ID identifies a record among those of its kind.
type ID struct {
	Account, Region string
	Name            string
}

// Set is all records of a kind. A record returned by a lookup is immutable; a change replaces it. Lists are in the order of account,
// region and name. Lookups never wait for the store.
type Set[T any] struct {
	// Changed, if not nil, is called with each record that was put or changed, on this server or another.
	Changed func(*T)

	kv     kv.Store
	prefix []byte     // of the records' keys
	change sync.Mutex // held while a record is read from the store and cached

	mu      sync.RWMutex // guards list
	list    []entry[T]   // sorted by key
	version atomic.Uint64
}

// entry is a cached record.
type entry[T any] struct {
	key    string
	record *T
}

// Open reads the records of a kind, and follows their changes.
func Open[T any](ctx context.Context, from Storage, kind Kind) (*Set[T], error) {
	s := &Set[T]{kv: from.KV, prefix: slices.Clip(kind.prefix)}
	// Watch before reading, so that no change is missed in between.
	from.Coordinator.Watch(kind.prefix, s)
	snap, err := from.KV.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	return s, each(ctx, snap, kind, func(key []byte, v *T) { s.list = append(s.list, entry[T]{string(key), v}) })
}

// Read returns the records of a kind in a snapshot.
func Read[T any](ctx context.Context, r kv.Reader, kind Kind) (list []*T, err error) {
	err = each(ctx, r, kind, func(_ []byte, v *T) { list = append(list, v) })
	return list, err
}

// each visits the records of a kind, in order.
func each[T any](ctx context.Context, r kv.Reader, kind Kind, visit func(key []byte, v *T)) error {
	return kv.Each(ctx, r, kv.Prefix(kind.prefix), func(key, val []byte) error {
		v, err := decode[T](key, val)
		if err == nil {
			visit(key, v)
		}
		return err
	})
}

func decode[T any](key, val []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(val, v); err != nil {
		return nil, fmt.Errorf("record %q: %w", key, err)
	}
	return v, nil
}

func (s *Set[T]) key(id ID) []byte {
	return keyspace.Named(s.prefix, id.Account, id.Region, id.Name)
}

// find returns the position of a key in the list, or where it belongs. The caller holds mu.
func (s *Set[T]) find(key string) (at int, there bool) {
	return slices.BinarySearchFunc(s.list, key, func(e entry[T], key string) int { return strings.Compare(e.key, key) })
}

// Get returns a record, or nil.
func (s *Set[T]) Get(id ID) *T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if at, there := s.find(string(s.key(id))); there {
		return s.list[at].record
	}
	return nil
}

// Version returns a number that grows with every change of what lookups find. What is derived from lookups that followed a call of Version is
// valid as long as Version returns the same number.
func (s *Set[T]) Version() uint64 { return s.version.Load() }

// All returns all records.
func (s *Set[T]) All() []*T { return s.under(s.prefix) }

// List returns the records of an account and region.
func (s *Set[T]) List(account, region string) []*T { return s.Under(ID{account, region, ""}) }

// Under returns the records of an account and region whose names begin with the name of id.
func (s *Set[T]) Under(id ID) []*T { return s.under(s.key(id)) }

func (s *Set[T]) under(prefix []byte) (out []*T) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, _ := s.find(string(prefix))
	for _, e := range s.list[at:] {
		if !strings.HasPrefix(e.key, string(prefix)) {
			break
		}
		out = append(out, e.record)
	}
	return out
}

// Txn is a transaction that changes records, of one set or of several, and possibly other keys.
type Txn struct {
	kv.Txn
	reload []func(context.Context) error
}

// Update runs do in a transaction, and then makes lookups find what do has stored. do may run more than once.
func Update(ctx context.Context, store kv.Store, opt kv.TxnOpt, do func(*Txn) error) error {
	var last *Txn
	err := kv.Update(ctx, store, opt, func(txn kv.Txn) error {
		last = &Txn{Txn: txn}
		return do(last)
	})
	if err != nil {
		return err
	}
	for _, reload := range last.reload { // even if the request has ended: its changes are stored
		err = errors.Join(err, reload(context.WithoutCancel(ctx)))
	}
	return err
}

// store puts or, if v is nil, deletes a record.
func (s *Set[T]) store(txn *Txn, key []byte, v *T) error {
	txn.reload = append(txn.reload, func(ctx context.Context) error { return s.Reload(ctx, key) })
	if v == nil {
		return txn.Delete(key, 0)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return txn.Put(key, raw)
}

// PutIn stores a record, replacing one with that ID.
func (s *Set[T]) PutIn(txn *Txn, id ID, v *T) error { return s.store(txn, s.key(id), v) }

// RemoveIn removes a record.
func (s *Set[T]) RemoveIn(txn *Txn, id ID) error { return s.store(txn, s.key(id), nil) }

// GetIn returns a copy of a record, as the transaction sees it; nil if there is no such record.
func (s *Set[T]) GetIn(txn *Txn, id ID) (*T, error) {
	key := s.key(id)
	raw, err := txn.Get(key)
	if err != nil || raw == nil {
		return nil, err
	}
	return decode[T](key, raw)
}

// ListIn returns copies of the records of an account and region, as the transaction sees them. A record that appears or changes later does not make the
// transaction fail, unless it reads that record by GetIn and stores it.
func (s *Set[T]) ListIn(ctx context.Context, txn *Txn, account, region string) (list []*T, err error) {
	err = kv.Each(ctx, txn, kv.Prefix(s.key(ID{account, region, ""})), func(key, val []byte) error {
		v, err := decode[T](key, val)
		list = append(list, v)
		return err
	})
	return list, err
}

// ChangeIn applies change to a copy of a record and stores the copy, which it returns. It returns nil if there is no such record. If
// change fails, so does ChangeIn, with that error.
func (s *Set[T]) ChangeIn(txn *Txn, id ID, change func(*T) error) (*T, error) {
	v, err := s.GetIn(txn, id)
	if err != nil || v == nil {
		return nil, err
	}
	if err := change(v); err != nil {
		return nil, err
	}
	return v, s.PutIn(txn, id, v)
}

// update runs a transaction that changes a single record.
func (s *Set[T]) update(ctx context.Context, id ID, do func(*Txn) error) error {
	return Update(ctx, s.kv, kv.TxnOpt{Hint: [][]byte{s.key(id)}}, do)
}

// Put is PutIn in a transaction of its own.
func (s *Set[T]) Put(ctx context.Context, id ID, v *T) error {
	return s.update(ctx, id, func(txn *Txn) error { return s.PutIn(txn, id, v) })
}

// Change is ChangeIn in a transaction of its own. It returns the record that lookups find now. change may run more than once.
func (s *Set[T]) Change(ctx context.Context, id ID, change func(*T) error) (*T, error) {
	err := s.update(ctx, id, func(txn *Txn) error {
		_, err := s.ChangeIn(txn, id, change)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Get(id), nil
}

// Remove is RemoveIn in a transaction of its own.
func (s *Set[T]) Remove(ctx context.Context, id ID) error {
	return s.update(ctx, id, func(txn *Txn) error { return s.RemoveIn(txn, id) })
}

// Freeze implements cluster.Watcher. Records are changed in transactions of their own, so nothing needs to wait.
func (s *Set[T]) Freeze([]byte) {}

// Reload implements cluster.Watcher: it makes lookups find the stored record. What they find is decoded from the store, so it holds no
// memory of a request. Reload waits only for the store and Changed.
func (s *Set[T]) Reload(ctx context.Context, key []byte) error {
	s.change.Lock() // what was read last is cached last
	defer s.change.Unlock()
	raw, err := kv.ReadLatest(ctx, s.kv, key)
	if err != nil {
		return err
	}
	if raw == nil {
		s.drop(string(key))
		return nil
	}
	v, err := decode[T](key, raw)
	if err != nil {
		return err
	}
	s.keep(string(key), v)
	if s.Changed != nil {
		s.Changed(v)
	}
	return nil
}

// keep caches a record.
func (s *Set[T]) keep(key string, v *T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, there := s.find(key)
	if !there {
		s.list = slices.Insert(s.list, at, entry[T]{key: key})
	}
	s.list[at].record = v
	s.version.Add(1)
}

// drop removes a record from the cache.
func (s *Set[T]) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, there := s.find(key); there {
		s.list = slices.Delete(s.list, at, at+1)
		s.version.Add(1)
	}
}
