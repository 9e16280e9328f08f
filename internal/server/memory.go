package server

import (
	"runtime/debug"
	"sync"
	"time"
)

// memoryLimit manages Go's soft memory limit (debug.SetMemoryLimit). It rises with whatever legitimately holds memory;
// otherwise the collector would run all the time.
type memoryLimit struct {
	mu    sync.Mutex
	bytes int64 // current limit; 0 means that the limit is not managed
}

// newMemoryLimit sets the initial limit in bytes; 0 leaves the runtime's setting alone.
func newMemoryLimit(bytes int64) *memoryLimit {
	m := &memoryLimit{bytes: bytes}
	m.add(0)
	return m
}

// add raises the limit by bytes, or lowers it if bytes is negative.
func (m *memoryLimit) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes != 0 {
		m.bytes += bytes
		debug.SetMemoryLimit(m.bytes)
	}
}

const (
	// clientInterval is how often the limit follows what clients hold, and clientStep its granularity in bytes. Both keep
	// changes rare, because debug.SetMemoryLimit stops the world.
	clientInterval = time.Second
	clientStep     = 32 << 20
)

// follow adjusts the limit to the bytes that clients hold, rounded down to clientStep, and returns that number for the next
// call. before is what the last call returned. Memory that clients hold can't be collected, so it must not count against the
// limit.
func (m *memoryLimit) follow(held, before int64) int64 {
	if held = held / clientStep * clientStep; held != before {
		m.add(held - before)
	}
	return held
}
