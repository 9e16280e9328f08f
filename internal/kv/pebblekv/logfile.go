package pebblekv

import (
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/stage"
)

// logWatch is a file system that hides failures of the write-ahead log from Pebble, which would panic and leave its commit
// pipeline locked forever. Once the log has failed, the store acknowledges nothing and reopens the database when the disk works
// again; until then Pebble's writes to the log are discarded. Each opening of the database has its own logWatch.
type logWatch struct {
	vfs.FS
	store   *Store
	failed  atomic.Bool
	opening atomic.Bool // while pebble.Open runs
	made    atomic.Bool // a log has been made since a directory was last synced
}

// fail marks the log as failed unless err is nil.
func (w *logWatch) fail(err error) {
	if err != nil {
		w.failed.Store(true)
		_ = w.store.health.fail(w.store.opt.Logger, err)
	}
}

// Create implements vfs.FS.
func (w *logWatch) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.newLog(name, func() (vfs.File, error) { return w.FS.Create(name, c) })
}

// ReuseForWrite implements vfs.FS.
func (w *logWatch) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.newLog(to, func() (vfs.File, error) { return w.FS.ReuseForWrite(from, to, c) })
}

// newLog makes a file. If the log has failed, or this one can't be made, it makes the log in memory instead: on disk, Pebble
// rejects a log that follows one that was not closed cleanly.
func (w *logWatch) newLog(name string, create func() (vfs.File, error)) (vfs.File, error) {
	if filepath.Ext(name) != ".log" {
		return create()
	}
	w.made.Store(true)
	if !w.failed.Load() {
		f, err := create()
		if err == nil {
			return &logFile{f, w}, nil
		}
		w.fail(err)
	}
	return vfs.NewMem().Create("nowhere", "stator-nowhere")
}

// OpenDir implements vfs.FS.
func (w *logWatch) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &logDir{File: f, watch: w}, nil
}

// logFile is a write-ahead log. Its failures go to the logWatch; Pebble sees only success.
type logFile struct {
	vfs.File
	watch *logWatch
}

// Write implements vfs.File.
func (f *logFile) Write(p []byte) (int, error) {
	if !f.watch.failed.Load() {
		_, err := f.File.Write(p)
		f.watch.fail(err)
	}
	return len(p), nil
}

// Sync implements vfs.File.
func (f *logFile) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements vfs.File.
func (f *logFile) SyncData() error { return f.sync(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *logFile) SyncTo(length int64) (full bool, err error) {
	err = f.sync(func() error {
		var err error
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *logFile) sync(do func() error) error {
	if !f.watch.failed.Load() {
		began := time.Now()
		f.watch.fail(do())
		stage.Sync.Since(began)
	}
	return nil
}

// Close implements vfs.File.
func (f *logFile) Close() error {
	f.watch.fail(f.File.Close())
	return nil
}

// logDir is an open directory. Pebble keeps one open for the names of logs, and syncs it right after it has made a log, for the
// first time while it opens the database; that is how Sync recognizes it. Failures of other directories, which are for tables,
// must reach Pebble.
type logDir struct {
	vfs.File
	watch *logWatch
	ofLog atomic.Bool
}

// Sync implements vfs.File.
func (d *logDir) Sync() error {
	if d.watch.made.Swap(false) && d.watch.opening.Load() {
		d.ofLog.Store(true)
	}
	if !d.ofLog.Load() {
		return d.File.Sync()
	}
	if !d.watch.failed.Load() {
		d.watch.fail(d.File.Sync())
	}
	return nil
}
