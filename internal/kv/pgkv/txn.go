package pgkv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/locks"
)

const (
	// lockNames makes writers of missing keys wait for each other, since only rows that exist can be locked. Without
	// it, the stamps of a key's writers could be out of the order in which they commit.
	lockNames = "SELECT pg_advisory_xact_lock(h) FROM unnest($1::bigint[]) AS h"

	lockOne  = "SELECT k, v FROM stator_kv WHERE k = $1 FOR UPDATE"
	lockMany = "SELECT k, v FROM stator_kv WHERE k = ANY($1) ORDER BY k FOR UPDATE"
)

// txn implements kv.Txn.
type txn struct {
	store *Store
	ctx   context.Context
	opt   kv.TxnOpt
	held  []locks.Held
	few   [2]locks.Held
	conn  *conn // with a transaction; nil until something must be locked
	ended bool
	stamp kv.TS

	rows  []row
	index map[string]int // of rows, by key
	adds  []counted
}

// row is what the transaction knows about a key.
type row struct {
	key    []byte
	val    []byte // value when it was read; nil if missing
	read   bool
	locked bool // the row exists and is locked
	guard  bool // the row must not change until the commit
	wrote  bool
	next   []byte // value to write; nil to delete
}

// counted is a change of counters.
type counted struct {
	key, val []byte // nil val removes the counters
}

// Begin implements kv.Store.
func (s *Store) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	t := &txn{store: s, ctx: ctx, opt: opt}
	var err error
	t.held, err = s.locks.Acquire(ctx, t.few[:0], opt.Hint, locks.Manner{Exclusive: opt.Exclusive, Background: opt.Background})
	if err != nil {
		return nil, err
	}
	switch {
	case opt.Stamped || s.contended.any(opt.Hint):
		err = s.retryRead(ctx, t.lock)
	case len(opt.Hint) > 0:
		err = t.read()
	}
	if err != nil {
		s.locks.Release(t.held)
		return nil, err
	}
	return t, nil
}

// hint adds the hinted keys to rows.
func (t *txn) hint() {
	t.rows, t.index = make([]row, 0, 4), make(map[string]int, 4)
	for _, key := range t.opt.Hint {
		r := t.row(key)
		r.read, r.guard = true, true
	}
}

// keys returns the keys of all rows.
func (t *txn) keys() [][]byte {
	keys := make([][]byte, len(t.rows))
	for i := range t.rows {
		keys[i] = t.rows[i].key
	}
	return keys
}

// read reads the hinted keys without locking them. The commit detects whether another server has changed them since.
func (t *txn) read() error {
	t.hint()
	vals, err := t.store.readCombined(t.ctx, t.keys()...)
	for i, val := range vals {
		t.rows[i].val = val
	}
	return err
}

// lock begins the database's transaction, locks and reads the hinted keys, and takes the stamp if one is needed.
func (t *txn) lock() error {
	c, err := t.store.connect(t.ctx)
	if err != nil {
		return err
	}
	t.hint()
	b := new(pgx.Batch)
	b.Queue("BEGIN")
	found := func(rows pgx.Rows) error {
		for rows.Next() {
			raw := rows.RawValues()
			r := &t.rows[t.index[string(raw[0])]]
			r.val, r.locked = append([]byte{}, raw[1]...), true
		}
		return rows.Err()
	}
	// Lock the names of keys too: a key that is missing has no row to lock.
	if t.opt.Stamped && t.store.dialect.snapshots {
		b.Queue(lockNames, names(t.rows))
	}
	switch len(t.rows) {
	case 0:
	case 1:
		b.Queue(lockOne, t.rows[0].key).Query(found)
	default:
		b.Queue(lockMany, t.keys()).Query(found)
	}
	if t.opt.Stamped {
		// The order matters: locks, then the transaction's number, then the stamp. See Stable.
		if t.store.dialect.snapshots {
			b.Queue(selectOwnID)
		}
		b.Queue(selectStamp).QueryRow(func(row pgx.Row) error {
			var micros, number int64
			err := row.Scan(&micros, &number)
			t.stamp = t.store.clock.at(micros, number)
			return err
		})
	}
	if err := t.store.send(t.ctx, c, b); err != nil {
		c.end()
		return err
	}
	t.conn = c
	return nil
}

// names returns the lock numbers of the rows' keys, in ascending order to avoid deadlocks.
func names(rows []row) []int64 {
	out := make([]int64, len(rows))
	for i := range rows {
		out[i] = int64(xxhash.Sum64(rows[i].key))
	}
	slices.Sort(out)
	return out
}

// row returns the entry of a key, adding it if necessary.
func (t *txn) row(key []byte) *row {
	if i, known := t.index[string(key)]; known {
		return &t.rows[i]
	}
	if t.index == nil {
		t.index = make(map[string]int)
	}
	t.index[string(key)] = len(t.rows)
	t.rows = append(t.rows, row{key: bytes.Clone(key)})
	return &t.rows[len(t.rows)-1]
}

// Get implements kv.Reader.
func (t *txn) Get(key []byte) ([]byte, error) {
	r := t.row(key)
	switch {
	case r.wrote:
		return r.next, nil
	case r.read:
		return r.val, nil
	}
	var val []byte
	var err error
	if t.conn != nil {
		val, err = t.store.get(t.ctx, t.conn, key)
		err = failure(err)
	} else {
		err = t.store.retryRead(t.ctx, func() (err error) {
			val, err = t.store.get(t.ctx, t.store.pool, key)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	r.val, r.read = val, true
	return val, nil
}

// Counters implements kv.Reader.
func (t *txn) Counters(key []byte) ([]int64, error) {
	var q queryer = t.store.pool
	if t.conn != nil {
		q = t.conn
	}
	sum, err := t.store.counters(t.ctx, q, key)
	return sum, failure(err)
}

// Scan implements kv.Reader. It first sends the writes made so far to the database, whose scan then includes them (K4).
func (t *txn) Scan(r kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	if t.conn == nil {
		// Without own writes to include, any connection will do.
		if !slices.ContainsFunc(t.rows, func(r row) bool { return r.wrote }) {
			return t.store.scan(t.ctx, t.store.pool, r, opt), nil
		}
		c, err := t.store.connect(t.ctx)
		if err != nil {
			return nil, err
		}
		t.conn = c
		b := new(pgx.Batch)
		b.Queue("BEGIN")
		if err := t.store.send(t.ctx, c, b); err != nil {
			return nil, failure(err)
		}
	}
	b := new(pgx.Batch)
	t.writes().queue(b, verifyMany)
	if b.Len() > 0 {
		if err := t.store.send(t.ctx, t.conn, b); err != nil {
			return nil, failure(err)
		}
	}
	for i := range t.rows {
		r := &t.rows[i]
		// What was sent is now part of the database's transaction: remember it as read and locked.
		if r.wrote {
			*r = row{key: r.key, val: r.next, read: true, locked: r.next != nil}
		} else {
			r.locked = r.locked || r.guard && r.val != nil
		}
	}
	t.adds = nil
	return t.store.scan(t.ctx, t.conn, r, opt), nil
}

// Put implements kv.Txn.
func (t *txn) Put(key, val []byte) error {
	if limit := t.store.Limits(); len(key) > limit.Key || len(val) > limit.Value {
		return kv.ErrTooLarge
	}
	r := t.row(key)
	r.wrote, r.next = true, append([]byte{}, val...)
	return nil
}

// PutNew implements kv.Txn. It pretends to have read the key as missing, so that an existing row is a conflict.
func (t *txn) PutNew(key, val []byte) error {
	t.row(key).read = true // and found missing
	return t.Put(key, val)
}

// Delete implements kv.Txn.
func (t *txn) Delete(key []byte, _ int) error {
	r := t.row(key)
	r.wrote, r.next = true, nil
	return nil
}

// Add implements kv.Txn.
func (t *txn) Add(key []byte, deltas []int64) error {
	t.adds = append(t.adds, counted{bytes.Clone(key), kv.AppendCounters(nil, deltas)})
	return nil
}

// SetCounters implements kv.Txn.
func (t *txn) SetCounters(key []byte, counters []int64) error {
	t.adds = append(t.adds, counted{key: bytes.Clone(key)})
	if len(counters) == 0 {
		return nil
	}
	return t.Add(key, counters)
}

// Stamp implements kv.Txn.
func (t *txn) Stamp() kv.TS {
	if t.stamp == 0 {
		panic("pgkv: Stamp of a transaction that is not Stamped")
	}
	return t.stamp
}

// Guard implements kv.Txn.
func (t *txn) Guard(keys ...[]byte) error {
	for _, key := range keys {
		if _, err := t.Get(key); err != nil {
			return err
		}
		t.row(key).guard = true
	}
	return nil
}

// Commit implements kv.Txn.
func (t *txn) Commit(ctx context.Context) error {
	if t.ended {
		return errEnded
	}
	defer t.end()
	if err := t.fence(); err != nil {
		return err
	}
	w := t.writes()
	if w.empty() {
		return nil
	}
	// A caller that gives up is no reason to leave the outcome unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err := t.commit(ctx, w)
	if errors.Is(err, kv.ErrConflict) {
		t.store.contended.mark(t.opt.Hint)
	}
	return err
}

// fence returns an error if the transaction may not commit any more.
func (t *txn) fence() error {
	if t.opt.Fence == nil {
		return nil
	}
	if err := t.opt.Fence(); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrFenced, err)
	}
	return nil
}

// commit commits the writes: in a batch with others, or, if the transaction holds a connection, on that.
func (t *txn) commit(ctx context.Context, w *writes) error {
	if t.conn == nil {
		return t.store.commitCombined(ctx, t, w)
	}
	b := new(pgx.Batch)
	w.queue(b, verifyMany)
	b.Queue("COMMIT")
	err := t.store.send(ctx, t.conn, b)
	if err == nil {
		t.conn.release()
		t.conn = nil
	}
	return commitFailure(err)
}

// Rollback implements kv.Txn.
func (t *txn) Rollback() error {
	if !t.ended {
		t.end()
	}
	return nil
}

// end releases everything that the transaction holds.
func (t *txn) end() {
	t.ended = true
	if t.conn != nil {
		t.conn.end()
		t.conn = nil
	}
	t.store.locks.Release(t.held)
}
