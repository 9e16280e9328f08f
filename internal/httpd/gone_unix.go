//go:build unix

package httpd

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// gone reports, without blocking, whether the client has closed the connection or its sending half.
func gone(c net.Conn) bool {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	conn, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	closed := false
	err = conn.Control(func(fd uintptr) {
		closed = hungUp(int(fd))
	})
	return closed || errors.Is(err, net.ErrClosed)
}

// peeked reports whether a read would find the connection closed. Unread bytes hide that.
func peeked(fd int) bool {
	var b [1]byte
	n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil {
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	}
	return n == 0
}
