package pgkv

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
)

const (
	// maxRunning is how many statements of a combiner may run concurrently; requests that arrive meanwhile wait for the next one.
	maxRunning = 2
	// minBatch waiting requests justify the cost of a second statement while the first is still running.
	minBatch = 8
	// maxBatch bounds the requests that share a statement, and maxScanBatch the pages of scans that do.
	maxBatch     = 128
	maxScanBatch = 16
	// maxBatchKeys bounds the keys that a shared statement reads.
	maxBatchKeys = 256
)

// combiner batches requests of one kind: under load, a statement serves all requests that arrived while the statements
// before it were running. A request that arrives alone runs its own statement at once, so batching adds no latency to
// an idle server.
type combiner[T any] struct {
	most int            // largest batch
	run  func(list []T) // serves a batch and reports to each of its requests
	// fail reports a panic of run to a request, unless the request has its outcome already.
	fail func(request T, err error)
	log  *slog.Logger

	mu      sync.Mutex
	waiting []T
	running int // statements running
}

// enter reports whether the request may run alone; it must then call leave. Otherwise run will be called with it.
func (c *combiner[T]) enter(request T) (alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == 0 {
		c.running++
		return true
	}
	c.waiting = append(c.waiting, request)
	if c.running < maxRunning && len(c.waiting) >= minBatch {
		c.running++
		c.next()
	}
	return false
}

// leave ends a statement, and starts the next one for the requests that wait.
func (c *combiner[T]) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The last running statement serves even a few waiters; one of several leaves them for a larger batch.
	if n := len(c.waiting); n == 0 || n < minBatch && c.running > 1 {
		c.running--
		return
	}
	c.next()
}

// next runs a batch of waiting requests. The caller holds mu and has counted the statement as running.
func (c *combiner[T]) next() {
	n := min(c.most, len(c.waiting))
	list := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	guard.Go(c.log, "a combined statement", func() {
		defer c.leave()
		err := guard.Run(c.log, "a combined statement", func() error {
			c.run(list)
			return nil
		})
		if err == nil {
			return
		}
		for _, request := range list {
			c.fail(request, err)
		}
	})
}

// unfinished reports whether a request still waits for its outcome.
func unfinished(done chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// failGet, failPage and failCommit implement combiner.fail.
func failGet(g *get, err error) {
	if unfinished(g.done) {
		g.err = err
		close(g.done)
	}
}

func failPage(p *page, err error) {
	if unfinished(p.done) {
		p.err = err
		close(p.done)
	}
}

func failCommit(c *commit, err error) {
	if unfinished(c.done) {
		c.err = errors.Join(kv.ErrUndetermined, err)
		close(c.done)
	}
}

// get reads keys as of one moment.
type get struct {
	keys [][]byte
	vals [][]byte // nil for missing keys
	err  error
	done chan struct{}
}

// readCombined returns the last committed values of keys, as of one moment; nil for missing keys. Other readers may share the
// values, so callers must not change them.
func (s *Store) readCombined(ctx context.Context, keys ...[]byte) ([][]byte, error) {
	g := &get{keys: keys, done: make(chan struct{})}
	if s.reads.enter(g) {
		defer s.reads.leave()
		err := s.retryRead(ctx, func() error { return s.read(ctx, g) })
		return g.vals, err
	}
	tripTaken(ctx)
	select {
	case <-g.done:
		return g.vals, g.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readAll serves a batch of gets, by statements of at most maxBatchKeys keys.
func (s *Store) readAll(list []*get) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	for len(list) > 0 {
		n, keys := 1, len(list[0].keys)
		// A single get may exceed maxBatchKeys; it is read alone.
		for n < len(list) && keys+len(list[n].keys) <= maxBatchKeys {
			keys += len(list[n].keys)
			n++
		}
		err := s.retryRead(ctx, func() error { return s.read(ctx, list[:n]...) })
		for _, g := range list[:n] {
			g.err = err
			close(g.done)
		}
		list = list[n:]
	}
}

// read serves gets by one statement, so that all of them see one moment.
func (s *Store) read(ctx context.Context, list ...*get) error {
	if len(list) == 1 && len(list[0].keys) == 1 {
		// A single key has a simpler statement.
		val, err := s.get(ctx, s.pool, list[0].keys[0])
		list[0].vals = [][]byte{val}
		return err
	}
	var keys [][]byte
	for _, g := range list {
		keys = append(keys, g.keys...)
	}
	found, err := s.fetch(ctx, s.pool, keys)
	if err != nil {
		return err
	}
	for _, g := range list {
		g.vals = make([][]byte, len(g.keys))
		for i, key := range g.keys {
			g.vals[i] = found[string(key)] // readers of one key share its value
		}
	}
	return nil
}

const (
	// scanMany reads a page of each of several ranges, each with its own limit.
	scanMany = "SELECT r.i, s.k, s.v FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) WITH ORDINALITY AS r (a, b, n, i), " +
		"LATERAL (SELECT k, v FROM stator_kv WHERE k >= r.a AND k < r.b ORDER BY k "
	scanUp   = scanMany + "ASC LIMIT r.n) AS s"
	scanDown = scanMany + "DESC LIMIT r.n) AS s"
)

// page is a page for which an iterator waits.
type page struct {
	it   *iterator
	err  error
	done chan struct{}
}

// scanCombined reads the iterator's next page in the last committed state. The range must have an end.
func (s *Store) scanCombined(i *iterator) error {
	c := &s.scansUp
	if i.opt.Reverse {
		c = &s.scansDown
	}
	p := &page{it: i, done: make(chan struct{})}
	if c.enter(p) {
		defer c.leave()
		return i.readAlone(i.ctx)
	}
	tripTaken(i.ctx)
	// Don't return early when the context ends: run writes to the iterator's page.
	<-p.done
	return p.err
}

// scanAll reads a page for each of several iterators, all in the same direction.
func (s *Store) scanAll(list []*page) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	var err error
	if len(list) == 1 {
		err = list[0].it.readAlone(ctx)
	} else {
		starts, ends, limits := make([][]byte, len(list)), make([][]byte, len(list)), make([]int64, len(list))
		for n, p := range list {
			starts[n], ends[n], limits[n] = orEmpty(p.it.rest.Start), p.it.rest.End, int64(p.it.size)
		}
		sql := scanUp
		if list[0].it.opt.Reverse {
			sql = scanDown
		}
		err = s.query(ctx, s.pool, func(raw [][]byte) {
			list[binary.BigEndian.Uint64(raw[0])-1].it.page.add(raw[1], raw[2])
		}, sql, starts, ends, limits)
	}
	for _, p := range list {
		p.err = err
		close(p.done)
	}
}
