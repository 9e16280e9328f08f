package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// File is a file of settings that is read again when its content changes, as files of Kubernetes do. It compares content because a file's
// time and name don't reveal every change: Kubernetes replaces a link, and a file may be written twice within the resolution of its time. A nil
// *File never changes. It is safe for concurrent use.
type File struct {
	what, name string
	limit      int

	mu   sync.Mutex
	raw  []byte // content when it was used last
	fail string // the last error, until the content can be used
}

// NewFile returns a file of at most limit bytes; nil without a name. what begins its errors, for instance "credentials file".
func NewFile(what, name string, limit int) *File {
	if name == "" {
		return nil
	}
	return &File{what: what, name: name, limit: limit}
}

// Name returns the file's name.
func (f *File) Name() string { return f.name }

// Reload calls use with the file's content. It fails if use does, or if others than the file's owner can write the file.
func (f *File) Reload(use func(raw []byte) error) error {
	if f == nil {
		return nil
	}
	_, err := f.read(true, use)
	return err
}

// Refresh is Reload if the content has changed since it could be used last. changed reports a change or a new error: an error that persists is
// returned once, because Refresh runs often. It is cheap.
func (f *File) Refresh(use func(raw []byte) error) (changed bool, err error) {
	if f == nil {
		return false, nil
	}
	return f.read(false, use)
}

// read implements Reload and Refresh.
func (f *File) read(always bool, use func(raw []byte) error) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	raw, err := ReadSecret(f.name, f.limit)
	if err == nil {
		if !always && f.fail == "" && bytes.Equal(raw, f.raw) {
			return false, nil
		}
		if err = use(raw); err == nil {
			f.raw, f.fail = raw, ""
			return true, nil
		}
	}
	err = fmt.Errorf("%s %s: %w", f.what, f.name, err)
	changed = always || f.fail != err.Error()
	f.fail = err.Error()
	if !changed {
		return false, nil
	}
	return true, err
}

// ReadSecret returns the content of a file of secrets or policies, of at most limit bytes. It fails if others can write the file. Its errors do
// not name the file.
func ReadSecret(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if err := checkWriters(name, info); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, plain(err)
	}
	if len(raw) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return raw, nil
}

// plain strips the file name from an error of the file system: the caller names the file.
func plain(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
