package pebblekv

import (
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// yieldEvery is after how many bytes written a flush or compaction lets requests run: some 0.1 ms of its work.
const yieldEvery = 64 << 10

// courteousFS is a file system whose writers leave processors to requests. Go runs a goroutine for up to 10 ms at a time; a flush
// or compaction would make every request on its P, the token with which a thread runs Go code, wait for that long.
type courteousFS struct{ vfs.FS }

// Create implements vfs.FS.
func (fs courteousFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return courteous(f, err, name)
}

// OpenReadWrite implements vfs.FS.
func (fs courteousFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, opts...)
	return courteous(f, err, name)
}

// ReuseForWrite implements vfs.FS.
func (fs courteousFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(from, to, c)
	return courteous(f, err, to)
}

// OpenDir implements vfs.FS.
func (fs courteousFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	return courteous(f, err, name)
}

// Unwrap implements vfs.FS.
func (fs courteousFS) Unwrap() vfs.FS { return fs.FS }

func courteous(f vfs.File, err error, name string) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &courteousFile{File: f, yields: filepath.Ext(name) != logExt}, nil
}

// courteousFile is a file of a courteousFS.
type courteousFile struct {
	vfs.File
	yields  bool // false for the log, for which requests wait
	written int  // since the last yield
}

// Write implements vfs.File. Like those of other files, its calls must not overlap.
func (f *courteousFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if f.written += n; f.yields && f.written >= yieldEvery {
		f.written = 0
		runtime.Gosched()
	}
	return n, err
}

// Sync implements vfs.File.
func (f *courteousFile) Sync() error { return releasingSync(f.File) }

// SyncData implements vfs.File.
func (f *courteousFile) SyncData() error { return releasingSyncData(f.File) }
