package pebblekv

import (
	"bytes"
	"sync"
)

const (
	rowShards = 256
	// rowSeen is how many keys, read once so far, a shard remembers.
	rowSeen = 512
	// rowOverhead estimates the memory that a row takes beyond its key and value, in bytes.
	rowOverhead = 96
)

// rowCache holds the values of keys that are read repeatedly. A hit costs a tenth of a Get in Pebble, which searches memtables
// and blocks. A value is kept when its key is read for the second time, so that one pass over a large table evicts nothing.
// Eviction is CLOCK, per shard.
//
// Invariant: every value in the cache is the last committed one. From before a commit is applied until it is visible, its keys
// are not in the cache and can't enter it; a value read from Pebble before or during that time is not kept either.
type rowCache struct {
	shards [rowShards]rowShard
	max    int64 // bytes per shard
}

// rowShard holds the rows of the hashes that it serves. A row is one object for the collector, which marks all of them each time.
type rowShard struct {
	mu      sync.Mutex
	at      map[uint64]int32 // index in the ring by the key's hash; a row of another key with that hash is a miss
	ring    []row            // in the order in which the clock hand passes them
	hand    int
	bytes   int64
	changes uint64 // incremented whenever a value read earlier must not be kept
	writers int    // commits being applied
	// seen holds the upper hash bits of keys that were read once, in slots by the lower bits.
	seen [rowSeen]uint32
}

// row is a cached key and value.
type row struct {
	hash uint64
	data []byte // copies of the key and of the value behind it; immutable
	key  uint32 // length of the key in bytes
	used bool   // since the hand last passed
}

func (r *row) is(key []byte) bool { return bytes.Equal(r.data[:r.key], key) }
func (r *row) val() []byte        { return r.data[r.key:] }

func newRowCache(size int64) *rowCache { return &rowCache{max: size / rowShards} }

func (c *rowCache) shard(hash uint64) *rowShard { return &c.shards[hash%rowShards] }

// ticket is the state of a shard at a miss. put keeps a value only if the state has not changed since.
type ticket struct {
	changes uint64
	keep    bool
}

// get returns the value, which the caller must not change, or a ticket for put.
func (c *rowCache) get(hash uint64, key []byte) (val []byte, found bool, t ticket) {
	s := c.shard(hash)
	s.mu.Lock()
	if at, ok := s.at[hash]; ok && s.ring[at].is(key) {
		r := &s.ring[at]
		r.used = true
		val = r.val()
		s.mu.Unlock()
		return val, true, ticket{}
	}
	// Keep only values that were read while no commit of this shard was in progress, from here until put.
	t = ticket{s.changes, s.writers == 0}
	if mark := &s.seen[hash/rowShards%rowSeen]; *mark != uint32(hash>>32) {
		*mark = uint32(hash >> 32)
		t.keep = false
	}
	s.mu.Unlock()
	return nil, false, t
}

// put keeps a copy of a value that was read after the miss that gave the ticket.
func (c *rowCache) put(hash uint64, key, val []byte, t ticket) {
	if !t.keep || !c.fits(key, val) {
		return
	}
	r := copyRow(hash, key, val) // before the lock, which every reader of the shard takes
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == t.changes && s.writers == 0 {
		s.insert(c.max, r)
	}
}

// fits reports whether a row is small enough to be kept without evicting too many others.
func (c *rowCache) fits(key, val []byte) bool { return rowSize(key, val) <= c.max/8 }

// copyRow returns a row with copies of the key and the value.
func copyRow(hash uint64, key, val []byte) row {
	data := make([]byte, len(key)+len(val))
	copy(data[copy(data, key):], val)
	return row{hash: hash, data: data, key: uint32(len(key))}
}

// insert adds a row, and evicts rows that were not used since the clock hand last passed them. The caller holds mu.
func (s *rowShard) insert(limit int64, r row) {
	size := r.size()
	if old, ok := s.at[r.hash]; ok {
		s.remove(old)
	}
	for s.bytes+size > limit && len(s.ring) > 0 {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		if victim := &s.ring[s.hand]; victim.used {
			victim.used = false
			s.hand++
		} else {
			s.remove(int32(s.hand))
		}
	}
	if s.at == nil {
		s.at = make(map[uint64]int32)
	}
	s.at[r.hash] = int32(len(s.ring))
	s.ring = append(s.ring, r)
	s.bytes += size
}

func (r *row) size() int64 { return int64(len(r.data)) + rowOverhead }

func rowSize(key, val []byte) int64 { return int64(len(key)+len(val)) + rowOverhead }

// remove drops the row at an index of the ring, which the last row takes.
func (s *rowShard) remove(at int32) {
	s.bytes -= s.ring[at].size()
	delete(s.at, s.ring[at].hash)
	last := len(s.ring) - 1
	if int(at) != last {
		s.ring[at] = s.ring[last]
		s.at[s.ring[at].hash] = at
	}
	s.ring[last] = row{}
	s.ring = s.ring[:last]
}

// written is a key that a commit writes.
type written struct {
	hash     uint64
	key, val []byte // val is the key's value from now on; nil if the key is deleted or merged
	// hot means that the key was in the cache; changes is its shard's count after begin.
	hot     bool
	changes uint64
}

// begin must be called before a commit that writes the keys is applied. It evicts them.
func (c *rowCache) begin(keys []written) {
	for i := range keys {
		k := &keys[i]
		s := c.shard(k.hash)
		s.mu.Lock()
		if at, ok := s.at[k.hash]; ok {
			s.remove(at)
			k.hot = true
		}
		s.writers++
		s.changes++
		k.changes = s.changes
		s.mu.Unlock()
	}
}

// end must be called once the commit is visible or has failed. It puts new values of keys that were cached back.
func (c *rowCache) end(keys []written, failed bool) {
	for i := range keys {
		k := &keys[i]
		s := c.shard(k.hash)
		s.mu.Lock()
		s.writers--
		// Only if no other commit of this shard began or ended in between: it might have written the same key.
		if k.hot && k.val != nil && !failed && s.changes == k.changes && c.fits(k.key, k.val) {
			s.insert(c.max, copyRow(k.hash, k.key, k.val))
		}
		s.changes++
		s.mu.Unlock()
	}
}

// clear empties the cache.
func (c *rowCache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.at, s.ring, s.hand, s.bytes = nil, nil, 0, 0
		s.changes++
		s.mu.Unlock()
	}
}
