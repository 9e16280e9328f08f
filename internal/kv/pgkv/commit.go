package pgkv

import (
	"bytes"
	"context"
	"sort"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"

	"github.com/statordb/stator/internal/kv"
)

const (
	insertOne  = "INSERT INTO stator_kv (k, v) VALUES ($1, $2)"
	insertMany = "INSERT INTO stator_kv (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[])"
	updateOne  = "UPDATE stator_kv SET v = $2 WHERE k = $1"
	updateMany = "UPDATE stator_kv SET v = d.v FROM unnest($1::bytea[], $2::bytea[]) AS d (k, v) WHERE stator_kv.k = d.k"
	replace    = " ON CONFLICT (k) DO UPDATE SET v = excluded.v"
	deleteOne  = "DELETE FROM stator_kv WHERE k = $1"
	deleteMany = "DELETE FROM stator_kv WHERE k = ANY($1)"

	// verifyMany locks rows, and fails with codeDivision unless all of them have the expected values. verifyNow does not wait:
	// it treats a row that another transaction has locked as changed.
	verifyMany = verifyRows + ") x"
	verifyNow  = verifyRows + " SKIP LOCKED) x"
	verifyRows = `SELECT 1 / (CASE WHEN count(*) = $3 THEN 1 ELSE 0 END) FROM (
		SELECT 1 FROM stator_kv s JOIN unnest($1::bytea[], $2::bytea[]) AS d (k, v) ON s.k = d.k AND s.v = d.v ORDER BY s.k FOR UPDATE OF s`

	addCounters     = "INSERT INTO stator_counters (k, v) VALUES ($1, $2)"
	addManyCounters = "INSERT INTO stator_counters (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[])"
	removeCounters  = "DELETE FROM stator_counters WHERE k = $1"
)

// pairs are keys and values for statements of one or many rows. It sorts by key.
type pairs struct{ keys, vals [][]byte }

func (p *pairs) add(key, val []byte) {
	p.keys, p.vals = append(p.keys, key), append(p.vals, val)
}

func (p *pairs) append(q *pairs) {
	p.keys, p.vals = append(p.keys, q.keys...), append(p.vals, q.vals...)
}

func (p *pairs) Len() int           { return len(p.keys) }
func (p *pairs) Less(i, j int) bool { return bytes.Compare(p.keys[i], p.keys[j]) < 0 }
func (p *pairs) Swap(i, j int) {
	p.keys[i], p.keys[j] = p.keys[j], p.keys[i]
	p.vals[i], p.vals[j] = p.vals[j], p.vals[i]
}

// queue adds a statement for the rows, if there are any, to a batch. Rows of a statement without values have nil values.
func (p *pairs) queue(b *pgx.Batch, one, many string) {
	switch {
	case len(p.keys) == 1 && p.vals[0] == nil:
		b.Queue(one, p.keys[0])
	case len(p.keys) == 1:
		b.Queue(one, p.keys[0], p.vals[0])
	case len(p.keys) > 1 && p.vals[0] == nil:
		b.Queue(many, p.keys)
	case len(p.keys) > 1:
		b.Queue(many, p.keys, p.vals)
	}
}

// writes is everything that one or more transactions write and verify, in the order in which it is sent.
type writes struct {
	same    pairs    // rows that must have the values that were read
	missing pairs    // rows that must still be missing
	insert  pairs    // rows that were missing
	update  pairs    // rows that exist
	put     pairs    // rows that may exist
	remove  pairs    // rows to remove, which may exist
	add     pairs    // changes of counters
	reset   [][]byte // keys of counters to remove before add
}

// all returns the six kinds of rows, for code that treats them alike.
func (w *writes) all() [6]*pairs {
	return [...]*pairs{&w.same, &w.missing, &w.insert, &w.update, &w.put, &w.remove}
}

// writes returns what the transaction writes and verifies.
func (t *txn) writes() *writes {
	w := new(writes)
	// A lone read of a missing key needs no check: its outcome could have been read a moment earlier.
	alone := len(t.rows) == 1
	for i := range t.rows {
		w.row(&t.rows[i], alone)
	}
	for _, a := range t.adds {
		if a.val == nil {
			w.reset = append(w.reset, a.key)
		} else {
			w.add.add(a.key, a.val)
		}
	}
	return w
}

// row adds a row to exactly one kind of write, and to same if its value must be verified too. alone says that the transaction knows
// of no other row.
func (w *writes) row(r *row, alone bool) {
	// A locked row can't have changed since it was read.
	verify := r.read && !r.locked && (r.wrote || r.guard)
	if verify && r.val != nil {
		w.same.add(r.key, r.val)
	}
	missing := verify && r.val == nil
	switch {
	case missing && r.next != nil:
		w.insert.add(r.key, r.next) // fails if the row has appeared
	case missing && (r.wrote || !alone):
		w.missing.add(r.key, []byte{})
	case !r.wrote:
	case r.next == nil:
		w.remove.add(r.key, nil)
	case r.read:
		w.update.add(r.key, r.next)
	default:
		w.put.add(r.key, r.next)
	}
}

func (w *writes) empty() bool {
	for _, p := range w.all() {
		if p.Len() > 0 {
			return false
		}
	}
	return w.add.Len() == 0 && len(w.reset) == 0
}

// queue adds the statements to a batch. Keys are sorted, so that concurrent transactions rarely deadlock.
func (w *writes) queue(b *pgx.Batch, verify string) {
	for _, p := range w.all() {
		if p.Len() > 1 {
			sort.Sort(p)
		}
	}
	if n := w.same.Len(); n > 0 {
		b.Queue(verify, w.same.keys, w.same.vals, n)
	}
	if w.missing.Len() > 0 {
		// Only a row can be locked, so a missing row is locked by inserting it, and removed again.
		b.Queue(insertMany, w.missing.keys, w.missing.vals)
		b.Queue(deleteMany, w.missing.keys)
	}
	w.insert.queue(b, insertOne, insertMany)
	w.update.queue(b, updateOne, updateMany)
	w.put.queue(b, insertOne+replace, insertMany+replace)
	w.remove.queue(b, deleteOne, deleteMany)
	for _, key := range w.reset {
		b.Queue(removeCounters, key)
	}
	w.add.queue(b, addCounters, addManyCounters)
}

// maxCombined is the largest transaction, in bytes, that commits together with others.
const maxCombined = 64 << 10

// alone reports whether the transaction must not be committed in a batch: because it is large, or because other transactions of
// this server may write the same rows.
func (t *txn) alone(w *writes) bool {
	size := 0
	for _, p := range w.all() {
		for i := range p.keys {
			size += len(p.keys[i]) + len(p.vals[i])
		}
	}
	return size > maxCombined || len(w.reset) > 0 || w.put.Len() > 0
}

// commit is a transaction that waits to be committed in a batch.
type commit struct {
	txn    *txn
	writes *writes
	alone  bool // nothing was written, and the transaction must commit alone
	err    error
	done   chan struct{}
}

// commitCombined commits a transaction that holds no connection, under load in a batch with others. A batch is one
// transaction of the database; if any part of it can't commit, all of its transactions commit one by one.
func (s *Store) commitCombined(ctx context.Context, t *txn, w *writes) error {
	if !t.alone(w) {
		c := &commit{txn: t, writes: w, done: make(chan struct{})}
		if s.commits.enter(c) {
			defer s.commits.leave()
		} else {
			<-c.done // takes at most commitTimeout
			if !c.alone {
				tripTaken(ctx)
				return c.err
			}
			if err := t.fence(); err != nil {
				return err
			}
		}
	}
	b := new(pgx.Batch)
	w.queue(b, verifyMany)
	// Without BEGIN, statements that are sent together form one transaction.
	return commitFailure(s.send(ctx, s.pool, b))
}

// commitAll commits a batch of transactions as one.
func (s *Store) commitAll(list []*commit) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	together, all := combine(list)
	if len(together) == 0 {
		return
	}
	// A lone transaction may wait for row locks; a batch must not, or one locked row would delay all.
	verify := verifyNow
	if len(together) == 1 {
		verify = verifyMany
	}
	b := new(pgx.Batch)
	all.queue(b, verify)
	err := s.send(ctx, s.pool, b)
	for _, c := range together {
		c.err = commitFailure(err)
		// Retry each commit alone, to isolate the failing one and to let it wait for locks.
		c.alone = refused(err) && len(together) > 1
		close(c.done)
	}
}

// combine returns the transactions that can commit together, and all that they write. It answers the others: they have failed, or
// must commit alone.
func combine(list []*commit) (together []*commit, all *writes) {
	all = new(writes)
	rows, counters := map[string]struct{}{}, map[string]int{}
	for _, c := range list {
		if c.err = c.txn.fence(); c.err != nil {
			close(c.done)
			continue
		}
		// One statement can't write a row twice, so transactions that share a row don't share a batch.
		if c.alone = !c.writes.disjoint(rows); c.alone {
			close(c.done)
			continue
		}
		together = append(together, c)
		all.merge(c.writes, counters)
	}
	return together, all
}

// merge adds the writes of another transaction, which has no rows in common with w. counters has the index in w.add of each key.
func (w *writes) merge(other *writes, counters map[string]int) {
	from := other.all()
	for i, p := range w.all() {
		p.append(from[i])
	}
	// Counters never conflict: the changes of all transactions are added up in one row.
	for i, key := range other.add.keys {
		at, known := counters[string(key)]
		if !known {
			counters[string(key)] = w.add.Len()
			w.add.add(key, other.add.vals[i])
			continue
		}
		sum := kv.SumCounters(kv.DecodeCounters(w.add.vals[at]), kv.DecodeCounters(other.add.vals[i]))
		w.add.vals[at] = kv.AppendCounters(nil, sum)
	}
}

// disjoint reports whether none of the keys is among others, and if so adds them there.
func (w *writes) disjoint(others map[string]struct{}) bool {
	for _, p := range w.all() {
		for _, key := range p.keys {
			if _, met := others[string(key)]; met {
				return false
			}
		}
	}
	for _, p := range w.all() {
		for _, key := range p.keys {
			others[string(key)] = struct{}{}
		}
	}
	return true
}

// contended remembers, in slots by the hash of keys, where transactions have conflicted with another server's. The transactions
// that follow lock their rows before reading them, since optimistic reads would keep failing there.
type contended [1024]atomic.Int32

// lockFor is how many transactions lock their rows first after a conflict.
const lockFor = 64

func (c *contended) at(key []byte) *atomic.Int32 { return &c[xxhash.Sum64(key)%uint64(len(c))] }

// any reports whether one of the keys is contended, and counts the transaction.
func (c *contended) any(keys [][]byte) bool {
	found := false
	for _, key := range keys {
		if n := c.at(key); n.Load() > 0 {
			n.Add(-1)
			found = true
		}
	}
	return found
}

// mark marks all keys of a transaction that has conflicted as contended.
func (c *contended) mark(keys [][]byte) {
	for _, key := range keys {
		c.at(key).Store(lockFor)
	}
}
