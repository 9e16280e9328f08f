package cli

import (
	"fmt"
	"hash/maphash"
	"os"
	"strings"
	"testing"
)

// filePages returns how many KB of file-backed pages the process has in memory.
func filePages(t *testing.T) (kb int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

// TestForgetStart checks that pages are released and that the program still works afterwards. In programs that are linked with
// the C library, the loader relocates pages before it makes them read-only, and those must stay.
func TestForgetStart(t *testing.T) {
	seed := maphash.MakeSeed()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	sums := func() map[uintptr]uint64 {
		out := map[uintptr]uint64{}
		err := eachMapping(func(m mapping) {
			b := make([]byte, m.to-m.from)
			if _, err := mem.ReadAt(b, int64(m.from)); err != nil {
				t.Fatal(err)
			}
			out[m.from] = maphash.Bytes(seed, b)
		})
		if err != nil || len(out) == 0 {
			t.Fatalf("%d parts of the program were found, %v", len(out), err)
		}
		return out
	}
	sumsBefore, before := sums(), filePages(t)
	forgetStart()
	if after := filePages(t); after >= before {
		t.Errorf("%d KB of the program were in memory, %d KB are", before, after)
	}
	for from, sum := range sums() {
		if sumsBefore[from] != sum {
			t.Errorf("what is mapped at %x has changed", from)
		}
	}
}
