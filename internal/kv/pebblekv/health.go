package pebblekv

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/statordb/stator/internal/kv"
)

// health says whether the disk accepts writes. While it does not, the store is read-only.
type health struct {
	// log is why the write-ahead log is broken. Pebble can't use that log again, so the database must be reopened.
	log atomic.Pointer[error]
	// background is why memtables can't be flushed; Pebble keeps retrying.
	background atomic.Pointer[error]
	// flush is the error of the last failed flush.
	flush atomic.Pointer[error]
	// full is set while the disk has less than Options.MinFree bytes free.
	full atomic.Bool
}

// fail records that the log could not be written or synced. Whether the commit survives is unknown.
func (h *health) fail(log *slog.Logger, err error) error {
	if h.log.CompareAndSwap(nil, &err) {
		log.Error("the write-ahead log can't be written: read-only until the disk works again", "error", err.Error())
	}
	return fmt.Errorf("%w: %w", kv.ErrUndetermined, err)
}

// writable returns why nothing can be written now; nil if the store accepts writes.
func (s *Store) writable() error {
	h := &s.health
	if s.opt.ReadOnly {
		return fmt.Errorf("%w: opened read-only", kv.ErrUnavailable)
	}
	if h.full.Load() {
		return fmt.Errorf("%w: the disk has less than %d bytes free", kv.ErrUnavailable, s.opt.MinFree)
	}
	if err := h.log.Load(); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, *err)
	}
	if err := h.background.Load(); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, *err)
	}
	return nil
}

// listener tracks Pebble's background work.
func (h *health) listener(log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		// FlushEnd also reports an error if there was nothing to flush. Only real failures reach BackgroundError as well; so do
		// failed compactions, which the store survives. Comparing the two tells failed flushes from the rest.
		FlushEnd: func(info pebble.FlushInfo) {
			if info.Err != nil {
				h.flush.Store(&info.Err)
			} else if h.background.Swap(nil) != nil {
				log.Info("memtables are flushed again")
			}
		},
		BackgroundError: func(err error) {
			if last := h.flush.Load(); last == nil || !errors.Is(err, *last) {
				log.Error("background work of the storage engine failed", "error", err.Error())
			} else if h.background.Swap(&err) == nil {
				log.Error("cannot flush memtables: read-only until the disk works again", "error", err.Error())
			}
		},
		// Only the read that met the corruption fails, and its request with it; everything else is still served.
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			log.Error("corrupted data on disk", "file", info.Path, "from", info.Bounds.Start, "error", info.Details.Error())
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			log.Warn("slow disk", "file", info.Path, "duration", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			log.Warn("the storage engine stalls writes", "reason", info.Reason)
		},
	}
}

// watch checks the disk every Options.Check until the store is closed, and recovers the store once the disk works again.
func (s *Store) watch() {
	defer s.done.Done()
	tick := time.NewTicker(s.opt.Check)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.checkSpace()
		if s.health.log.Load() != nil && s.probe() == nil {
			s.reopen()
		}
		if s.health.background.Load() != nil && s.probe() == nil {
			s.flush()
		}
	}
}

// checkSpace makes the store read-only before the disk is full: Pebble needs free space to reclaim space.
func (s *Store) checkSpace() {
	usage, err := s.opt.FS.GetDiskUsage(s.opt.Dir)
	if err != nil || s.opt.MinFree < 0 {
		return // a file system without this information, or an error that the log will meet too
	}
	full := usage.AvailBytes < uint64(s.opt.MinFree)
	if s.health.full.Swap(full) == full {
		return
	}
	if full {
		s.opt.Logger.Error("the disk is almost full: read-only until there is space again", "free", usage.AvailBytes, "needed", s.opt.MinFree)
	} else {
		s.opt.Logger.Info("the disk has space again", "free", usage.AvailBytes)
	}
}

// probe reports whether the disk works, by writing and syncing a file.
func (s *Store) probe() error {
	name := s.opt.FS.PathJoin(s.opt.Dir, "probe")
	f, err := s.opt.FS.Create(name, "stator-probe")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), s.opt.FS.Remove(name))
}

// flush retries to flush the memtables.
func (s *Store) flush() {
	if s.use() != nil {
		return
	}
	defer s.mu.RUnlock()
	if s.db.Flush() == nil && s.health.background.Swap(nil) != nil {
		s.opt.Logger.Info("memtables are flushed again")
	}
}

// reopen closes and reopens the database, which replays the log as far as it was written. If that fails, watch calls it again.
func (s *Store) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.opt.Logger.Info("closed the database after its log failed", "error", err.Error())
		}
		s.db = nil
	}
	// Whatever was visible but not durable may be lost now, so nothing in memory may survive.
	s.rows.clear()
	s.pending.forget()
	// Pebble panics if Open fails after a compaction, or the collection of table statistics, has started. So open without
	// them first: that replays the log, starts a new one, and finds out whether the disk really works.
	err := s.open(true)
	if err == nil {
		err = errors.Join(s.db.Close(), s.open(false))
	}
	if err != nil {
		s.db = nil
		s.opt.Logger.Error("cannot reopen the database yet", "error", err.Error())
		return
	}
	s.health.log.Store(nil)
	s.health.background.Store(nil)
	s.opt.Logger.Info("the disk works again: writes are accepted")
}
