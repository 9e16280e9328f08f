package turns

import "syscall"

// yieldCore lets the kernel run other threads that wait for this core, such as one whose sync is done. The kernel would do so at its next
// tick, which can be 4 ms away. The call doesn't block, so it keeps its P.
func yieldCore() { syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
