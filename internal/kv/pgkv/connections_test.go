package pgkv

import (
	"context"
	"net"
	"runtime"
	"testing"
)

// TestConnections checks that connections are netio's, where it has its own.
func TestConnections(t *testing.T) {
	s := opener(t)()
	c, err := s.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.release()
	if _, bare := c.PgConn().Conn().(*net.TCPConn); bare && runtime.GOOS == "linux" {
		t.Error("a connection gives up its processor in reads and writes")
	}
}
