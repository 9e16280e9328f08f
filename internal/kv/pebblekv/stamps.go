package pebblekv

import (
	"sync"

	"github.com/statordb/stator/internal/kv"
)

// stamps tracks the transactions in progress that have taken a timestamp. Timestamps are given out in order, so these
// transactions form a queue.
type stamps struct {
	mu    sync.Mutex
	queue []stamped // in order of timestamps; the first one is in progress
	first uint64    // number of the first
}

// stamped is a timestamp that was given out.
type stamped struct {
	ts   kv.TS
	done bool
}

// take returns a new timestamp, and a number for end.
func (s *stamps) take(now func() kv.TS) (kv.TS, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := now()
	s.queue = append(s.queue, stamped{ts: ts})
	return ts, s.first + uint64(len(s.queue)) - 1
}

// end marks the transaction with that number as ended: what it wrote is visible, or never will be.
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

// stable returns a timestamp below which no transaction is in progress, now or later.
func (s *stamps) stable(now func() kv.TS) kv.TS {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		return s.queue[0].ts
	}
	return now()
}
