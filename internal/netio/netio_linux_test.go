package netio

import (
	"net"
	"testing"
)

// TestHandshakes checks that a connection waits for its turn when it is accepted, with what it sends first, and at its end, and not
// in between.
func TestHandshakes(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	waits := 0
	c, err := listener{plain, func() { waits++ }}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b [1]byte
	for _, step := range []struct {
		name string
		do   func() error
		want int // waits so far
	}{
		{"accepted", func() error { return nil }, 1},
		{"first bytes", func() error { _, err := client.Write(b[:]); return err }, 2},
		{"second bytes", func() error { _, err := client.Write(b[:]); return err }, 2},
		{"end", client.Close, 3},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if step.name != "accepted" {
			_, _ = c.Read(b[:]) // the last one fails
		}
		if waits != step.want {
			t.Errorf("%s: waited %d times, want %d", step.name, waits, step.want)
		}
	}
}
