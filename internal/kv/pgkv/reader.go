package pgkv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/paging"
)

const (
	selectOne      = "SELECT v FROM stator_kv WHERE k = $1"
	selectMany     = "SELECT k, v FROM stator_kv WHERE k = ANY($1)"
	selectCounters = "SELECT v FROM stator_counters WHERE k = $1"
)

// queryer is a connection or the pool.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// query runs a statement and calls visit for each row. The bytes of the row are valid until visit returns.
func (s *Store) query(ctx context.Context, q queryer, visit func(raw [][]byte), sql string, args ...any) error {
	if c, ok := q.(*conn); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	tripTaken(ctx)
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		visit(rows.RawValues())
	}
	return rows.Err()
}

// get returns the value of a key, or nil if it does not exist.
func (s *Store) get(ctx context.Context, q queryer, key []byte) (val []byte, err error) {
	err = s.query(ctx, q, func(raw [][]byte) { val = append([]byte{}, raw[0]...) }, selectOne, key)
	return val, err
}

func (s *Store) counters(ctx context.Context, q queryer, key []byte) (sum []int64, err error) {
	err = s.query(ctx, q, func(raw [][]byte) { sum = kv.SumCounters(sum, kv.DecodeCounters(raw[0])) }, selectCounters, key)
	return sum, err
}

// fetched maps keys that were read in one statement to their values; nil for missing keys.
type fetched map[string][]byte

func (s *Store) fetch(ctx context.Context, q queryer, keys [][]byte) (fetched, error) {
	out := make(fetched, len(keys))
	for _, key := range keys {
		out[string(key)] = nil
	}
	err := s.query(ctx, q, func(raw [][]byte) { out[string(raw[0])] = append([]byte{}, raw[1]...) }, selectMany, keys)
	return out, err
}

// latest reads the last committed state.
type latest struct {
	store *Store
	ctx   context.Context
	known fetched
}

// Latest implements kv.Store.
func (s *Store) Latest(ctx context.Context) (kv.Snapshot, error) {
	return &latest{store: s, ctx: ctx}, nil
}

// Fetch implements kv.Fetcher.
func (r *latest) Fetch(keys [][]byte) error {
	// A shared statement may outlive this call, and its caller may reuse the memory of keys.
	mine := make([][]byte, len(keys))
	for i, key := range keys {
		mine[i] = bytes.Clone(key)
	}
	vals, err := r.store.readCombined(r.ctx, mine...)
	if err != nil {
		return err
	}
	r.known = make(fetched, len(keys))
	for i, key := range keys {
		r.known[string(key)] = vals[i]
	}
	return nil
}

func (r *latest) Get(key []byte) (val []byte, err error) {
	if val, known := r.known[string(key)]; known {
		return val, nil
	}
	vals, err := r.store.readCombined(r.ctx, bytes.Clone(key)) // cloned for the reason given in Fetch
	if err != nil {
		return nil, err
	}
	return vals[0], nil
}

func (r *latest) Counters(key []byte) (sum []int64, err error) {
	err = r.store.retryRead(r.ctx, func() (err error) {
		sum, err = r.store.counters(r.ctx, r.store.pool, key)
		return err
	})
	return sum, err
}

func (r *latest) Scan(rng kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	return r.store.scan(r.ctx, r.store.pool, rng, opt), nil
}

func (r *latest) Close() error { return nil }

// snapshot reads the state of one moment, in a database transaction of its own.
type snapshot struct {
	store *Store
	ctx   context.Context
	conn  *conn
	known fetched
}

// Fetch implements kv.Fetcher.
func (r *snapshot) Fetch(keys [][]byte) (err error) {
	r.known, err = r.store.fetch(r.ctx, r.conn, keys)
	return failure(err)
}

// Snapshot implements kv.Store.
func (s *Store) Snapshot(ctx context.Context, keys ...[]byte) (kv.Snapshot, error) {
	if len(keys) > 0 {
		r := &latest{store: s, ctx: ctx}
		if err := r.Fetch(keys); err != nil { // one statement sees one moment
			return nil, err
		}
		return r, nil
	}
	r := &snapshot{store: s, ctx: ctx}
	err := s.retryRead(ctx, func() error {
		c, err := s.connect(ctx)
		if err != nil {
			return err
		}
		b := new(pgx.Batch)
		b.Queue(s.dialect.repeatable)
		b.Queue("SET LOCAL idle_in_transaction_session_timeout = 0") // it locks nothing, so it may be idle for long
		b.Queue("SELECT 1")                                          // the first query fixes the snapshot
		if err := s.send(ctx, c, b); err != nil {
			c.drop()
			return err
		}
		r.conn = c
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *snapshot) Get(key []byte) ([]byte, error) {
	if val, known := r.known[string(key)]; known {
		return val, nil
	}
	val, err := r.store.get(r.ctx, r.conn, key)
	return val, failure(err)
}

func (r *snapshot) Counters(key []byte) ([]int64, error) {
	sum, err := r.store.counters(r.ctx, r.conn, key)
	return sum, failure(err)
}

func (r *snapshot) Scan(rng kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	return r.store.scan(r.ctx, r.conn, rng, opt), nil
}

func (r *snapshot) Close() error {
	if r.conn != nil {
		r.conn.end()
		r.conn = nil
	}
	return nil
}

// rowPage is a page of rows and the memory that holds them.
type rowPage struct {
	keys, vals [][]byte
	bytes      int // of all rows together
	blocks     [][]byte
	block      int // the block that is being filled
}

const (
	// rowBlock is the size of a block, in bytes.
	rowBlock = 32 << 10
	// pooledBlocks is the largest number of blocks of a page that returns to the pool.
	pooledBlocks = 16
)

var rowPages = sync.Pool{New: func() any { return new(rowPage) }}

// add copies a row into the page.
func (p *rowPage) add(key, val []byte) {
	n := len(key) + len(val)
	row := append(append(p.room(n), key...), val...)
	p.keys = append(p.keys, row[:len(key):len(key)])
	p.vals = append(p.vals, row[len(key):n:n])
	p.bytes += n
}

// room returns an empty slice with room for n bytes. Rows larger than a quarter of a block get their own memory.
func (p *rowPage) room(n int) []byte {
	if n > rowBlock/4 {
		return make([]byte, 0, n)
	}
	if p.block < len(p.blocks) && cap(p.blocks[p.block])-len(p.blocks[p.block]) < n {
		p.block++
	}
	if p.block == len(p.blocks) {
		p.blocks = append(p.blocks, make([]byte, 0, rowBlock))
	}
	b := &p.blocks[p.block]
	at := len(*b)
	*b = (*b)[:at+n]
	return (*b)[at:at]
}

// reset removes all rows. Slices of them become invalid.
func (p *rowPage) reset() {
	clear(p.keys)
	clear(p.vals)
	for i := range p.blocks {
		p.blocks[i] = p.blocks[i][:0]
	}
	*p = rowPage{keys: p.keys[:0], vals: p.vals[:0], blocks: p.blocks}
}

// iterator implements kv.Iterator. It reads one page at a time.
type iterator struct {
	store *Store
	ctx   context.Context
	q     queryer
	all   kv.Range // the scan's whole range
	rest  kv.Range // where the next page begins
	opt   kv.ScanOpt

	page  *rowPage
	at    int // index of the current row; -1 before the first
	pages paging.Pages
	size  int  // rows that the page asked for
	last  bool // there are no more pages
	err   error
}

func (s *Store) scan(ctx context.Context, q queryer, r kv.Range, opt kv.ScanOpt) *iterator {
	r = kv.Range{Start: bytes.Clone(r.Start), End: bytes.Clone(r.End)}
	return &iterator{store: s, ctx: ctx, q: q, all: r, rest: r, opt: opt, pages: s.sizes.Pages(r.Start, opt.Rows),
		page: rowPages.Get().(*rowPage), at: -1}
}

// Next implements kv.Iterator.
func (i *iterator) Next() bool {
	if i.err != nil {
		return false
	}
	if i.at+1 < len(i.page.keys) {
		i.at++
		return true
	}
	if i.last {
		return false
	}
	// The next page begins after the last row of this one.
	if n := len(i.page.keys); n > 0 {
		i.rest = i.rest.After(i.page.keys[n-1], i.opt.Reverse)
	}
	i.opt.Wait()
	// On a connection, a retry would continue in another transaction, with another state.
	if _, alone := i.q.(*conn); alone {
		i.err = failure(i.read())
	} else {
		i.err = i.store.retryRead(i.ctx, i.read)
	}
	if i.err != nil || len(i.page.keys) == 0 {
		return false
	}
	i.at = 0
	return true
}

// read reads the next page: in a shared statement if it is short and reads the latest state, else alone.
func (i *iterator) read() error {
	i.page.reset()
	i.at = -1
	i.size = i.pages.Next()
	var err error
	if _, alone := i.q.(*conn); alone || i.rest.End == nil || i.size > paging.First || !i.store.dialect.lateral {
		err = i.readAlone(i.ctx)
	} else {
		err = i.store.scanCombined(i)
	}
	if err != nil {
		return err
	}
	n := len(i.page.keys)
	i.last = n < i.size
	i.pages.Got(n, i.page.bytes)
	return nil
}

// readAlone reads the page with its own statement.
func (i *iterator) readAlone(ctx context.Context) error {
	order, bound := "ASC", ""
	if i.opt.Reverse {
		order = "DESC"
	}
	args := []any{orEmpty(i.rest.Start), i.size}
	if i.rest.End != nil {
		bound, args = " AND k < $3", append(args, i.rest.End)
	}
	return i.store.query(ctx, i.q, func(raw [][]byte) { i.page.add(raw[0], raw[1]) },
		"SELECT k, v FROM stator_kv WHERE k >= $1"+bound+" ORDER BY k "+order+" LIMIT $2", args...)
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Key implements kv.Iterator.
func (i *iterator) Key() []byte { return i.page.keys[i.at] }

// Value implements kv.Iterator.
func (i *iterator) Value() []byte { return i.page.vals[i.at] }

// Seek implements kv.Iterator.
func (i *iterator) Seek(key []byte) {
	if i.err != nil {
		return
	}
	// If the key is within the current page, ahead of the iterator, no query is needed.
	n := len(i.page.keys)
	at := sort.Search(n, func(j int) bool {
		c := bytes.Compare(i.page.keys[j], key)
		return c == 0 || c > 0 != i.opt.Reverse
	})
	if i.at >= 0 && at < n && (at > i.at || at == i.at && bytes.Equal(i.page.keys[at], key)) {
		i.at = at - 1
		return
	}
	i.page.reset()
	i.at, i.last = -1, false
	i.rest = i.all.From(key, i.opt.Reverse)
}

// Close implements kv.Iterator.
func (i *iterator) Close() error {
	if p := i.page; p != nil && len(p.blocks) <= pooledBlocks {
		p.reset()
		rowPages.Put(p)
	}
	i.page = nil
	return i.err
}

// conn is a connection taken from the pool. Several goroutines may use that of a snapshot, so mu serializes queries.
type conn struct {
	*pgx.Conn
	release func()
	asked   context.Context // the context of the request that took it; it may have ended
	mu      sync.Mutex
}

// connect takes a connection from the pool, waiting if all are in use.
func (s *Store) connect(ctx context.Context) (*conn, error) {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return &conn{Conn: c.Conn(), release: c.Release, asked: ctx}, nil
}

// drop closes a connection whose state is unknown.
func (c *conn) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	_ = c.Conn.Close(ctx) // the pool opens a new one
	c.release()
}

// end rolls the connection's transaction back and returns the connection to the pool.
func (c *conn) end() {
	if c.IsClosed() {
		c.release()
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.asked), commitTimeout)
	defer cancel()
	tripTaken(ctx)
	if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
		c.drop()
		return
	}
	c.release()
}

var errEnded = errors.New("pgkv: the transaction has already ended")
