// Package verify checks a whole database: every item is well-formed and stored under its own key, every index (the TTL
// index too) has exactly the entries that the items require, the counters are right, and change records and history can
// be read. It writes nothing.
package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/pitr"
	"github.com/statordb/stator/internal/stream"
	"github.com/statordb/stator/internal/table"
)

// Report is the result of Run.
type Report struct {
	Tables   int
	Items    int64
	Entries  int64 // index entries
	Problems []string
	More     int64 // problems beyond maxProblems
}

// maxProblems bounds the problems that a Report lists.
const maxProblems = 100

// problem adds a problem to the report.
func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) == maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Run checks everything in one snapshot of the store. An error means that the store could not be read to its end.
func Run(ctx context.Context, store kv.Store) (*Report, error) {
	snap, err := store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	tables, err := catalog.ReadTables(ctx, snap)
	if err != nil {
		return nil, err
	}
	dropped, err := catalog.ReadDropped(ctx, snap)
	if err != nil {
		return nil, err
	}
	ended, err := catalog.ReadEndedStreams(ctx, snap)
	if err != nil {
		return nil, err
	}
	streams := map[uint32]bool{}
	for _, ref := range ended {
		streams[ref.TableID] = true
	}
	r := &Report{Tables: len(tables)}
	// known collects the table ids in use and, for each, the indexes that may have entries.
	known := map[uint32]map[uint8]bool{}
	backups, err := catalog.ReadBackups(ctx, snap)
	if err != nil {
		return nil, err
	}
	for _, b := range backups {
		known[b.Data] = map[uint8]bool{0: true}
		if err := r.backup(ctx, snap, b); err != nil {
			return nil, fmt.Errorf("backup %s: %w", b.ARN(), err)
		}
	}
	for _, d := range dropped {
		known[d.ID] = nil // nil: some of its data may not have been removed yet
	}
	recovered := map[uint32]bool{}
	for _, t := range tables {
		if _, twice := known[t.ID]; twice {
			r.problem("table %s: its id %d also belongs to another table", t.Name, t.ID)
		}
		known[t.ID] = map[uint8]bool{0: true}
		for _, x := range t.Indexes {
			known[t.ID][x.ID] = true
		}
		streams[t.ID] = streams[t.ID] || t.Stream.Active()
		recovered[t.ID] = t.Recovery != nil
		if t.Loading != nil {
			known[t.ID] = nil // nil: it may contain anything until it is loaded
			continue
		}
		if err := r.table(ctx, snap, t); err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	return r, errors.Join(r.strays(snap, known), r.changes(ctx, snap, streams), r.past(ctx, snap, recovered))
}

// backup checks that a backup has as many well-formed items as it says, stored under their own keys.
func (r *Report) backup(ctx context.Context, snap kv.Reader, b *catalog.Backup) error {
	if b.Status != catalog.BackupAvailable {
		return nil
	}
	t := b.Table
	t.ID = b.Data
	var items, size int64
	err := each(ctx, snap, &t, 0, func(key []byte, it attribute.Item) error {
		items++
		if err := it.WellFormed(); err != nil {
			r.problem("backup %s: item at %x: %v", b.ARN(), key, err)
			return nil
		}
		size += int64(it.Size())
		r.inPlace(&t, "backup "+b.ARN(), key, it)
		return nil
	})
	if err == nil && (items != b.Items || size != b.Bytes) {
		r.problem("backup %s has %d items of %d bytes, but its description says %d of %d", b.ARN(), items, size, b.Items, b.Bytes)
	}
	return err
}

// past checks that the history can be read, and belongs to tables with point-in-time recovery.
func (r *Report) past(ctx context.Context, snap kv.Reader, recovered map[uint32]bool) error {
	return kv.Each(ctx, snap, kv.Prefix(keyspace.AllPasts()), func(key, val []byte) error {
		if err := pitr.Check(key, val); err != nil {
			r.problem("history at %x: %v", key, err)
		} else if !recovered[keyspace.TableID(key)] {
			r.problem("history at %x belongs to table id %d, which has no point-in-time recovery", key, keyspace.TableID(key))
		}
		return nil
	})
}

// changes checks that all change records can be read, and belong to streams.
func (r *Report) changes(ctx context.Context, snap kv.Reader, streams map[uint32]bool) error {
	return kv.Each(ctx, snap, kv.Prefix(keyspace.AllChanges()), func(key, val []byte) error {
		_, _, ok := keyspace.ChangePosition(key)
		_, err := stream.DecodeRecord(val, func([]byte) bool { return true })
		switch {
		case !ok || err != nil:
			r.problem("change record at %x is damaged", key)
		case !streams[keyspace.TableID(key)]:
			r.problem("change record at %x belongs to table id %d, which has no stream", key, keyspace.TableID(key))
		}
		return nil
	})
}

// expiries checks the size of a table's TTL index; want is the number of items that expire.
func (r *Report) expiries(ctx context.Context, snap kv.Reader, t *catalog.Table, want int64) error {
	var got int64
	err := kv.Each(ctx, snap, kv.Prefix(keyspace.Expiries(t.ID)), func(key, _ []byte) error {
		got++
		return nil
	})
	// The keys of all items were found, so if the number is right there are no others. It is in flux while the state changes.
	if err == nil && got != want && (t.TTL == nil || t.TTL.State == catalog.Enabled || t.TTL.State == catalog.Disabled) {
		r.problem("table %s: the TTL index has %d keys for %d items", t.Name, got, want)
	}
	return err
}

// each calls visit for everything in an index of the table; index 0 is the table itself.
func each(ctx context.Context, snap kv.Reader, t *catalog.Table, id uint8, visit func(key []byte, it attribute.Item) error) error {
	return kv.Each(ctx, snap, kv.Prefix(keyspace.AppendIndexPrefix(nil, t.ID, id)), func(key, val []byte) error {
		return visit(key, attribute.Item(val))
	})
}

// inPlace reports whether an item has its key attributes, and adds a problem if they don't match its storage key.
func (r *Report) inPlace(t *catalog.Table, what string, key []byte, it attribute.Item) bool {
	for a := range t.Key.Attributes {
		if it.Get(a.Name).Type() != a.Type {
			r.problem("%s, item at %x: key attribute %s is missing or of another type", what, key, a.Name)
			return false
		}
	}
	if !bytes.Equal(t.AppendItemKey(nil, it), key) {
		r.problem("%s, item at %x: its key attributes belong to another key", what, key)
	}
	return true
}

// tableCheck is the check of one table, and what it has computed from the items so far.
type tableCheck struct {
	*Report
	snap     kv.Reader
	t        *catalog.Table
	counters []int64         // items and bytes of the table, then of each index, by its ID: as they should be stored
	entries  map[uint8]int64 // entries that each index should have, by its ID
	expiring int64           // items that the TTL index should have
}

// table checks the items, indexes and counters of a table.
func (r *Report) table(ctx context.Context, snap kv.Reader, t *catalog.Table) error {
	c := &tableCheck{Report: r, snap: snap, t: t, counters: make([]int64, 2), entries: map[uint8]int64{}}
	if err := each(ctx, snap, t, 0, c.item); err != nil {
		return err
	}
	for _, x := range t.Indexes {
		if err := c.index(ctx, x); err != nil {
			return err
		}
	}
	if err := r.expiries(ctx, snap, t, c.expiring); err != nil {
		return err
	}
	return r.compareCounters(snap, t, c.counters)
}

// item checks an item, and that the indexes and the TTL index have its entries.
func (c *tableCheck) item(key []byte, it attribute.Item) error {
	c.Items++
	c.counters[0]++
	c.counters[1] += int64(it.Size())
	if err := it.WellFormed(); err != nil {
		c.problem("table %s, item at %x: %v", c.t.Name, key, err)
		return nil
	}
	if !c.inPlace(c.t, "table "+c.t.Name, key, it) {
		return nil
	}
	if it.Size() > attribute.MaxItemSize {
		c.problem("table %s, item at %x: %d bytes", c.t.Name, key, it.Size())
	}
	if err := c.expiry(key, it); err != nil {
		return err
	}
	for _, x := range c.t.Indexes {
		if x.State == catalog.Deleting {
			continue
		}
		if err := c.entry(x, key, it); err != nil {
			return err
		}
	}
	return nil
}

// expiry checks that the TTL index has an item, if the item expires.
func (c *tableCheck) expiry(key []byte, it attribute.Item) error {
	if c.t.TTL == nil || c.t.TTL.State != catalog.Enabled {
		return nil
	}
	at := table.Expiry(c.t.TTL, it)
	if at == 0 {
		return nil
	}
	c.expiring++
	got, err := c.snap.Get(keyspace.AppendExpiry(nil, key, at))
	if err == nil && got == nil {
		c.problem("table %s, item at %x: missing from the TTL index", c.t.Name, key)
	}
	return err
}

// entry checks that an index has an item's entry, if the item belongs to the index.
func (c *tableCheck) entry(x *catalog.Index, key []byte, it attribute.Item) error {
	entry, ok := index.AppendKey(nil, c.t, x, it)
	if !ok {
		return nil
	}
	got, err := c.snap.Get(entry)
	if err != nil {
		return err
	}
	if got == nil && x.State == catalog.Creating {
		return nil // the backfill has not reached it
	}
	c.entries[x.ID]++
	if got == nil {
		c.problem("table %s, item at %x: index %s has no entry for it", c.t.Name, key, x.Name)
	} else if !bytes.Equal(got, index.Entry(x, it)) {
		c.problem("table %s, item at %x: its entry in index %s differs", c.t.Name, key, x.Name)
	}
	return nil
}

// index counts an index's entries. The entries of all items were found, so if the number is right there are no others.
func (c *tableCheck) index(ctx context.Context, x *catalog.Index) error {
	at := 2 * int(x.ID) // where the counters have the number of entries, and then their bytes
	for len(c.counters) < at+2 {
		c.counters = append(c.counters, 0)
	}
	err := each(ctx, c.snap, c.t, x.ID, func(_ []byte, it attribute.Item) error {
		c.Entries++
		c.counters[at]++
		c.counters[at+1] += int64(it.Size())
		return nil
	})
	if got := c.counters[at]; err == nil && got != c.entries[x.ID] && x.State != catalog.Deleting {
		c.problem("table %s: index %s has %d entries for %d items", c.t.Name, x.Name, got, c.entries[x.ID])
	}
	return err
}

// compareCounters compares the stored counters of a table with those computed.
func (r *Report) compareCounters(snap kv.Reader, t *catalog.Table, want []int64) error {
	got, err := snap.Counters(keyspace.Counters(t.ID))
	if err != nil {
		return err
	}
	for i := range max(len(got), len(want)) {
		if x := t.IndexByID(uint8(i / 2)); x != nil && x.State == catalog.Deleting {
			continue // its entries are deleted before its counters are
		}
		var g, w int64
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			r.problem("table %s: counter %d is %d, want %d", t.Name, i, g, w)
		}
	}
	return nil
}

// strays finds items of tables, and entries of indexes, that don't exist. known has those that do exist; a nil entry
// may have any index.
func (r *Report) strays(snap kv.Reader, known map[uint32]map[uint8]bool) (err error) {
	it, err := snap.Scan(kv.Prefix(keyspace.Tables()), kv.ScanOpt{})
	if err != nil {
		return err
	}
	defer kv.CloseInto(it, &err)
	for it.Next() {
		id, x := keyspace.TableID(it.Key()), keyspace.IndexID(it.Key())
		indexes, ok := known[id]
		switch {
		case !ok:
			r.problem("items of table id %d, which does not exist", id)
		case indexes != nil && !indexes[x]:
			r.problem("entries of index id %d of table id %d, which does not exist", x, id)
		}
		it.Seek(kv.PrefixEnd(keyspace.AppendIndexPrefix(nil, id, x)))
	}
	return nil
}
