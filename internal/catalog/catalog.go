package catalog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/registry"
)

// tableName is the key of a table in the catalog.
type tableName struct {
	Namespace
	name string
}

// Catalog is the set of all tables, cached in memory. Lookups take no lock: they load an immutable map.
type Catalog struct {
	opt    Options
	store  kv.Store
	now    func() time.Time
	tables atomic.Pointer[map[tableName]*Table]
	ended  atomic.Pointer[map[string]*StreamRef] // by ARN
	// Backups are the backups of all tables.
	Backups *registry.Set[Backup]
	change  sync.Mutex // held while this server changes a table or the set of tables

	publishing sync.Mutex        // held while the maps that lookups read are updated
	frozen     map[string]*Table // tables being changed, by the key of their record; they stay published until the thaw
	// changed holds a signal after a table has changed.
	changed chan struct{}
}

// Changed returns a channel that receives after tables have changed. Several changes may share one signal.
func (c *Catalog) Changed() <-chan struct{} { return c.changed }

// Options configure a Catalog.
type Options struct {
	Now         func() time.Time
	Coordinator cluster.Coordinator
	Meters      *metering.Registry
	Throttling  Throttling
	// MaxTables is the largest number of tables of an account in a region; 0 for no limit. See accountRegions.
	MaxTables int
	// AccountTables returns the largest number of tables of an account in all regions together; 0 for no limit.
	AccountTables func(account string) int
}

// DefaultMaxTables is the default limit of tables per account and region ("Quotas in Amazon DynamoDB").
const DefaultMaxTables = 2500

// accountRegions bounds the tables of an account in all regions together, as a multiple of MaxTables. Clients choose
// the names of regions, and each table takes memory.
const accountRegions = 4

// TooManyTablesError means that the account has reached its limit of tables.
type TooManyTablesError struct{ Max int }

func (e *TooManyTablesError) Error() string {
	return fmt.Sprintf("catalog: the account has %d tables", e.Max)
}

// room returns TooManyTablesError if the namespace, or its account, can't have another table.
func (c *Catalog) room(ns Namespace) error {
	limit, own := c.opt.MaxTables, 0
	if c.opt.AccountTables != nil {
		own = c.opt.AccountTables(ns.Account)
	}
	if limit == 0 && own == 0 {
		return nil
	}
	region, account := 0, 0
	for name := range *c.tables.Load() {
		if name.Account == ns.Account {
			account++
			if name.Region == ns.Region {
				region++
			}
		}
	}
	switch {
	case own > 0 && account >= own:
		return &TooManyTablesError{own}
	case limit > 0 && region >= limit:
		return &TooManyTablesError{limit}
	case limit > 0 && account >= accountRegions*limit:
		return &TooManyTablesError{accountRegions * limit}
	}
	return nil
}

// Open reads the catalog from the store, and advances the store's clock beyond all timestamps found.
func Open(ctx context.Context, store kv.Store, opt Options) (*Catalog, error) {
	c := &Catalog{opt: opt, store: store, now: opt.Now, changed: make(chan struct{}, 1), frozen: map[string]*Table{}}
	// Watch before reading: a change after the snapshot is then in the log that this server will follow.
	opt.Coordinator.Watch(keyspace.TableRecords(), tableWatcher{c})
	opt.Coordinator.Watch(keyspace.EndedStreams(), streamWatcher{c})
	snap, err := store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	list, err := ReadTables(ctx, snap)
	if err != nil {
		return nil, err
	}
	// KeepClock's timestamp, the streams and the histories say how far the clock had come.
	clock, err := snap.Get(keyspace.Clock())
	if err != nil {
		return nil, err
	}
	if len(clock) == 8 {
		store.Advance(kv.TS(binary.BigEndian.Uint64(clock)))
	}
	streams, err := ReadEndedStreams(ctx, snap)
	if err != nil {
		return nil, err
	}
	ended := map[string]*StreamRef{}
	for _, r := range streams {
		ended[r.ARN()] = r
		c.advance(&r.Stream)
	}
	c.ended.Store(&ended)
	if c.Backups, err = registry.Open[Backup](ctx, registry.Storage{Coordinator: opt.Coordinator, KV: store}, registry.Backups); err != nil {
		return nil, err
	}
	tables := map[tableName]*Table{}
	for _, t := range list {
		if err := c.meter(t); err != nil {
			return nil, err
		}
		tables[tableName{t.Namespace, t.Name}] = t
		if t.Recovery != nil {
			c.store.Advance(t.Recovery.Since)
		}
		if t.Stream != nil {
			c.advance(t.Stream)
		}
	}
	c.tables.Store(&tables)
	return c, nil
}

// Recover finishes what a crash has interrupted: removing dropped data, upgrading old descriptions, and deleting tables.
func (c *Catalog) Recover(ctx context.Context) error {
	snap, err := c.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	dropped, err := ReadDropped(ctx, snap)
	if err = errors.Join(err, snap.Close()); err != nil {
		return err
	}
	for _, d := range dropped {
		if err := c.purge(ctx, d); err != nil {
			return err
		}
	}
	for t := range c.Tables() {
		if err := c.upgrade(ctx, t); err != nil {
			return err
		}
	}
	c.signal()
	return c.FinishDeletes(ctx)
}

// KeepClock stores the current time of the store's clock, if change records or a history depend on its order. The
// machine's clock may be set back while the server is down, yet later writes must still get later timestamps.
func (c *Catalog) KeepClock(ctx context.Context) error {
	for _, t := range *c.tables.Load() {
		if t.Recovery == nil && !t.Stream.Active() {
			continue
		}
		now, err := c.store.Now(ctx)
		if err != nil {
			return err
		}
		return kv.Update(ctx, c.store, kv.TxnOpt{NoSync: true}, func(txn kv.Txn) error {
			return txn.Put(keyspace.Clock(), binary.BigEndian.AppendUint64(nil, uint64(now)))
		})
	}
	return nil
}

// advance advances the store's clock beyond the bounds of the stream's shards, in case the machine's clock was set back.
func (c *Catalog) advance(s *Stream) {
	for _, shard := range s.Shards {
		c.store.Advance(max(shard.Start, shard.End))
	}
}

// upgrade adds the first shard to a stream of format 1, which described streams but kept no records.
func (c *Catalog) upgrade(ctx context.Context, t *Table) error {
	if !t.Stream.Active() || len(t.Stream.Shards) > 0 {
		return nil
	}
	_, err := c.Change(ctx, t.Namespace, t.Name, func(t *Table) error {
		now, err := c.store.Now(ctx)
		if err == nil {
			t.StartStream(t.Stream.ViewType, t.Stream.Label, now)
		}
		return err
	})
	return err
}

// signal wakes a receiver of Changed.
func (c *Catalog) signal() {
	select {
	case c.changed <- struct{}{}:
	default: // a signal is pending already
	}
}

// ReadEndedStreams returns the streams that have ended but can still be read.
func ReadEndedStreams(ctx context.Context, r kv.Reader) (list []*StreamRef, err error) {
	err = kv.Each(ctx, r, kv.Prefix(keyspace.EndedStreams()), func(key, val []byte) error {
		ref := new(StreamRef)
		if err := json.Unmarshal(val, ref); err != nil {
			return fmt.Errorf("description of stream %q: %w", key, err)
		}
		list = append(list, ref)
		return nil
	})
	return list, err
}

// Streams returns the streams of a namespace, of one table or (for "") of all tables, sorted by ARN: the enabled ones,
// and those that have ended but can still be read.
func (c *Catalog) Streams(ns Namespace, table string) []*StreamRef {
	var out []*StreamRef
	for key, t := range *c.tables.Load() {
		if key.Namespace == ns && (table == "" || table == key.name) && t.Stream.Active() {
			out = append(out, t.ref())
		}
	}
	for _, r := range *c.ended.Load() {
		if r.Namespace == ns && (table == "" || table == r.Table) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *StreamRef) int { return strings.Compare(a.ARN(), b.ARN()) })
	return out
}

// Stream returns the stream with that ARN, enabled or ended; nil for an unknown ARN.
func (c *Catalog) Stream(arn string) *StreamRef {
	if r := (*c.ended.Load())[arn]; r != nil {
		return r
	}
	ns, name, ok := TableFromARN(arn)
	if !ok {
		return nil
	}
	t := (*c.tables.Load())[tableName{ns, name}]
	if t == nil || !t.Stream.Active() {
		return nil
	}
	if r := t.ref(); r.ARN() == arn {
		return r
	}
	return nil
}

// EndedStreams returns the streams of all namespaces that have ended but can still be read.
func (c *Catalog) EndedStreams() []*StreamRef { return slices.Collect(maps.Values(*c.ended.Load())) }

// Tables iterates over the tables of all namespaces, as they are when Tables is called. It copies nothing: background work visits
// all tables every second.
func (c *Catalog) Tables() iter.Seq[*Table] { return maps.Values(*c.tables.Load()) }

// keepEnded stores a stream that ends, so that it can still be read; nil for none.
func keepEnded(txn kv.Txn, r *StreamRef) error {
	if r == nil {
		return nil
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return txn.Put(keyspace.EndedStream(r.TableID, r.Label), raw)
}

// ForgetStream removes an ended stream.
func (c *Catalog) ForgetStream(ctx context.Context, r *StreamRef) error {
	err := kv.Update(ctx, c.store, kv.TxnOpt{}, func(txn kv.Txn) error {
		return txn.Delete(keyspace.EndedStream(r.TableID, r.Label), 0)
	})
	if err != nil {
		return err
	}
	return c.reloadStream(ctx, keyspace.EndedStream(r.TableID, r.Label))
}

// Dropped is a table or backup whose data has not been removed yet.
type Dropped struct {
	ID        uint32
	KeepItems bool // its items belong to a backup
}

// ReadTables returns all tables.
func ReadTables(ctx context.Context, r kv.Reader) (tables []*Table, err error) {
	err = kv.Each(ctx, r, kv.Prefix(keyspace.TableRecords()), func(key, val []byte) error {
		t, err := decode(val)
		if err != nil {
			return fmt.Errorf("description of table %q: %w", key, err)
		}
		tables = append(tables, t)
		return nil
	})
	return tables, err
}

// ReadDropped returns everything dropped whose data has not been removed yet.
func ReadDropped(ctx context.Context, r kv.Reader) (dropped []Dropped, err error) {
	err = kv.Each(ctx, r, kv.Prefix(keyspace.DroppedTables()), func(key, val []byte) error {
		dropped = append(dropped, Dropped{keyspace.DroppedTableID(key), len(val) > 0})
		return nil
	})
	return dropped, err
}

func decode(raw []byte) (*Table, error) {
	t := new(Table)
	if err := json.Unmarshal(raw, t); err != nil {
		return nil, err
	}
	t.prepare()
	return t, nil
}

// Get returns the table of that name, or nil. A table whose time in DELETING is over is gone, even if its removal has
// yet to run.
func (c *Catalog) Get(ns Namespace, name string) *Table {
	t := (*c.tables.Load())[tableName{ns, name}]
	if t == nil || t.DeletingUntil == 0 || c.now().UnixMilli() < t.DeletingUntil {
		return t
	}
	return nil
}

// Names returns the names of the namespace's tables that sort after a name, sorted.
func (c *Catalog) Names(ns Namespace, after string) (names []string) {
	for key, t := range *c.tables.Load() {
		if key.Namespace == ns && key.name > after && c.Get(ns, t.Name) != nil {
			names = append(names, t.Name)
		}
	}
	sort.Strings(names)
	return names
}

// Create adds a table and sets its ID. The form of its keys is that of the store's format, unless the table will be
// filled with the items of another, whose form it must share. If the name is taken, Create returns the existing table.
func (c *Catalog) Create(ctx context.Context, t *Table) (taken *Table, err error) {
	c.change.Lock()
	defer c.change.Unlock()
	if old := c.Get(t.Namespace, t.Name); old != nil {
		return old, nil
	}
	// A deleted table of that name may still wait for its removal.
	if err := c.finishDelete(ctx, t.Namespace, t.Name); err != nil {
		return nil, err
	}
	if err := c.room(t.Namespace); err != nil {
		return nil, err
	}
	key := keyspace.TableRecord(t.Account, t.Region, t.Name)
	there := false
	err = kv.Update(ctx, c.store, kv.TxnOpt{Hint: [][]byte{keyspace.Format(), keyspace.LastTableID(), key}}, func(txn kv.Txn) (err error) {
		raw, err := txn.Get(key)
		if there = raw != nil; err != nil || there {
			return err // another server was faster
		}
		if t.Loading == nil || t.Loading.From == 0 {
			format, err := ReadFormat(txn)
			if err != nil {
				return err
			}
			t.Keys = keyspace.KeysOfFormat(format)
		}
		if t.ID, err = nextTableID(txn); err != nil {
			return err
		}
		return putTable(txn, t)
	})
	if err != nil {
		return nil, err
	}
	if err := c.reloadTable(ctx, key, false); err != nil {
		return nil, err
	}
	if there {
		return c.Get(t.Namespace, t.Name), nil
	}
	return nil, nil
}

// ReadFormat returns the format version in which a store is written. A data directory keeps its version in a file, and
// is upgraded when it is opened; so its store has no such record and counts as the newest.
func ReadFormat(r kv.Reader) (int, error) {
	raw, err := r.Get(keyspace.Format())
	if err != nil || raw == nil {
		return keyspace.FormatVersion, err
	}
	version, err := strconv.Atoi(string(raw))
	if err != nil {
		return 0, fmt.Errorf("the store's format is %q: it must be a number", raw)
	}
	return version, nil
}

// PutFormat sets the format version in which a store is written from now on.
func PutFormat(txn kv.Txn, version int) error {
	return txn.Put(keyspace.Format(), strconv.AppendInt(nil, int64(version), 10))
}

// nextTableID allocates a table id. The transaction must hint keyspace.LastTableID.
func nextTableID(txn kv.Txn) (uint32, error) {
	last, err := txn.Get(keyspace.LastTableID())
	if err != nil {
		return 0, err
	}
	id := uint32(1)
	if last != nil {
		id = binary.BigEndian.Uint32(last) + 1
	}
	return id, txn.Put(keyspace.LastTableID(), binary.BigEndian.AppendUint32(nil, id))
}

func putTable(txn kv.Txn, t *Table) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return txn.Put(keyspace.TableRecord(t.Account, t.Region, t.Name), raw)
}

// Change applies change to a copy of the table, and stores and publishes the copy, while no server writes to the table.
// It returns nil if there is no such table. If change fails, its error is returned and nothing is changed.
func (c *Catalog) Change(ctx context.Context, ns Namespace, name string, change func(*Table) error) (*Table, error) {
	c.change.Lock()
	defer c.change.Unlock()
	if c.Get(ns, name) == nil {
		return nil, nil
	}
	err := c.opt.Coordinator.Exclusive(ctx, keyspace.TableRecord(ns.Account, ns.Region, name), func(check func(kv.Txn) error) error {
		old := c.Get(ns, name)
		if old == nil {
			return nil
		}
		// Copy the table by way of its stored form, which also drops all derived fields.
		raw, err := json.Marshal(old)
		if err != nil {
			return err
		}
		t, err := decode(raw)
		if err != nil {
			return err
		}
		if err := change(t); err != nil {
			return err
		}
		var ended *StreamRef
		// The stream ends with this change, but can be read for another day.
		if old.Stream.Active() && !t.Stream.Enabled {
			ended = t.ref()
		}
		err = kv.Update(ctx, c.store, kv.TxnOpt{}, func(txn kv.Txn) error {
			if err := errors.Join(check(txn), keepEnded(txn, ended)); err != nil {
				return err
			}
			return putTable(txn, t)
		})
		if err != nil || ended == nil {
			return err
		}
		return c.reloadStream(ctx, keyspace.EndedStream(ended.TableID, ended.Label))
	})
	if err != nil {
		return nil, err
	}
	return c.Get(ns, name), nil
}

// Settled waits for a change in progress, then looks the table up again; it returns nil if the table is gone. A server uses it
// before it refuses a request: another server may already show a change that this one has not seen. Its errors are those of
// Table.Use.
func (c *Catalog) Settled(ctx context.Context, t *Table) (*Table, error) {
	done, err := t.Use(ctx)
	if err != nil {
		return nil, err
	}
	if done != nil {
		done()
	}
	return c.Get(t.Namespace, t.Name), nil
}

// Delete deletes a table for which check returns nil: at once or, if linger is not 0, after that time in status DELETING.
func (c *Catalog) Delete(ctx context.Context, ns Namespace, name string, linger time.Duration, check func(*Table) error) (*Table, error) {
	t, err := c.Change(ctx, ns, name, func(t *Table) error {
		if err := check(t); err != nil {
			return err
		}
		t.DeletingUntil = c.now().Add(linger).UnixMilli()
		return nil
	})
	if err != nil || linger > 0 {
		return t, err
	}
	c.change.Lock()
	defer c.change.Unlock()
	gone := (*c.tables.Load())[tableName{ns, name}]
	return gone, c.finishDelete(ctx, ns, name)
}

// FinishDeletes removes all tables whose time in DELETING is over.
func (c *Catalog) FinishDeletes(ctx context.Context) error {
	c.change.Lock()
	defer c.change.Unlock()
	for key := range *c.tables.Load() {
		if err := c.finishDelete(ctx, key.Namespace, key.name); err != nil {
			return err
		}
	}
	return nil
}

// finishDelete removes a table if its time in DELETING is over. It stores a last backup and the ended stream, if there are any.
func (c *Catalog) finishDelete(ctx context.Context, ns Namespace, name string) error {
	t := (*c.tables.Load())[tableName{ns, name}]
	if t == nil || t.DeletingUntil == 0 || c.now().UnixMilli() < t.DeletingUntil {
		return nil
	}
	var dropped Dropped
	gone := false
	err := c.opt.Coordinator.Exclusive(ctx, keyspace.TableRecord(ns.Account, ns.Region, name), func(check func(kv.Txn) error) error {
		if now := (*c.tables.Load())[tableName{ns, name}]; now == nil || now.ID != t.ID {
			return nil // another server has removed it
		}
		var ended *StreamRef
		if t.Stream.Active() {
			ended = t.ref()
			ended.Shards = slices.Clone(ended.Shards)
			now, err := c.store.Now(ctx)
			if err != nil {
				return err
			}
			ended.end(now)
		}
		// With recovery on, the items stay where they are and become the backup's.
		backup, err := c.lastBackup(ctx, t)
		if err != nil {
			return err
		}
		// The description goes first. What else the table has is removed afterwards, after a crash by Recover.
		dropped = Dropped{ID: t.ID, KeepItems: backup != nil}
		err = registry.Update(ctx, c.store, kv.TxnOpt{}, func(txn *registry.Txn) error {
			if err := errors.Join(check(txn), keepEnded(txn, ended)); err != nil {
				return err
			}
			if backup != nil {
				if err := c.Backups.PutIn(txn, backup.Key(), backup); err != nil {
					return err
				}
			}
			if err := putDropped(txn, dropped); err != nil {
				return err
			}
			return txn.Delete(keyspace.TableRecord(t.Account, t.Region, t.Name), 0)
		})
		if gone = err == nil; !gone || ended == nil {
			return err
		}
		return c.reloadStream(ctx, keyspace.EndedStream(ended.TableID, ended.Label))
	})
	if err != nil || !gone {
		return err
	}
	return c.purge(ctx, dropped)
}

// putDropped records that the data of a table or backup is to be removed, so that a crash can't leave it behind.
func putDropped(txn kv.Txn, d Dropped) error {
	var val []byte
	if d.KeepItems {
		val = []byte{1}
	}
	return txn.Put(keyspace.DroppedTable(d.ID), val)
}

// purge removes the data of what was dropped. It may be repeated.
func (c *Catalog) purge(ctx context.Context, d Dropped) error {
	ranges := []kv.Range{
		kv.Prefix(keyspace.TablePrefix(d.ID)), kv.Prefix(keyspace.Expiries(d.ID)),
		kv.Prefix(keyspace.Backfills(d.ID)), kv.Prefix(keyspace.Past(d.ID)),
	}
	if d.KeepItems {
		ranges[0].Start, ranges[0].End = keyspace.TableIndexes(d.ID)
	}
	for _, r := range ranges {
		if err := c.store.DeleteRange(ctx, r); err != nil {
			return err
		}
	}
	return kv.Update(ctx, c.store, kv.TxnOpt{}, func(txn kv.Txn) error {
		if err := txn.SetCounters(keyspace.Counters(d.ID), nil); err != nil {
			return err
		}
		return txn.Delete(keyspace.DroppedTable(d.ID), 0)
	})
}

// Stats are the counters of a table (at 0) and its indexes (at their IDs): the number of items, and their size in bytes.
type Stats struct{ counters []int64 }

// Items returns the number of items in an index; 0 is the table itself.
func (s Stats) Items(index uint8) int64 { return s.at(2 * int(index)) }

// Bytes returns the size of the items in an index; 0 is the table itself.
func (s Stats) Bytes(index uint8) int64 { return s.at(2*int(index) + 1) }

// Total returns the size of the items in the table and its indexes together.
func (s Stats) Total() (bytes int64) {
	for i := 1; i < len(s.counters); i += 2 {
		bytes += s.at(i)
	}
	return bytes
}

// at returns a counter. Counters may briefly be negative on engines that count apart from their transactions.
func (s Stats) at(i int) int64 {
	if i < len(s.counters) {
		return max(0, s.counters[i])
	}
	return 0
}

// Stats returns the table's counters.
func (c *Catalog) Stats(ctx context.Context, t *Table) (Stats, error) {
	r, err := c.store.Latest(ctx)
	if err != nil {
		return Stats{}, err
	}
	defer r.Close()
	return ReadStats(r, t.ID)
}

// ReadStats returns the counters of a table or backup as of a reader.
func ReadStats(r kv.Reader, id uint32) (Stats, error) {
	counters, err := r.Counters(keyspace.Counters(id))
	return Stats{counters}, err
}

// TableFromARN splits the ARN of a table, or of an index, stream or backup of it; ok is false if arn is not one of these.
func TableFromARN(arn string) (ns Namespace, table string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "dynamodb" {
		return ns, "", false
	}
	rest, found := strings.CutPrefix(parts[5], "table/")
	if !found {
		return ns, "", false
	}
	table, _, _ = strings.Cut(rest, "/")
	return Namespace{Account: parts[4], Region: parts[3]}, table, true
}
