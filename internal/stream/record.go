// Package stream has change records and the streams that they form: how a record is written together with its change,
// read in order, and deleted after a day.
//
// Writers call [AppendRecord]; a [Reader] reads shards; a [Maintainer] rotates, splits and trims them. The package keeps these
// invariants:
//
//	R1  A write that changes an item puts one record, in its own transaction, into the shard that is open for the item's
//	    partition key. A write that changes nothing puts none.
//	R2  A record's key has the stamp of its transaction (kv, K8), so the records of an item are in the order of its changes.
//	R3  Readers stop at kv.Store.Stable. No record is ever put below it, so readers neither skip a record nor read one twice.
//	R4  Shards are opened and closed while writers of the table are excluded (catalog.Catalog.Change). All stamps in a shard are
//	    between its Start and its End.
package stream

import (
	"encoding/binary"
	"errors"

	"github.com/statordb/stator/internal/attribute"
)

// Cause tells what made a change.
type Cause uint8

// Causes of changes.
const (
	ByRequest Cause = iota
	ByTTL
)

// View types of a stream: what its records contain besides keys.
const (
	KeysOnly        = "KEYS_ONLY"
	NewImage        = "NEW_IMAGE"
	OldImage        = "OLD_IMAGE"
	NewAndOldImages = "NEW_AND_OLD_IMAGES"
)

// Event is the kind of a change.
type Event uint8

// Kinds of changes.
const (
	Insert Event = iota
	Modify
	Remove
)

// String returns the event's name in the API.
func (e Event) String() string { return [...]string{"INSERT", "MODIFY", "REMOVE"}[e] }

// recordVersion is the version of the format of records. The value of a record is
//
//	version (1) | event (1) | cause (1) | length of Keys (uvarint) | Keys | length of Old | Old | length of New | New
//
// where a length of 0 means that there is no such item. Keys is empty if there is an image, which contains them.
const recordVersion = 1

// Record is one change of an item. Its items are views of the bytes that it was decoded from.
type Record struct {
	Event    Event
	Cause    Cause
	Keys     attribute.Item // the item's primary key
	Old, New attribute.Item // nil if the view type or the event has no such image
}

// AppendRecord appends the record of the change from old to next, either of which may be nil, for a stream of that view
// type. isKey reports whether an attribute is part of the primary key.
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

// DecodeRecord decodes a record made by AppendRecord.
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

// Size returns the size of the record's keys and images, in bytes.
func (r *Record) Size() int { return r.Keys.Size() + r.Old.Size() + r.New.Size() }
