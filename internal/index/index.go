// Package index says what a change of an item means for the table's secondary indexes. It is pure: it reads and writes
// nothing.
//
// An index is sparse: it has an entry for an item only if the item has all of the index's key attributes. The entry holds
// the item as the index projects it.
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

// Change is what happens to one entry of an index.
type Change struct {
	Index *catalog.Index
	Key   []byte
	Old   attribute.Item // the entry before; nil if there was none
	New   attribute.Item // the entry after; nil if it is removed
	Units float64        // what it costs, in write units
}

// AppendKey appends the key of the item's entry in the index; ok is false if it has none: it lacks a key attribute, or, older
// than the index, has one of the wrong type or size.
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
	n := len(dst)
	dst = catalog.AppendKeyValues(dst, t.Key.Partition, it)
	dst = catalog.AppendKeyValues(dst, t.Key.Sort, it)
	return keyspace.BoundItemKey(dst, n, t.Keys), true
}

// Entry returns the item as the index holds it.
func Entry(x *catalog.Index, it attribute.Item) attribute.Item {
	if x.HoldsAll() {
		return it
	}
	return it.Project(func(name []byte) bool { return x.Holds(string(name)) })
}

// Plan appends what replacing old by new (nil for no item) changes in the table's indexes: one write for each entry put,
// removed or changed in place.
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
				dst = append(dst, Change{x, newKey, before, after, capacity.Write(before.Size(), after.Size())})
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

// Problem is why an item can't be in a table with an index: a key attribute of the wrong type, empty or too large.
type Problem struct {
	Index     *catalog.Index
	Attribute catalog.KeyAttribute
	Actual    attribute.Type // if it is the wrong one
	Empty     bool
	TooLarge  bool
	Sort      bool
}

// problem returns what keeps a value from being a key attribute of an index, or nil.
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

// Check returns the first problem that the attributes of next, where they differ from old's, are for the table's indexes, or
// nil. What has not changed may be older than an index.
func Check(t *catalog.Table, old, next attribute.Item) *Problem {
	for _, x := range t.Indexes {
		if x.State == catalog.Deleting {
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
