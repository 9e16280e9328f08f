package pebblekv

import (
	"context"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/kv"
)

const lockShards = 256

// lockTable has a lock for every key in use, found by the key's 64-bit hash: two keys of one hash would share a lock, which
// costs a wait or, once in 2^64, a needless conflict.
type lockTable struct {
	shards [lockShards]lockShard
}

type lockShard struct {
	mu   sync.Mutex
	held map[uint64]*lock
	_    [40]byte // a cache line each
}

// lock is a held lock. Waiters get it in the order in which they came.
type lock struct {
	holder  manner
	waiters []waiter
}

// manner is how a lock is taken.
type manner struct {
	exclusive  bool // fail rather than wait, and make others fail
	background bool // wait for exclusive holders, and make exclusive ones wait
	late       bool // fail in any case: other locks are held that sort behind
}

// waits reports whether a lock that is held by other is waited for.
func (m manner) waits(other manner) bool {
	if m.late {
		return false
	}
	return m.background || other.background || !m.exclusive && !other.exclusive
}

type waiter struct {
	manner
	turn chan struct{}
}

func (t *lockTable) shard(h uint64) *lockShard { return &t.shards[h%lockShards] }

// hint is a hashed key and its place among the hints.
type hint struct {
	hash  uint64
	index int
}

// acquire takes the locks of all keys in the order of their hashes, so that nothing deadlocks.
func (t *lockTable) acquire(ctx context.Context, dst []hint, keys [][]byte, how manner) ([]hint, error) {
	for i, k := range keys {
		dst = append(dst, hint{xxhash.Sum64(k), i})
	}
	if len(dst) > 1 {
		slices.SortFunc(dst, func(a, b hint) int {
			switch {
			case a.hash < b.hash:
				return -1
			case a.hash > b.hash:
				return 1
			}
			return 0
		})
		dst = slices.CompactFunc(dst, func(a, b hint) bool { return a.hash == b.hash })
	}
	for i, h := range dst {
		if err := t.lock(ctx, h, how); err != nil {
			t.release(dst[:i])
			return dst[:0], err
		}
	}
	return dst, nil
}

func (t *lockTable) lock(ctx context.Context, h hint, how manner) error {
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
	turn := make(chan struct{}, 1)
	l.waiters = append(l.waiters, waiter{how, turn})
	s.mu.Unlock()
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
	// The lock was handed over in the meantime.
	t.unlock(h.hash)
	return ctx.Err()
}

func (t *lockTable) release(hints []hint) {
	for _, h := range hints {
		t.unlock(h.hash)
	}
}

func (t *lockTable) unlock(hash uint64) {
	s := t.shard(hash)
	s.mu.Lock()
	l := s.held[hash]
	if len(l.waiters) > 0 {
		next := l.waiters[0]
		l.waiters = l.waiters[1:]
		l.holder = next.manner
		next.turn <- struct{}{}
	} else {
		delete(s.held, hash)
	}
	s.mu.Unlock()
}
