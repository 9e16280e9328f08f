package server

import (
	"runtime/debug"
	"sync"
	"time"
)

// memoryLimit is how much memory the runtime is to use before it collects garbage more often. It grows with what is opened.
type memoryLimit struct {
	mu    sync.Mutex
	bytes int64 // 0 for none
}

// newMemoryLimit sets the limit; 0 leaves the runtime alone.
func newMemoryLimit(bytes int64) *memoryLimit {
	m := &memoryLimit{bytes: bytes}
	m.add(0)
	return m
}

// add changes it.
func (m *memoryLimit) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes != 0 {
		m.bytes += bytes
		debug.SetMemoryLimit(m.bytes)
	}
}

const (
	// clientInterval is how often the limit is made to follow what clients hold, and clientStep by how many bytes at a time: setting it
	// stops the process for a moment.
	clientInterval = time.Second
	clientStep     = 32 << 20
)

// follow has the limit grow and shrink with what is held, which it returns: memory that clients rightly hold must not have the
// collector run all the time. before is what it returned last.
func (m *memoryLimit) follow(held, before int64) int64 {
	if held = held / clientStep * clientStep; held != before {
		m.add(held - before)
	}
	return held
}
