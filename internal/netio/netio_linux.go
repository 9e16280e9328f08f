package netio

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"github.com/statordb/stator/internal/turns"
)

// conn is a TCP connection. Its methods may be called concurrently, like those of any net.Conn.
type conn struct {
	*net.TCPConn
	raw         syscall.RawConn
	read, write transfer
}

// transfer is the state of one direction. Its function is made once: a closure for each call would be an allocation.
type transfer struct {
	mu    sync.Mutex // held during a call
	p     []byte
	done  int // bytes of p
	errno syscall.Errno
	move  func(fd uintptr) (ready bool)
}

func wrap(c *net.TCPConn) (net.Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	n := &conn{TCPConn: c, raw: raw}
	n.read.move, n.write.move = n.read.receive, n.write.send
	return n, nil
}

// receive reads what there is.
func (t *transfer) receive(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)))
		switch errno {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		case 0:
			t.done = int(n)
			return true
		default:
			t.errno = errno
			return true
		}
	}
}

// maxWrite bounds a system call in bytes: copying more at a time would keep other requests waiting.
const maxWrite = 256 << 10

// send writes all of p, as far as the socket's buffer has room.
func (t *transfer) send(fd uintptr) bool {
	for t.done < len(t.p) {
		rest := t.p[t.done:min(len(t.p), t.done+maxWrite)]
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)))
		switch errno {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		case 0:
			t.done += int(n)
		default:
			t.errno = errno
			return true
		}
	}
	return true
}

// large is the size in bytes from which a transfer lets the requests of other connections run.
const large = 64 << 10

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.receive(p)
	if n >= large {
		turns.Moved(n)
	}
	return n, err
}

func (c *conn) receive(p []byte) (int, error) {
	t := &c.read
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.done, t.errno = p, 0, 0
	err := c.raw.Read(t.move)
	t.p = nil
	switch {
	case t.errno != 0:
		return 0, c.failed("read", t.errno)
	case err == nil && t.done == 0:
		return 0, io.EOF
	}
	return t.done, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.send(p)
	if n >= large {
		turns.Moved(n)
	}
	return n, err
}

func (c *conn) send(p []byte) (int, error) {
	t := &c.write
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.done, t.errno = p, 0, 0
	err := c.raw.Write(t.move)
	t.p = nil
	if t.errno != 0 {
		err = c.failed("write", t.errno)
	}
	return t.done, err
}

func (c *conn) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}
