// Package index computes what a change of an item means for the table's secondary indexes. It is pure: it reads and writes
// nothing.
//
// An index is sparse: it has an entry for an item only if the item has all of the index's key attributes. The entry holds
// the attributes that the index projects.
package index

import (
	"bytes"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/keyspace"
)

// MaxPartitionKey and MaxSortKey are the largest key attributes in bytes ("Quotas in Amazon DynamoDB").
const (
	MaxPartitionKey = 2048
	MaxSortKey      = 1024
)

// Change is the change of one index entry.
type Change struct {
	Index *catalog.Index
	Key   []byte
	Old   attribute.Item // the entry before; nil if there was none
	New   attribute.Item // the entry after; nil to remove it
	Units float64        // write units that it consumes
}

// AppendKey appends the key of the item's entry in the index. ok is false if there is no entry: the item lacks a key
// attribute, or has one of the wrong type or size because it is older than the index.
func AppendKey(dst []byte, t *catalog.Table, x *catalog.Index, it attribute.Item) (key []byte, ok bool) {
	for i, attrs := range [...][]catalog.KeyAttribute{x.Key.Partition, x.Key.Sort} {
		for _, a := range attrs {
			v := it.Get(a.Name)
			if v == nil || problem(a, v, i == 1) != nil {
				return dst, false
			}
		}
	}
	partition := catalog.AppendKeyValues(nil, x.Key.Partition, it)
	dst = t.AppendPartition(dst, x.ID, partition)
	dst = catalog.AppendKeyValues(dst, x.Key.Sort, it)
	// The item's own key follows, because keys of an index are not unique.
	n := len(dst)
	dst = catalog.AppendKeyValues(dst, t.Key.Partition, it)
	dst = catalog.AppendKeyValues(dst, t.Key.Sort, it)
	return keyspace.BoundItemKey(dst, n, t.Keys), true
}

// Entry returns the item as the index projects it.
func Entry(x *catalog.Index, it attribute.Item) attribute.Item {
	if x.HoldsAll() {
		return it
	}
	return it.Project(func(name []byte) bool { return x.Holds(string(name)) })
}

// Plan appends the changes of index entries when old is replaced by new, either of which may be nil: one write for each
// entry that is put, removed or changed in place.
func Plan(dst []Change, t *catalog.Table, old, new attribute.Item) []Change {
	for _, x := range t.Indexes {
		if x.State == catalog.Deleting {
			continue
		}
		oldKey, had := AppendKey(nil, t, x, old)
		newKey, has := AppendKey(nil, t, x, new)
		switch {
		case had && has && bytes.Equal(oldKey, newKey):
			before, after := Entry(x, old), Entry(x, new)
			if !bytes.Equal(before, after) {
				dst = append(dst, Change{Index: x, Key: newKey, Old: before, New: after, Units: capacity.Write(before.Size(), after.Size())})
			}
			continue
		case !had && !has:
			continue
		}
		if had {
			e := Entry(x, old)
			dst = append(dst, Change{Index: x, Key: oldKey, Old: e, Units: capacity.Write(e.Size(), 0)})
		}
		if has {
			e := Entry(x, new)
			dst = append(dst, Change{Index: x, Key: newKey, New: e, Units: capacity.Write(0, e.Size())})
		}
	}
	return dst
}

// Problem says why an index can't hold an item: a key attribute is of the wrong type, empty or too large.
type Problem struct {
	Index     *catalog.Index
	Attribute catalog.KeyAttribute
	Actual    attribute.Type // the actual type, if it is wrong
	Empty     bool
	TooLarge  bool
	Sort      bool // the attribute is a sort key
}

// problem returns why a value can't be a key attribute of an index; nil if it can.
func problem(a catalog.KeyAttribute, v attribute.Value, sort bool) *Problem {
	if v.Type() != a.Type {
		return &Problem{Attribute: a, Sort: sort, Actual: v.Type()}
	}
	if a.Type == attribute.TypeN {
		return nil
	}
	switch n := len(v.Bytes()); {
	case n == 0:
		return &Problem{Attribute: a, Sort: sort, Empty: true}
	case n > MaxPartitionKey || sort && n > MaxSortKey:
		return &Problem{Attribute: a, Sort: sort, TooLarge: true}
	}
	return nil
}

// Check returns the first problem of next's key attributes for the table's indexes, or nil. Like AWS, it reports GSIs before LSIs. It ignores
// attributes that are unchanged, since they may be older than the index.
func Check(t *catalog.Table, old, next attribute.Item) *Problem {
	if p := checkKind(t, old, next, true); p != nil {
		return p
	}
	return checkKind(t, old, next, false)
}

// checkKind is Check for the table's GSIs or LSIs.
func checkKind(t *catalog.Table, old, next attribute.Item, global bool) *Problem {
	for _, x := range t.Indexes {
		if x.State == catalog.Deleting || x.Global != global {
			continue
		}
		for i, attrs := range [...][]catalog.KeyAttribute{x.Key.Partition, x.Key.Sort} {
			for _, a := range attrs {
				v := next.Get(a.Name)
				if v == nil {
					continue
				}
				if p := problem(a, v, i == 1); p != nil && !v.Equal(old.Get(a.Name)) {
					p.Index = x
					return p
				}
			}
		}
	}
	return nil
}
