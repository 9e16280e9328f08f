package httpd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/statordb/stator/internal/auth"
)

// secureListener accepts TLS connections. Their handshake takes place in the connection's own goroutine, so that no client delays another.
type secureListener struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener.
func (l secureListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &secureConn{Conn: tls.Server(c, l.config)}, nil
}

// secureConn is a TLS connection. Until a request on it passes authentication, it is a stranger like any other: the reaper closes it if its
// handshake stalls, and admit if connections run short.
type secureConn struct {
	*tls.Conn
	peer  *auth.Peer // the client's verified certificate; nil without one
	ended atomic.Bool
}

// Handshake hides that of tls.Conn. fasthttp calls it before the first request, and ignores its error, which the first Read returns again.
func (c *secureConn) Handshake() error {
	err := c.Conn.Handshake()
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) && notTLS.Conn != nil && likeHTTP(notTLS.RecordHeader) {
		refusePlain(notTLS.Conn)
	}
	if err != nil {
		return err
	}
	if verified := c.ConnectionState().VerifiedChains; len(verified) > 0 {
		c.peer = auth.NewPeer(verified[0][0])
	}
	return nil
}

// Read implements net.Conn. It remembers the end of the client's half, which may be a message of TLS that the kernel doesn't know.
func (c *secureConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.ended.Store(true)
	}
	return n, err
}

// likeHTTP reports whether the first bytes of a connection look like a request without TLS.
func likeHTTP(first [5]byte) bool {
	switch string(first[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET":
		return true
	}
	return false
}

// refusePlain answers a request without TLS. It reads what the client still sends, or the client would see a connection reset instead of the
// answer; a client that goes on for long is closed by the reaper.
func refusePlain(c net.Conn) {
	_, err := io.WriteString(c, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"+
		"Client sent an HTTP request to an HTTPS server.\n")
	half, ok := c.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c, drained) // the connection is closed next, whatever came
}

// sever closes a connection from outside its own goroutine. It doesn't wait: the Close of tls.Conn may take seconds to say goodbye to a
// client that doesn't read.
func sever(c net.Conn) {
	if secure, ok := c.(*secureConn); ok {
		c = secure.NetConn()
	}
	_ = c.Close() // its reader or writer fails
}

// left reports, without blocking, whether the client has closed the connection or its sending half.
func left(c net.Conn) bool {
	if secure, ok := c.(*secureConn); ok {
		return secure.ended.Load() || gone(secure.NetConn())
	}
	return gone(c)
}

// peerOf returns the client's verified certificate, or nil without one.
func peerOf(c net.Conn) *auth.Peer {
	if secure, ok := c.(*secureConn); ok {
		return secure.peer
	}
	return nil
}
