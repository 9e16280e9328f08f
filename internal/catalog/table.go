// Package catalog keeps the descriptions of tables: their names, keys, indexes, settings and status; also their backups and the
// streams that have ended.
//
// [Catalog] caches all descriptions in memory; package cluster keeps these caches coherent between servers. A published
// *[Table] is immutable; [Catalog.Change] publishes a new one. Writers hold [Table.Use] while they commit, so that no
// table is changed or dropped under them.
package catalog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
)

// Namespace is an account and region, in which table names are unique.
type Namespace struct {
	Account string // twelve digits
	Region  string
}

// KeyAttribute is one attribute of a key and its type, which is S, N or B.
type KeyAttribute struct {
	Name string
	Type attribute.Type
}

// KeySchema is the key of a table or index. A table has one partition key attribute and at most one sort key attribute; a
// GSI has up to four of each.
type KeySchema struct {
	Partition []KeyAttribute
	Sort      []KeyAttribute `json:",omitempty"`
}

// Attributes calls yield for each key attribute, partition key first.
func (k *KeySchema) Attributes(yield func(KeyAttribute) bool) {
	for _, a := range k.Partition {
		if !yield(a) {
			return
		}
	}
	for _, a := range k.Sort {
		if !yield(a) {
			return
		}
	}
}

// Len returns the number of key attributes.
func (k *KeySchema) Len() int { return len(k.Partition) + len(k.Sort) }

// Has reports whether the attribute is part of the key.
func (k *KeySchema) Has(name string) bool {
	for _, a := range k.Partition {
		if a.Name == name {
			return true
		}
	}
	for _, a := range k.Sort {
		if a.Name == name {
			return true
		}
	}
	return false
}

// Throughput is a provisioned throughput, in capacity units per second, and when it was changed.
type Throughput struct {
	Read, Write    int64
	LastIncrease   int64 `json:",omitempty"` // milliseconds since 1970
	LastDecrease   int64 `json:",omitempty"` // milliseconds since 1970
	DecreasesToday int64 `json:",omitempty"`
}

// OnDemand is the maximum throughput of an on-demand table or GSI, in request units per second; -1 for none.
type OnDemand struct{ MaxRead, MaxWrite int64 }

// Warm is the warm throughput, in units per second.
type Warm struct {
	Read, Write int64
	// Kept is for what a change of capacity or billing mode has left, without a request for warm throughput.
	Kept bool `json:",omitempty"`
}

// Projection says which attributes an index holds: ALL, KEYS_ONLY, or INCLUDE with more attributes.
type Projection struct {
	Type       string
	Attributes []string `json:",omitempty"`
}

// Index is a secondary index.
type Index struct {
	ID         uint8 // used in keys; 1 and up
	Name       string
	Global     bool
	Key        KeySchema
	Projection Projection
	Throughput Throughput
	OnDemand   *OnDemand `json:",omitempty"`
	Warm       *Warm     `json:",omitempty"`
	// State is empty for an index that is ACTIVE, Creating while it is being filled, and Deleting while it is being
	// cleared. Writes maintain an index in the first two.
	State string `json:",omitempty"`
	// Splits are the bounds, as hashes, of partitions made by splits for heat.
	Splits   []uint32  `json:",omitempty"`
	Insights *Insights `json:",omitempty"`
	// AllocatingUntil is when the filling of a new index appears to begin; milliseconds since 1970.
	AllocatingUntil int64   `json:",omitempty"`
	Update          *Update `json:",omitempty"` // the latest change of its throughput

	projected map[string]struct{} // attributes that it holds; nil for all
}

// Holds reports whether the index holds the attribute.
func (x *Index) Holds(name string) bool {
	if x.projected == nil {
		return true
	}
	_, ok := x.projected[name]
	return ok
}

// Readable reports whether the index exists and Query and Scan may read it.
func (x *Index) Readable() bool { return x != nil && x.State != Creating && x.State != Deleting }

// HoldsAll reports whether the index holds every attribute of its items.
func (x *Index) HoldsAll() bool { return x.projected == nil }

// TTL names the attribute that holds an item's expiry, in seconds since 1970.
type TTL struct {
	Attribute string
	State     string // Enabling, Enabled, Disabling or Disabled
	Changed   int64  // milliseconds since 1970
}

// Indexed reports whether writes maintain the TTL index.
func (t *TTL) Indexed() bool { return t != nil && (t.State == Enabling || t.State == Enabled) }

// Recovery are the settings of point-in-time recovery.
type Recovery struct {
	Days  int   // how far back recovery is possible, 1 to 35
	Since kv.TS // start of the history
}

// Restored says what a table was restored from.
type Restored struct {
	BackupARN, SourceARN string `json:",omitempty"`
	At                   int64  // the moment that was restored, in milliseconds since 1970
}

// Loading says what fills a table in the background: the state of a table or backup at some moment, or an import.
type Loading struct {
	From   uint32         `json:",omitempty"` // source of a restore: the table id in its items' keys
	At     kv.TS          `json:",omitempty"` // moment to restore
	Import string         `json:",omitempty"` // ID of the import
	Runs   attempts.Count `json:",omitzero"`  // starts of the restore
}

// Restoring reports whether a restore fills the table.
func (t *Table) Restoring() bool { return t.Loading != nil && t.Loading.Import == "" }

// Policy is a resource-based policy and its revision. A policy without a document was deleted; its revision is that of the
// deletion.
type Policy struct {
	Document, Revision string

	compiled *policy.Document // set when the table is published
}

// Exists reports whether there is a policy that was not deleted.
func (p *Policy) Exists() bool { return p != nil && p.Document != "" }

// Compiled returns the policy of a published table as the evaluator needs it, or nil for a table without a policy.
func (p *Policy) Compiled() *policy.Document {
	if p == nil {
		return nil
	}
	return p.compiled
}

// denyAll is the policy of resources whose own policy does not compile.
var denyAll = func() *policy.Document {
	d, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`, policy.OfResource)
	if err != nil {
		panic(err)
	}
	return d
}()

// compile compiles the policy. One that an earlier version accepted and this one can't read denies everything: its author may have meant
// to deny what an unread policy would allow. The account's root can still replace it.
func (p *Policy) compile() {
	if !p.Exists() {
		return
	}
	var err error
	if p.compiled, err = policy.Parse(p.Document, policy.OfResource); err != nil {
		p.compiled = denyAll
	}
}

// Update is a change of settings that takes time. Until it takes effect, descriptions show the fields that are set here in place
// of the new values.
type Update struct {
	Until      int64       // milliseconds since 1970
	Throughput *Throughput `json:",omitempty"`
	Warm       *Warm       `json:",omitempty"`
	SSEKey     *string     `json:",omitempty"`
	// TableClass is the old class, which may be empty, and TableClassUpdated when that was set.
	TableClass        *string `json:",omitempty"`
	TableClassUpdated int64   `json:",omitempty"`
}

// Pending reports whether the change has not yet taken effect at a time.
func (u *Update) Pending(now time.Time) bool { return u != nil && now.UnixMilli() < u.Until }

// Jobs are what an UPDATING table is busy with.
const (
	JobThroughput  = "throughput" // provisioned throughput or billing mode
	JobStream      = "stream"
	JobTableClass  = "table class"
	JobIndexCreate = "index creation"
	JobIndexDelete = "index deletion"
)

// Tag is a tag of a resource.
type Tag struct{ Key, Value string }

// Table is the description of a table. Exported fields without a "-" tag are stored as JSON.
type Table struct {
	Namespace
	Name       string
	ID         uint32           // used in keys; never used again
	Keys       keyspace.KeyForm `json:",omitempty"` // how its keys are stored
	UUID       string
	Created    int64 // milliseconds since 1970
	Attributes []KeyAttribute
	Key        KeySchema
	Indexes    []*Index `json:",omitempty"`

	OnDemandBilling    bool
	SwitchedToOnDemand int64   `json:",omitempty"` // milliseconds since 1970
	Switches           []int64 `json:",omitempty"` // when it was switched to on-demand mode in the last day; milliseconds since 1970
	Throughput         Throughput
	OnDemand           *OnDemand `json:",omitempty"`
	Warm               *Warm     `json:",omitempty"`

	TableClass         string  `json:",omitempty"` // empty if never set
	TableClassUpdated  int64   `json:",omitempty"` // milliseconds since 1970
	TableClassChanges  []int64 `json:",omitempty"` // when it was changed lately; milliseconds since 1970
	DeletionProtection bool    `json:",omitempty"`
	ProtectionChanged  int64   `json:",omitempty"` // when deletion protection was changed last; milliseconds since 1970
	SSEKey             string  `json:",omitempty"` // ARN of the KMS key; empty for the key owned by AWS
	SSEChanges         []int64 `json:",omitempty"` // when SSEKey was changed lately; milliseconds since 1970
	Stream             *Stream
	LastShard          uint32    `json:",omitempty"` // last number given to a shard
	TTL                *TTL      `json:",omitempty"`
	Tags               []Tag     `json:",omitempty"`
	Policy             *Policy   `json:",omitempty"`
	Splits             []uint32  `json:",omitempty"` // bounds, as hashes, of partitions made by splits for heat
	Insights           *Insights `json:",omitempty"`

	Recovery *Recovery `json:",omitempty"` // nil if point-in-time recovery is off
	Restored *Restored `json:",omitempty"` // nil if the table was not restored
	Loading  *Loading  `json:",omitempty"` // what fills the table, which is CREATING until that is done; nil for nothing

	// The status is ACTIVE except until a change takes effect. All times are in milliseconds since 1970.
	CreatingUntil int64  `json:",omitempty"`
	UpdatingUntil int64  `json:",omitempty"`
	Job           string `json:",omitempty"` // what it is busy with until UpdatingUntil
	DeletingUntil int64  `json:",omitempty"` // 0 unless deletion was requested

	// The latest change of each of these settings. Only the first is a job that makes the table UPDATING.
	Update          *Update `json:",omitempty"` // throughput or table class
	SSEUpdate       *Update `json:",omitempty"`
	WarmUpdate      *Update `json:",omitempty"`
	TagsBusyUntil   int64   `json:",omitempty"` // milliseconds since 1970
	PolicyBusyUntil int64   `json:",omitempty"` // milliseconds since 1970

	// Meter counts and throttles requests. Published tables always have one.
	Meter *metering.Meter `json:"-"`

	// The three below guard against changes: see Use. use is held shared by writers, and exclusively to wait for them.
	use      *sync.RWMutex
	frozen   *atomic.Pointer[chan struct{}] // closed at the thaw; nil unless a change is in progress
	replaced *atomic.Bool                   // a newer description was published
}

// Statuses of tables and indexes.
const (
	Creating = "CREATING"
	Updating = "UPDATING"
	Deleting = "DELETING"
	Active   = "ACTIVE"
)

// States of TTL.
const (
	Enabling  = "ENABLING"
	Enabled   = "ENABLED"
	Disabling = "DISABLING"
	Disabled  = "DISABLED"
)

// Status returns the table's status at a time.
func (t *Table) Status(now time.Time) string {
	ms := now.UnixMilli()
	switch {
	case t.DeletingUntil != 0:
		return Deleting
	case ms < t.CreatingUntil || t.Loading != nil:
		return Creating
	case ms < t.UpdatingUntil:
		return Updating
	}
	return Active
}

// Serves reports whether items of the table can be read and written at a time.
func (t *Table) Serves(now time.Time) bool {
	s := t.Status(now)
	return s == Active || s == Updating
}

// ARN returns the table's Amazon Resource Name.
func (t *Table) ARN() string { return ARN(t.Namespace, t.Name) }

// ARN returns the Amazon Resource Name of a table.
func ARN(ns Namespace, table string) string {
	return "arn:aws:dynamodb:" + ns.Region + ":" + ns.Account + ":table/" + table
}

// Index returns the index of that name, or nil.
func (t *Table) Index(name string) *Index {
	for _, x := range t.Indexes {
		if x.Name == name {
			return x
		}
	}
	return nil
}

// IndexByID returns the index with that ID, or nil.
func (t *Table) IndexByID(id uint8) *Index {
	for _, x := range t.Indexes {
		if x.ID == id {
			return x
		}
	}
	return nil
}

// FreeIndexID returns an unused index ID; ok is false if all IDs are in use.
func (t *Table) FreeIndexID() (id uint8, ok bool) {
	for id := 1; id < 256; id++ {
		if t.IndexByID(uint8(id)) == nil {
			return uint8(id), true
		}
	}
	return 0, false
}

// RemoveIndex removes an index, and the attribute definitions that only it used. It may only be called within Catalog.Change.
func (t *Table) RemoveIndex(id uint8) {
	t.Indexes = slices.DeleteFunc(t.Indexes, func(x *Index) bool { return x.ID == id })
	t.RemoveUnusedAttributes()
}

// RemoveUnusedAttributes removes the definitions of attributes that no key uses.
func (t *Table) RemoveUnusedAttributes() {
	t.Attributes = slices.DeleteFunc(t.Attributes, func(a KeyAttribute) bool {
		return !t.Key.Has(a.Name) && !slices.ContainsFunc(t.Indexes, func(x *Index) bool { return x.Key.Has(a.Name) })
	})
}

// Unfinished reports whether an index or the TTL index must be filled or cleared.
func (t *Table) Unfinished() bool {
	for _, x := range t.Indexes {
		if x.State != "" {
			return true
		}
	}
	return t.TTL != nil && (t.TTL.State == Enabling || t.TTL.State == Disabling)
}

// HasLocalIndexes reports whether the table has an LSI, which limits the size of its item collections.
func (t *Table) HasLocalIndexes() bool {
	for _, x := range t.Indexes {
		if !x.Global {
			return true
		}
	}
	return false
}

// maxFrozen is how long requests wait for a change of their table.
const maxFrozen = 5 * time.Second

// Use prevents the table from being changed or dropped until done is called. done is nil if that has happened already;
// the caller must then look the table up again. Use waits while the table is being changed; kv.ErrUnavailable means
// that this takes too long, because other servers or the store don't answer.
func (t *Table) Use(ctx context.Context) (done func(), err error) {
	for {
		if frozen := t.frozen.Load(); frozen != nil {
			return nil, t.waitThawed(ctx, *frozen)
		}
		t.use.RLock()
		switch {
		case t.frozen.Load() != nil:
			// The freeze began between the check above and the lock.
			t.use.RUnlock()
		case t.replaced.Load():
			t.use.RUnlock()
			return nil, nil
		default:
			return t.use.RUnlock, nil
		}
	}
}

// waitThawed waits until the change of the table is over.
func (t *Table) waitThawed(ctx context.Context, thawed <-chan struct{}) error {
	patience := time.NewTimer(maxFrozen)
	defer patience.Stop()
	select {
	case <-thawed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return fmt.Errorf("%w: table %s is being changed", kv.ErrUnavailable, t.Name)
	}
}

// freeze blocks new uses of the table, and returns once there are none left.
func (t *Table) freeze() {
	thawed := make(chan struct{})
	t.frozen.CompareAndSwap(nil, &thawed) // a server that was away may meet several freezes of one table
	t.use.Lock()                          // waits for the uses; new ones see frozen and let go of the lock
	defer t.use.Unlock()
}

// thaw wakes waiters, which then look the replaced table up again.
func (t *Table) thaw() { close(*t.frozen.Load()) }

// AppendItemKey appends the storage key of the item with this primary key. The values must have been checked.
func (t *Table) AppendItemKey(dst []byte, primary attribute.Item) []byte {
	var buf [256]byte
	partition := AppendKeyValues(buf[:0], t.Key.Partition, primary)
	dst = t.AppendPartition(dst, 0, partition)
	return AppendKeyValues(dst, t.Key.Sort, primary)
}

// AppendPartition appends the prefix of all items (index 0) or entries of an index with one partition key. partition is the
// key's encoded form.
func (t *Table) AppendPartition(dst []byte, index uint8, partition []byte) []byte {
	return keyspace.AppendPartition(dst, t.ID, index, partition, t.Keys)
}

// AppendKeyValues appends the encoded values of the item's key attributes.
func AppendKeyValues(dst []byte, attrs []KeyAttribute, it attribute.Item) []byte {
	for _, a := range attrs {
		dst = keyspace.AppendValue(dst, it.Get(a.Name))
	}
	return dst
}

// prepare sets the fields that are derived rather than stored.
func (t *Table) prepare() {
	t.use, t.frozen, t.replaced = new(sync.RWMutex), new(atomic.Pointer[chan struct{}]), new(atomic.Bool)
	t.Policy.compile()
	if t.Stream != nil {
		t.Stream.prepare()
		t.Stream.Policy.compile()
	}
	for _, x := range t.Indexes {
		if x.Projection.Type == "ALL" {
			continue
		}
		x.projected = make(map[string]struct{})
		for a := range x.Key.Attributes {
			x.projected[a.Name] = struct{}{}
		}
		for a := range t.Key.Attributes {
			x.projected[a.Name] = struct{}{}
		}
		for _, name := range x.Projection.Attributes {
			x.projected[name] = struct{}{}
		}
	}
}

// retire marks the table as replaced by a newer description.
func (t *Table) retire() { t.replaced.Store(true) }
