// Package stream has change records and the streams made of them: how a record is written in the transaction of its write,
// read in order, and removed after a day.
//
// What holds:
//
//	R1  A write that changes an item puts one record, in its own transaction, into the shard that is open for the item's
//	    partition key. A write that changes nothing puts none.
//	R2  A record's key has the stamp of its transaction (kv, K8), so the records of an item are in the order of its changes.
//	R3  Readers stop at kv.Store.Stable: nothing is put later where they have been, so no record is skipped or read twice.
//	R4  Shards are opened and closed while nobody writes to the table (catalog.Catalog.Change). All stamps in a shard are
//	    between its Start and its End.
package stream

import (
	"encoding/binary"
	"errors"

	"github.com/statordb/stator/internal/attribute"
)

// Cause is who made a change.
type Cause uint8

// The causes of changes.
const (
	ByRequest Cause = iota
	ByTTL
)

// The view types of a stream: what its records have besides keys.
const (
	KeysOnly        = "KEYS_ONLY"
	NewImage        = "NEW_IMAGE"
	OldImage        = "OLD_IMAGE"
	NewAndOldImages = "NEW_AND_OLD_IMAGES"
)

// Event is what happened to an item.
type Event uint8

// The events.
const (
	Insert Event = iota
	Modify
	Remove
)

// String returns the event's name on the wire.
func (e Event) String() string { return [...]string{"INSERT", "MODIFY", "REMOVE"}[e] }

// A record's value is
//
//	version (1) | event (1) | cause (1) | length of Keys (uvarint) | Keys | length of Old | Old | length of New | New
//
// where a length of 0 means that there is no such item. Keys are left out if an image is there, which has them.
const recordVersion = 1

// Record is one change of an item. Its items are views of what it was decoded from.
type Record struct {
	Event    Event
	Cause    Cause
	Keys     attribute.Item // the item's primary key
	Old, New attribute.Item // nil if the view type or the event has none
}

// AppendRecord appends the record of the change of old to next (nil for no item) as a stream of the view type has it. isKey
// says which attributes are the primary key.
func AppendRecord(dst []byte, viewType string, old, next attribute.Item, cause Cause, isKey func(name []byte) bool) []byte {
	event := Modify
	some := next
	switch {
	case old == nil:
		event = Insert
	case next == nil:
		event, some = Remove, old
	}
	if viewType == KeysOnly || viewType == NewImage {
		old = nil
	}
	if viewType == KeysOnly || viewType == OldImage {
		next = nil
	}
	var keys attribute.Item
	if old == nil && next == nil {
		keys = some.Project(isKey)
	}
	dst = append(dst, recordVersion, byte(event), byte(cause))
	for _, it := range [...]attribute.Item{keys, old, next} {
		dst = binary.AppendUvarint(dst, uint64(len(it)))
		dst = append(dst, it...)
	}
	return dst
}

var errRecord = errors.New("stream: damaged change record")

// DecodeRecord reads what AppendRecord wrote.
func DecodeRecord(raw []byte, isKey func(name []byte) bool) (Record, error) {
	if len(raw) < 6 || raw[0] != recordVersion || Event(raw[1]) > Remove {
		return Record{}, errRecord
	}
	r := Record{Event: Event(raw[1]), Cause: Cause(raw[2])}
	raw = raw[3:]
	for _, dst := range [...]*attribute.Item{&r.Keys, &r.Old, &r.New} {
		n, w := binary.Uvarint(raw)
		if w <= 0 || uint64(len(raw)-w) < n {
			return Record{}, errRecord
		}
		if n > 0 {
			*dst = attribute.Item(raw[w : w+int(n)])
		}
		raw = raw[w+int(n):]
	}
	if r.Keys == nil {
		some := r.New
		if some == nil {
			some = r.Old
		}
		if some == nil {
			return Record{}, errRecord
		}
		r.Keys = some.Project(isKey)
	}
	return r, nil
}

// Size returns the record's size in bytes: that of the keys and images it has.
func (r *Record) Size() int { return r.Keys.Size() + r.Old.Size() + r.New.Size() }
