package kv

import (
	"context"
	"sync/atomic"
)

// Checked wraps a store and panics when its caller breaks the contract: uses an iterator, reader or transaction after its end,
// ends a reader or transaction that still has open iterators, or reads an iterator that is not positioned. It is for tests:
// kvtest checks the engine's side of the contract, Checked the caller's.
func Checked(s Store) Store { return checkedStore{s} }

type checkedStore struct{ Store }

func (s checkedStore) Begin(ctx context.Context, opt TxnOpt) (Txn, error) {
	t, err := s.Store.Begin(ctx, opt)
	if err != nil {
		return nil, err
	}
	return &checkedTxn{Txn: t, checks: checks{what: "transaction"}}, nil
}

func (s checkedStore) Snapshot(ctx context.Context, keys ...[]byte) (Snapshot, error) {
	return checkedSnapshot(s.Store.Snapshot(ctx, keys...))
}

func (s checkedStore) Latest(ctx context.Context) (Snapshot, error) {
	return checkedSnapshot(s.Store.Latest(ctx))
}

func checkedSnapshot(r Snapshot, err error) (Snapshot, error) {
	if err != nil {
		return nil, err
	}
	return &checkedReader{Snapshot: r, checks: checks{what: "reader"}}, nil
}

// checks tracks the life of one reader or transaction.
type checks struct {
	what      string
	ended     atomic.Bool
	iterators atomic.Int64
}

func (c *checks) use() {
	if c.ended.Load() {
		panic("kv: use of a " + c.what + " that has already ended")
	}
}

func (c *checks) end() {
	c.ended.Store(true)
	if c.iterators.Load() > 0 {
		panic("kv: a " + c.what + " ended while it had open iterators")
	}
}

func (c *checks) iterator(it Iterator, err error) (Iterator, error) {
	if err != nil {
		return nil, err
	}
	c.iterators.Add(1)
	return &checkedIterator{Iterator: it, owner: c}, nil
}

// checkedReader checks the calls of a Snapshot.
type checkedReader struct {
	Snapshot
	checks
}

func (r *checkedReader) Get(key []byte) ([]byte, error) {
	r.use()
	return r.Snapshot.Get(key)
}

// Fetch implements Fetcher.
func (r *checkedReader) Fetch(keys [][]byte) error {
	r.use()
	return Fetch(r.Snapshot, keys)
}

func (r *checkedReader) Counters(key []byte) ([]int64, error) {
	r.use()
	return r.Snapshot.Counters(key)
}

func (r *checkedReader) Scan(rng Range, opt ScanOpt) (Iterator, error) {
	r.use()
	return r.iterator(r.Snapshot.Scan(rng, opt))
}

func (r *checkedReader) Close() error {
	r.use()
	r.end()
	return r.Snapshot.Close()
}

// checkedTxn checks the calls of a Txn.
type checkedTxn struct {
	Txn
	checks
}

func (t *checkedTxn) Get(key []byte) ([]byte, error) {
	t.use()
	return t.Txn.Get(key)
}

func (t *checkedTxn) Scan(rng Range, opt ScanOpt) (Iterator, error) {
	t.use()
	return t.iterator(t.Txn.Scan(rng, opt))
}

func (t *checkedTxn) Put(key, val []byte) error {
	t.use()
	return t.Txn.Put(key, val)
}

func (t *checkedTxn) PutNew(key, val []byte) error {
	t.use()
	return t.Txn.PutNew(key, val)
}

func (t *checkedTxn) Delete(key []byte, oldSize int) error {
	t.use()
	return t.Txn.Delete(key, oldSize)
}

func (t *checkedTxn) Add(key []byte, deltas []int64) error {
	t.use()
	return t.Txn.Add(key, deltas)
}

func (t *checkedTxn) SetCounters(key []byte, counters []int64) error {
	t.use()
	return t.Txn.SetCounters(key, counters)
}

func (t *checkedTxn) Counters(key []byte) ([]int64, error) {
	t.use()
	return t.Txn.Counters(key)
}

func (t *checkedTxn) Stamp() TS {
	t.use()
	return t.Txn.Stamp()
}

func (t *checkedTxn) Guard(keys ...[]byte) error {
	t.use()
	return t.Txn.Guard(keys...)
}

func (t *checkedTxn) Commit(ctx context.Context) error {
	t.use()
	t.end()
	return t.Txn.Commit(ctx)
}

// Rollback may follow Commit, so that callers can defer it.
func (t *checkedTxn) Rollback() error {
	if !t.ended.Load() {
		t.end()
	}
	return t.Txn.Rollback()
}

// checkedIterator checks the calls of an Iterator.
type checkedIterator struct {
	Iterator
	owner  *checks
	at     bool // Next has returned true
	closed bool
}

func (i *checkedIterator) use() {
	i.owner.use()
	if i.closed {
		panic("kv: use of a closed iterator")
	}
}

func (i *checkedIterator) Next() bool {
	i.use()
	i.at = i.Iterator.Next()
	return i.at
}

// Key and Value are undefined until Next has returned true, and after it has returned false.
func (i *checkedIterator) Key() []byte {
	i.mustBePositioned()
	return i.Iterator.Key()
}

func (i *checkedIterator) Value() []byte {
	i.mustBePositioned()
	return i.Iterator.Value()
}

func (i *checkedIterator) mustBePositioned() {
	i.use()
	if !i.at {
		panic("kv: Key or Value of an iterator that is not positioned")
	}
}

func (i *checkedIterator) Seek(key []byte) {
	i.use()
	i.Iterator.Seek(key)
}

func (i *checkedIterator) Close() error {
	i.use()
	i.closed = true
	i.owner.iterators.Add(-1)
	return i.Iterator.Close()
}
