package pgkv

import (
	"bytes"
	"context"
	"sync"
)

const (
	// combiners is how many statements for single keys are under way at a time; reads that come meanwhile wait for the next.
	combiners = 2
	// combined is how many keys one of them reads at most.
	combined = 128
)

// combiner reads single keys for many requests at a time: under load a statement reads what has come while the ones before it were
// under way. A read that comes alone is a statement of its own at once.
type combiner struct {
	mu      sync.Mutex
	waiting []*oneGet
	running int
}

// oneGet is a key that somebody waits for.
type oneGet struct {
	key  []byte
	val  []byte
	err  error
	done chan struct{}
}

// getCombined returns the last committed value of a key, or nil.
func (s *Store) getCombined(ctx context.Context, key []byte) ([]byte, error) {
	tripTaken(ctx)
	g := &oneGet{key: bytes.Clone(key), done: make(chan struct{})} // who gives up may use the key's memory for something else
	c := &s.combiner
	c.mu.Lock()
	c.waiting = append(c.waiting, g)
	begin := c.running < combiners
	if begin {
		c.running++
	}
	c.mu.Unlock()
	if begin {
		go s.combine()
	}
	select {
	case <-g.done:
		return g.val, g.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// combine reads what is waited for until there is nothing left.
func (s *Store) combine() {
	c := &s.combiner
	for {
		c.mu.Lock()
		n := min(combined, len(c.waiting))
		if n == 0 {
			c.running--
			c.mu.Unlock()
			return
		}
		list := c.waiting[:n:n]
		c.waiting = c.waiting[n:]
		c.mu.Unlock()
		s.readAll(list)
	}
}

func (s *Store) readAll(list []*oneGet) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := s.again(ctx, func() (err error) {
		if len(list) == 1 {
			list[0].val, err = s.get(ctx, s.pool, list[0].key)
			return err
		}
		keys := make([][]byte, len(list))
		for i, g := range list {
			keys[i] = g.key
		}
		found, err := s.fetch(ctx, s.pool, keys)
		for _, g := range list {
			g.val = found[string(g.key)] // readers of one key share it: values are not changed
		}
		return err
	})
	for _, g := range list {
		g.err = err
		close(g.done)
	}
}
