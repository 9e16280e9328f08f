package pebblekv

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/statordb/stator/internal/kv"
)

// txn implements kv.Txn.
type txn struct {
	store *Store
	opt   kv.TxnOpt
	locks []hint
	few   [2]hint // room for the locks of most transactions
	batch *pebble.Batch
	own   *pebble.Batch // the batch with an index, once the transaction reads after it wrote
	snap  *pebble.Snapshot
	held  []io.Closer
	reads []read // keys read without a hint
	open  bool
}

// read is a key that was read without being locked, what it held, and whether that must still be so at commit.
type read struct {
	key, val []byte
	found    bool
	guarded  bool
}

// Begin implements kv.Store.
func (s *Store) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	t := &txn{store: s, opt: opt, open: true}
	locks, err := s.locks.acquire(ctx, t.few[:0], opt.Hint, opt.Exclusive)
	if err != nil {
		return nil, err
	}
	t.locks = locks
	t.batch = s.db.NewBatch()
	return t, nil
}

func (t *txn) hinted(key []byte) bool {
	for _, h := range t.opt.Hint {
		if bytes.Equal(h, key) {
			return true
		}
	}
	return false
}

// source is where to read a key from: the own writes if there are any; else the last state for keys that are locked and so
// can't change; else one snapshot.
func (t *txn) source(locked bool) (pebble.Reader, error) {
	if !t.batch.Empty() {
		if t.own == nil || t.own.Len() != t.batch.Len() {
			if t.own != nil {
				t.held = append(t.held, t.own) // values read from it stay valid
			}
			t.own = t.store.db.NewIndexedBatch()
			if err := t.own.Apply(t.batch, nil); err != nil {
				return nil, err
			}
		}
		return t.own, nil
	}
	if locked {
		return t.store.db, nil
	}
	if t.snap == nil {
		t.snap = t.store.db.NewSnapshot()
	}
	return t.snap, nil
}

// Get implements kv.Reader.
func (t *txn) Get(key []byte) ([]byte, error) {
	locked := t.hinted(key)
	src, err := t.source(locked)
	if err != nil {
		return nil, err
	}
	val, closer, err := src.Get(key)
	if err != nil && notFound(err) != nil {
		return nil, err
	}
	found := err == nil
	if found {
		t.held = append(t.held, closer)
		if val == nil {
			val = []byte{}
		}
	}
	if !locked && src != pebble.Reader(t.own) {
		t.reads = append(t.reads, read{key: bytes.Clone(key), val: val, found: found})
	}
	if !found {
		return nil, nil
	}
	return val, nil
}

// Scan implements kv.Reader.
func (t *txn) Scan(r kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	src, err := t.source(false)
	if err != nil {
		return nil, err
	}
	return scan(src, r, opt)
}

// wrote marks an unlocked read of key as one that must hold until the commit.
func (t *txn) wrote(key []byte) {
	for i := range t.reads {
		if bytes.Equal(t.reads[i].key, key) {
			t.reads[i].guarded = true
		}
	}
}

// Put implements kv.Txn.
func (t *txn) Put(key, val []byte) error {
	t.wrote(key)
	return t.batch.Set(key, val, nil)
}

// Delete implements kv.Txn.
func (t *txn) Delete(key []byte, oldSize int) error {
	t.wrote(key)
	if oldSize > len(key) {
		return t.batch.DeleteSized(key, uint32(oldSize-len(key)), nil)
	}
	return t.batch.Delete(key, nil)
}

// Add implements kv.Txn.
func (t *txn) Add(key []byte, deltas []int64) error {
	var buf [64]byte
	return t.batch.Merge(key, kv.AppendCounters(buf[:0], deltas), nil)
}

// Guard implements kv.Txn.
func (t *txn) Guard(keys ...[]byte) error {
	for _, key := range keys {
		if t.hinted(key) {
			continue
		}
		if _, err := t.Get(key); err != nil {
			return err
		}
		t.wrote(key)
	}
	return nil
}

// Commit implements kv.Txn.
func (t *txn) Commit(ctx context.Context) (kv.TS, error) {
	if !t.open {
		return 0, fmt.Errorf("kv: commit of a transaction that has ended")
	}
	defer t.Rollback()
	late, err := t.validate(ctx)
	defer t.store.locks.release(late)
	if err != nil {
		return 0, err
	}
	now := t.store.Now()
	if t.opt.Fence != nil {
		if err := t.opt.Fence(now); err != nil {
			return 0, fmt.Errorf("%w: %w", kv.ErrFenced, err)
		}
	}
	if t.batch.Empty() {
		return now, nil
	}
	if !t.store.opt.Sync || t.opt.NoSync {
		return now, t.batch.Commit(pebble.NoSync)
	}
	if err := t.store.db.ApplyNoSyncWait(t.batch, pebble.Sync); err != nil {
		return 0, err
	}
	t.unlock()
	return now, t.batch.SyncWait()
}

// validate locks the keys that were read without a hint and then written or guarded, and compares what they hold now.
func (t *txn) validate(ctx context.Context) ([]hint, error) {
	var guarded [][]byte
	for _, r := range t.reads {
		if r.guarded {
			guarded = append(guarded, r.key)
		}
	}
	if len(guarded) == 0 {
		return nil, nil
	}
	// Waiting here while holding other locks could deadlock; failing is always right.
	late, err := t.store.locks.acquire(ctx, nil, guarded, true)
	if err != nil {
		return nil, kv.ErrConflict
	}
	for _, r := range t.reads {
		if !r.guarded {
			continue
		}
		val, closer, err := t.store.db.Get(r.key)
		if err != nil && notFound(err) != nil {
			return late, err
		}
		same := (err == nil) == r.found && bytes.Equal(val, r.val)
		if err == nil {
			closer.Close()
		}
		if !same {
			return late, kv.ErrConflict
		}
	}
	return late, nil
}

func (t *txn) unlock() {
	t.store.locks.release(t.locks)
	t.locks = nil
}

// Rollback implements kv.Txn.
func (t *txn) Rollback() {
	if !t.open {
		return
	}
	t.open = false
	t.unlock()
	for _, c := range t.held {
		c.Close()
	}
	if t.snap != nil {
		t.snap.Close()
	}
	if t.own != nil {
		t.own.Close()
	}
	t.batch.Close()
}
