package pebblekv

import (
	"os"
	"runtime"
	"syscall"
	"unsafe" // also for go:linkname

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// releasingSync and releasingSyncData sync a file and give the P of their goroutine to another thread meanwhile. An ordinary system
// call keeps its P until the runtime's monitor takes it, 20 µs to 10 ms later; requests would wait although a core is idle.
func releasingSync(f vfs.File) error {
	if f.Fd() == vfs.InvalidFd { // in memory
		return f.Sync()
	}
	return releasing("fsync", syscall.SYS_FSYNC, f.Fd())
}

func releasingSyncData(f vfs.File) error {
	if f.Fd() == vfs.InvalidFd {
		return f.SyncData()
	}
	return releasing("fdatasync", syscall.SYS_FDATASYNC, f.Fd())
}

func releasing(name string, call, fd uintptr) error {
	_, err := retry(call, fd, nil, 0)
	return os.NewSyscallError(name, err)
}

// releasingWrite writes to a file like releasingSync. It is for writes that bypass the page cache, and so wait for the disk.
func releasingWrite(f vfs.File, p []byte) (int, error) {
	if f.Fd() == vfs.InvalidFd {
		return f.Write(p)
	}
	for done := 0; ; {
		rest := p[done:]
		n, err := retry(syscall.SYS_WRITE, f.Fd(), unsafe.Pointer(unsafe.SliceData(rest)), uintptr(len(rest)))
		if done += n; err != nil || done == len(p) {
			return done, os.NewSyscallError("write", err)
		}
	}
}

// releasingRemove removes a file or an empty directory like releasingSync: removing a table of some MB takes up to 7 ms.
func releasingRemove(name string) error {
	path, err := syscall.BytePtrFromString(name)
	if err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	here := unix.AT_FDCWD
	switch _, err := retry(syscall.SYS_UNLINKAT, uintptr(here), unsafe.Pointer(path), 0); err {
	case nil:
		return nil
	case syscall.EISDIR:
		return os.Remove(name)
	default:
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
}

// retry repeats a system call for as long as signals interrupt it.
func retry(call, fd uintptr, p unsafe.Pointer, n uintptr) (int, error) {
	for {
		switch result, errno := releasingCall(call, fd, p, n); errno {
		case 0:
			return int(result), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// The runtime promises to keep these two for other packages (go.dev/issue/67401).

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// releasingCall makes a system call that blocks. Whatever it calls between the two runtime functions must be nosplit, as in the
// runtime itself.
//
//go:nosplit
//go:norace
func releasingCall(call, fd uintptr, p unsafe.Pointer, n uintptr) (uintptr, syscall.Errno) {
	entersyscallblock()
	r, _, errno := syscall.RawSyscall(call, fd, uintptr(p), n)
	exitsyscall()
	return r, errno
}

// promptSlice is the time slice of a thread that syncs logs, in nanoseconds: the shortest one that Linux allows.
const promptSlice = 100_000

// lockThread gives the calling goroutine a thread of its own, until it ends. From Linux 6.12 on, the thread interrupts those with longer
// slices when it wakes up; earlier ones ignore the slice. A sandbox may forbid sched_setattr; then the slice stays as it is.
func lockThread() {
	runtime.LockOSThread()
	if attr, err := unix.SchedGetAttr(0, 0); err == nil {
		attr.Runtime = promptSlice
		_ = unix.SchedSetAttr(0, attr, 0)
	}
}
