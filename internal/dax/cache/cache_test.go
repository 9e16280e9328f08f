package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a clock that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }
func (c *clock) cache(bytes int64, ttl time.Duration) *Cache {
	c.at.CompareAndSwap(0, 1)
	return newCache(bytes, ttl, c.now, nil)
}

// read reads a key through a cache, with value and err as the database's answer.
func read(c *Cache, key string, value []byte, err error) (got []byte, hit bool, failed error) {
	got, f, leads := c.Get([]byte(key))
	switch {
	case leads:
		got, failed = c.Fly(context.Background(), f, func() ([]byte, error) { return value, err })
	case f != nil:
		got, failed = f.Wait(context.Background())
	}
	return got, f == nil, failed
}

func expect(t *testing.T, c *Cache, key, store, want string, wantHit bool) {
	t.Helper()
	var value []byte
	if store != "" {
		value = []byte(store)
	}
	if got, hit, err := read(c, key, value, nil); string(got) != want || hit != wantHit || err != nil {
		t.Errorf("%s: got %q, hit %v, %v; want %q, hit %v", key, got, hit, err, want, wantHit)
	}
}

// TestCacheExpiry: entries expire, those for missing items too, and a write restarts an entry's life.
func TestCacheExpiry(t *testing.T) {
	var now clock
	c := now.cache(1<<20, time.Minute)
	expect(t, c, "a", "1", "1", false)
	expect(t, c, "b", "", "", false)
	now.advance(59 * time.Second)
	expect(t, c, "a", "2", "1", true)
	expect(t, c, "b", "2", "", true)
	now.advance(time.Second)
	expect(t, c, "a", "2", "2", false)
	expect(t, c, "b", "2", "2", false)
	now.advance(30 * time.Second)
	c.BeginWrite([]byte("a"))
	c.EndWrite([]byte("a"), []byte("3"), true)
	now.advance(59 * time.Second)
	expect(t, c, "a", "4", "3", true)
	expect(t, c, "b", "4", "4", false)
	c.ttl.Store(0)
	c.BeginWrite([]byte("a"))
	c.EndWrite([]byte("a"), nil, true)
	now.advance(1000 * time.Hour)
	expect(t, c, "a", "5", "", true)
	c.Clear()
	expect(t, c, "a", "5", "5", false)
	if used, n := c.used(), sizeOf("a", []byte("5")); used != n {
		t.Errorf("%d bytes are used, not %d", used, n)
	}
}

// TestCacheBound: the least recently used entries are evicted, and values larger than the bound are not stored.
func TestCacheBound(t *testing.T) {
	var now clock
	const bound = 1 << 20
	c := now.cache(bound, 0)
	value := bytes.Repeat([]byte("x"), 1000)
	for i := range 5000 {
		if _, _, err := read(c, strconv.Itoa(i), value, nil); err != nil {
			t.Fatal(err)
		}
		expect(t, c, "0", "", string(value), true) // used in every round, so never evicted
		if used := c.used(); used > bound {
			t.Fatalf("%d bytes are used of %d", used, bound)
		}
	}
	kept := 0
	for i := range 5000 {
		if _, ok := c.shard([]byte(strconv.Itoa(i))).lru.Peek(strconv.Itoa(i)); ok {
			kept++
			if i > 0 && i < 3500 {
				t.Errorf("%d is still there", i)
			}
		}
	}
	if want := bound / int(sizeOf("1000", value)); kept < want*9/10 || kept > want {
		t.Errorf("%d entries are kept, about %d have room", kept, want)
	}
	if c.evicted.Load() < 3_000_000 {
		t.Errorf("%d bytes were evicted", c.evicted.Load())
	}
	expect(t, c, "large", string(make([]byte, bound)), string(make([]byte, bound)), false)
	expect(t, c, "large", "small", "small", false)
	c.BeginWrite([]byte("large"))
	c.EndWrite([]byte("large"), make([]byte, bound), true) // too large to store, but the older value goes
	expect(t, c, "large", "small", "small", false)
}

// TestCacheFlights: C1. Concurrent readers share one read; they share its failure too, which isn't cached.
func TestCacheFlights(t *testing.T) {
	var now clock
	c := now.cache(1<<20, 0)
	_, f, leads := c.Get([]byte("a"))
	if !leads {
		t.Fatal("the flight has no leader")
	}
	var all sync.WaitGroup
	var right atomic.Int64
	ready := make(chan struct{}, 100)
	for range 100 {
		all.Add(1)
		go func() {
			defer all.Done()
			_, other, leads := c.Get([]byte("a"))
			ready <- struct{}{}
			if other != f || leads {
				t.Error("a second flight")
				return
			}
			if v, err := other.Wait(context.Background()); string(v) == "1" && err == nil {
				right.Add(1)
			}
		}()
	}
	for range 100 {
		<-ready
	}
	c.Land(f, []byte("1"), nil)
	all.Wait()
	if right.Load() != 100 {
		t.Errorf("%d got the value", right.Load())
	}
	boom := errors.New("boom")
	if _, _, err := read(c, "b", nil, boom); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	expect(t, c, "b", "1", "1", false)
	func() {
		defer func() { _ = recover() }()
		_, f, _ := c.Get([]byte("c"))
		_, _ = c.Fly(context.Background(), f, func() ([]byte, error) { panic("boom") })
	}()
	expect(t, c, "c", "1", "1", false)
}

// TestCacheWrites: C2 and C3. Neither an older read nor one of two concurrent writes is cached.
func TestCacheWrites(t *testing.T) {
	var now clock
	c := now.cache(1<<20, 0)
	key := []byte("a")
	_, f, _ := c.Get(key)
	c.BeginWrite(key)
	c.EndWrite(key, []byte("new"), true)
	c.Land(f, []byte("old"), nil)
	expect(t, c, "a", "", "new", true)

	c.BeginWrite(key)
	c.CancelWrite(key)
	expect(t, c, "a", "", "new", true)

	c.BeginWrite(key)
	c.EndWrite(key, []byte("?"), false)
	expect(t, c, "a", "read", "read", false)

	c.BeginWrite(key)
	c.BeginWrite(key)
	c.EndWrite(key, []byte("1"), true)
	_, f, leads := c.Get(key)
	if !leads {
		t.Fatal("a value of concurrent writes is cached")
	}
	c.EndWrite(key, []byte("2"), true)
	c.Land(f, []byte("1"), nil)
	expect(t, c, "a", "3", "3", false)
	c.BeginWrite(key)
	c.EndWrite(key, []byte("4"), true)
	expect(t, c, "a", "", "4", true)

	// A write of another node invalidates the cached value, the read in progress, and the write in progress.
	c.Invalidate(key)
	_, f, leads = c.Get(key)
	if !leads {
		t.Fatal("what another node has written is kept")
	}
	c.Invalidate(key)
	c.Land(f, []byte("5"), nil)
	c.BeginWrite(key)
	c.Invalidate(key)
	c.EndWrite(key, []byte("6"), true)
	expect(t, c, "a", "7", "7", false)
	c.BeginWrite(key)
	c.Clear()
	c.EndWrite(key, []byte("8"), true)
	expect(t, c, "a", "9", "9", false)
	for i := range c.shards {
		if s := &c.shards[i]; len(s.writes) != 0 || len(s.flights) != 0 {
			t.Errorf("%v %v are left", s.writes, s.flights)
		}
	}
}

// TestCacheNeverGoesBack runs readers and writers of a few keys concurrently. No reader may get a value older than one that was read,
// or whose write had ended, before the reader began.
func TestCacheNeverGoesBack(t *testing.T) {
	var now clock
	c := now.cache(64<<10, 0)
	const keys = 8
	var database, ended [keys]atomic.Int64
	var all sync.WaitGroup
	for g := range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 4000 {
				i := r.IntN(keys)
				key := fmt.Appendf(nil, "key-%d", i)
				if r.IntN(3) == 0 {
					c.BeginWrite(key)
					v := database[i].Add(1)
					c.EndWrite(key, strconv.AppendInt(nil, v, 10), r.IntN(10) > 0)
					raise(&ended[i], v)
					continue
				}
				least := ended[i].Load()
				got, f, leads := c.Get(key)
				if leads {
					got, _ = c.Fly(context.Background(), f, func() ([]byte, error) { return strconv.AppendInt(nil, database[i].Load(), 10), nil })
				} else if f != nil {
					got, _ = f.Wait(context.Background())
				}
				v, err := strconv.ParseInt(string(got), 10, 64)
				if err != nil || v < least {
					t.Errorf("read %q after %d", got, least)
					return
				}
				raise(&ended[i], v)
			}
		}()
	}
	all.Wait()
}

// TestCaches: a node's caches share its memory, and have TTLs of their own. A query TTL of 0 disables the query cache.
func TestCaches(t *testing.T) {
	var now clock
	c := New(Options{Memory: 2 << 20, ItemTTL: time.Hour, QueryTTL: time.Minute, Now: now.now})
	value := strings.Repeat("x", 1000)
	const entries = 5000
	for i := range entries {
		key := fmt.Sprintf("%04d", i)
		expect(t, c.Items, key, value, value, false)
		expect(t, c.Queries, key, value, value, false)
	}
	if used := c.Used(); c.Memory() != 2<<20 || used > 2<<20 || used < 2<<20*9/10 {
		t.Errorf("%d bytes are used of %d", used, c.Memory())
	}
	c.SetMemory(1 << 20)
	if used := c.Used(); c.Memory() != 1<<20 || used > 1<<20 || used < 1<<20*9/10 {
		t.Errorf("%d bytes are used of %d", used, c.Memory())
	}
	if evicted := c.Evicted(); evicted+c.Used() != 2*entries*sizeOf("0000", []byte(value)) {
		t.Errorf("%d bytes were evicted", evicted)
	}
	if evicted := c.Evicted(); evicted != 0 {
		t.Errorf("%d bytes were evicted since", evicted)
	}
	now.advance(time.Minute)
	expect(t, c.Items, "4999", "new", value, true)
	expect(t, c.Queries, "4999", "new", "new", false)
	c.SetTTL(0, 0)
	if c.Queries.TTL() != 0 || c.Queries.used() != 0 {
		t.Errorf("the disabled cache holds %d bytes", c.Queries.used())
	}
	c.Clear()
	if used := c.Used(); used != 0 {
		t.Errorf("%d bytes are used after Clear", used)
	}
	if c = New(Options{Now: now.now}); c.Memory() != DefaultMemory {
		t.Errorf("by default they have %d bytes", c.Memory())
	}
}

// raise makes n at least v.
func raise(n *atomic.Int64, v int64) {
	for old := n.Load(); old < v && !n.CompareAndSwap(old, v); old = n.Load() {
	}
}
