package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/locks"
	"github.com/statordb/stator/internal/stage"
)

// txn implements kv.Txn.
type txn struct {
	store *Store
	opt   kv.TxnOpt
	locks []locks.Held
	few   [2]locks.Held // storage for the locks of most transactions
	batch *pebble.Batch
	own   *pebble.Batch // an indexed copy of batch, made when the transaction reads after it wrote
	snap  *pebble.Snapshot
	held  []io.Closer
	reads []readKey // keys that were read without a hint
	keys  []written
	room  [4]written // storage for the keys of most transactions
	open  bool

	stamp     kv.TS  // 0 for none
	stampedAs uint64 // number of the stamp in store.stamps
}

// readKey is a key that was read without a lock, and its value then. If guarded, the value must be the same at commit.
type readKey struct {
	key, val []byte
	guarded  bool
}

// Begin implements kv.Store.
func (s *Store) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	t := &txn{store: s, opt: opt, open: true}
	held, err := s.locks.Acquire(ctx, t.few[:0], opt.Hint, locks.Manner{Exclusive: opt.Exclusive, Background: opt.Background})
	if err != nil {
		return nil, err
	}
	if err := s.use(); err != nil {
		s.locks.Release(held)
		return nil, err
	}
	t.locks = held
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

// source returns where to read an unlocked key: the transaction's own writes over the latest state, or else one snapshot.
func (t *txn) source() (pebble.Reader, error) {
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
	if t.snap == nil {
		t.snap = t.store.db.NewSnapshot()
	}
	return t.snap, nil
}

// Get implements kv.Reader.
func (t *txn) Get(key []byte) ([]byte, error) {
	locked := t.hinted(key)
	if locked && t.batch.Empty() {
		// A locked key can't change, so its latest value is as good as a snapshot's, and may be cached.
		return t.store.get(xxhash.Sum64(key), key, &t.held)
	}
	src, err := t.source()
	if err != nil {
		return nil, err
	}
	val, err := read(src, key, &t.held)
	if err != nil {
		return nil, err
	}
	// Reads of the own batch can't be compared later: they may contain own writes.
	if !locked && src != pebble.Reader(t.own) {
		t.reads = append(t.reads, readKey{key: bytes.Clone(key), val: val})
	}
	return val, nil
}

// Scan implements kv.Reader.
func (t *txn) Scan(r kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	src, err := t.source()
	if err != nil {
		return nil, err
	}
	return scan(src, r, opt)
}

// wrote marks an unlocked read of key as one that must still hold at commit.
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

// PutNew implements kv.Txn. Stamps are unique here, so it is Put.
func (t *txn) PutNew(key, val []byte) error { return t.Put(key, val) }

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

// Counters implements kv.Reader.
func (t *txn) Counters(key []byte) ([]int64, error) {
	val, err := t.Get(key)
	return kv.DecodeCounters(val), err
}

// SetCounters implements kv.Txn.
func (t *txn) SetCounters(key []byte, counters []int64) error {
	if len(counters) == 0 {
		return t.batch.Delete(key, nil)
	}
	return t.batch.Set(key, kv.AppendCounters(nil, counters), nil)
}

// Stamp implements kv.Txn. The locks of hinted keys are held from before the stamp is taken until the writes are visible (K8).
func (t *txn) Stamp() kv.TS {
	if t.stamp == 0 {
		t.stamp, t.stampedAs = t.store.stamps.take(t.store.now)
	}
	return t.stamp
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
func (t *txn) Commit(ctx context.Context) error {
	if !t.open {
		return fmt.Errorf("kv: the transaction has already ended")
	}
	defer t.end()
	// Validate and fence before applying anything: from there on the commit can't be refused.
	late, err := t.validate(ctx)
	defer t.store.locks.Release(late)
	if err != nil {
		return err
	}
	if t.opt.Fence != nil {
		if err := t.opt.Fence(); err != nil {
			return fmt.Errorf("%w: %w", kv.ErrFenced, err)
		}
	}
	if t.batch.Empty() {
		return t.waitRead()
	}
	if err := t.collect(); err != nil {
		return err
	}
	// Before the batch is visible, evict its keys from the row cache: see rowCache's invariant.
	t.store.rows.begin(t.keys)
	if !t.store.opt.Sync || t.opt.NoSync {
		err := t.store.apply(t.batch, pebble.NoSync)
		t.store.rows.end(t.keys, err != nil)
		return err
	}
	return t.store.commitSynced(t.batch, t.keys, t.unlock)
}

// collect lists the keys that the batch writes, in t.keys.
func (t *txn) collect() error {
	t.keys = t.room[:0]
	for r := t.batch.Reader(); ; {
		kind, key, val, ok, err := r.Next()
		if !ok {
			return err
		}
		if kind != pebble.InternalKeyKindSet {
			val = nil
		}
		t.keys = append(t.keys, written{hash: xxhash.Sum64(key), key: key, val: val})
	}
}

// waitRead returns once everything that the transaction has read is on disk, since its outcome reveals some of that (K7).
func (t *txn) waitRead() error {
	if !t.store.opt.Sync {
		return nil
	}
	var err error
	for _, key := range t.opt.Hint {
		err = errors.Join(err, t.store.waitDurable(xxhash.Sum64(key)))
	}
	for _, r := range t.reads {
		err = errors.Join(err, t.store.waitDurable(xxhash.Sum64(r.key)))
	}
	return err
}

// commitSynced applies the batch, calls release, if any, once the batch is visible, and returns once it is on disk.
// keys are the keys that it writes, for which rows.begin has been called.
func (s *Store) commitSynced(b *pebble.Batch, keys []written, release func()) error {
	c := &syncing{}
	c.done.Add(1)
	// From here to applied, readers of these keys sync the whole log.
	s.pending.before(keys)
	began := time.Now()
	err := s.apply(b, pebble.Sync)
	stage.Apply.Since(began)
	applied := time.Now()
	if err == nil {
		c.seq = b.SeqNum()
		s.pending.applied(keys, c)
	} else {
		s.pending.applied(keys, nil)
	}
	s.rows.end(keys, err != nil)
	if release != nil {
		release()
	}
	if err == nil {
		if err = b.SyncWait(); err != nil {
			err = s.health.fail(s.opt.Logger, err)
		} else if failed := s.health.log.Load(); failed != nil {
			err = fmt.Errorf("%w: %w", kv.ErrUndetermined, *failed) // Pebble does not know: see logWatch
		}
		stage.Durable.Since(applied)
	}
	c.err = err
	c.done.Done()
	s.pending.count.Add(-1)
	return err
}

// apply makes a batch visible. With pebble.Sync, the caller must then call the batch's SyncWait.
func (s *Store) apply(b *pebble.Batch, opt *pebble.WriteOptions) (err error) {
	if failed := s.health.log.Load(); failed != nil {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, *failed)
	}
	defer func() {
		// Pebble leaves its commit pipeline locked when it panics, so no later write would ever return: end the process.
		if p := recover(); p != nil {
			go panic(p)
			err = fmt.Errorf("%w: %v", kv.ErrUndetermined, p)
		}
	}()
	if opt.Sync {
		return s.db.ApplyNoSyncWait(b, opt)
	}
	return s.db.Apply(b, opt)
}

// validate locks the keys that were read without a hint and then written or guarded, and checks that their values are the same.
// The caller must release the locks that it returns, also after an error.
func (t *txn) validate(ctx context.Context) ([]locks.Held, error) {
	var guarded [][]byte
	for _, r := range t.reads {
		if r.guarded {
			guarded = append(guarded, r.key)
		}
	}
	if len(guarded) == 0 {
		return nil, nil
	}
	// Waiting here while holding other locks could deadlock; a conflict is always a correct outcome.
	late, err := t.store.locks.Acquire(ctx, nil, guarded, locks.Manner{Exclusive: true, Late: true})
	if err != nil {
		return nil, kv.ErrConflict
	}
	var held []io.Closer
	defer func() { closeAll(held) }()
	for _, r := range t.reads {
		if !r.guarded {
			continue
		}
		val, err := read(t.store.db, r.key, &held)
		if err != nil {
			return late, err
		}
		if (val == nil) != (r.val == nil) || !bytes.Equal(val, r.val) {
			return late, kv.ErrConflict
		}
	}
	return late, nil
}

// unlock releases the locks and the stamp: what the transaction wrote is visible, or never will be.
func (t *txn) unlock() {
	if t.stamp != 0 {
		t.store.stamps.end(t.stampedAs)
		t.stamp = 0
	}
	t.store.locks.Release(t.locks)
	t.locks = nil
}

// Rollback implements kv.Txn.
func (t *txn) Rollback() error {
	if !t.open {
		return nil
	}
	t.unlock()
	err := t.waitRead()
	t.end()
	return err
}

// end releases everything that the transaction holds.
func (t *txn) end() {
	t.open = false
	t.unlock()
	closeAll(t.held)
	if t.snap != nil {
		t.snap.Close()
	}
	if t.own != nil {
		t.own.Close()
	}
	t.batch.Close()
	t.store.mu.RUnlock()
}

func closeAll(list []io.Closer) {
	for _, c := range list {
		c.Close()
	}
}
