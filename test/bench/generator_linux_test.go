package main

import (
	"slices"
	"testing"
)

// TestTake checks that servers take turns, and that a busy server passes its turn on.
func TestTake(t *testing.T) {
	g := generator{idle: make([][]*socket, 3)}
	for i := range 7 {
		s := &socket{addr: i % 3}
		g.idle[s.addr] = append(g.idle[s.addr], s)
	}
	var got []int
	take := func(n int) (out []*socket) {
		got = nil
		for range n {
			s := g.take()
			if s == nil {
				got = append(got, -1)
				continue
			}
			g.sent++
			got, out = append(got, s.addr), append(out, s)
		}
		return out
	}
	for range 4 { // at a low rate
		g.give(take(1)[0])
		if want := (g.sent - 1) % 3; got[0] != want {
			t.Errorf("request %d goes to server %d, want %d", g.sent-1, got[0], want)
		}
	}
	all := take(8) // more than there are connections
	if want := []int{1, 2, 0, 1, 2, 0, 0, -1}; !slices.Equal(got, want) {
		t.Errorf("requests go to servers %v, want %v", got, want)
	}
	if g.busy != 7 {
		t.Errorf("%d connections are busy", g.busy)
	}
	g.give(all[1])
	if take(1); got[0] != 2 {
		t.Errorf("the only server with a free connection is 2, and server %d got the request", got[0])
	}
}
