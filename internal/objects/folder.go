package objects

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

// incoming is the directory of files that are being written; no bucket can have its name.
const incoming = ".incoming"

// Folder keeps the buckets in a directory: an object is the file BUCKET/KEY. Buckets are made when something is written to them.
type Folder struct {
	dir  string
	once sync.Once
	root *os.Root // nothing outside of it can be reached, whatever a key is
	err  error
}

// NewFolder returns the Folder of a directory, which is made when something is written.
func NewFolder(dir string) *Folder { return &Folder{dir: dir} }

// Dir returns the directory.
func (f *Folder) Dir() string { return f.dir }

func (f *Folder) open() (*os.Root, error) {
	f.once.Do(func() {
		if f.err = os.MkdirAll(f.dir, 0o755); f.err != nil {
			return
		}
		if f.root, f.err = os.OpenRoot(f.dir); f.err != nil {
			return
		}
		// What a crash left half-written is of no use.
		f.err = f.root.RemoveAll(incoming)
	})
	return f.root, f.err
}

// name returns the file of an object.
func name(bucket, key string) (string, error) {
	full := bucket + "/" + key
	if key == "" || !fs.ValidPath(full) || strings.HasPrefix(bucket, ".") || strings.ContainsAny(full, "\\\x00") {
		return "", fmt.Errorf("%w: %q", ErrInvalidKey, key)
	}
	return full, nil
}

// find returns the file of an object, and the directory that it is relative to.
func (f *Folder) find(bucket, key string) (root *os.Root, full string, err error) {
	if full, err = name(bucket, key); err != nil {
		return nil, "", err
	}
	root, err = f.open()
	return root, full, err
}

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
	if err := root.MkdirAll(incoming, 0o755); err != nil {
		return nil, err
	}
	temp := fmt.Sprintf("%s/%016x", incoming, rand.Uint64())
	file, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &folderWriter{root: root, file: file, temp: temp, name: full, sum: md5.New()}, nil
}

func (w *folderWriter) Write(p []byte) (int, error) {
	w.sum.Write(p)
	return w.file.Write(p)
}

// Commit implements Writer.
func (w *folderWriter) Commit() (string, error) {
	err := errors.Join(w.file.Sync(), w.file.Close())
	w.file = nil
	if err == nil {
		err = w.root.MkdirAll(path.Dir(w.name), 0o755)
	}
	if err == nil {
		err = w.root.Rename(w.temp, w.name)
	}
	if err == nil {
		err = w.syncDirs()
	}
	if err != nil {
		return "", errors.Join(err, w.root.RemoveAll(w.temp))
	}
	return hex.EncodeToString(w.sum.Sum(nil)), nil
}

// syncDirs makes the file's name durable, and those of the directories in which it is.
func (w *folderWriter) syncDirs() error {
	if runtime.GOOS == "windows" {
		return nil // which has no such thing
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
		_ = w.root.Remove(w.temp) // else it is removed when the folder is opened again
	}
}

// Open implements Store.
func (f *Folder) Open(_ context.Context, bucket, key string) (io.ReadCloser, error) {
	root, full, err := f.find(bucket, key)
	if err != nil {
		return nil, err
	}
	file, err := root.Open(full)
	if err != nil {
		return nil, f.explain(root, bucket, err)
	}
	return file, nil
}

// explain turns the errors of files into those of objects.
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

// List implements Store.
func (f *Folder) List(ctx context.Context, bucket, prefix string, visit func(Object) error) error {
	root, _, err := f.find(bucket, "any")
	if err != nil {
		return err
	}
	if _, err := root.Stat(bucket); err != nil {
		return f.explain(root, bucket, err)
	}
	var found []Object
	files, err := fs.Sub(root.FS(), bucket)
	if err != nil {
		return err
	}
	err = fs.WalkDir(files, ".", func(key string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && key != "." && !strings.HasPrefix(key+"/", prefix) && !strings.HasPrefix(prefix, key+"/"):
			return fs.SkipDir
		case !d.Type().IsRegular() || !strings.HasPrefix(key, prefix):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		found = append(found, Object{key, info.Size()})
		return nil
	})
	if err != nil {
		return f.explain(root, bucket, err)
	}
	slices.SortFunc(found, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	for _, o := range found {
		if err := visit(o); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements Store.
func (f *Folder) Delete(_ context.Context, bucket, key string) error {
	root, full, err := f.find(bucket, key)
	if err != nil {
		return err
	}
	if err := root.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
