package pebblekv

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/statordb/stator/internal/stage"
)

// pendingSlots is the number of slots in which a key's hash finds commits that wait for their fsync. Keys that share a
// slot wait for each other's commits, which costs an fsync now and then.
const pendingSlots = 1 << 13

// pending tracks the commits that are visible but not yet on disk. Other transactions may build on them at once, but no client
// may be told anything that depends on them, since a crash could undo them. So readers wait for the fsync of what they read.
type pending struct {
	slots [pendingSlots]slot
	count atomic.Int64 // commits in progress
}

// forget drops the commits of a database that was closed.
func (p *pending) forget() {
	for i := range p.slots {
		p.slots[i].last.Store(nil)
	}
}

// slot holds the latest commit of the keys that share it. The log is written in the order of sequence numbers, so the
// commit with the highest number is the last of all to be durable.
type slot struct {
	applying atomic.Int32 // commits that may be visible but are not in last yet
	last     atomic.Pointer[syncing]
}

// syncing is a visible commit that waits for its fsync. err is set before done is.
type syncing struct {
	seq  pebble.SeqNum
	done sync.WaitGroup
	err  error
}

func (p *pending) slot(hash uint64) *slot { return &p.slots[hash%pendingSlots] }

// before must be called before a commit of the keys is applied.
func (p *pending) before(keys []written) {
	p.count.Add(1)
	for _, k := range keys {
		p.slot(k.hash).applying.Add(1)
	}
}

// applied must be called once the commit is visible; c is nil if the commit failed.
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

// waitDurable returns once everything that a reader may have seen of the key is on disk.
func (s *Store) waitDurable(hash uint64) error {
	// Order matters: applied publishes last before it lowers applying, so a commit that has become visible is seen in
	// one of the two.
	slot := s.pending.slot(hash)
	// Some commit may be visible already but has no syncing to wait for yet: sync the log up to here.
	if slot.applying.Load() > 0 {
		return s.syncLog()
	}
	c := slot.last.Load()
	if c == nil {
		return nil
	}
	began := time.Now()
	c.done.Wait()
	stage.Durable.Since(began)
	// Forget it, so that later readers need not look at a finished commit. A failed one stays: what it wrote is of
	// unknown durability.
	if c.err == nil {
		slot.last.CompareAndSwap(c, nil)
	}
	return c.err
}

// waitAllDurable returns once everything that is visible now is on disk.
func (s *Store) waitAllDurable() error {
	if s.pending.count.Load() == 0 {
		return nil
	}
	return s.syncLog()
}

// syncLog returns once everything written to the log so far is on disk.
func (s *Store) syncLog() error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.LogData(nil, nil); err != nil {
		return err
	}
	return s.commitSynced(b, nil, nil)
}
