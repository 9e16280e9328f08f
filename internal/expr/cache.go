package expr

import (
	"strings"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Cache remembers parsed expressions by their text; applications have few distinct ones. It is safe for concurrent use.
type Cache struct {
	conditions  *remembered[*Condition]
	projections *remembered[*Projection]
	updates     *remembered[*Update]
}

// Bounds of what is remembered of each kind. A tree takes up to some 80 bytes for each byte of its text.
const (
	cacheEntries = 1024
	cacheText    = 256 << 10 // bytes of text
)

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{newRemembered[*Condition](), newRemembered[*Projection](), newRemembered[*Update]()}
}

// Condition is ParseCondition, remembered.
func (c *Cache) Condition(text string) (*Condition, error) {
	return c.conditions.parse(text, ParseCondition)
}

// Projection is ParseProjection, remembered.
func (c *Cache) Projection(text string) (*Projection, error) {
	return c.projections.parse(text, ParseProjection)
}

// Update is ParseUpdate, remembered.
func (c *Cache) Update(text string) (*Update, error) {
	return c.updates.parse(text, ParseUpdate)
}

// remembered has the trees of one kind; golang-lru has the order of use, text counts the bytes.
type remembered[T any] struct {
	lru  *lru.Cache[string, T]
	text atomic.Int64
}

func newRemembered[T any]() *remembered[T] {
	r := &remembered[T]{}
	var err error
	if r.lru, err = lru.NewWithEvict(cacheEntries, func(text string, _ T) { r.text.Add(-int64(len(text))) }); err != nil {
		panic(err) // only for sizes below 1
	}
	return r
}

func (r *remembered[T]) parse(text string, parse func(string) (T, error)) (T, error) {
	if len(text) > MaxSize {
		return parse(text) // which refuses it
	}
	if v, ok := r.lru.Get(text); ok {
		return v, nil
	}
	// The text is a view of a request's body; the tree, which has views of the text, outlives it.
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
