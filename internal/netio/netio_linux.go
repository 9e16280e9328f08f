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
	read, write transfer
}

// transfer is one direction of a connection. Its functions are made once: a closure for each call would be an allocation.
type transfer struct {
	conn *net.TCPConn
	op   string
	move func(fd uintptr) (done bool)           // reads or writes what it can
	wait func(move func(fd uintptr) bool) error // calls move, again each time that the connection is ready, until it is done

	mu    sync.Mutex // held during a call
	p     []byte
	done  int // bytes of p
	errno syscall.Errno
	due   int // how many bytes are still announced, p included
	// yields lets the requests of other connections run after a large transfer.
	yields bool
}

// wrap returns the connection of a client to this server or, if dialed, one of this server to another.
func wrap(c *net.TCPConn, dialed bool) (net.Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	n := &conn{TCPConn: c, read: transfer{conn: c, op: "read", wait: raw.Read, yields: !dialed}, write: transfer{conn: c, op: "write", wait: raw.Write, yields: !dialed}}
	n.read.move, n.write.move = n.read.receive, n.write.send
	return n, nil
}

// run moves p and returns how many bytes it has moved.
func (t *transfer) run(p []byte) (int, error) {
	n, err := t.exclusively(p)
	if t.yields && n >= large {
		turns.Moved(n)
	}
	return n, err
}

func (t *transfer) exclusively(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.done, t.errno = p, 0, 0
	err := t.wait(t.move)
	t.p = nil
	t.due = max(0, t.due-t.done)
	if t.errno != 0 {
		err = &net.OpError{Op: t.op, Net: "tcp", Source: t.conn.LocalAddr(), Addr: t.conn.RemoteAddr(), Err: os.NewSyscallError(t.op, t.errno)}
	}
	return t.done, err
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
	var flags uintptr
	if t.due > len(t.p) {
		flags = syscall.MSG_MORE
	}
	for t.done < len(t.p) {
		rest := t.p[t.done:min(len(t.p), t.done+maxWrite)]
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), flags, 0, 0)
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
	n, err := c.read.run(p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (c *conn) announce(bytes int) {
	c.write.mu.Lock()
	defer c.write.mu.Unlock()
	c.write.due = bytes
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) { return c.write.run(p) }
