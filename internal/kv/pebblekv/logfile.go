package pebblekv

import (
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logWatch is a file system that tells the store of a failure of the write-ahead log before Pebble hears of it. Pebble
// would panic, with its commit pipeline locked for good, in the next commit that meets it; so there must be no next one.
type logWatch struct {
	vfs.FS
	store *Store
}

// Create implements vfs.FS.
func (w *logWatch) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.Create(name, c)
	return w.watch(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (w *logWatch) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.ReuseForWrite(from, to, c)
	return w.watch(to, f, err)
}

func (w *logWatch) watch(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || filepath.Ext(name) != ".log" {
		return f, err
	}
	return &logFile{f, w.store}, nil
}

type logFile struct {
	vfs.File
	store *Store
}

// Write implements vfs.File.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.store.logFailed(err)
}

// Sync implements vfs.File.
func (f *logFile) Sync() error { return f.store.logFailed(f.File.Sync()) }

// SyncData implements vfs.File.
func (f *logFile) SyncData() error { return f.store.logFailed(f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f *logFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.store.logFailed(err)
}

// gateTries is how often logFailed looks whether the commits under way have come to an end, a tenth of a millisecond apart.
// One that begins a new log waits for this very write, and can't.
const gateTries = 1000

// logFailed makes the store read-only and returns when no commit is being applied and none will be.
func (s *Store) logFailed(err error) error {
	if err == nil {
		return nil
	}
	_ = s.health.fail(s.opt.Logger, err)
	for range gateTries {
		if s.gate.TryLock() {
			s.gate.Unlock()
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	return err
}
