package server

import (
	"runtime/debug"
	"testing"
)

// TestMemoryFollowsClients checks that the limit follows what clients hold in steps, and that a runtime without a limit is left
// alone.
func TestMemoryFollowsClients(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	m := &memoryLimit{bytes: 1 << 30}
	held := int64(0)
	for _, c := range []struct{ held, grown int64 }{{clientStep - 1, 0}, {clientStep, clientStep}, {3*clientStep + 5, 3 * clientStep}, {1, 0}} {
		held = m.follow(c.held, held)
		if got := m.bytes - 1<<30; got != c.grown || held != c.grown {
			t.Errorf("%d bytes held: the limit grew by %d", c.held, got)
		}
	}
	if got := debug.SetMemoryLimit(-1); got != 1<<30 {
		t.Errorf("the runtime's limit is %d", got)
	}
	none := &memoryLimit{}
	if none.follow(10*clientStep, 0); none.bytes != 0 || debug.SetMemoryLimit(-1) != 1<<30 {
		t.Error("a runtime without a limit got one")
	}
}
