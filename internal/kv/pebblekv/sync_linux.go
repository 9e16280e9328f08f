package pebblekv

import (
	"os"
	"syscall"
	_ "unsafe" // for go:linkname

	"github.com/cockroachdb/pebble/v2/vfs"
)

// releasing returns f with syncs that release their P, the runtime's token for running Go code. An ordinary system call keeps
// its P until the runtime's monitor takes it, 20 µs to 10 ms later, and requests wait meanwhile although a core is idle.
func releasing(f vfs.File) vfs.File { return releasingFile{f} }

type releasingFile struct{ vfs.File }

// Sync implements vfs.File.
func (f releasingFile) Sync() error { return f.sync("fsync", syscall.SYS_FSYNC) }

// SyncData implements vfs.File.
func (f releasingFile) SyncData() error { return f.sync("fdatasync", syscall.SYS_FDATASYNC) }

func (f releasingFile) sync(name string, call uintptr) error {
	for {
		switch errno := releasingCall(call, f.Fd()); errno {
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
