package expr

import (
	"strings"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Cache keeps parsed expressions by their text: applications use few distinct ones. It is safe for concurrent use.
type Cache struct {
	conditions  *remembered[*Condition]
	projections *remembered[*Projection]
	updates     *remembered[*Update]
}

// Bounds of each kind's cache. A tree takes up to some 80 bytes per byte of its text.
const (
	cacheEntries = 1024
	cacheText    = 256 << 10 // bytes of text
)

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{newRemembered[*Condition](), newRemembered[*Projection](), newRemembered[*Update]()}
}

// Condition is ParseCondition with a cache.
func (c *Cache) Condition(text string) (*Condition, error) {
	return c.conditions.parse(text, ParseCondition)
}

// Projection is ParseProjection with a cache.
func (c *Cache) Projection(text string) (*Projection, error) {
	return c.projections.parse(text, ParseProjection)
}

// Update is ParseUpdate with a cache.
func (c *Cache) Update(text string) (*Update, error) {
	return c.updates.parse(text, ParseUpdate)
}

// remembered is the cache of one kind of tree. The LRU library bounds only the number of entries; text counts their bytes.
type remembered[T any] struct {
	lru  *lru.Cache[string, T]
	text atomic.Int64
}

// newRemembered returns an empty cache. Every way out of it goes through the eviction callback, which keeps the count of bytes.
func newRemembered[T any]() *remembered[T] {
	r := &remembered[T]{}
	var err error
	if r.lru, err = lru.NewWithEvict(cacheEntries, func(text string, _ T) { r.text.Add(-int64(len(text))) }); err != nil {
		panic(err) // only for sizes below 1
	}
	return r
}

// parse returns the cached tree of a text, or parses and caches it. Errors are not cached.
func (r *remembered[T]) parse(text string, parse func(string) (T, error)) (T, error) {
	if len(text) > MaxSize {
		return parse(text) // parse refuses it; don't copy it
	}
	if v, ok := r.lru.Get(text); ok {
		return v, nil
	}
	// The text is a view of the request's body, and the tree has views of the text: clone it, because the tree outlives the request.
	text = strings.Clone(text)
	v, err := parse(text)
	if err != nil {
		return v, err
	}
	r.text.Add(int64(len(text)))
	if _, had, _ := r.lru.PeekOrAdd(text, v); had {
		r.text.Add(-int64(len(text)))
	}
	for r.text.Load() > cacheText {
		if _, _, ok := r.lru.RemoveOldest(); !ok {
			break
		}
	}
	return v, nil
}
