// Package pebblekv is the embedded engine: Pebble on a local disk, or on an in-memory file system.
//
// A transaction is one Pebble batch. Hinted keys are locked before the transaction reads, so single-item updates never
// retry; keys read without a hint are checked again at commit. Locks are released when the batch is applied, before its
// fsync has come back: whoever builds on it has a later place in the write-ahead log, so nothing acknowledged can be lost,
// and writers of one hot key share an fsync.
package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/kv"
)

// Options configure the engine.
type Options struct {
	Dir      string        // the data directory; empty for in-memory
	FS       vfs.FS        // the file system; nil for the operating system's
	Sync     bool          // fsync before a commit returns
	Interval time.Duration // without Sync: how often to fsync in the background; 0 for never
	Cache    int64         // block cache in bytes; 0 for 256 MB
	Logger   *slog.Logger  // nil for none
	Now      func() time.Time
}

const (
	defaultCache = 256 << 20
	memTableSize = 64 << 20
)

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("data directory in use")

// Store implements kv.Store.
type Store struct {
	db    *pebble.DB
	lock  *pebble.Lock
	opt   Options
	write *pebble.WriteOptions
	locks lockTable
	clock atomic.Uint64

	views sync.Pool
	stop  chan struct{}
	done  sync.WaitGroup
}

// Open opens or creates the store.
func Open(opt Options) (*Store, error) {
	if opt.Cache == 0 {
		opt.Cache = defaultCache
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	cache := pebble.NewCache(opt.Cache)
	defer cache.Unref()
	po := &pebble.Options{
		Cache:                       cache,
		FS:                          opt.FS,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		Merger:                      countersMerger,
		Logger:                      logger{opt.Logger},
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].FilterType = pebble.TableFilter
	}
	dir := opt.Dir
	if dir == "" {
		// Nothing survives the process, so nothing needs a log.
		po.FS = vfs.NewMem()
		po.DisableWAL = true
		opt.Sync, opt.Interval = false, 0
	}
	if dir != "" && po.FS == nil {
		po.FS = vfs.Default
	}
	if err := po.FS.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// Pebble would say only "resource temporarily unavailable".
	lock, err := pebble.LockDirectory(dir, po.FS)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	po.Lock = lock
	db, err := pebble.Open(dir, po)
	if err != nil {
		err = errors.Join(err, lock.Close())
		return nil, fmt.Errorf("opening data directory %q: %w", dir, err)
	}
	s := &Store{db: db, lock: lock, opt: opt, write: pebble.NoSync, stop: make(chan struct{})}
	if opt.Sync {
		s.write = pebble.Sync
	}
	if opt.Interval > 0 {
		s.done.Add(1)
		go s.syncLoop()
	}
	return s, nil
}

func (s *Store) syncLoop() {
	defer s.done.Done()
	tick := time.NewTicker(s.opt.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.db.LogData(nil, pebble.Sync); err != nil && s.opt.Logger != nil {
				s.opt.Logger.Error("background fsync failed", "error", err)
			}
		case <-s.stop:
			return
		}
	}
}

// Close implements kv.Store. What was acknowledged is durable when it returns.
func (s *Store) Close() error {
	close(s.stop)
	s.done.Wait()
	var err error
	if s.opt.Dir != "" && !s.opt.Sync {
		err = s.db.LogData(nil, pebble.Sync)
	}
	return errors.Join(err, s.db.Close(), s.lock.Close())
}

// Now implements kv.Store: a hybrid logical clock.
func (s *Store) Now() kv.TS {
	wall := uint64(s.opt.Now().UnixMilli()) << 18
	for {
		last := s.clock.Load()
		next := max(wall, last+1)
		if s.clock.CompareAndSwap(last, next) {
			return kv.TS(next)
		}
	}
}

// Limits implements kv.Store: a batch and a value stay well below Pebble's 4 GB.
func (s *Store) Limits() kv.Limits { return kv.Limits{Value: 1 << 30, Txn: 1 << 30} }

// DeleteRange implements kv.Store.
func (s *Store) DeleteRange(_ context.Context, r kv.Range) error {
	return s.db.DeleteRange(r.Start, r.End, s.write)
}

// Size implements kv.Store.
func (s *Store) Size(_ context.Context, r kv.Range) (int64, error) {
	n, err := s.db.EstimateDiskUsage(r.Start, r.End)
	return int64(n), err
}

// countersMerger implements Txn.Add.
var countersMerger = &pebble.Merger{
	Name: "stator.counters.v1",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		return &counters{kv.DecodeCounters(value)}, nil
	},
}

type counters struct{ sum []int64 }

func (c *counters) MergeNewer(value []byte) error {
	c.sum = kv.SumCounters(c.sum, kv.DecodeCounters(value))
	return nil
}

func (c *counters) MergeOlder(value []byte) error { return c.MergeNewer(value) }

func (c *counters) Finish(bool) ([]byte, io.Closer, error) {
	return kv.AppendCounters(nil, c.sum), nil, nil
}

// logger passes Pebble's messages on: its chatter as debug messages, what it can't live with as an error.
type logger struct{ log *slog.Logger }

func (l logger) Infof(format string, args ...any) {
	if l.log != nil && l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...), "component", "pebble")
	}
}

func (l logger) Errorf(format string, args ...any) {
	if l.log != nil {
		l.log.Error(fmt.Sprintf(format, args...), "component", "pebble")
	}
}

// Fatalf is called where going on would break what was promised; Pebble expects it not to return.
func (l logger) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	panic(fmt.Sprintf("pebble: "+format, args...))
}
