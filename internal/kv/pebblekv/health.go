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

// health says whether the disk can take writes. While it can't, the store is read-only.
type health struct {
	// log is why the write-ahead log is broken. Pebble never uses it again, so the database must be opened anew.
	log atomic.Pointer[error]
	// background is why memtables can't be flushed; Pebble tries again and again.
	background atomic.Pointer[error]
	// flush is what the last flush said that did not succeed.
	flush atomic.Pointer[error]
	// full is set while the disk has less free space than Options.MinFree.
	full atomic.Bool
}

// fail records that the log could not be written or synced. Whether the commit survives is not known.
func (h *health) fail(log *slog.Logger, err error) error {
	if h.log.CompareAndSwap(nil, &err) {
		log.Error("the write-ahead log can't be written: read-only until the disk works again", "error", err.Error())
	}
	return fmt.Errorf("%w: %w", kv.ErrUndetermined, err)
}

// writable returns why nothing can be written now, or nil.
func (s *Store) writable() error {
	h := &s.health
	if s.opt.ReadOnly {
		return fmt.Errorf("%w: opened read-only", kv.ErrUnavailable)
	}
	if h.full.Load() {
		return fmt.Errorf("%w: less than %d bytes of the disk are free", kv.ErrUnavailable, s.opt.MinFree)
	}
	if err := h.log.Load(); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, *err)
	}
	if err := h.background.Load(); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, *err)
	}
	return nil
}

// listener hears of what Pebble does in the background.
func (h *health) listener(log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		// A flush ends with an error also if there was nothing to flush; only failures go to BackgroundError as well, as do
		// those of compactions, without which the store can live.
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
				log.Error("memtables can't be flushed: read-only until the disk works again", "error", err.Error())
			}
		},
		// The read that met it fails, and with it the request; everything else can be served.
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			log.Error("corrupted data on disk", "file", info.Path, "from", info.Bounds.Start, "error", info.Details.Error())
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			log.Warn("the disk is slow", "file", info.Path, "duration", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			log.Warn("writes wait for the storage engine", "reason", info.Reason)
		},
	}
}

// watch looks after the disk until the store is closed.
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

// checkSpace makes the store read-only before the disk is full: Pebble needs space to give space back.
func (s *Store) checkSpace() {
	usage, err := s.opt.FS.GetDiskUsage(s.opt.Dir)
	if err != nil || s.opt.MinFree < 0 {
		return // a file system that doesn't know, or one whose errors the log will meet
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

// probe writes and syncs a file.
func (s *Store) probe() error {
	name := s.opt.FS.PathJoin(s.opt.Dir, "probe")
	f, err := s.opt.FS.Create(name, "stator-probe")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), s.opt.FS.Remove(name))
}

// flush flushes the memtables, which failed before.
func (s *Store) flush() {
	if s.use() != nil {
		return
	}
	defer s.mu.RUnlock()
	if s.db.Flush() == nil && s.health.background.Swap(nil) != nil {
		s.opt.Logger.Info("memtables are flushed again")
	}
}

// reopen closes the database and opens it again, which reads the log as far as it was written. It is called again later if
// it fails.
func (s *Store) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.opt.Logger.Info("closed the database whose log failed", "error", err.Error())
		}
		s.db = nil
	}
	s.rows.clear()
	s.pending.forget()
	// Pebble panics if opening fails when a compaction, or its look at the tables' statistics, has begun. So the log is read
	// and a new one begun without them first, which finds out whether the disk really works.
	err := s.open(true)
	if err == nil {
		err = errors.Join(s.db.Close(), s.open(false))
	}
	if err != nil {
		s.db = nil
		s.opt.Logger.Error("the database can't be opened again yet", "error", err.Error())
		return
	}
	s.health.log.Store(nil)
	s.health.background.Store(nil)
	s.opt.Logger.Info("the disk works again: writes are accepted")
}
