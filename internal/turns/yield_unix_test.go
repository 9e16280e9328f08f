//go:build unix

package turns

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
)

// TestYield checks that yield lets a goroutine run whose data has arrived, although only a poll of the network shows it.
func TestYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var read atomic.Int64
	go func() {
		for buf := make([]byte, 1); ; read.Add(1) {
			if _, err := r.Read(buf); err != nil {
				return
			}
		}
	}()
	defer w.Close()
	const n = 100
	prompt := 0
	for i := range int64(n) {
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		yield()
		if read.Load() == i+1 {
			prompt++
		}
		for read.Load() <= i {
			runtime.Gosched()
		}
	}
	// Go looks at the queue in which yield waits out of turn now and then.
	if prompt < n*9/10 {
		t.Errorf("of %d times, data was read while work yielded %d times", n, prompt)
	}
}
