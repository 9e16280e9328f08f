// Package netio makes connections whose reads and writes keep their processor.
//
// Go lends the P of a goroutine in a system call, the token with which a thread runs Go code, to another thread after some
// 20 µs, since the call may block. Those of a non-blocking socket never do, but they may be interrupted for longer than that.
// Then two threads run where one would do, and the one that holds an answer waits for the other's time slice: up to 4 ms.
package netio

import "net"

// Listener returns l with connections that keep their processor. Connections that aren't of TCP, and all on systems other than
// Linux, are l's.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		return wrap(tcp, false)
	}
	return c, nil
}

// Dialed makes a connection to another server keep its processor. It leaves the same connections alone as Listener.
func Dialed(c net.Conn) (net.Conn, error) {
	if tcp, ok := c.(*net.TCPConn); ok {
		return wrap(tcp, true)
	}
	return c, nil
}

// Announce tells a connection that at least so many bytes will be written to it. What is written before the last of them may wait for
// it, so that the peer is woken once and not for each piece. The system keeps bytes for at most 0.2 s, so that a wrong announcement only
// delays them.
func Announce(c net.Conn, bytes int) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn() // of TLS, which writes more than it is given: the announcement ends too early, never too late
	}
	if c, ok := c.(interface{ announce(bytes int) }); ok {
		c.announce(bytes)
	}
}
