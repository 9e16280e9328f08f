package pebblekv

import (
	"os"
	"syscall"
	_ "unsafe" // for go:linkname

	"github.com/cockroachdb/pebble/v2/vfs"
)

// releasingSync and releasingSyncData sync a file and give the P of their goroutine to another thread meanwhile. An ordinary system call keeps its P until the runtime's monitor takes it, 20 µs to 10 ms later. Requests would wait meanwhile,
// although a core is idle.
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
	for {
		switch errno := releasingCall(call, fd); errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return os.NewSyscallError(name, errno)
		}
	}
}

// The runtime promises to keep these two for other packages (go.dev/issue/67401).

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// releasingCall makes a system call of one argument that blocks. Whatever it calls between the two runtime functions must be
// nosplit, as in the runtime itself.
//
//go:nosplit
//go:norace
func releasingCall(call, arg uintptr) syscall.Errno {
	entersyscallblock()
	_, _, errno := syscall.RawSyscall(call, arg, 0, 0)
	exitsyscall()
	return errno
}
