package objectstore

import (
	"context"
	"crypto/md5" // #nosec: S3's entity tags
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// incoming is the directory of files that are being written. No bucket can have this name.
const incoming = ".incoming"

// Folder keeps buckets in a directory: an object is the file BUCKET/KEY. It makes a bucket when something is first
// written to it. Only the server's user can read what it makes. Symbolic links are not followed out of a bucket.
type Folder struct {
	dir  string
	once sync.Once
	root *os.Root // nothing outside can be reached, whatever a key is
	err  error
}

// NewFolder returns the Folder of a directory, which is made when it is first used.
func NewFolder(dir string) *Folder { return &Folder{dir: dir} }

// Dir returns the directory.
func (f *Folder) Dir() string { return f.dir }

// open opens the directory, once.
func (f *Folder) open() (*os.Root, error) {
	f.once.Do(func() {
		if f.err = os.MkdirAll(f.dir, 0o700); f.err != nil {
			return
		}
		if f.root, f.err = os.OpenRoot(f.dir); f.err != nil {
			return
		}
		// Delete what a crash left half-written.
		f.err = f.root.RemoveAll(incoming)
	})
	return f.root, f.err
}

// name returns the file name of an object, relative to the directory.
func name(bucket, key string) (string, error) {
	// fs.ValidPath rejects "..", empty elements and absolute paths; the rest of the condition rejects names that only
	// some systems treat as special.
	full := bucket + "/" + key
	if key == "" || !fs.ValidPath(full) || strings.HasPrefix(bucket, ".") || strings.Contains(bucket, "/") || strings.ContainsAny(full, "\\\x00") {
		return "", fmt.Errorf("%w: %q", ErrInvalidKey, key)
	}
	return full, nil
}

// find returns the file name of an object, and the root that it is relative to.
func (f *Folder) find(bucket, key string) (root *os.Root, full string, err error) {
	if full, err = name(bucket, key); err != nil {
		return nil, "", err
	}
	root, err = f.open()
	return root, full, err
}

// folderWriter implements Writer. The object is written under a temporary name and renamed, so that it appears whole.
type folderWriter struct {
	root *os.Root
	file *os.File
	temp string
	name string
	sum  hash.Hash
}

// Create implements Store.
func (f *Folder) Create(_ context.Context, bucket, key string, _ PutOptions) (Writer, error) {
	root, full, err := f.find(bucket, key)
	if err != nil {
		return nil, err
	}
	if err := root.MkdirAll(incoming, 0o700); err != nil {
		return nil, err
	}
	return newFolderWriter(root, fmt.Sprintf("%s/%016x", incoming, rand.Uint64()), full)
}

// newFolderWriter creates a file under the name temp; finish gives it its final name.
func newFolderWriter(root *os.Root, temp, name string) (*folderWriter, error) {
	file, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &folderWriter{root: root, file: file, temp: temp, name: name, sum: md5.New()}, nil
}

func (w *folderWriter) Write(p []byte) (int, error) {
	w.sum.Write(p)
	return w.file.Write(p)
}

// Commit implements Writer.
func (w *folderWriter) Commit() (string, error) { return w.finish(w.root.Rename) }

// finish makes the complete file durable and lets it appear under its name.
func (w *folderWriter) finish(appear func(temp, name string) error) (string, error) {
	// Durable content before the name appears, and a durable name before success is reported.
	err := errors.Join(w.file.Sync(), w.file.Close())
	w.file = nil
	if err == nil {
		err = staysIn(w.root, path.Dir(w.name))
	}
	if err == nil {
		err = w.root.MkdirAll(path.Dir(w.name), 0o700)
	}
	if err == nil {
		err = appear(w.temp, w.name)
	}
	if err == nil {
		err = w.syncDirs()
	}
	if err2 := w.root.RemoveAll(w.temp); err != nil || err2 != nil {
		return "", errors.Join(err, err2)
	}
	return hex.EncodeToString(w.sum.Sum(nil)), nil
}

// staysIn returns ErrAccess if any existing part of the path is a symbolic link.
func staysIn(root *os.Root, name string) error {
	for part := name; part != "."; part = path.Dir(part) {
		info, err := root.Lstat(part)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%w: %s is a symbolic link", ErrAccess, part)
		}
	}
	return nil
}

// syncDirs makes the file's name durable, together with the names of its directories.
func (w *folderWriter) syncDirs() error {
	if runtime.GOOS == "windows" {
		return nil // Windows can't sync directories
	}
	for dir := path.Dir(w.name); ; dir = path.Dir(dir) {
		d, err := w.root.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil || dir == "." {
			return err
		}
	}
}

// Abort implements Writer.
func (w *folderWriter) Abort() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
		_ = w.root.Remove(w.temp) // if this fails, the next open removes it
	}
}

// Open implements Store.
func (f *Folder) Open(_ context.Context, bucket, key string) (io.ReadCloser, error) {
	root, full, err := f.find(bucket, key)
	if err != nil {
		return nil, err
	}
	if err := staysIn(root, full); err != nil {
		return nil, f.explain(root, bucket, err)
	}
	file, err := root.Open(full)
	if err != nil {
		return nil, f.explain(root, bucket, err)
	}
	return file, nil
}

// explain maps errors of files to those of objects.
func (f *Folder) explain(root *os.Root, bucket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrAccess, err)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := root.Stat(bucket); err != nil {
		return ErrNoBucket
	}
	return ErrNoObject
}

// maxEntries bounds the entries of a directory, which are sorted in memory.
const maxEntries = 1_000_000

// List implements Store.
func (f *Folder) List(ctx context.Context, bucket, prefix string, visit func(Object) error) error {
	root, _, err := f.find(bucket, "any")
	if err != nil {
		return err
	}
	if err := staysIn(root, bucket); err != nil {
		return f.explain(root, bucket, err)
	}
	return f.list(ctx, root, bucket, "", prefix, visit)
}

// list visits the objects below a directory of a bucket. dir is "" or ends with a slash.
func (f *Folder) list(ctx context.Context, root *os.Root, bucket, dir, prefix string, visit func(Object) error) error {
	names, err := entries(ctx, root, path.Join(bucket, dir), func(name string) bool {
		key := dir + name
		return strings.HasPrefix(key, prefix) || strings.HasSuffix(key, "/") && strings.HasPrefix(prefix, key)
	})
	if errors.Is(err, fs.ErrNotExist) && dir != "" {
		return nil // just deleted
	}
	if err != nil {
		return f.explain(root, bucket, err)
	}
	slices.Sort(names) // directories end with a slash, so this is the order of keys
	for _, name := range names {
		key := dir + name
		if strings.HasSuffix(key, "/") {
			if err := f.list(ctx, root, bucket, key, prefix, visit); err != nil {
				return err
			}
			continue
		}
		info, err := root.Lstat(bucket + "/" + key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // just deleted
		}
		if err != nil {
			return f.explain(root, bucket, err)
		}
		if err := visit(Object{key, info.Size()}); err != nil {
			return err
		}
	}
	return nil
}

// entries returns the wanted files of a directory, and the wanted directories, with a slash.
func entries(ctx context.Context, root *os.Root, dir string, wanted func(string) bool) (names []string, err error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for {
		page, err := d.ReadDir(1000)
		for _, e := range page {
			name := e.Name()
			if e.IsDir() {
				name += "/"
			} else if !e.Type().IsRegular() {
				continue
			}
			if wanted(name) {
				names = append(names, name)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case len(names) > maxEntries:
			return nil, fmt.Errorf("%s has more than %d objects", dir, maxEntries)
		}
	}
}

// Delete implements Store.
func (f *Folder) Delete(_ context.Context, bucket, key string) error {
	root, full, err := f.find(bucket, key)
	if err != nil {
		return err
	}
	if err := staysIn(root, path.Dir(full)); err != nil {
		return f.explain(root, bucket, err)
	}
	if err := root.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
