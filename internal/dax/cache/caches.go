// Package cache is what a DAX node keeps in memory: items and pages of results, encoded as clients get them. It knows neither the
// database nor the protocol: keys and values are bytes.
//
// Caches are the two caches of a node, which share its memory. Each is a Cache, whose rules C1 to C3 keep the items coherent with a
// database to which all writes go through. Query results only expire. Sources of the semantics: "DAX: How it works" and "DAX and
// DynamoDB consistency models".
package cache

import (
	"cmp"
	"sync/atomic"
	"time"
)

// Defaults of Options ("DAX: How it works"). Memory is in bytes.
const (
	DefaultItemTTL  = 5 * time.Minute
	DefaultQueryTTL = 5 * time.Minute
	DefaultMemory   = 256 << 20
)

// Options configure Caches.
type Options struct {
	// Memory bounds both caches together, in bytes; 0 means DefaultMemory.
	Memory int64
	// ItemTTL is how long items stay in the item cache; 0 means until they are evicted.
	ItemTTL time.Duration
	// QueryTTL is how long results stay in the query cache; 0 disables that cache.
	QueryTTL time.Duration
	// Now is the clock by which entries expire.
	Now func() time.Time
	// Wrote is called with the key of each item that clients have written, once the database has it. The key is valid until Wrote
	// returns. Nil means that nothing else caches these items.
	Wrote func(key []byte)
}

// Caches are the caches of a node. Each has half of the memory.
type Caches struct {
	Items   *Cache // of GetItem and BatchGetItem
	Queries *Cache // of Query and Scan; a TTL of 0 disables it
	memory  atomic.Int64
}

// New returns empty caches.
func New(opt Options) *Caches {
	memory := cmp.Or(opt.Memory, DefaultMemory)
	c := &Caches{
		Items:   newCache(memory/2, opt.ItemTTL, opt.Now, opt.Wrote),
		Queries: newCache(memory/2, opt.QueryTTL, opt.Now, nil),
	}
	c.memory.Store(memory)
	return c
}

// SetTTL sets how long entries stay that are stored from now on, with the meaning of Options.
func (c *Caches) SetTTL(item, query time.Duration) {
	c.Items.ttl.Store(int64(item))
	c.Queries.ttl.Store(int64(query))
	if query == 0 {
		c.Queries.Clear()
	}
}

// SetMemory sets the bound of both caches together, in bytes.
func (c *Caches) SetMemory(bytes int64) {
	c.memory.Store(bytes)
	c.Items.resize(bytes / 2)
	c.Queries.resize(bytes / 2)
}

// Memory returns the bound of both caches together, in bytes.
func (c *Caches) Memory() int64 { return c.memory.Load() }

// Used returns the memory of all entries, in bytes.
func (c *Caches) Used() int64 { return c.Items.used() + c.Queries.used() }

// Evicted returns how many bytes were evicted since the last call.
func (c *Caches) Evicted() int64 { return c.Items.evicted.Swap(0) + c.Queries.evicted.Swap(0) }

// Clear empties both caches, as a reboot of the node does.
func (c *Caches) Clear() {
	c.Items.Clear()
	c.Queries.Clear()
}
