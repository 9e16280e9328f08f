package pebblekv

import (
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// PrivateFS is the operating system's file system, except that only the server's user can read new files and directories,
// whatever the process's umask is. Existing files keep their modes.
var PrivateFS vfs.FS = private{vfs.Default}

// Modes of new directories and files.
const (
	privateDir  = 0o700
	privateFile = 0o600
)

// private implements PrivateFS. It sets the modes itself, because those that Pebble gives depend on the umask.
type private struct{ vfs.FS }

// Create implements vfs.FS.
func (p private) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, c)
	return closeUnless(f, err, name)
}

// OpenReadWrite implements vfs.FS.
func (p private) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name, c, opts...)
	return closeUnless(f, err, name)
}

// closeUnless makes a newly opened file private, or closes it.
func closeUnless(f vfs.File, err error, name string) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, privateFile); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Lock implements vfs.FS.
func (p private) Lock(name string) (lock io.Closer, err error) {
	if lock, err = p.FS.Lock(name); err != nil {
		return nil, err
	}
	if err := os.Chmod(name, privateFile); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// Remove implements vfs.FS.
func (p private) Remove(name string) error { return releasingRemove(name) }

// MkdirAll implements vfs.FS.
func (p private) MkdirAll(dir string, _ os.FileMode) error { return p.FS.MkdirAll(dir, privateDir) }

// Unwrap implements vfs.FS.
func (p private) Unwrap() vfs.FS { return p.FS }
