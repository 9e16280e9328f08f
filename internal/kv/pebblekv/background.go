package pebblekv

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/turns"
)

// logCategory is what Pebble calls write-ahead logs.
const logCategory = "pebble-wal"

// largeWrite is the size in bytes from which writes wait for the disk: those of package directio.
const largeWrite = 256 << 10

// backgroundFS is a file system that keeps Pebble's background work from delaying requests: flushes and compactions let requests run
// between their writes, and a sync occupies no P, the token with which a thread runs Go code. Each opening of the database has its own.
type backgroundFS struct {
	vfs.FS
	flushing atomic.Bool
	waiting  atomic.Bool // a memtable is full, and the one before it is still being flushed
	stalled  atomic.Bool // Pebble stalls writes
}

// behind reports whether flushes and compactions must not wait for idle processors, because writes wait for them or soon will.
func (fs *backgroundFS) behind() bool { return fs.waiting.Load() || fs.stalled.Load() }

// listener tells fs how far behind Pebble's background work is.
func (fs *backgroundFS) listener() *pebble.EventListener {
	return &pebble.EventListener{
		FlushBegin: func(pebble.FlushInfo) { fs.flushing.Store(true) },
		FlushEnd: func(pebble.FlushInfo) {
			fs.flushing.Store(false)
			fs.waiting.Store(false)
		},
		// Each memtable has a log.
		WALCreated:      func(pebble.WALCreateInfo) { fs.waiting.Store(fs.flushing.Load()) },
		WriteStallBegin: func(pebble.WriteStallBeginInfo) { fs.stalled.Store(true) },
		WriteStallEnd:   func() { fs.stalled.Store(false) },
	}
}

// Create implements vfs.FS.
func (fs *backgroundFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.background(f, err, c)
}

// OpenReadWrite implements vfs.FS.
func (fs *backgroundFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, opts...)
	return fs.background(f, err, c)
}

// ReuseForWrite implements vfs.FS.
func (fs *backgroundFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(from, to, c)
	return fs.background(f, err, c)
}

// OpenDir implements vfs.FS.
func (fs *backgroundFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	return fs.background(f, err, vfs.WriteCategoryUnspecified)
}

// Unwrap implements vfs.FS.
func (fs *backgroundFS) Unwrap() vfs.FS { return fs.FS }

func (fs *backgroundFS) background(f vfs.File, err error, c vfs.DiskWriteCategory) (vfs.File, error) {
	switch {
	case err != nil:
		return nil, err
	case c == logCategory:
		return &threadFile{releasingFile: releasingFile{f}}, nil
	}
	return &backgroundFile{releasingFile{f}, turns.Pace{Urgent: true, Behind: fs.behind}}, nil
}

// releasingFile is a file whose syncs release their P.
type releasingFile struct{ vfs.File }

// Sync implements vfs.File.
func (f releasingFile) Sync() error { return releasingSync(f.File) }

// SyncData implements vfs.File.
func (f releasingFile) SyncData() error { return releasingSyncData(f.File) }

// backgroundFile is a file that a flush or compaction writes.
type backgroundFile struct {
	releasingFile
	pace turns.Pace
}

// Write implements vfs.File. Pebble writes block by block, so that little computing lies between two calls.
func (f *backgroundFile) Write(p []byte) (int, error) {
	f.pace.Yield()
	if len(p) >= largeWrite {
		return releasingWrite(f.File, p)
	}
	return f.File.Write(p)
}

// threadFile is a write-ahead log. The goroutine that writes and syncs it, which Pebble starts for each log, gets a thread of its own:
// Linux then lets the thread run as soon as a sync is done, since it uses little processor time. A thread that also answered requests
// would wait for up to 4 ms, and the writes of a whole group with it.
type threadFile struct {
	releasingFile
	locked bool
}

// Write implements vfs.File.
func (f *threadFile) Write(p []byte) (int, error) {
	if !f.locked {
		f.locked = true
		lockThread() // until the goroutine ends
	}
	return f.File.Write(p)
}
