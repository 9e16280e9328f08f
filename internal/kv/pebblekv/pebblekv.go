// Package pebblekv is the embedded engine: Pebble on a local disk, or on an in-memory file system.
//
// A transaction is one Pebble batch. Hinted keys are locked before the transaction reads, so single-item updates never
// retry; keys read without a hint are validated at commit. Locks are released once the batch is applied, before its fsync
// returns. That is safe, because whatever builds on the batch comes later in the write-ahead log: nothing acknowledged can be
// lost, and writers of one hot key share an fsync. Readers wait for the fsync of what they have read.
//
// Where to look: txn.go commits, reader.go reads, rows.go caches rows, pending.go tracks commits that wait for their fsync,
// stamps.go orders change records, load.go ingests bulk data, health.go and logfile.go survive disk faults.
package pebblekv

import (
	"cmp"
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
	"github.com/statordb/stator/internal/kv/locks"
)

// Options configure the engine.
type Options struct {
	Dir      string        // the data directory; empty for in memory
	FS       vfs.FS        // the file system; nil for PrivateFS
	Sync     bool          // fsync before a commit returns
	ReadOnly bool          // write nothing, not even to recover
	Interval time.Duration // without Sync: how often to fsync in the background; 0 for never
	Cache    int64         // bytes of memory for block cache, row cache and memtables together; 0 for DefaultCache
	MinFree  int64         // bytes that must be free on the disk to accept writes; 0 for DefaultMinFree, negative for no check
	Check    time.Duration // how often to check the disk; 0 for a second
	Logger   *slog.Logger  // nil for none
	// Now is the clock of timestamps; nil for time.Now.
	Now func() time.Time
}

// Defaults of Options.
const (
	DefaultCache   = 256 << 20
	DefaultMinFree = 128 << 20
)

const (
	// memTableSize is in bytes. Pebble fills one memtable while it flushes another. Larger ones make repeated updates
	// of the same items cheaper to flush, but slow down queries that step over many old versions of an item.
	memTableSize  = 32 << 20
	defaultCheck  = time.Second
	minBlockCache = 8 << 20
)

// ErrInUse means that another process uses the data directory.
var ErrInUse = errors.New("data directory in use")

// Store implements kv.Store.
type Store struct {
	// mu is held shared by every transaction, view and other user of db, and exclusively to reopen the database.
	mu      sync.RWMutex
	db      *pebble.DB // nil after a failed reopen, and after Close
	options *pebble.Options
	lock    *pebble.Lock
	opt     Options
	write   *pebble.WriteOptions
	locks   locks.Table
	// clock is the last timestamp that now has returned.
	clock   atomic.Uint64
	stamps  stamps
	rows    *rowCache
	pending pending
	health  health
	loads   atomic.Int64 // files that Load has made, for their names
	flushed atomic.Int64 // when noteSteps last started a flush, in nanoseconds since 1970

	views sync.Pool
	stop  chan struct{}
	done  sync.WaitGroup
}

// Open opens or creates the store.
func Open(opt Options) (*Store, error) {
	opt.Cache = cmp.Or(opt.Cache, DefaultCache)
	opt.MinFree = cmp.Or(opt.MinFree, DefaultMinFree)
	opt.Check = cmp.Or(opt.Check, defaultCheck)
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Dir == "" {
		// Nothing outlives the process, so nothing needs a log.
		opt.FS = vfs.NewMem()
		opt.Sync, opt.Interval = false, 0
	} else if opt.FS == nil {
		opt.FS = PrivateFS
	}
	if err := MkdirAll(opt.FS, opt.Dir); err != nil {
		return nil, err
	}
	// Lock the directory here: Pebble's own error would say only "resource temporarily unavailable".
	lock, err := pebble.LockDirectory(opt.Dir, opt.FS)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	s := &Store{lock: lock, opt: opt, write: pebble.NoSync, rows: newRowCache(opt.Cache / 8), stop: make(chan struct{})}
	if opt.Sync {
		s.write = pebble.Sync
	}
	if err := s.open(false); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	// A panic in these two goroutines ends the process, as one in Pebble's own does. They handle no request's data, and they
	// hold the lock of a database whose state would then be broken.
	if opt.Interval > 0 {
		s.done.Add(1)
		go s.syncLoop()
	}
	if opt.Dir != "" && !opt.ReadOnly {
		s.checkSpace()
		s.done.Add(1)
		go s.watch()
	}
	return s, nil
}

// MkdirAll makes a directory and its missing parents, so that all of them survive a crash.
func MkdirAll(fs vfs.FS, dir string) error {
	var parents []string // of directories that are missing
	for at := dir; at != ""; {
		if _, err := fs.Stat(at); err == nil {
			break
		}
		parent := fs.PathDir(at)
		if parent == at {
			break
		}
		parents = append(parents, parent)
		at = parent
	}
	if err := fs.MkdirAll(dir, privateDir); err != nil {
		return err
	}
	for _, parent := range parents {
		if err := SyncDir(fs, parent); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a directory durable: creations, renames and removals.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// open opens the database; the caller must be the only user. quiet disables compactions and statistics.
func (s *Store) open(quiet bool) error {
	// Options.Cache also pays for the row cache, an eighth of it, and for two memtables.
	cache := pebble.NewCache(max(minBlockCache, s.opt.Cache-s.opt.Cache/8-2*memTableSize))
	defer cache.Unref()
	background := &backgroundFS{FS: s.opt.FS}
	watch := &logWatch{FS: background, store: s}
	listener := pebble.TeeEventListener(*s.health.listener(s.opt.Logger), *background.listener())
	po := &pebble.Options{
		Cache:                       cache,
		FS:                          watch,
		Lock:                        s.lock,
		ReadOnly:                    s.opt.ReadOnly,
		DisableAutomaticCompactions: quiet,
		DisableTableStats:           quiet,
		DisableWAL:                  s.opt.Dir == "",
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 3,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		Merger:                      countersMerger,
		Logger:                      logger{s.opt.Logger},
		EventListener:               &listener,
	}
	// With 10 bits per key, 1 % of the lookups of missing keys read a block.
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].FilterType = pebble.TableFilter
	}
	watch.opening.Store(true)
	db, err := pebble.Open(s.opt.Dir, po)
	watch.opening.Store(false)
	if err != nil {
		return fmt.Errorf("opening data directory %q: %w", s.opt.Dir, err)
	}
	// Pebble has not noticed that its new log failed: see logWatch.
	if watch.failed.Load() {
		err := fmt.Errorf("opening data directory %q: %w", s.opt.Dir, *s.health.log.Load())
		return errors.Join(err, db.Close())
	}
	po.EnsureDefaults()
	s.db, s.options = db, po
	return s.removeLoads()
}

// use locks mu for reading, or returns an error if there is no database. The caller must unlock it.
func (s *Store) use() error {
	s.mu.RLock()
	if s.db == nil {
		s.mu.RUnlock()
		return fmt.Errorf("%w: the database is closed", kv.ErrUnavailable)
	}
	return nil
}

// syncLoop syncs the log every Options.Interval, for stores without Sync.
func (s *Store) syncLoop() {
	defer s.done.Done()
	tick := time.NewTicker(s.opt.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s.writable() != nil || s.use() != nil {
				continue
			}
			_ = s.syncLog() // which logs the failure
			s.mu.RUnlock()
		case <-s.stop:
			return
		}
	}
}

// Close implements kv.Store. Everything acknowledged is durable when it returns.
func (s *Store) Close() error {
	close(s.stop)
	s.done.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.db != nil {
		if s.opt.Dir != "" && !s.opt.Sync && !s.opt.ReadOnly {
			err = s.syncLog()
		}
		err = errors.Join(err, s.db.Close())
		s.db = nil
	}
	return errors.Join(err, s.lock.Close())
}

// Now implements kv.Store with a hybrid logical clock: the wall clock, or one more than the last timestamp if that is larger.
func (s *Store) Now(context.Context) (kv.TS, error) { return s.now(), nil }

// now returns a timestamp that is larger than all before, even if the wall clock is set back.
func (s *Store) now() kv.TS {
	wall := uint64(s.opt.Now().UnixMilli()) << 18
	for {
		last := s.clock.Load()
		next := max(wall, last+1)
		if s.clock.CompareAndSwap(last, next) {
			return kv.TS(next)
		}
	}
}

// Stable implements kv.Store.
func (s *Store) Stable(context.Context) (kv.TS, error) { return s.stamps.stable(s.now), nil }

// Advance implements kv.Store.
func (s *Store) Advance(ts kv.TS) {
	for {
		last := s.clock.Load()
		if last >= uint64(ts) || s.clock.CompareAndSwap(last, uint64(ts)) {
			return
		}
	}
}

// Limits implements kv.Store. A batch and a value stay well below Pebble's limit of 4 GB.
func (s *Store) Limits() kv.Limits { return kv.Limits{Value: 1 << 30, Txn: 1 << 30} }

// DeleteRange implements kv.Store.
func (s *Store) DeleteRange(_ context.Context, r kv.Range) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(r.Start, r.End, nil); err != nil {
		return err
	}
	// Nobody reads a range that is being deleted, so it is enough to clear the row cache afterwards.
	defer s.rows.clear()
	if !s.opt.Sync {
		return s.apply(b, pebble.NoSync)
	}
	return s.commitSynced(b, nil, nil)
}

// Size implements kv.Store.
func (s *Store) Size(_ context.Context, r kv.Range) (int64, error) {
	if err := s.use(); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	n, err := s.db.EstimateDiskUsage(r.Start, r.End)
	return int64(n), err
}

// countersMerger implements Txn.Add: Pebble stores deltas as merge operands, and sums them when it reads or compacts.
var countersMerger = &pebble.Merger{
	Name: "stator.counters.v1",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		return &counters{kv.DecodeCounters(value)}, nil
	},
}

// counters implements pebble.ValueMerger. Addition commutes, so the order of operands does not matter.
type counters struct{ sum []int64 }

func (c *counters) MergeNewer(value []byte) error {
	c.sum = kv.SumCounters(c.sum, kv.DecodeCounters(value))
	return nil
}

func (c *counters) MergeOlder(value []byte) error { return c.MergeNewer(value) }

func (c *counters) Finish(bool) ([]byte, io.Closer, error) {
	return kv.AppendCounters(nil, c.sum), nil, nil
}

// logger forwards Pebble's messages: routine ones at debug level, fatal ones as errors.
type logger struct{ log *slog.Logger }

func (l logger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...), "component", "pebble")
	}
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...), "component", "pebble")
}

// Fatalf is called where continuing would break a promise; Pebble expects it not to return. Everything acknowledged is on
// disk, so ending the process and starting it again is safe.
func (l logger) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	panic(fmt.Sprintf("pebble: "+format, args...))
}
