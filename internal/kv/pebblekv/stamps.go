package pebblekv

import (
	"sync"

	"github.com/statordb/stator/internal/kv"
)

// stamps knows the transactions under way that have taken a timestamp for keys of their own. They are given out in order, so
// those under way are a queue.
type stamps struct {
	mu    sync.Mutex
	queue []stamped // in order; the first one is under way
	first uint64    // the number of the first
}

type stamped struct {
	ts   kv.TS
	done bool
}

// take returns a new timestamp and the number under which it ends.
func (s *stamps) take(now func() kv.TS) (kv.TS, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := now()
	s.queue = append(s.queue, stamped{ts: ts})
	return ts, s.first + uint64(len(s.queue)) - 1
}

// end says that what the holder of the number wrote is visible, or will never be.
func (s *stamps) end(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue[number-s.first].done = true
	n := 0
	for n < len(s.queue) && s.queue[n].done {
		n++
	}
	s.queue = s.queue[n:]
	s.first += uint64(n)
}

// stable returns a timestamp below which nobody is under way, now or later.
func (s *stamps) stable(now func() kv.TS) kv.TS {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		return s.queue[0].ts
	}
	return now()
}
