package httpd

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// TestPieces checks that fasthttp's two pieces of an answer above writeBuffer leave in one segment.
func TestPieces(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := noting{plain, make(chan net.Conn, 1)}
	c := serveOn(t, l, Options{}).dial()
	r := bufio.NewReader(c)
	var answer fasthttp.Response
	// An answer that exceeds the buffer by its header only would leave in two pieces.
	sizes := []int{2, writeBuffer / 2, writeBuffer + 1, freeAnswer + 1, 5 * writeBuffer}
	const times = 10
	for i := range times {
		for _, size := range sizes {
			body := strings.Repeat(string(rune('a'+i)), size)
			if _, err := io.WriteString(c, post(body)); err != nil {
				t.Fatal(err)
			}
			if err := answer.Read(r); err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode() != 200 || string(answer.Body()) != body {
				t.Fatalf("%d bytes: status %d, %d bytes", size, answer.StatusCode(), len(answer.Body()))
			}
		}
	}
	// On a machine that stands still between the pieces, the system sends the first one after 0.2 s, so a few may leave alone.
	if got, most := segments(t, <-l.accepted), times*len(sizes)*11/10; got > most {
		t.Errorf("%d answers left in %d segments, want at most %d", times*len(sizes), got, most)
	}
}

// noting is a listener that notes its first connection.
type noting struct {
	net.Listener
	accepted chan net.Conn
}

func (l noting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- c
	}
	return c, err
}

// segments returns how many TCP segments with data have left through a connection.
func segments(t *testing.T, c net.Conn) int {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return int(info.Data_segs_out)
}
