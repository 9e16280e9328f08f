package expr

import (
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Cache remembers parsed expressions by their text; applications have few distinct ones. It is safe for concurrent use.
type Cache struct {
	conditions  *lru.Cache[string, *Condition]
	projections *lru.Cache[string, *Projection]
	updates     *lru.Cache[string, *Update]
}

// cacheEntries is how many expressions of each kind are remembered; at 4 KB each at most.
const cacheEntries = 1024

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{newLRU[*Condition](), newLRU[*Projection](), newLRU[*Update]()}
}

func newLRU[T any]() *lru.Cache[string, T] {
	c, err := lru.New[string, T](cacheEntries)
	if err != nil {
		panic(err) // only for sizes below 1
	}
	return c
}

// Condition is ParseCondition, remembered.
func (c *Cache) Condition(text string) (*Condition, error) {
	return remember(c.conditions, text, ParseCondition)
}

// Projection is ParseProjection, remembered.
func (c *Cache) Projection(text string) (*Projection, error) {
	return remember(c.projections, text, ParseProjection)
}

// Update is ParseUpdate, remembered.
func (c *Cache) Update(text string) (*Update, error) {
	return remember(c.updates, text, ParseUpdate)
}

func remember[T any](c *lru.Cache[string, T], text string, parse func(string) (T, error)) (T, error) {
	if v, ok := c.Get(text); ok {
		return v, nil
	}
	// The text is a view of a request's body; the tree, which has views of the text, outlives it.
	text = strings.Clone(text)
	v, err := parse(text)
	if err == nil {
		c.Add(text, v)
	}
	return v, err
}
