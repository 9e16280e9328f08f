package tikvkv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	tikverr "github.com/tikv/client-go/v2/error"
	tikvclient "github.com/tikv/client-go/v2/kv"
	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/txnkv/transaction"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/locks"
)

// txn implements kv.Txn.
type txn struct {
	store *Store
	ctx   context.Context
	opt   kv.TxnOpt
	held  []locks.Held
	few   [2]locks.Held
	txn   *transaction.KVTxn
	ended bool
	wrote bool
	adds  []counted
}

// Begin implements kv.Store.
func (s *Store) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	t := &txn{store: s, ctx: ctx, opt: opt}
	var err error
	t.held, err = s.locks.Acquire(ctx, t.few[:0], opt.Hint, locks.Manner{Exclusive: opt.Exclusive, Background: opt.Background})
	if err != nil {
		return nil, err
	}
	if t.txn, err = s.db.Begin(); err == nil && len(opt.Hint) > 1 {
		_, err = t.txn.GetSnapshot().BatchGet(ctx, opt.Hint) // later Gets find them in the snapshot's cache
	}
	if err != nil {
		s.locks.Release(t.held)
		return nil, failure(err)
	}
	// Return after the prewrites, or commit in one phase where a single region is written. The schema check is the
	// client's only hook between prewrite and commit; it serves as the fence.
	t.txn.SetEnableAsyncCommit(true)
	t.txn.SetEnable1PC(true)
	t.txn.SetSchemaLeaseChecker(t)
	return t, nil
}

// CheckBySchemaVer implements the client's SchemaLeaseChecker. The client calls it when the commit timestamp is known, or is
// certain to be taken within safeWindow; so it is the last moment to refuse a commit.
func (t *txn) CheckBySchemaVer(at uint64, _ transaction.SchemaVer) (*transaction.RelatedSchemaChange, error) {
	if t.opt.Stamped && oracle.GetTimeFromTS(at).Sub(oracle.GetTimeFromTS(t.txn.StartTS())) > stampedFor {
		return nil, kv.ErrConflict // too late: Stable may have passed the stamp
	}
	if t.opt.Fence != nil {
		if err := t.opt.Fence(); err != nil {
			return nil, fmt.Errorf("%w: %w", kv.ErrFenced, err)
		}
	}
	return nil, nil
}

// Get implements kv.Reader.
func (t *txn) Get(key []byte) ([]byte, error) { return found(t.txn.Get(t.ctx, key)) }

// Counters implements kv.Reader.
func (t *txn) Counters(key []byte) ([]int64, error) {
	val, err := t.Get(key)
	return kv.SumCounters(kv.DecodeCounters(val), t.store.tally.get(key)), err
}

// Scan implements kv.Reader.
func (t *txn) Scan(r kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	return newIterator(t.txn, t.txn.GetSnapshot(), &t.store.sizes, r, opt), nil
}

// Put implements kv.Txn.
func (t *txn) Put(key, val []byte) error {
	if len(key) > maxKey || len(val) > maxValue {
		return kv.ErrTooLarge
	}
	t.wrote = true
	return failure(t.txn.Set(bytes.Clone(key), bytes.Clone(encode(val))))
}

// PutNew implements kv.Txn. Stamps are unique here, so it is Put.
func (t *txn) PutNew(key, val []byte) error { return t.Put(key, val) }

// Delete implements kv.Txn.
func (t *txn) Delete(key []byte, _ int) error {
	t.wrote = true
	return failure(t.txn.Delete(bytes.Clone(key)))
}

// Add implements kv.Txn.
func (t *txn) Add(key []byte, deltas []int64) error {
	t.adds = append(t.adds, counted{string(key), append([]int64(nil), deltas...)})
	return nil
}

// SetCounters implements kv.Txn.
func (t *txn) SetCounters(key []byte, counters []int64) error {
	t.store.tally.forget(kv.Range{Start: key, End: append(bytes.Clone(key), 0)})
	if len(counters) == 0 {
		return t.Delete(key, 0)
	}
	return t.Put(key, kv.AppendCounters(nil, counters))
}

// Stamp implements kv.Txn with the start timestamp. Of two transactions that write a common key, one starts after the other has
// committed, or they conflict; so start timestamps order them (K8).
func (t *txn) Stamp() kv.TS {
	if !t.opt.Stamped {
		panic("tikvkv: Stamp of a transaction that is not Stamped")
	}
	return kv.TS(t.txn.StartTS())
}

// Guard implements kv.Txn by locking the keys: the locks fail if the keys have changed since the transaction's start.
func (t *txn) Guard(keys ...[]byte) error {
	return failure(t.txn.LockKeys(t.ctx, tikvclient.NewLockCtx(t.txn.StartTS(), tikvclient.LockNoWait, time.Now()), keys...))
}

// Commit implements kv.Txn.
func (t *txn) Commit(ctx context.Context) error {
	if t.ended {
		return errors.New("tikvkv: the transaction has already ended")
	}
	defer t.end()
	if t.opt.Fence != nil {
		if err := t.opt.Fence(); err != nil {
			return errors.Join(fmt.Errorf("%w: %w", kv.ErrFenced, err), t.txn.Rollback())
		}
	}
	if t.wrote {
		// Hinted keys that are not written must not change either (K3). Written keys are locked by the commit itself.
		if err := t.Guard(t.opt.Hint...); err != nil {
			return errors.Join(err, t.txn.Rollback())
		}
	}
	// A caller that gives up is no reason to leave the outcome unknown.
	if err := failure(t.txn.Commit(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	// Counters follow the commit, so a transaction that fails changes none.
	t.store.tally.add(t.adds)
	return nil
}

// Rollback implements kv.Txn.
func (t *txn) Rollback() error {
	if t.ended {
		return nil
	}
	defer t.end()
	if err := t.txn.Rollback(); err != nil && !errors.Is(err, tikverr.ErrInvalidTxn) {
		return failure(err)
	}
	return nil
}

func (t *txn) end() {
	t.ended = true
	t.store.locks.Release(t.held)
}
