package netio_test

import (
	"io"
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
		if one, err = netio.Dialed(one); err != nil {
			return nil, nil, nil, err
		}
		if other, err = l.Accept(); err != nil {
			one.Close()
			return nil, nil, nil, err
		}
		return one, other, func() { one.Close(); other.Close() }, nil
	})
}

// TestAnnounce writes fewer bytes than announced, and more. All of them arrive.
func TestAnnounce(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	one, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	other, err := netio.Listener(plain).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, announced := range []int{5, 10, 1000, 0} {
		netio.Announce(other, announced)
		for _, piece := range []string{"1234", "567890"} {
			if _, err := io.WriteString(other, piece); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, 10)
		if _, err := io.ReadFull(one, got); err != nil || string(got) != "1234567890" {
			t.Errorf("%d announced: %q, %v", announced, got, err)
		}
	}
}
