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
	// atATime is how many statements of a combiner are under way at a time at most; what comes meanwhile waits for the next.
	atATime = 2
	// enough requests wait for no statement that is under way: one for them is worth its cost.
	enough = 8
	// combined is for how many requests one of them is at most, and combinedScans for how many pages of a scan.
	combined      = 128
	combinedScans = 16
	// combinedKeys is how many keys a statement reads at most for several.
	combinedKeys = 256
)

// combiner does the same thing for many requests at a time: under load, a statement is for all that came while the ones before it
// were under way. A request that comes alone has a statement of its own at once.
type combiner[T any] struct {
	most int            // for how many at a time
	run  func(list []T) // does it for several; the requests learn of the outcome
	// fail tells a request, unless it has learned of its outcome, that run has panicked.
	fail func(request T, err error)
	log  *slog.Logger

	mu      sync.Mutex
	waiting []T
	running int
}

// enter reports whether a request may go on by itself, and must leave then. If not, run will be called with it.
func (c *combiner[T]) enter(request T) (alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == 0 {
		c.running++
		return true
	}
	c.waiting = append(c.waiting, request)
	if c.running < atATime && len(c.waiting) >= enough {
		c.running++
		c.next()
	}
	return false
}

// leave lets those run who have waited.
func (c *combiner[T]) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.waiting); n == 0 || n < enough && c.running > 1 {
		c.running--
		return
	}
	c.next()
}

// next runs for those who wait.
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

// unfinished reports whether a request still waits.
func unfinished(done chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// failGet, failPage and failCommit are the combiners' fail.
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

// get are keys that somebody reads, as of one instant.
type get struct {
	keys [][]byte
	vals [][]byte // nil for what is not there
	err  error
	done chan struct{}
}

// readCombined returns the last committed values of keys; nil for those that are not there. They are those of one instant, and others
// may have them too.
func (s *Store) readCombined(ctx context.Context, keys ...[]byte) ([][]byte, error) {
	g := &get{keys: keys, done: make(chan struct{})}
	if s.reads.enter(g) {
		defer s.reads.leave()
		err := s.again(ctx, func() error { return s.read(ctx, g) })
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

// readAll reads for several.
func (s *Store) readAll(list []*get) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	for len(list) > 0 {
		n, keys := 1, len(list[0].keys)
		for n < len(list) && keys+len(list[n].keys) <= combinedKeys {
			keys += len(list[n].keys)
			n++
		}
		err := s.again(ctx, func() error { return s.read(ctx, list[:n]...) })
		for _, g := range list[:n] {
			g.err = err
			close(g.done)
		}
		list = list[n:]
	}
}

func (s *Store) read(ctx context.Context, list ...*get) error {
	if len(list) == 1 && len(list[0].keys) == 1 {
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
			g.vals[i] = found[string(key)] // readers of one key share it: values are not changed
		}
	}
	return nil
}

const (
	// scanMany reads a page of several ranges, each with a limit of its own.
	scanMany = "SELECT r.i, s.k, s.v FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) WITH ORDINALITY AS r (a, b, n, i), " +
		"LATERAL (SELECT k, v FROM stator_kv WHERE k >= r.a AND k < r.b ORDER BY k "
	scanUp   = scanMany + "ASC LIMIT r.n) AS s"
	scanDown = scanMany + "DESC LIMIT r.n) AS s"
)

// page is a page that an iterator waits for.
type page struct {
	it   *iterator
	err  error
	done chan struct{}
}

// scanCombined reads the page that comes next in a range that ends, of the last committed state.
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
	// It can't be left before: the page is the iterator's.
	<-p.done
	return p.err
}

// scanAll reads a page for several iterators that go in one direction.
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
