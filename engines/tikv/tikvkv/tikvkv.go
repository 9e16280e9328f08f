// Package tikvkv is the engine over TiKV, a distributed transactional key-value store. Any number of Stator's servers may share
// one cluster.
//
// Transactions are TiKV's optimistic ones: they read the state at their start, and conflict if another transaction has
// committed to one of their keys since. Locks in memory come first: they queue the writers of one server's hot keys and
// detect conflicts; writers on different servers conflict in TiKV and are retried. A commit that touches a single
// region takes one phase; others return as soon as their prewrites have (async commit).
package tikvkv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pingcap/log"
	"github.com/tikv/client-go/v2/config"
	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/txnkv"
	"github.com/tikv/client-go/v2/txnkv/txnsnapshot"
	"go.uber.org/zap"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/locks"
	"github.com/statordb/stator/internal/kv/paging"
)

const (
	// safeWindow bounds the time from the check of a transaction's lease until its commit timestamp.
	safeWindow = 500 * time.Millisecond
	// stampedFor bounds the time from a transaction's stamp until that check. stableLag is how far Stable lags: every
	// transaction stamped before it has committed by then, or never will.
	stampedFor = time.Second
	stableLag  = stampedFor + safeWindow + 100*time.Millisecond

	// maxKey is the size of the largest key, in bytes, including what TiKV adds to it.
	maxKey = 7000
	// maxValue and maxTxn are TiKV's default limits, in bytes.
	maxValue = 6 << 20
	maxTxn   = 100 << 20
)

// Options configure the engine.
type Options struct {
	Logger *slog.Logger
}

// Store implements kv.Store.
type Store struct {
	db     *tikv.KVStore
	opt    Options
	locks  locks.Table
	sizes  paging.Sizes
	floor  atomic.Uint64 // Advance's timestamp
	tally  tally
	oldest snapshots // open snapshots, which garbage collection must respect
	stop   context.CancelFunc
	done   guard.Group
}

// Open connects to a cluster by a URL such as tikv://pd1:2379,pd2:2379?ca=FILE&cert=FILE&key=FILE.
func Open(from string, opt Options) (*Store, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	for name := range q {
		if name != "ca" && name != "cert" && name != "key" {
			return nil, fmt.Errorf("%s: unknown parameter %s", u.Redacted(), name)
		}
	}
	config.UpdateGlobal(func(c *config.Config) {
		c.Security = config.NewSecurity(q.Get("ca"), q.Get("cert"), q.Get("key"), nil)
	})
	addresses := strings.Split(u.Host, ",")
	if slices.Contains(addresses, "") {
		return nil, fmt.Errorf("storage %s: must name the addresses of TiKV's placement drivers: tikv://HOST:PORT,HOST:PORT", from)
	}
	quiet()
	client, err := txnkv.NewClient(addresses)
	if err != nil {
		return nil, fmt.Errorf("TiKV's placement drivers at %s: %w", u.Host, err)
	}
	return New(client.KVStore, true, opt), nil
}

// quiet reduces the client's own log to errors; its warnings are mostly retries.
func quiet() { log.SetLevel(zap.ErrorLevel) }

// New makes a store from a client, which Close closes. collect makes this server collect old versions that no server reads.
func New(db *tikv.KVStore, collect bool, opt Options) *Store {
	quiet()
	config.UpdateGlobal(func(c *config.Config) { c.TiKVClient.AsyncCommit.SafeWindow = safeWindow })
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{db: db, opt: opt}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.done.Start(opt.Logger, "storing counters", func() { s.tallyLoop(ctx) })
	if collect {
		s.done.Start(opt.Logger, "collecting old versions", func() {
			guard.Loop(ctx, opt.Logger, "collecting old versions", func() { s.collectLoop(ctx) })
		})
	}
	return s
}

// Close implements kv.Store.
func (s *Store) Close() error {
	s.stop()
	s.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(s.flushTally(ctx), s.db.Close())
}

// Limits implements kv.Store.
func (s *Store) Limits() kv.Limits {
	return kv.Limits{Key: maxKey, Value: maxValue, Txn: maxTxn, Workers: 16}
}

// Now implements kv.Store with a timestamp of the cluster's oracle.
func (s *Store) Now(context.Context) (kv.TS, error) {
	ts, err := s.db.CurrentTimestamp(oracle.GlobalTxnScope)
	return max(kv.TS(ts), kv.TS(s.floor.Load()+1)), failure(err)
}

// Stable implements kv.Store.
func (s *Store) Stable(ctx context.Context) (kv.TS, error) {
	now, err := s.Now(ctx)
	return now - min(now, kv.AtMillis(stableLag.Milliseconds())), err
}

// Advance implements kv.Store. The oracle's clock never goes back; this is for data copied from another store.
func (s *Store) Advance(ts kv.TS) {
	for {
		last := s.floor.Load()
		if last >= uint64(ts) || s.floor.CompareAndSwap(last, uint64(ts)) {
			return
		}
	}
}

// failure maps an error of the client to one of package kv.
func failure(err error) error {
	if err == nil {
		return nil
	}
	var conflict *tikverr.ErrWriteConflict
	var latch *tikverr.ErrWriteConflictInLatch
	var retry *tikverr.ErrRetryable
	var deadlock *tikverr.ErrDeadlock
	var large *tikverr.ErrTxnTooLarge
	var entry *tikverr.ErrEntryTooLarge
	var pd *tikverr.ErrPDServerTimeout
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, kv.ErrFenced), errors.Is(err, kv.ErrConflict):
		return err
	case errors.Is(err, tikverr.ErrResultUndetermined):
		return fmt.Errorf("%w: %w", kv.ErrUndetermined, err)
	case errors.As(err, &conflict), errors.As(err, &latch), errors.As(err, &retry), errors.As(err, &deadlock):
		return kv.ErrConflict
	case errors.As(err, &large), errors.As(err, &entry):
		return fmt.Errorf("%w: %w", kv.ErrTooLarge, err)
	case errors.Is(err, tikverr.ErrTiKVServerTimeout), errors.Is(err, tikverr.ErrTiKVServerBusy), errors.Is(err, tikverr.ErrRegionUnavailable),
		errors.Is(err, tikverr.ErrTiKVDiskFull), errors.Is(err, tikverr.ErrResolveLockTimeout), errors.As(err, &pd):
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return err
}

// encode and decode work around TiKV's lack of empty values: a value of only zero bytes, the empty value included, is
// stored with one more zero byte.
func encode(val []byte) []byte {
	if len(bytes.TrimLeft(val, "\x00")) == 0 {
		return append(bytes.Clone(val), 0)
	}
	return val
}

func decode(val []byte) []byte {
	if len(bytes.TrimLeft(val, "\x00")) == 0 {
		return val[:len(val)-1]
	}
	return val
}

// found maps what the client's Get returns to what a Reader's Get returns.
func found(val []byte, err error) ([]byte, error) {
	if tikverr.IsErrNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failure(err)
	}
	return decode(val), nil
}

// DeleteRange implements kv.Store. It removes all versions of the range at once.
func (s *Store) DeleteRange(ctx context.Context, r kv.Range) error {
	s.tally.forget(r)
	_, err := s.db.DeleteRange(ctx, r.Start, r.End, 1)
	return failure(err)
}

// Load implements kv.Store with transactions of about 1 MB.
func (s *Store) Load(ctx context.Context, source func(put func(key, val []byte) error) error) error {
	const batch = 1 << 20
	txn, err := s.db.Begin()
	if err != nil {
		return failure(err)
	}
	flush := func() error {
		if txn.Len() == 0 {
			// Nothing to commit, but the transaction must end.
			return txn.Rollback()
		}
		return failure(txn.Commit(ctx))
	}
	err = source(func(key, val []byte) error {
		if len(key) > maxKey {
			return kv.ErrTooLarge
		}
		if err := txn.Set(bytes.Clone(key), bytes.Clone(encode(val))); err != nil {
			return failure(err)
		}
		if txn.Size() < batch {
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		txn, err = s.db.Begin()
		return failure(err)
	})
	if err != nil {
		return errors.Join(err, txn.Rollback())
	}
	return flush()
}

// Size implements kv.Store by scanning up to 1,000 rows: of a larger range it is a lower bound.
func (s *Store) Size(ctx context.Context, r kv.Range) (int64, error) {
	const sample = 1000
	snap, err := s.Latest(ctx)
	if err != nil {
		return 0, err
	}
	it, err := snap.Scan(r, kv.ScanOpt{Stale: true})
	if err != nil {
		return 0, err
	}
	var size int64
	n := 0
	for n < sample && it.Next() {
		n++
		size += int64(len(it.Key()) + len(it.Value()))
	}
	return size, errors.Join(it.Close(), snap.Close())
}

// reader implements kv.Snapshot.
type reader struct {
	store *Store
	ctx   context.Context
	snap  *txnsnapshot.KVSnapshot // nil to read the latest state each time
	held  uint64                  // timestamp in Store.oldest; 0 for none
	known map[string][]byte       // keys that Fetch has read, with their values; nil for missing keys
}

// Fetch implements kv.Fetcher.
func (r *reader) Fetch(keys [][]byte) error {
	snap := r.snap
	if snap == nil {
		ts, err := r.store.db.CurrentTimestamp(oracle.GlobalTxnScope)
		if err != nil {
			return failure(err)
		}
		snap = r.store.db.GetSnapshot(ts)
	}
	found, err := snap.BatchGet(r.ctx, keys)
	if err != nil {
		return failure(err)
	}
	r.known = make(map[string][]byte, len(keys))
	for _, key := range keys {
		r.known[string(key)] = nil
		if val := found[string(key)]; len(val) > 0 {
			r.known[string(key)] = decode(val)
		}
	}
	return nil
}

// Snapshot implements kv.Store.
func (s *Store) Snapshot(ctx context.Context, keys ...[]byte) (kv.Snapshot, error) {
	ts, err := s.db.CurrentTimestamp(oracle.GlobalTxnScope)
	if err != nil {
		return nil, failure(err)
	}
	s.oldest.add(ts)
	r := &reader{store: s, ctx: ctx, snap: s.db.GetSnapshot(ts), held: ts}
	if err := kv.Fetch(r, keys); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Latest implements kv.Store.
func (s *Store) Latest(ctx context.Context) (kv.Snapshot, error) {
	return &reader{store: s, ctx: ctx}, nil
}

// Get implements kv.Reader.
func (r *reader) Get(key []byte) ([]byte, error) {
	if val, known := r.known[string(key)]; known {
		return val, nil
	}
	snap := r.snap
	if snap == nil {
		snap = r.store.db.GetSnapshot(math.MaxUint64) // the key's latest version, without asking the oracle for the time
	}
	// The client may still send a request whose context has ended, when the caller reuses the memory of key.
	return found(snap.Get(r.ctx, bytes.Clone(key)))
}

// Counters implements kv.Reader.
func (r *reader) Counters(key []byte) ([]int64, error) {
	val, err := r.Get(key)
	return kv.SumCounters(kv.DecodeCounters(val), r.store.tally.get(key)), err
}

// Scan implements kv.Reader.
func (r *reader) Scan(rng kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	ts := r.held
	if ts == 0 {
		var err error
		if ts, err = r.store.db.CurrentTimestamp(oracle.GlobalTxnScope); err != nil {
			return nil, failure(err)
		}
	}
	snap := r.store.db.GetSnapshot(ts) // a snapshot per iterator, because the page size is a setting of the snapshot
	return newIterator(snap, snap, &r.store.sizes, rng, opt), nil
}

// Close implements kv.Snapshot.
func (r *reader) Close() error {
	if r.held != 0 {
		r.store.oldest.remove(r.held)
	}
	return nil
}
