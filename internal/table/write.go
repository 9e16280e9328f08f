// Package table has the one path on which items are written, and the paths on which they are read.
//
// Every change of an item is a [Mutation]. Everything that it entails is written in the same transaction: index
// entries, the TTL index, the old image for point-in-time recovery, the change record and the counters. The package
// knows no expressions: conditions and updates arrive as functions.
//
// [Store.Write] applies mutations, [Store.ReadPage] reads a page of Query or Scan, [Store.Fill] restores and imports
// whole tables, [Store.Expire] deletes expired items, and a [Builder] fills and clears indexes of live tables.
package table

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/pitr"
	"github.com/statordb/stator/internal/stream"
)

// ErrNotFound means that a table does not exist or does not serve requests now.
var ErrNotFound = errors.New("table: not found")

// Store reads and writes items.
type Store struct {
	KV      kv.Store
	Catalog *catalog.Catalog
	Now     func() time.Time
	// Requests returns the number of requests so far; nil if they are not counted.
	Requests func() int64
	// Inject returns an error that fails a mutation, in test mode; nil otherwise.
	Inject func(ctx context.Context, t *catalog.Table, u metering.Use, write bool) error

	// TempDir is where Fill sorts what does not fit into memory; "" sorts in memory only.
	TempDir string
}

// Mutation is one change of one item.
type Mutation struct {
	Table *catalog.Table
	Key   attribute.Item // must have the primary key's attributes, already checked; others are ignored
	// Check returns an error to refuse the mutation; nil means unconditional. old is nil if the item does not exist.
	Check func(old attribute.Item) error
	// Next returns the item after the mutation: nil to delete it, old itself for no change. Check and Next may run more
	// than once.
	Next func(old attribute.Item) (attribute.Item, error)
	// Cause tells whether a user or TTL made the change.
	Cause stream.Cause
}

// Result is the item before and after a mutation, both copies, and what the mutation consumed.
type Result struct {
	Old, New attribute.Item
	Units    capacity.Consumed
}

// WriteOpt are options of Write.
type WriteOpt struct {
	// KeepOld asks for Result.Old.
	KeepOld bool
	// Exclusive makes the mutations a DynamoDB transaction: it fails at once if another writer holds an item, and other writers
	// fail at once on its items.
	Exclusive bool
	// Admitted is for mutations that an earlier Write has already admitted: their tables had capacity.
	Admitted bool
	// Background is for mutations that no client asked for: they wait for transactions, and transactions wait for them.
	Background bool
	// Hint lists further keys that First and Last read and write.
	Hint [][]byte
	// Now is when the request arrived; the zero value means now.
	Now time.Time
	// First runs first in the transaction, and Last after all mutations. They must be repeatable.
	First func(kv.Txn) error
	Last  func(kv.Txn, []Result) error
}

// FailedError says which mutations of a Write were refused. Nothing was written.
type FailedError struct {
	Errors []error // one for each mutation; nil for those that were not refused
}

// Error implements error.
func (e *FailedError) Error() string { return errors.Join(e.Errors...).Error() }

// ErrConflict is the error of a mutation whose item another writer holds.
var ErrConflict = errors.New("table: item in use by another transaction")

// use locks the mutations' tables and returns their current descriptions. The caller must call done.
func (s *Store) use(ctx context.Context, muts []Mutation) (tables []*catalog.Table, done func(), err error) {
	tables = make([]*catalog.Table, len(muts))
	var held []func()
	done = func() {
		for _, release := range held {
			release()
		}
	}
next:
	for i, m := range muts {
		for j := range i {
			if muts[j].Table.ID == m.Table.ID {
				tables[i] = tables[j]
				continue next
			}
		}
		t := m.Table
		for {
			release, err := t.Use(ctx)
			if err != nil {
				done()
				return nil, nil, err
			}
			if release != nil {
				held = append(held, release)
				break
			}
			id := t.ID
			if t = s.Catalog.Get(t.Namespace, t.Name); t == nil || t.ID != id || !t.Serves(s.Now()) {
				done()
				return nil, nil, ErrNotFound
			}
		}
		tables[i] = t
	}
	return tables, done, nil
}

// WriteOne is Write for a single mutation. It returns the mutation's error itself, not FailedError.
func (s *Store) WriteOne(ctx context.Context, m Mutation, opt WriteOpt) (Result, error) {
	var muts = [1]Mutation{m}
	var results [1]Result
	err := s.write(ctx, muts[:], results[:], opt)
	if failed, ok := errors.AsType[*FailedError](err); ok {
		err = failed.Errors[0]
	}
	return results[0], err
}

// Write applies mutations of different items in one transaction. If any is refused, none is applied and Write returns
// FailedError.
func (s *Store) Write(ctx context.Context, muts []Mutation, opt WriteOpt) ([]Result, error) {
	results := make([]Result, len(muts))
	return results, s.write(ctx, muts, results, opt)
}

// write is Write with memory for the results. Its steps: lock the tables' descriptions, ask for capacity, run the
// transaction, charge what it consumed.
func (s *Store) write(ctx context.Context, muts []Mutation, results []Result, opt WriteOpt) error {
	tables, done, err := s.use(ctx, muts)
	if err != nil {
		return err
	}
	defer done()
	keys := make([][]byte, len(muts), len(muts)+len(opt.Hint))
	// Most keys fit, so that they cost no allocation.
	var room [512]byte
	buf := room[:0]
	for i, m := range muts {
		start := len(buf)
		buf = tables[i].AppendItemKey(buf, m.Key)
		keys[i] = buf[start:len(buf):len(buf)]
	}
	w := writer{muts: muts, tables: tables, keys: keys, results: results, opt: opt, now: opt.Now}
	if w.now.IsZero() {
		w.now = s.Now()
	}
	if err := w.admit(ctx, s.Inject); err != nil {
		return err
	}
	err = kv.Update(ctx, s.KV, kv.TxnOpt{Hint: append(keys, opt.Hint...), Exclusive: opt.Exclusive, Background: opt.Background, Stamped: w.stamped()}, w.run)
	// AWS calls this a TransactionConflict. Nothing is charged.
	if locked, ok := errors.AsType[*kv.LockedError](err); ok && locked.Hint < len(muts) {
		failed := make([]error, len(muts))
		failed[locked.Hint] = ErrConflict
		tables[locked.Hint].Meter.Conflicted(w.now)
		return &FailedError{failed}
	}
	w.charge(err)
	return err
}

// writer is one Write in progress.
type writer struct {
	muts    []Mutation
	tables  []*catalog.Table
	keys    [][]byte
	results []Result
	opt     WriteOpt

	records uint16 // change records put so far in this transaction
	buf     []byte // reused for records of stream and history

	now     time.Time
	charges []charge // consumption of GSIs, charged if the transaction commits
	refused []charge // consumption charged if a condition fails
}

// stamped reports whether changes of any of the tables are recorded, for a stream or for recovery.
func (w *writer) stamped() bool {
	return slices.ContainsFunc(w.tables, func(t *catalog.Table) bool { return t.Recovery != nil || t.Stream.Active() })
}

// run is the body of the transaction. It may run more than once, so it first resets what an earlier run left.
func (w *writer) run(txn kv.Txn) error {
	w.records, w.charges, w.refused = 0, w.charges[:0], nil
	if w.opt.First != nil {
		if err := w.opt.First(txn); err != nil {
			return err
		}
	}
	// Read and decide for all mutations before writing, so that the client learns of every one that is refused.
	var failed []error
	olds := make([]attribute.Item, len(w.muts))
	news := make([]attribute.Item, len(w.muts))
	for i := range w.muts {
		m := &w.muts[i]
		raw, err := txn.Get(w.keys[i])
		if err != nil {
			return err
		}
		old := attribute.Item(raw)
		next := old
		if m.Check != nil {
			if err = m.Check(old); err != nil {
				w.refuse(i, old)
			}
		}
		if err == nil && m.Next != nil {
			next, err = m.Next(old)
		}
		if err != nil {
			if failed == nil {
				failed = make([]error, len(w.muts))
			}
			failed[i] = err
			continue
		}
		olds[i], news[i] = old, next
	}
	// If a condition failed, the other mutations are charged as if they had succeeded.
	if failed != nil {
		for i := range w.muts {
			if failed[i] == nil && w.refused != nil {
				w.refused = append(w.refused, w.use(i, capacity.Write(olds[i].Size(), news[i].Size())))
			}
		}
		return &FailedError{failed}
	}
	var counts []tableCounts
	for i := range w.muts {
		if err := w.apply(txn, i, olds[i], news[i], countsOf(&counts, w.tables[i])); err != nil {
			return err
		}
	}
	for i := range counts {
		if err := counts[i].put(txn); err != nil {
			return err
		}
	}
	if w.opt.Last != nil {
		return w.opt.Last(txn, w.results)
	}
	return nil
}

// apply writes the item and index entries of one mutation, and counts them.
func (w *writer) apply(txn kv.Txn, i int, old, next attribute.Item, counts *tableCounts) error {
	res := &w.results[i]
	*res = Result{New: next}
	if w.opt.KeepOld {
		res.Old = old.Clone()
	}
	res.Units.Table = capacity.Write(old.Size(), next.Size())
	// A write without a change consumes as much, but writes nothing: no index entries, no records.
	if bytes.Equal(old, next) {
		if next != nil && len(old) > 0 && &old[0] == &next[0] {
			res.New = next.Clone() // next is a view of what the transaction has read
		}
		return nil
	}
	t, key := w.tables[i], w.keys[i]
	var plan []index.Change
	if len(t.Indexes) > 0 {
		// A GSI without capacity fails the whole write, as in AWS.
		plan = index.Plan(nil, t, old, next)
		if err := forgetUnfilled(txn, plan); err != nil {
			return err
		}
		if err := w.admitIndexes(i, plan); err != nil {
			return err
		}
	}
	counts.add(0, old, next)
	var err error
	if next == nil {
		err = txn.Delete(key, len(key)+len(old))
	} else {
		err = txn.Put(key, next)
	}
	if err != nil {
		return err
	}
	for _, c := range plan {
		counts.add(c.Index.ID, c.Old, c.New)
		switch {
		case c.New != nil:
			err = txn.Put(c.Key, c.New)
		case c.Old != nil:
			err = txn.Delete(c.Key, len(c.Key)+len(c.Old))
		}
		if err != nil {
			return err
		}
	}
	if t.TTL.Indexed() {
		if err := putExpiry(txn, key, Expiry(t.TTL, old), Expiry(t.TTL, next)); err != nil {
			return err
		}
	}
	// Old image, then change record: both carry the transaction's stamp.
	if t.Recovery != nil {
		if w.buf, err = pitr.Put(txn, key, old, w.buf); err != nil {
			return err
		}
	}
	if t.Stream.Active() {
		return w.record(txn, i, old, next)
	}
	return nil
}

// forgetUnfilled removes old entries from the plan that an index being filled does not contain yet, so that they are
// not counted.
func forgetUnfilled(txn kv.Txn, plan []index.Change) error {
	for i := range plan {
		if plan[i].Index.State != catalog.Creating || plan[i].Old == nil {
			continue
		}
		there, err := txn.Get(plan[i].Key)
		if err != nil {
			return err
		}
		if there == nil {
			plan[i].Old = nil
		}
	}
	return nil
}

// record puts the change record of a mutation into the table's stream.
func (w *writer) record(txn kv.Txn, i int, old, next attribute.Item) error {
	t := w.tables[i]
	var room [64]byte
	key := keyspace.AppendChange(room[:0], t.ID, t.Stream.Record(keyspace.HashOf(w.keys[i])), uint64(txn.Stamp()), w.records)
	w.records++
	w.buf = stream.AppendRecord(w.buf[:0], t.Stream.ViewType, old, next, w.muts[i].Cause, func(name []byte) bool { return t.Key.Has(string(name)) })
	return txn.PutNew(key, w.buf)
}

// tableCounts are the changes that a Write makes to a table's counters: a pair of items and bytes for the table and each index.
type tableCounts struct {
	table  *catalog.Table
	deltas []int64
}

// countsOf returns the counts of the table, adding them to the list if necessary.
func countsOf(list *[]tableCounts, t *catalog.Table) *tableCounts {
	for i := range *list {
		if (*list)[i].table == t {
			return &(*list)[i]
		}
	}
	*list = append(*list, tableCounts{table: t})
	return &(*list)[len(*list)-1]
}

// add counts that before was replaced by after in an index (0 for the table); nil is no entry.
func (c *tableCounts) add(index uint8, before, after attribute.Item) {
	at := 2 * int(index)
	for len(c.deltas) < at+2 {
		c.deltas = append(c.deltas, 0)
	}
	if before != nil {
		c.deltas[at]--
		c.deltas[at+1] -= int64(before.Size())
	}
	if after != nil {
		c.deltas[at]++
		c.deltas[at+1] += int64(after.Size())
	}
}

// put adds the changes to the table's counters.
func (c *tableCounts) put(txn kv.Txn) error {
	if !slices.ContainsFunc(c.deltas, func(d int64) bool { return d != 0 }) {
		return nil
	}
	return txn.Add(keyspace.Counters(c.table.ID), c.deltas)
}
