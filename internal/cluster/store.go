package cluster

import (
	"bytes"
	"context"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Store returns the store for this server's use. Its transactions log changes of cached keys (keyspace.Remembered), and
// none of them commits if this server may have been replaced.
func (m *Member) Store() kv.Store { return &store{m.kv, m} }

// store wraps a store with the member's fence and log.
type store struct {
	kv.Store
	member *Member
}

// Begin implements kv.Store.
func (s *store) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	fence := opt.Fence
	opt.Fence = func() error {
		if err := s.member.fence(); err != nil || fence == nil {
			return err
		}
		return fence()
	}
	t, err := s.Store.Begin(ctx, opt)
	if err != nil {
		return nil, err
	}
	return &txn{Txn: t, member: s.member}, nil
}

// txn collects the cached keys that it changes, and logs them in its own commit: a change and its entry are atomic.
type txn struct {
	kv.Txn
	member  *Member
	changed []entry
}

// changes notes a write of a key for the log, if servers cache it.
func (t *txn) changes(key []byte) {
	if keyspace.Remembered(key) {
		t.changed = append(t.changed, entry{Key: bytes.Clone(key)})
	}
}

// Put implements kv.Txn.
func (t *txn) Put(key, val []byte) error {
	t.changes(key)
	return t.Txn.Put(key, val)
}

// Delete implements kv.Txn.
func (t *txn) Delete(key []byte, oldSize int) error {
	t.changes(key)
	return t.Txn.Delete(key, oldSize)
}

// Commit implements kv.Txn.
func (t *txn) Commit(ctx context.Context) error {
	if len(t.changed) == 0 {
		return t.Txn.Commit(ctx)
	}
	n, err := log(t.Txn, t.changed...)
	if err != nil {
		_ = t.Txn.Rollback()
		return err
	}
	if err := t.Txn.Commit(ctx); err != nil {
		return err
	}
	t.member.changed(n)
	return nil
}
