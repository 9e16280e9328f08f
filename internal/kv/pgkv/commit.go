package pgkv

import (
	"bytes"
	"context"
	"slices"
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

	// verifyMany locks rows, and fails (codeDivision) unless all are still as they were. verifyNow takes a row that another
	// transaction has locked for one that is not.
	verifyMany = verifyRows + ") x"
	verifyNow  = verifyRows + " SKIP LOCKED) x"
	verifyRows = `SELECT 1 / (CASE WHEN count(*) = $3 THEN 1 ELSE 0 END) FROM (
		SELECT 1 FROM stator_kv s JOIN unnest($1::bytea[], $2::bytea[]) AS d (k, v) ON s.k = d.k AND s.v = d.v ORDER BY s.k FOR UPDATE OF s`

	addCounters     = "INSERT INTO stator_counters (k, v) VALUES ($1, $2)"
	addManyCounters = "INSERT INTO stator_counters (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[])"
	removeCounters  = "DELETE FROM stator_counters WHERE k = $1"
)

// pairs are keys with values, for statements of one and of many rows. It sorts by key.
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

// queue adds a statement of the rows to a batch, where there are any. Those of a statement without values have none.
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

// writes is what a transaction, or several, writes, and makes sure of.
type writes struct {
	same    pairs    // rows that must be as they were read
	missing pairs    // rows that must still not be there
	insert  pairs    // rows that were not there
	update  pairs    // rows that are there
	put     pairs    // rows that may be
	remove  pairs    // of rows that may be
	add     pairs    // counters
	reset   [][]byte // keys of counters that are removed before
}

// all are the rows, for what is to be done with each kind alike.
func (w *writes) all() [6]*pairs {
	return [...]*pairs{&w.same, &w.missing, &w.insert, &w.update, &w.put, &w.remove}
}

// writes returns what the transaction writes.
func (t *txn) writes() *writes {
	w := new(writes)
	wrote := slices.ContainsFunc(t.rows, func(r row) bool { return r.wrote })
	for i := range t.rows {
		r := &t.rows[i]
		if r.read && !r.locked && (r.wrote || r.guard) {
			switch {
			case r.val != nil:
				w.same.add(r.key, r.val)
			case r.next != nil:
				w.insert.add(r.key, r.next)
				continue
			case wrote || len(t.rows) > 1:
				w.missing.add(r.key, []byte{})
				continue
			}
		}
		switch {
		case !r.wrote:
		case r.next == nil:
			w.remove.add(r.key, nil)
		case r.read:
			w.update.add(r.key, r.next)
		default:
			w.put.add(r.key, r.next)
		}
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

func (w *writes) empty() bool {
	for _, p := range w.all() {
		if p.Len() > 0 {
			return false
		}
	}
	return w.add.Len() == 0 && len(w.reset) == 0
}

// queue adds the statements to a batch. Keys are sorted, so that transactions that meet seldom deadlock.
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
		// Nothing holds a row that is missing but a row in its place.
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

// alone reports whether the transaction must not commit together with others: it is large, or other transactions of this server may
// write the same rows.
func (t *txn) alone(w *writes) bool {
	size := 0
	for _, p := range w.all() {
		for i := range p.keys {
			size += len(p.keys[i]) + len(p.vals[i])
		}
	}
	return size > maxCombined || len(w.reset) > 0 || w.put.Len() > 0
}

// commit is a transaction that waits to commit together with others.
type commit struct {
	txn    *txn
	writes *writes
	alone  bool // nothing has happened, and it is to commit by itself
	err    error
	done   chan struct{}
}

// commitCombined commits a transaction that holds no connection: under load together with others. All of them are one transaction
// of the database then; if one can't commit, they do so one by one.
func (s *Store) commitCombined(ctx context.Context, t *txn, w *writes) error {
	if !t.alone(w) {
		c := &commit{txn: t, writes: w, done: make(chan struct{})}
		if s.commits.enter(c) {
			defer s.commits.leave()
		} else {
			<-c.done // in commitTimeout
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
	// Statements that are sent at once are a transaction.
	return commitFailure(s.send(ctx, s.pool, b))
}

// commitAll commits transactions as one.
func (s *Store) commitAll(list []*commit) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	var together []*commit
	var all writes
	written := map[string]struct{}{}
	counters := map[string]int{} // where they are in all.add
	for _, c := range list {
		if c.err = c.txn.fence(); c.err != nil {
			close(c.done)
			continue
		}
		if c.alone = !c.writes.apart(written); c.alone {
			close(c.done)
			continue
		}
		together = append(together, c)
		from := c.writes.all()
		for i, p := range all.all() {
			p.append(from[i])
		}
		for i, key := range c.writes.add.keys {
			at, known := counters[string(key)]
			if !known {
				counters[string(key)] = all.add.Len()
				all.add.add(key, c.writes.add.vals[i])
				continue
			}
			sum := kv.SumCounters(kv.DecodeCounters(all.add.vals[at]), kv.DecodeCounters(c.writes.add.vals[i]))
			all.add.vals[at] = kv.AppendCounters(nil, sum)
		}
	}
	if len(together) == 0 {
		return
	}
	verify := verifyNow
	if len(together) == 1 {
		verify = verifyMany
	}
	b := new(pgx.Batch)
	all.queue(b, verify)
	err := s.send(ctx, s.pool, b)
	for _, c := range together {
		c.err = commitFailure(err)
		// Whose fault it is, and whether it is one that a wait helps with, each finds out by itself.
		c.alone = refused(err) && len(together) > 1
		close(c.done)
	}
}

// apart adds the keys to those of others, and reports whether none is there already.
func (w *writes) apart(others map[string]struct{}) bool {
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

// contended remembers where transactions have found that another server changed what they had read: for a while, those that come lock
// their rows before they read them.
type contended [1024]atomic.Int32

// lockFor is how many transactions do so.
const lockFor = 64

func (c *contended) at(key []byte) *atomic.Int32 { return &c[xxhash.Sum64(key)%uint64(len(c))] }

// any reports whether one of the keys is contended.
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

// met says that one of the keys, all of a transaction, is contended.
func (c *contended) met(keys [][]byte) {
	for _, key := range keys {
		c.at(key).Store(lockFor)
	}
}
