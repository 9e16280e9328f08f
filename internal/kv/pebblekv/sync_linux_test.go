package pebblekv

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// TestReleasing syncs files and directories with more goroutines than Ps, beside the collector, which must find every stack.
func TestReleasing(t *testing.T) {
	dir := t.TempDir()
	fs := &backgroundFS{FS: PrivateFS}
	errs := make(chan error)
	const writers = 8
	for i := range writers {
		go func() {
			errs <- func() error {
				f, err := fs.Create(filepath.Join(dir, string(rune('a'+i))), "")
				if err != nil {
					return err
				}
				for range 50 {
					if _, err := f.Write(make([]byte, 100)); err != nil {
						return err
					}
					if err := errors.Join(f.SyncData(), f.Sync()); err != nil {
						return err
					}
					runtime.GC()
				}
				return errors.Join(f.Close(), SyncDir(fs, dir))
			}()
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestReleasingRemove(t *testing.T) {
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := PrivateFS.Remove(dir); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("removing a directory with files: %v", err)
	}
	for _, name := range []string{file, folder} {
		if err := PrivateFS.Remove(name); err != nil {
			t.Error(err)
		}
		if err := PrivateFS.Remove(name); !oserror.IsNotExist(err) {
			t.Errorf("removing it twice: %v", err)
		}
	}
}

func TestReleasingFails(t *testing.T) {
	// A pipe can't be synced.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := releasing("fsync", syscall.SYS_FSYNC, w.Fd()); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("syncing a pipe: %v", err)
	}
	if err := releasing("fdatasync", syscall.SYS_FDATASYNC, 1<<20); !errors.Is(err, syscall.EBADF) {
		t.Errorf("syncing no file: %v", err)
	}
	if _, err := retry(syscall.SYS_WRITE, r.Fd(), unsafe.Pointer(unsafe.StringData("x")), 1); !errors.Is(err, syscall.EBADF) {
		t.Errorf("writing to the reading end of a pipe: %v", err)
	}
}

// TestLogThread checks that Pebble's logs are recognized, and that the goroutine that writes one has a thread that wakes up promptly.
func TestLogThread(t *testing.T) {
	names := &categories{FS: vfs.NewMem()}
	s, err := Open(Options{Dir: "data", FS: names})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(names.seen, logCategory) {
		t.Errorf("files were created as %v, none as %s", names.seen, logCategory)
	}
	f, err := (&backgroundFS{FS: PrivateFS}).Create(filepath.Join(t.TempDir(), "log"), logCategory)
	if err != nil {
		t.Fatal(err)
	}
	slice := make(chan uint64)
	go func() {
		defer close(slice)
		if _, err := f.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return
		}
		slice <- attr.Runtime
	}()
	if got, ok := <-slice; ok && got != promptSlice && got != 0 { // 0 before Linux 6.12
		t.Errorf("the log's thread has a slice of %d ns, want %d", got, promptSlice)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
}

// categories notes the categories of new files.
type categories struct {
	vfs.FS
	mu   sync.Mutex
	seen []vfs.DiskWriteCategory
}

func (c *categories) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, category)
	return c.FS.Create(name, category)
}
