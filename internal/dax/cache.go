package dax

import (
	"context"
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
	// cacheShards is how many parts a cache has, each with a lock and an LRU list of its own.
	cacheShards = 16
	// entryOverhead is about how many bytes an entry takes beside its key and value.
	entryOverhead = 160
	// maxEntries bounds the entries of a shard for the library, which counts nothing else; the bound in bytes comes first.
	maxEntries = 1 << 30
)

// cache remembers values by keys: an LRU cache bounded in bytes whose entries also expire. Three rules keep it true:
//
//	C1  A key that is not there is read once, however many ask for it at a time (a flight).
//	C2  What was read is not stored if a write of the key has ended since the read began.
//	C3  Of two writes of a key at a time nobody knows which was the last, so neither's value is stored.
type cache struct {
	now    func() time.Time
	told   func(key []byte) // hears of writes that have ended; nil for nothing
	ttl    atomic.Int64     // nanoseconds; 0 for entries that do not expire
	shards [cacheShards]shard

	evicted atomic.Int64 // bytes since they were last asked for
}

type shard struct {
	mu         sync.Mutex
	lru        *simplelru.LRU[string, entry]
	bytes, max int64
	flights    map[string]*flight
	writes     map[string]*writing
}

// entry is a value, which nobody changes; nil says that there is none.
type entry struct {
	value   []byte
	expires int64 // nanoseconds since 1970; 0 for never
}

// flight is a read of what was not in the cache.
type flight struct {
	key   string
	done  chan struct{}
	value []byte
	err   error
	stale bool // a write has ended since it began; guarded by the shard
}

// writing are the writes of a key under way.
type writing struct {
	count      int
	overlapped bool
}

func newCache(bytes int64, ttl time.Duration, now func() time.Time) *cache {
	c := &cache{now: now}
	c.ttl.Store(int64(ttl))
	for i := range c.shards {
		s := &c.shards[i]
		lru, err := simplelru.NewLRU[string, entry](maxEntries, nil)
		if err != nil {
			panic(err) // only for sizes below 1
		}
		s.lru, s.max = lru, bytes/cacheShards
		s.flights, s.writes = map[string]*flight{}, map[string]*writing{}
	}
	return c
}

func (c *cache) shard(key []byte) *shard { return &c.shards[xxhash.Sum64(key)%cacheShards] }

// get returns the value of a key, or the flight that reads it. Who leads it must land it.
func (c *cache) get(key []byte) (value []byte, f *flight, leads bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.lru.Get(wirejson.View(key)); ok {
		if e.expires == 0 || c.now().UnixNano() < e.expires {
			return e.value, nil, false
		}
		s.remove(wirejson.View(key))
	}
	return s.take(key)
}

// lead begins the flight of a key that was just written, unless somebody reads it already.
func (c *cache) lead(key []byte) *flight {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, f, leads := s.take(key); leads {
		return f
	}
	return nil
}

// take returns the flight of a key.
func (s *shard) take(key []byte) (_ []byte, f *flight, leads bool) {
	if f := s.flights[wirejson.View(key)]; f != nil {
		return nil, f, false
	}
	f = &flight{key: string(key), done: make(chan struct{})}
	s.flights[f.key] = f
	return nil, f, true
}

// wait returns what the flight's leader has read, or ctx's error if that ends before.
func (f *flight) wait(ctx context.Context) ([]byte, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// land ends a flight.
func (c *cache) land(f *flight, value []byte, err error) {
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

// fly leads a flight: read reads the value. A read that panics lands too. Where ctx ends, the leader's client has gone: the others
// that wait read by themselves.
func (c *cache) fly(ctx context.Context, f *flight, read func() ([]byte, error)) (value []byte, err error) {
	landed := false
	defer func() {
		if !landed {
			c.land(f, nil, awserr.Internal(nil))
		}
	}()
	value, err = read()
	landed = true
	c.land(f, value, sharedError(ctx, err))
	return value, err
}

// sharedError is what a flight's leader tells the others of its error.
func sharedError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errUnread
	}
	return err
}

// store puts an entry and removes what was not used for the longest time, until all of it has room. The shard is locked.
func (c *cache) store(s *shard, key string, value []byte) {
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

// shrink removes what was not used for the longest time until the rest has room. The shard is locked.
func (c *cache) shrink(s *shard) {
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

// resize sets how many bytes the cache may take.
func (c *cache) resize(bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.max = bytes / cacheShards
		c.shrink(s)
		s.mu.Unlock()
	}
}

// sizeOf is about how many bytes of memory an entry takes.
func sizeOf(key string, value []byte) int64 { return int64(len(key)+len(value)) + entryOverhead }

// remove removes an entry. The shard is locked.
func (s *shard) remove(key string) {
	if e, ok := s.lru.Peek(key); ok {
		s.bytes -= sizeOf(key, e.value)
		s.lru.Remove(key)
	}
}

// write says that a write of the key begins. It must be followed by wrote or failed.
func (c *cache) write(key []byte) {
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

// wrote says that a write has ended and what it left; nil for nothing. What is not known is not stored.
func (c *cache) wrote(key, value []byte, known bool) {
	if c.told != nil {
		c.told(key)
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
	c.store(s, strings.Clone(wirejson.View(key)), value)
}

// forget says that somebody else has written the key.
func (c *cache) forget(key []byte) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil(key)                                     // C2
	if w := s.writes[wirejson.View(key)]; w != nil { // C3
		w.overlapped = true
	}
	s.remove(wirejson.View(key))
}

// spoil makes the flight of a key that is under way store nothing.
func (s *shard) spoil(key []byte) {
	if f := s.flights[wirejson.View(key)]; f != nil {
		f.stale = true
		delete(s.flights, f.key)
	}
}

// failed says that a write has ended and changed nothing.
func (c *cache) failed(key []byte) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended(key)
}

func (s *shard) ended(key []byte) *writing {
	w := s.writes[wirejson.View(key)]
	if w.count--; w.count == 0 {
		delete(s.writes, wirejson.View(key))
	}
	return w
}

// setTTL sets how long entries stay that come from now on; 0 is for ever.
func (c *cache) setTTL(ttl time.Duration) { c.ttl.Store(int64(ttl)) }

// used returns how many bytes the entries take.
func (c *cache) used() (n int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}

// clear removes all entries. Flights and writes under way store nothing.
func (c *cache) clear() {
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
