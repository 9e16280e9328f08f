// Package tikvkv is the engine over TiKV, a distributed transactional key-value store. Any number of Stator's servers share one
// cluster.
//
// Transactions are TiKV's optimistic ones: they read the state at their start and conflict where another has committed to a key in
// between. Locks in memory come first, so that the writers of one server's hot keys queue and transactions that meet are told;
// writers on different servers conflict and run again. A commit that touches one region takes one phase, others commit as soon as
// their prewrites have returned.
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
	"sync"
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
	// safeWindow is how long after a check of its lease a transaction may still get its commit timestamp.
	safeWindow = 500 * time.Millisecond
	// stampedFor is how long a stamped transaction may last until that check, and stableLag how far Stable is behind: no commit of
	// one that was stamped before it is still to come.
	stampedFor = time.Second
	stableLag  = stampedFor + safeWindow + 100*time.Millisecond

	// maxKey is the largest key of TiKV in bytes, with what it adds.
	maxKey = 7000
	// maxValue and maxTxn are what TiKV takes in bytes with its own defaults.
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
	floor  atomic.Uint64
	tally  tally
	oldest snapshots
	stop   context.CancelFunc
	done   sync.WaitGroup
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

// quiet leaves of the client's own log what is more than a retry.
func quiet() { log.SetLevel(zap.ErrorLevel) }

// New makes a store of a client, which it closes. collect says that garbage is to be collected: old versions that nobody reads.
func New(db *tikv.KVStore, collect bool, opt Options) *Store {
	quiet()
	config.UpdateGlobal(func(c *config.Config) { c.TiKVClient.AsyncCommit.SafeWindow = safeWindow })
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{db: db, opt: opt}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.done.Add(2)
	guard.Go(opt.Logger, "storing counters", func() {
		defer s.done.Done()
		s.tallyLoop(ctx)
	})
	guard.Go(opt.Logger, "collecting old versions", func() {
		defer s.done.Done()
		if collect {
			guard.Loop(ctx, opt.Logger, "collecting old versions", func() { s.collectLoop(ctx) })
		}
	})
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

// Now implements kv.Store: a timestamp of the cluster's oracle.
func (s *Store) Now(context.Context) (kv.TS, error) {
	ts, err := s.db.CurrentTimestamp(oracle.GlobalTxnScope)
	return max(kv.TS(ts), kv.TS(s.floor.Load()+1)), failure(err)
}

// Stable implements kv.Store.
func (s *Store) Stable(ctx context.Context) (kv.TS, error) {
	now, err := s.Now(ctx)
	return now - min(now, kv.AtMillis(stableLag.Milliseconds())), err
}

// Advance implements kv.Store. The oracle's clock never goes back; this is for data that come from elsewhere.
func (s *Store) Advance(ts kv.TS) {
	for {
		last := s.floor.Load()
		if last >= uint64(ts) || s.floor.CompareAndSwap(last, uint64(ts)) {
			return
		}
	}
}

// failure turns an error of the client into one of package kv.
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

// TiKV takes no empty values: those of zeros alone, the empty one among them, get one more.
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

// found turns what a Get of the client returned into what one of kv returns.
func found(val []byte, err error) ([]byte, error) {
	if tikverr.IsErrNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failure(err)
	}
	return decode(val), nil
}

// DeleteRange implements kv.Store: all versions of the range are gone at once.
func (s *Store) DeleteRange(ctx context.Context, r kv.Range) error {
	s.tally.forget(r)
	_, err := s.db.DeleteRange(ctx, r.Start, r.End, 1)
	return failure(err)
}

// Load implements kv.Store.
func (s *Store) Load(ctx context.Context, source func(put func(key, val []byte) error) error) error {
	const batch = 1 << 20
	txn, err := s.db.Begin()
	if err != nil {
		return failure(err)
	}
	flush := func() error {
		if txn.Len() == 0 {
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

// Size implements kv.Store: the keys and values of a sample of the range, and as much for the rest.
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

// reader reads a state of the cluster.
type reader struct {
	store *Store
	ctx   context.Context
	snap  *txnsnapshot.KVSnapshot // nil for the latest state at each read
	held  uint64                  // for which garbage is kept; 0 for none
	known map[string][]byte       // keys that were fetched at once, with their values; nil for those that are not there
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
		snap = r.store.db.GetSnapshot(math.MaxUint64) // the last version of the key, without asking for the time
	}
	return found(snap.Get(r.ctx, key))
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
	snap := r.store.db.GetSnapshot(ts) // the iterator's own, for the size of its pages
	return newIterator(snap, snap, &r.store.sizes, rng, opt), nil
}

// Close implements kv.Snapshot.
func (r *reader) Close() error {
	if r.held != 0 {
		r.store.oldest.remove(r.held)
	}
	return nil
}
