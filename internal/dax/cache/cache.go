package cache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/wirejson"
)

const (
	// shardCount is the number of parts of a cache. Each has a lock and an LRU list of its own, to spread contention.
	shardCount = 16
	// entryOverhead is the approximate memory of an entry in bytes, beside its key and value.
	entryOverhead = 160
	// maxEntries is the LRU library's own bound, in entries. The bound in bytes is always reached first.
	maxEntries = 1 << 30
)

// Cache is an LRU cache, bounded in bytes, whose entries also expire. Three rules keep it coherent with the database:
//
//	C1  Concurrent reads of a missing key share one read of the database, a flight.
//	C2  A flight stores nothing if a write of its key has ended since it began: what it read may be older.
//	C3  Concurrent writes of a key store nothing: which of them the database applied last is unknown.
//
// A key that is passed to a method stays the caller's. A value must not change any more; nil means that there is no item.
type Cache struct {
	now     func() time.Time
	onWrite func(key []byte) // see Options.Wrote
	ttl     atomic.Int64     // nanoseconds; 0 means that entries don't expire
	shards  [shardCount]shard

	evicted atomic.Int64 // bytes evicted since Evicted was called last
}

// shard is an independent part of a cache. mu guards all its fields.
type shard struct {
	mu         sync.Mutex
	lru        *simplelru.LRU[string, entry]
	bytes, max int64
	flights    map[string]*Flight
	writes     map[string]*writing
}

// entry is a cached value.
type entry struct {
	value   []byte
	expires int64 // nanoseconds since 1970; 0 for never
}

// Flight is a read of a missing key in progress, which any number of requests wait for.
type Flight struct {
	key   string
	done  chan struct{}
	value []byte
	err   error
	stale bool // a write has ended since the flight began (C2); guarded by the shard
}

// writing are the writes in progress of one key.
type writing struct {
	count      int  // number of writes in progress
	overlapped bool // two writes ran at the same time (C3)
}

// ErrUnread lands a flight whose leader failed for a reason that doesn't concern the waiters: a batch left the key unprocessed, the
// leader's client has gone, or a refill failed. The waiters then read the key themselves.
var ErrUnread = errors.New("dax: the key was not read")

// newCache returns an empty cache of at most the given number of bytes.
func newCache(bytes int64, ttl time.Duration, now func() time.Time, onWrite func(key []byte)) *Cache {
	c := &Cache{now: now, onWrite: onWrite}
	c.ttl.Store(int64(ttl))
	for i := range c.shards {
		s := &c.shards[i]
		lru, err := simplelru.NewLRU[string, entry](maxEntries, nil)
		if err != nil {
			panic(err) // only for sizes below 1
		}
		s.lru, s.max = lru, bytes/shardCount
		s.flights, s.writes = map[string]*Flight{}, map[string]*writing{}
	}
	return c
}

// shard returns the shard of a key.
func (c *Cache) shard(key []byte) *shard { return &c.shards[xxhash.Sum64(key)%shardCount] }

// Get returns the cached value of a key, or else the flight that reads it. If leads is true the caller must read the value itself and
// land the flight, by Fly or Land; otherwise it waits for the flight.
func (c *Cache) Get(key []byte) (value []byte, f *Flight, leads bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.lru.Get(wirejson.View(key)); ok {
		if e.expires == 0 || c.now().UnixNano() < e.expires {
			return e.value, nil, false
		}
		s.remove(wirejson.View(key))
	}
	f, leads = s.join(key)
	return nil, f, leads
}

// Lead starts a flight for a key that was just written, or returns nil if there is one already. The caller must land the flight.
func (c *Cache) Lead(key []byte) *Flight {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, leads := s.join(key); leads {
		return f
	}
	return nil
}

// join returns the flight of a key, and whether it is new: then the caller leads it. The shard is locked.
func (s *shard) join(key []byte) (f *Flight, leads bool) {
	if f := s.flights[wirejson.View(key)]; f != nil {
		return f, false
	}
	f = &Flight{key: string(key), done: make(chan struct{})}
	s.flights[f.key] = f
	return f, true
}

// Wait returns what the flight's leader has read, or ctx's error if ctx ends first. After ErrUnread the caller must read the key itself.
func (f *Flight) Wait(ctx context.Context) ([]byte, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Land ends a flight: it wakes the waiters with the result and, unless C2 forbids it, caches the value. An error is not cached.
func (c *Cache) Land(f *Flight, value []byte, err error) {
	s := c.shard([]byte(f.key))
	s.mu.Lock()
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	}
	if err == nil && !f.stale {
		c.store(s, f.key, value)
	}
	s.mu.Unlock()
	f.value, f.err = value, err
	close(f.done)
}

// Fly lands a flight with what read returns, and returns it too. The flight lands even if read panics, so that no waiter hangs. If ctx
// ends, only the leader's own client has gone: the waiters get ErrUnread.
func (c *Cache) Fly(ctx context.Context, f *Flight, read func() ([]byte, error)) (value []byte, err error) {
	landed := false
	defer func() {
		if !landed {
			c.Land(f, nil, awserr.Internal(nil))
		}
	}()
	value, err = read()
	landed = true
	c.Land(f, value, SharedError(ctx, err))
	return value, err
}

// SharedError returns the error that the waiters of a flight get for the leader's error. ctx is the leader's.
func SharedError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrUnread
	}
	return err
}

// store adds an entry, and evicts the least recently used ones until all have room. The shard is locked.
func (c *Cache) store(s *shard, key string, value []byte) {
	s.remove(key)
	size := sizeOf(key, value)
	if size > s.max {
		return
	}
	e := entry{value: value}
	if ttl := c.ttl.Load(); ttl != 0 {
		e.expires = c.now().UnixNano() + ttl
	}
	s.lru.Add(key, e)
	s.bytes += size
	c.shrink(s)
}

// shrink evicts the least recently used entries until the rest has room. The shard is locked.
func (c *Cache) shrink(s *shard) {
	for s.bytes > s.max {
		k, old, ok := s.lru.RemoveOldest()
		if !ok {
			break
		}
		n := sizeOf(k, old.value)
		s.bytes -= n
		c.evicted.Add(n)
	}
}

// resize sets the bound of the cache in bytes.
func (c *Cache) resize(bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.max = bytes / shardCount
		c.shrink(s)
		s.mu.Unlock()
	}
}

// sizeOf estimates an entry's memory in bytes.
func sizeOf(key string, value []byte) int64 { return int64(len(key)+len(value)) + entryOverhead }

// remove removes an entry, if there is one. The shard is locked.
func (s *shard) remove(key string) {
	if e, ok := s.lru.Peek(key); ok {
		s.bytes -= sizeOf(key, e.value)
		s.lru.Remove(key)
	}
}

// BeginWrite announces a write of the key. Exactly one call of EndWrite or CancelWrite must follow.
func (c *Cache) BeginWrite(key []byte) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.writes[wirejson.View(key)]; w != nil {
		w.count++
		w.overlapped = true
		return
	}
	s.writes[string(key)] = &writing{count: 1}
}

// EndWrite ends a write that may have changed the database. value is what is stored now; it is cached if known is true and C3 allows it.
func (c *Cache) EndWrite(key, value []byte, known bool) {
	if c.onWrite != nil {
		c.onWrite(key)
	}
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.ended(key)
	s.spoil(key)                // C2
	if !known || w.overlapped { // C3
		s.remove(wirejson.View(key))
		return
	}
	// key is the caller's scratch memory.
	c.store(s, strings.Clone(wirejson.View(key)), value)
}

// CancelWrite ends a write that has changed nothing, so the cached value stays valid.
func (c *Cache) CancelWrite(key []byte) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended(key)
}

// Invalidate removes a key's value because another server or node has written it.
func (c *Cache) Invalidate(key []byte) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil(key)                                     // C2
	if w := s.writes[wirejson.View(key)]; w != nil { // C3
		w.overlapped = true
	}
	s.remove(wirejson.View(key))
}

// spoil keeps the key's flight, if there is one, from storing its value. The next reader begins a new flight. The shard is locked.
func (s *shard) spoil(key []byte) {
	if f := s.flights[wirejson.View(key)]; f != nil {
		f.stale = true
		delete(s.flights, f.key)
	}
}

// ended takes one write from those in progress. The shard is locked.
func (s *shard) ended(key []byte) *writing {
	w := s.writes[wirejson.View(key)]
	if w.count--; w.count == 0 {
		delete(s.writes, wirejson.View(key))
	}
	return w
}

// TTL returns how long entries stay that are stored now; 0 means until they are evicted.
func (c *Cache) TTL() time.Duration { return time.Duration(c.ttl.Load()) }

// used returns the memory of all entries in bytes.
func (c *Cache) used() (n int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}

// Clear removes all entries. Flights and writes in progress store nothing.
func (c *Cache) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.lru.Purge()
		s.bytes = 0
		for _, f := range s.flights {
			f.stale = true
		}
		clear(s.flights)
		for _, w := range s.writes {
			w.overlapped = true
		}
		s.mu.Unlock()
	}
}
