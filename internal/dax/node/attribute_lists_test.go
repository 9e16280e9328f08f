package node

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestListsMemory caches lists of very many names, whose real memory must stay within what is counted for them.
func TestListsMemory(t *testing.T) {
	l := newLists("a", nil)
	var before, after runtime.MemStats
	names := strings.Repeat("\x01x", 50_000)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 100 {
		signature := string(appendName(nil, fmt.Sprint(i))) + names
		l.remember(int64(i), signature, newList(signature))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 2*maxKnown {
		t.Errorf("the lists take %d MB", took>>20)
	}
	runtime.KeepAlive(l)
}
