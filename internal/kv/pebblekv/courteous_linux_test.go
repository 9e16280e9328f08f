package pebblekv

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestReleasing syncs files and directories with more goroutines than Ps, beside the collector, which must find every stack.
func TestReleasing(t *testing.T) {
	dir := t.TempDir()
	errs := make(chan error)
	const writers = 8
	for i := range writers {
		go func() {
			errs <- func() error {
				f, err := PrivateFS.Create(filepath.Join(dir, string(rune('a'+i))), "")
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
				return errors.Join(f.Close(), SyncDir(PrivateFS, dir))
			}()
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
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
	if errno := releasingCall(syscall.SYS_FSYNC, w.Fd()); errno != syscall.EINVAL {
		t.Errorf("syncing a pipe: %v", errno)
	}
	if errno := releasingCall(syscall.SYS_FDATASYNC, 1<<20); errno != syscall.EBADF {
		t.Errorf("syncing no file: %v", errno)
	}
}
