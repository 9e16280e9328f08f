// Package catalog keeps the tables' descriptions: what they are called, their keys, indexes, settings and status.
//
// A *Table is immutable once published; a change publishes a new one. Writers hold Table.Use while they commit, so that a
// table is not changed or dropped under them.
package catalog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
)

// Namespace is what table names are unique in.
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

// Throughput is a provisioned throughput, in capacity units per second, and its history.
type Throughput struct {
	Read, Write    int64
	LastIncrease   int64 `json:",omitempty"` // milliseconds since 1970
	LastDecrease   int64 `json:",omitempty"` // milliseconds since 1970
	DecreasesToday int64 `json:",omitempty"`
}

// OnDemand is the maximum throughput of an on-demand table or GSI in request units per second; -1 is none.
type OnDemand struct{ MaxRead, MaxWrite int64 }

// Warm is the warm throughput in units per second.
type Warm struct{ Read, Write int64 }

// Projection says which attributes an index holds: ALL, KEYS_ONLY or INCLUDE with further attributes.
type Projection struct {
	Type       string
	Attributes []string `json:",omitempty"`
}

// Index is a secondary index.
type Index struct {
	ID         uint8 // in its keys; 1 and up
	Name       string
	Global     bool
	Key        KeySchema
	Projection Projection
	Throughput Throughput
	OnDemand   *OnDemand `json:",omitempty"`
	Warm       *Warm     `json:",omitempty"`
	// State is empty for an index that is ACTIVE, Creating while it is filled, Deleting while it is cleared. Writes keep the
	// first two.
	State string `json:",omitempty"`
	// Splits are the bounds of partitions that heat has made.
	Splits   []uint32  `json:",omitempty"`
	Insights *Insights `json:",omitempty"`

	projected map[string]struct{} // attributes held; nil for all
}

// Holds reports whether the index holds the attribute.
func (x *Index) Holds(name string) bool {
	if x.projected == nil {
		return true
	}
	_, ok := x.projected[name]
	return ok
}

// Readable reports whether there is an index, and Query and Scan may read it.
func (x *Index) Readable() bool { return x != nil && x.State != Creating && x.State != Deleting }

// HoldsAll reports whether the index holds every attribute of its items.
func (x *Index) HoldsAll() bool { return x.projected == nil }

// TTL says which attribute has the time at which an item expires, in seconds since 1970.
type TTL struct {
	Attribute string
	State     string // Enabling, Enabled, Disabling or Disabled
	Changed   int64  // milliseconds since 1970
}

// Indexed reports whether writes keep the TTL index.
func (t *TTL) Indexed() bool { return t != nil && (t.State == Enabling || t.State == Enabled) }

// Recovery are the settings of point-in-time recovery.
type Recovery struct {
	Days  int   // how far back, 1 to 35
	Since kv.TS // changes are kept from then on
}

// Restored says what a table was restored from.
type Restored struct {
	BackupARN, SourceARN string `json:",omitempty"`
	At                   int64  // the state of which time, in milliseconds since 1970
}

// Loading says what a table is filled with in the background: the state of a table or a backup at a time, or an import.
type Loading struct {
	From   uint32         `json:",omitempty"` // the table id in the items' keys
	At     kv.TS          `json:",omitempty"`
	Import string         `json:",omitempty"` // by its ID
	Runs   attempts.Count `json:",omitzero"`  // of a restore
}

// Policy is a resource-based policy.
type Policy struct{ Document, Revision string }

// Tag is a key with a value.
type Tag struct{ Key, Value string }

// Table is the description of a table.
type Table struct {
	Namespace
	Name       string
	ID         uint32           // in its keys; never used again
	Keys       keyspace.KeyForm `json:",omitempty"` // how it has them
	UUID       string
	Created    int64 // milliseconds since 1970
	Attributes []KeyAttribute
	Key        KeySchema
	Indexes    []*Index `json:",omitempty"`

	OnDemandBilling    bool
	SwitchedToOnDemand int64   `json:",omitempty"` // milliseconds since 1970
	Switches           []int64 `json:",omitempty"` // to on-demand mode in the last day; milliseconds since 1970
	Throughput         Throughput
	OnDemand           *OnDemand `json:",omitempty"`
	Warm               *Warm     `json:",omitempty"`

	TableClass         string `json:",omitempty"` // empty if never given
	TableClassUpdated  int64  `json:",omitempty"` // milliseconds since 1970
	DeletionProtection bool   `json:",omitempty"`
	SSEKey             string `json:",omitempty"` // ARN of the KMS key; empty for the key owned by the service
	Stream             *Stream
	LastShard          uint32    `json:",omitempty"` // the last number given to a shard of a stream
	TTL                *TTL      `json:",omitempty"`
	Tags               []Tag     `json:",omitempty"`
	Policy             *Policy   `json:",omitempty"`
	Splits             []uint32  `json:",omitempty"` // the bounds of partitions that heat has made
	Insights           *Insights `json:",omitempty"`

	Recovery *Recovery `json:",omitempty"` // nil if point-in-time recovery is off
	Restored *Restored `json:",omitempty"` // nil if the table was not restored
	Loading  *Loading  `json:",omitempty"` // what fills the table, which is CREATING until then; nil for nothing

	// The status is ACTIVE but for the time until a change takes effect; all in milliseconds since 1970.
	CreatingUntil int64 `json:",omitempty"`
	UpdatingUntil int64 `json:",omitempty"`
	DeletingUntil int64 `json:",omitempty"` // once deletion was asked for

	// Meter counts and throttles requests; published tables have it.
	Meter *metering.Meter `json:"-"`

	use      *sync.RWMutex
	frozen   *atomic.Pointer[chan struct{}] // closed when the table is no longer frozen
	replaced *atomic.Bool
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

// Status returns the table's status at the time.
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

// Serves reports whether items of the table can be read and written at the time.
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

// FreeIndexID returns an ID that no index has; ok is false if there is none.
func (t *Table) FreeIndexID() (id uint8, ok bool) {
	for id := 1; id < 256; id++ {
		if t.IndexByID(uint8(id)) == nil {
			return uint8(id), true
		}
	}
	return 0, false
}

// RemoveIndex removes an index, and the definitions of attributes that only it used. It may be called in Catalog.Change alone.
func (t *Table) RemoveIndex(id uint8) {
	t.Indexes = slices.DeleteFunc(t.Indexes, func(x *Index) bool { return x.ID == id })
	t.RemoveUnusedAttributes()
}

// RemoveUnusedAttributes removes the definitions of attributes that are in no key.
func (t *Table) RemoveUnusedAttributes() {
	t.Attributes = slices.DeleteFunc(t.Attributes, func(a KeyAttribute) bool {
		return !t.Key.Has(a.Name) && !slices.ContainsFunc(t.Indexes, func(x *Index) bool { return x.Key.Has(a.Name) })
	})
}

// Unfinished reports whether an index, or the TTL index, is to be filled or cleared.
func (t *Table) Unfinished() bool {
	for _, x := range t.Indexes {
		if x.State != "" {
			return true
		}
	}
	return t.TTL != nil && (t.TTL.State == Enabling || t.TTL.State == Disabling)
}

// HasLocalIndexes reports whether the table has an LSI, and so item collections with a size limit.
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

// Use keeps the table from being changed or dropped until the returned function is called, which is nil if that has already
// happened; the caller then looks the table up again. It waits while the table is being changed; kv.ErrUnavailable says that this
// takes too long, since other servers or the store don't answer.
func (t *Table) Use(ctx context.Context) (done func(), err error) {
	for {
		if frozen := t.frozen.Load(); frozen != nil {
			patience := time.NewTimer(maxFrozen)
			defer patience.Stop()
			select {
			case <-*frozen:
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-patience.C:
				return nil, fmt.Errorf("%w: table %s is being changed", kv.ErrUnavailable, t.Name)
			}
		}
		t.use.RLock()
		switch {
		case t.frozen.Load() != nil:
			t.use.RUnlock()
		case t.replaced.Load():
			t.use.RUnlock()
			return nil, nil
		default:
			return t.use.RUnlock, nil
		}
	}
}

// freeze returns when nobody uses the table; whoever wants to waits.
func (t *Table) freeze() {
	thawed := make(chan struct{})
	t.frozen.CompareAndSwap(nil, &thawed) // a server that was away may meet several freezes of a table at a time
	t.use.Lock()
	defer t.use.Unlock()
}

// thaw lets those go on who wait, who find that the table was replaced.
func (t *Table) thaw() { close(*t.frozen.Load()) }

// AppendItemKey appends the key under which the item with this primary key is stored. The values must have been checked.
func (t *Table) AppendItemKey(dst []byte, primary attribute.Item) []byte {
	var buf [256]byte
	partition := AppendKeyValues(buf[:0], t.Key.Partition, primary)
	dst = t.AppendPartition(dst, 0, partition)
	return AppendKeyValues(dst, t.Key.Sort, primary)
}

// AppendPartition appends the prefix under which all items (index 0) or entries of an index are stored that have a partition key,
// whose encoded form is partition.
func (t *Table) AppendPartition(dst []byte, index uint8, partition []byte) []byte {
	return keyspace.AppendPartition(dst, t.ID, index, partition, t.Keys)
}

// AppendKeyValues appends the encoded values that the item has for the key attributes.
func AppendKeyValues(dst []byte, attrs []KeyAttribute, it attribute.Item) []byte {
	for _, a := range attrs {
		dst = keyspace.AppendValue(dst, it.Get(a.Name))
	}
	return dst
}

// prepare derives what is not stored.
func (t *Table) prepare() {
	t.use, t.frozen, t.replaced = new(sync.RWMutex), new(atomic.Pointer[chan struct{}]), new(atomic.Bool)
	if t.Stream != nil {
		t.Stream.prepare()
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

// retire marks the table as one that is no longer the published one.
func (t *Table) retire() { t.replaced.Store(true) }
