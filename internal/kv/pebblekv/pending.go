package pebblekv

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// pendingSlots is the number of places in which commits that wait for their fsync are found by a key's hash. Keys that share
// one wait for each other's commits, which costs an fsync now and then.
const pendingSlots = 1 << 13

// pending knows the commits that are visible (others may build on them at once) but not on disk yet. What a client is told
// must not rest on them, since a crash could take back what it has seen. So readers wait for the fsync of what they read.
type pending struct {
	slots [pendingSlots]slot
	count atomic.Int64 // commits under way
}

// forget drops commits of a database that was closed.
func (p *pending) forget() {
	for i := range p.slots {
		p.slots[i].last.Store(nil)
	}
}

// slot finds the commits of the keys that share it. The log is written in the order of sequence numbers, so the one with
// the highest stands for all.
type slot struct {
	applying atomic.Int32 // commits that may be visible but are not in last yet
	last     atomic.Pointer[syncing]
}

// syncing is a commit that is visible.
type syncing struct {
	seq  pebble.SeqNum
	done sync.WaitGroup
	err  error
}

func (p *pending) slot(hash uint64) *slot { return &p.slots[hash%pendingSlots] }

// before is called before a commit of the keys is applied.
func (p *pending) before(keys []written) {
	p.count.Add(1)
	for _, k := range keys {
		p.slot(k.hash).applying.Add(1)
	}
}

// applied is called when the commit is visible; c is nil if it failed.
func (p *pending) applied(keys []written, c *syncing) {
	for _, k := range keys {
		s := p.slot(k.hash)
		for c != nil {
			old := s.last.Load()
			if old != nil && old.seq > c.seq || s.last.CompareAndSwap(old, c) {
				break
			}
		}
		s.applying.Add(-1)
	}
}

// waitDurable returns when what a reader has seen of the key is on disk.
func (s *Store) waitDurable(hash uint64) error {
	slot := s.pending.slot(hash)
	if slot.applying.Load() > 0 {
		return s.syncLog()
	}
	c := slot.last.Load()
	if c == nil {
		return nil
	}
	c.done.Wait()
	if c.err == nil {
		slot.last.CompareAndSwap(c, nil)
	}
	return c.err
}

// waitAllDurable returns when everything that is visible now is on disk.
func (s *Store) waitAllDurable() error {
	if s.pending.count.Load() == 0 {
		return nil
	}
	return s.syncLog()
}

// syncLog returns when the log is on disk as far as it is written now.
func (s *Store) syncLog() error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.LogData(nil, nil); err != nil {
		return err
	}
	return s.commitSynced(b, nil, nil)
}
