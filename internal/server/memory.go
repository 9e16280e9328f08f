package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// memoryLimit manages Go's soft memory limit (debug.SetMemoryLimit). Caches fill their budgets for good; without a limit the heap
// would double on top of them before each collection. But the closer the limit is to the live heap, the more often the collector
// runs, and each collection delays requests. So the limit rises while the collector takes more than maxShare of the processors'
// time, because clients or jobs hold memory or allocate it quickly, and falls back when it takes less than minShare.
type memoryLimit struct {
	mu     sync.Mutex
	least  int64 // bytes; 0 means that the limit is not managed
	raised int64 // bytes above least

	atCollection, atTick usage // at the last calls
}

const (
	maxShare = 0.05
	minShare = 0.01
	// limitStep is how many bytes the limit rises after a collection, or falls per limitInterval.
	limitStep     = 32 << 20
	limitInterval = time.Second
)

// newMemoryLimit sets the limit in bytes; 0 leaves the runtime's setting alone.
func newMemoryLimit(bytes int64) *memoryLimit {
	m := &memoryLimit{least: bytes}
	m.set()
	return m
}

// add raises the limit for a cache of that many bytes, or lowers it if bytes is negative.
func (m *memoryLimit) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.least != 0 {
		m.least += bytes
		m.set()
	}
}

// set tells the runtime. The caller holds mu, or is the only one that has m.
func (m *memoryLimit) set() {
	if m.least != 0 {
		debug.SetMemoryLimit(m.least + m.raised)
	}
}

// usage is what the collector uses.
type usage struct {
	collecting, total float64 // processor time in seconds, as of the last collection
	live, goal        uint64  // bytes of the heap after the last collection, and at the next one
}

// share returns the collector's share of the processor time since an earlier usage.
func (u usage) share(since usage) float64 {
	if u.total <= since.total {
		return 0
	}
	return (u.collecting - since.collecting) / (u.total - since.total)
}

// collected must be called after each collection.
func (m *memoryLimit) collected(u usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A goal far above the live heap follows from GOGC; a higher limit would not change it.
	if limited := u.goal < u.live+u.live/2; limited && u.share(m.atCollection) > maxShare {
		m.raised += limitStep
		m.set()
	}
	m.atCollection = u
}

// tick must be called once per limitInterval.
func (m *memoryLimit) tick(u usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.raised > 0 && u.share(m.atTick) < minShare {
		m.raised -= limitStep
		m.set()
	}
	m.atTick = u
}

// readUsage reads the runtime's metrics.
func readUsage() usage {
	s := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/goal:bytes"},
	}
	metrics.Read(s)
	// Idle time that the collector uses costs requests nothing.
	return usage{s[0].Value.Float64() - s[1].Value.Float64(), s[2].Value.Float64(), s[3].Value.Uint64(), s[4].Value.Uint64()}
}

// canary is unreachable at once, so each collection frees one. Its pointer keeps it out of the runtime's allocator for tiny objects,
// which frees several together.
type canary struct{ _ *canary }

// eachCollection calls f after each collection until ctx ends.
func eachCollection(ctx context.Context, f func()) {
	runtime.AddCleanup(new(canary), func(ctx context.Context) {
		if ctx.Err() == nil {
			f()
			eachCollection(ctx, f)
		}
	}, ctx)
}
