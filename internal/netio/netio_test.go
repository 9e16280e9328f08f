package netio_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/statordb/stator/internal/netio"
)

// TestConn checks both ends of a connection for what a net.Conn promises: concurrent use, deadlines, closing.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (one, other net.Conn, stop func(), err error) {
		plain, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, nil, err
		}
		defer plain.Close()
		l := netio.Listener(plain)
		if one, err = net.Dial("tcp", plain.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		if other, err = l.Accept(); err != nil {
			one.Close()
			return nil, nil, nil, err
		}
		return one, other, func() { one.Close(); other.Close() }, nil
	})
}
