package turns

import (
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// ownThreads bounds how long the server's own threads run when they get the core: they write the log, or wake others up.
	ownThreads = time.Millisecond
	// backOff is for how many times as long as another process has taken the core it is not given away again.
	backOff = 50
)

var (
	start = time.Now()
	// keepCore is until when the core is not given away, in nanoseconds since start.
	keepCore atomic.Int64
)

// yieldCore lets the kernel run other threads that wait for this core, such as one whose sync is done. The kernel would do so at its next
// tick, which can be 4 ms away. Other processes may take the core for as long; beside them, the call does nothing most of the time. It
// doesn't block, so it keeps its P.
func yieldCore() {
	began := time.Since(start)
	if int64(began) < keepCore.Load() {
		return
	}
	syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
	if took := time.Since(start) - began; took > ownThreads {
		keepCore.Store(int64(began + took + backOff*took))
	}
}
