// Package pitr keeps old item images for point-in-time recovery: one record for each change while recovery is on. From them it
// rebuilds a table's state at an earlier time ([State]), and lists the changes between two times ([Changes]).
//
// The package keeps these invariants:
//
//	H1  A write that changes an item while recovery is on puts one record, in its own transaction: the item as it was before.
//	H2  A record's key has the stamp of its transaction (kv, K8), so an item's records are in the order of its changes. The state
//	    at a time is the result of undoing all changes with a stamp at or above it. All changes of a transaction have one stamp,
//	    so no state contains part of a transaction.
//	H3  A time can be restored once it is not above kv.Store.Stable: no change with a stamp below it can follow.
//	H4  Records are sorted like their items, so a state is made in one pass over both, in constant memory. They are grouped by
//	    day, so that one range deletion removes a day that is too old.
package pitr

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"iter"
	"math"
	"slices"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Put records the item stored at key, nil if there is none, before the transaction changes it. buf is memory for the
// record, which Put may grow and returns.
func Put(txn kv.Txn, key []byte, old attribute.Item, buf []byte) ([]byte, error) {
	stamp := txn.Stamp()
	const head = 32 // at least what a record has besides key and item
	buf = keyspace.AppendPast(slices.Grow(buf[:0], len(key)+len(old)+head), key, stamp.Millis(), uint64(stamp))
	n := len(buf)
	// The first byte distinguishes a missing item from an empty one.
	if old != nil {
		buf = append(append(buf, 1), old...)
	} else {
		buf = append(buf, 0)
	}
	return buf, txn.Put(buf[:n:n], buf[n:])
}

var errDamaged = errors.New("pitr: damaged record")

func decode(val []byte) (attribute.Item, error) {
	switch {
	case len(val) > 0 && val[0] == 1:
		return attribute.Item(val[1:]), nil
	case len(val) == 1 && val[0] == 0:
		return nil, nil
	}
	return nil, errDamaged
}

// Check returns an error if a record can't be read.
func Check(key, val []byte) error {
	if _, _, _, ok := keyspace.SplitPast(key); !ok {
		return errDamaged
	}
	_, err := decode(val)
	return err
}

// record is one record of the history.
type record struct {
	suffix []byte
	stamp  kv.TS
	val    []byte
}

// day iterates over the records of one day, in the order of their items and then stamps.
type day struct {
	it  kv.Iterator
	now record
}

// next moves to the day's next record; false at its end.
func (d *day) next() (bool, error) {
	if !d.it.Next() {
		return false, nil
	}
	_, suffix, stamp, ok := keyspace.SplitPast(d.it.Key())
	if !ok {
		return false, errDamaged
	}
	d.now = record{suffix, kv.TS(stamp), d.it.Value()}
	return true, nil
}

// dayHeap implements heap.Interface. The first day is the one whose next record has the smallest item and then stamp.
type dayHeap []*day

func (h dayHeap) Len() int { return len(h) }

func (h dayHeap) Less(i, j int) bool {
	a, b := &h[i].now, &h[j].now
	return cmp.Or(bytes.Compare(a.suffix, b.suffix), cmp.Compare(a.stamp, b.stamp)) < 0
}

func (h dayHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dayHeap) Push(x any)   { *h = append(*h, x.(*day)) }

func (h *dayHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// merged iterates over the records of several days, in the order of their items and then stamps.
type merged struct {
	days dayHeap
	all  []kv.Iterator
	err  error
}

// days returns the days from first on for which a table has records.
func days(r kv.Reader, table, first uint32) (out []uint32, err error) {
	it, err := r.Scan(kv.Range{Start: keyspace.PastDay(table, first), End: kv.PrefixEnd(keyspace.Past(table))}, kv.ScanOpt{})
	if err != nil {
		return nil, err
	}
	for it.Next() {
		d, _, _, ok := keyspace.SplitPast(it.Key())
		if !ok {
			return nil, errors.Join(errDamaged, it.Close())
		}
		out = append(out, d)
		it.Seek(keyspace.PastDay(table, d+1))
	}
	return out, it.Close()
}

// Part is a part of a table: the items whose key suffixes are in [Start, End). The zero value is the whole table.
type Part struct{ Start, End []byte }

// in returns the range of the part's keys below a prefix.
func (p Part) in(prefix []byte) kv.Range {
	r := kv.Prefix(prefix)
	r.Start = append(bytes.Clone(prefix), p.Start...)
	if p.End != nil {
		r.End = append(bytes.Clone(prefix), p.End...)
	}
	return r
}

// open returns the records of a part of a table from the day of a time on.
func open(r kv.Reader, table uint32, part Part, from kv.TS) (*merged, error) {
	m := &merged{}
	list, err := days(r, table, keyspace.HistoryDay(from.Millis()))
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		it, err := r.Scan(part.in(keyspace.PastDay(table, d)), kv.ScanOpt{})
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.all = append(m.all, it)
		one := &day{it: it}
		some, err := one.next()
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		if some {
			m.days = append(m.days, one)
		}
	}
	heap.Init(&m.days)
	return m, nil
}

// Close closes all iterators, and returns the first error of any.
func (m *merged) Close() error {
	for _, it := range m.all {
		m.err = errors.Join(m.err, it.Close())
	}
	m.all, m.days = nil, nil
	return m.err
}

// head returns the next record, or nil at the end. It is valid until next is called.
func (m *merged) head() *record {
	if len(m.days) == 0 || m.err != nil {
		return nil
	}
	return &m.days[0].now
}

// next moves past the head.
func (m *merged) next() {
	some, err := m.days[0].next()
	if some {
		heap.Fix(&m.days, 0)
		return
	}
	m.err = errors.Join(m.err, err)
	heap.Pop(&m.days)
}

// item consumes the records of an item, which are next if it has any.
func (m *merged) item(suffix []byte) iter.Seq[*record] {
	return func(yield func(*record) bool) {
		for h := m.head(); h != nil && bytes.Equal(h.suffix, suffix); h = m.head() {
			if !yield(h) {
				return
			}
			m.next()
		}
	}
}

// Latest is a time after all changes: the state then is the present one, and all history is before it.
const Latest kv.TS = math.MaxUint64

// State calls visit for every item that a part of a table had at a time, in key order, until visit returns an error or
// ctx ends. suffix (see keyspace.Suffix) and item are valid until visit returns. The snapshot must be taken when the
// time is not above kv.Store.Stable (H3).
func State(ctx context.Context, r kv.Reader, table uint32, part Part, at kv.TS, visit func(suffix []byte, it attribute.Item) error) (err error) {
	past, err := open(r, table, part, at)
	if err != nil {
		return err
	}
	defer kv.CloseInto(past, &err)
	w := &rewinder{past: past, at: at, visit: visit}
	err = kv.Each(ctx, r, part.in(keyspace.AppendIndexPrefix(nil, table, 0)), func(key, val []byte) error {
		return w.present(keyspace.Suffix(key), attribute.Item(val))
	})
	if err == nil {
		err = w.gone(nil)
	}
	return err
}

// rewinder merges the present items with the history: an item is as it was before its first change at or after the time.
type rewinder struct {
	past  *merged
	at    kv.TS
	visit func(suffix []byte, it attribute.Item) error
	kept  []byte // memory of the last image that undo returned
}

// present visits an item that exists now, as it was, after the items before it that are gone.
func (w *rewinder) present(suffix []byte, it attribute.Item) error {
	if err := w.gone(suffix); err != nil {
		return err
	}
	was, changed, err := w.undo(suffix)
	if err != nil {
		return err
	}
	if changed {
		it = was
	}
	if it == nil {
		return nil
	}
	return w.visit(suffix, it)
}

// gone visits the items that existed then but not now, if they sort before a suffix; nil visits all that are left.
func (w *rewinder) gone(before []byte) error {
	for h := w.past.head(); h != nil && (before == nil || bytes.Compare(h.suffix, before) < 0); h = w.past.head() {
		suffix := bytes.Clone(h.suffix)
		was, _, err := w.undo(suffix)
		if err != nil {
			return err
		}
		if was == nil {
			continue
		}
		if err := w.visit(suffix, was); err != nil {
			return err
		}
	}
	return w.past.err
}

// undo consumes an item's records, which are next if it has any, and returns what it was at the time if it has changed since.
func (w *rewinder) undo(suffix []byte) (was attribute.Item, changed bool, err error) {
	for h := range w.past.item(suffix) {
		if changed || h.stamp < w.at {
			continue
		}
		changed = true
		w.kept = append(w.kept[:0], h.val...)
		if was, err = decode(w.kept); err != nil {
			return nil, false, err
		}
	}
	return was, changed, w.past.err
}

// Change is how an item has changed between two times.
type Change struct {
	Suffix   []byte         // of its key; see keyspace.Suffix
	Old, New attribute.Item // at the first and at the second time; nil if it did not exist
	Some     attribute.Item // a state in between, for the keys of an item that existed at neither time
	Last     kv.TS          // time of the last change
}

// Changes calls visit for every item that was changed at a time in [from, to), in key order, until visit returns an
// error or ctx ends. The Change is valid until visit returns.
func Changes(ctx context.Context, r kv.Reader, table uint32, from, to kv.TS, visit func(*Change) error) (err error) {
	past, err := open(r, table, Part{}, from)
	if err != nil {
		return err
	}
	defer kv.CloseInto(past, &err)
	// Changed items are usually few, so this iterator seeks from one to the next.
	items, err := r.Scan(kv.Prefix(keyspace.AppendIndexPrefix(nil, table, 0)), kv.ScanOpt{})
	if err != nil {
		return err
	}
	defer kv.CloseInto(items, &err)
	return changes(ctx, items, table, from, to, past, visit)
}

// changes walks through the history item by item.
func changes(ctx context.Context, items kv.Iterator, table uint32, from, to kv.TS, past *merged, visit func(*Change) error) error {
	var key []byte
	for n := 0; past.head() != nil; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		c, later, err := itemChange(past, from, to)
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		if !later {
			key = append(keyspace.AppendIndexPrefix(key[:0], table, 0), c.Suffix...)
			items.Seek(key)
			if items.Next() && bytes.Equal(items.Key(), key) {
				c.New = attribute.Item(items.Value())
			}
		}
		if err := visit(c); err != nil {
			return err
		}
	}
	return past.err
}

// itemChange consumes the records of the next item, and returns its change; nil if it did not change between the times. The first
// record at or after from has the old state, the first at or after to the new one. Without the latter, later is false, and the new
// state is the present item, which the caller must add.
func itemChange(past *merged, from, to kv.TS) (c *Change, later bool, err error) {
	c = &Change{Suffix: bytes.Clone(past.head().suffix)}
	changed := false
	for h := range past.item(c.Suffix) {
		if h.stamp < from || later {
			continue
		}
		was, err := decode(bytes.Clone(h.val))
		if err != nil {
			return nil, false, err
		}
		if h.stamp >= to {
			c.New, later = was, true
			continue
		}
		if !changed {
			c.Old, changed = was, true
		}
		if was != nil {
			c.Some = was
		}
		c.Last = h.stamp
	}
	if !changed {
		c = nil
	}
	return c, later, past.err
}

// Trim deletes whole days of a table's history before a time; all of it for Latest.
func Trim(ctx context.Context, store kv.Store, table uint32, before kv.TS) error {
	end := keyspace.PastDay(table, keyspace.HistoryDay(before.Millis()))
	if before == Latest {
		end = kv.PrefixEnd(keyspace.Past(table))
	}
	snap, err := store.Latest(ctx)
	if err != nil {
		return err
	}
	r := kv.Range{Start: keyspace.Past(table), End: end}
	it, err := snap.Scan(r, kv.ScanOpt{Stale: true})
	if err != nil {
		return errors.Join(err, snap.Close())
	}
	some := it.Next()
	if err := errors.Join(it.Close(), snap.Close()); err != nil || !some {
		return err
	}
	return store.DeleteRange(ctx, r)
}
