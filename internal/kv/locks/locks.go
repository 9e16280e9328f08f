// Package locks holds the locks of hinted keys, in the memory of one server.
//
// A lock belongs to one holder and queues waiters in order of arrival. Locks of several keys are taken in the order of their
// hashes, so that transactions can't deadlock. Both embedded and distributed engines use it: the latter to keep the
// transactions of one server from meeting in the database.
package locks

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/stage"
)

const shards = 256

// Table has a lock for every key in use, found by the key's 64-bit hash. Two keys with the same hash share a lock, which costs
// a wait or, once in 2^64, a needless conflict. The zero value is ready.
type Table struct {
	shards [shards]shard
}

// shard holds the locks of the hashes that it serves, so that unrelated transactions don't contend for one mutex.
type shard struct {
	mu   sync.Mutex
	held map[uint64]*lock
	_    [40]byte // pads a shard to a cache line
}

// lock is a held lock. It passes to its waiters in order of arrival.
type lock struct {
	holder  Manner
	waiters []waiter
}

// Manner says how a lock is taken.
type Manner struct {
	Exclusive  bool // fail rather than wait, and make others fail
	Background bool // wait for exclusive holders, and make exclusive ones wait
	Late       bool // always fail rather than wait: locks that sort after this one may be held already
}

// waits reports whether to wait, rather than fail, for a lock that is held in the manner other.
func (m Manner) waits(other Manner) bool {
	if m.Late {
		return false
	}
	return m.Background || other.Background || !m.Exclusive && !other.Exclusive
}

// waiter waits for a lock; turn receives once it has the lock.
type waiter struct {
	Manner
	turn chan struct{}
}

func (t *Table) shard(h uint64) *shard { return &t.shards[h%shards] }

// Held is a lock taken: the key's hash, and the key's index among the hints.
type Held struct {
	hash  uint64
	index int
}

// Acquire takes the locks of all keys in the order of their hashes, so that nothing deadlocks, and appends them to dst. Its
// errors are kv.LockedError and ctx's. After an error it holds nothing.
func (t *Table) Acquire(ctx context.Context, dst []Held, keys [][]byte, how Manner) ([]Held, error) {
	for i, k := range keys {
		dst = append(dst, Held{xxhash.Sum64(k), i})
	}
	if len(dst) > 1 {
		slices.SortFunc(dst, func(a, b Held) int {
			switch {
			case a.hash < b.hash:
				return -1
			case a.hash > b.hash:
				return 1
			}
			return 0
		})
		dst = slices.CompactFunc(dst, func(a, b Held) bool { return a.hash == b.hash })
	}
	for i, h := range dst {
		if err := t.lock(ctx, h, how); err != nil {
			t.Release(dst[:i])
			return dst[:0], err
		}
	}
	return dst, nil
}

// lock takes one lock, or waits for it if how and its holder's manner allow.
func (t *Table) lock(ctx context.Context, h Held, how Manner) error {
	s := t.shard(h.hash)
	s.mu.Lock()
	l, held := s.held[h.hash]
	if !held {
		if s.held == nil {
			s.held = make(map[uint64]*lock)
		}
		s.held[h.hash] = &lock{holder: how}
		s.mu.Unlock()
		return nil
	}
	if !how.waits(l.holder) {
		s.mu.Unlock()
		return &kv.LockedError{Hint: h.index}
	}
	// The channel has room for one message, so that unlock never blocks on a waiter whose context is done.
	turn := make(chan struct{}, 1)
	l.waiters = append(l.waiters, waiter{how, turn})
	s.mu.Unlock()
	defer stage.Lock.Since(time.Now())
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for i, w := range l.waiters {
		if w.turn == turn {
			l.waiters = slices.Delete(l.waiters, i, i+1)
			s.mu.Unlock()
			return ctx.Err()
		}
	}
	s.mu.Unlock()
	// Not among the waiters any more: unlock has handed the lock over in the meantime, so pass it on.
	t.unlock(h.hash)
	return ctx.Err()
}

// Release releases the locks.
func (t *Table) Release(hints []Held) {
	for _, h := range hints {
		t.unlock(h.hash)
	}
}

// unlock hands the lock to its first waiter, or removes it. Handing over keeps the order of arrival: no later
// transaction can overtake a waiter.
func (t *Table) unlock(hash uint64) {
	s := t.shard(hash)
	s.mu.Lock()
	l := s.held[hash]
	if len(l.waiters) > 0 {
		next := l.waiters[0]
		l.waiters = l.waiters[1:]
		l.holder = next.Manner
		next.turn <- struct{}{}
	} else {
		delete(s.held, hash)
	}
	s.mu.Unlock()
}
