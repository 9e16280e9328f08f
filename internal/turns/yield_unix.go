//go:build unix

package turns

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// yield returns once the requests that have arrived so far have run. A goroutine that only yields its P is run again before Go polls
// the network; this one waits for a pipe, which Go polls together with the network.
func yield() {
	g := <-gates
	if g == nil {
		var err error
		if g, err = newGate(); err != nil { // too many open files
			gates <- nil
			time.Sleep(pause)
			return
		}
	}
	g.pass()
	gates <- g
	// The poller makes the goroutine whose event came last run first. Let the others run.
	runtime.Gosched()
}

// maxGates bounds the open files. More goroutines than that wait for each other, which lets requests run too.
const maxGates = 4

// gates are the gates that nothing uses now; nil for one that has not been made yet.
var gates = make(chan *gate, maxGates)

func init() {
	for range maxGates {
		gates <- nil
	}
}

// gate is a pipe that goes through the poller.
type gate struct {
	r, w        *os.File
	read, write syscall.RawConn
}

func newGate() (*gate, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	g := &gate{r: r, w: w}
	if g.read, err = r.SyscallConn(); err == nil {
		g.write, err = w.SyscallConn()
	}
	if err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	return g, nil
}

// pass writes a byte to the pipe and waits for the poller to report it, before it reads the byte.
func (g *gate) pass() {
	var one [1]byte
	written := false
	_ = g.read.Read(func(r uintptr) bool { // the pipe is open
		if !written {
			_ = g.write.Write(func(w uintptr) bool {
				n, _ := syscall.Write(int(w), one[:])
				written = n == 1
				return true
			})
			return !written
		}
		_, err := syscall.Read(int(r), one[:])
		return err != syscall.EAGAIN
	})
}
