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
}

// AppendKey appends the key of the item's entry in the index; ok is false if it has none.
func AppendKey(dst []byte, t *catalog.Table, x *catalog.Index, it attribute.Item) (key []byte, ok bool) {
	for a := range x.Key.Attributes {
		if it.Get(a.Name).Type() != a.Type {
			return dst, false
		}
	}
	partition := catalog.AppendKeyValues(nil, x.Key.Partition, it)
	dst = keyspace.AppendPartition(dst, t.ID, x.ID, partition)
	dst = catalog.AppendKeyValues(dst, x.Key.Sort, it)
	dst = catalog.AppendKeyValues(dst, t.Key.Partition, it)
	return catalog.AppendKeyValues(dst, t.Key.Sort, it), true
}

// Entry returns the item as the index holds it.
func Entry(x *catalog.Index, it attribute.Item) attribute.Item {
	if x.HoldsAll() {
		return it
	}
	return it.Project(func(name []byte) bool { return x.Holds(string(name)) })
}

// Plan appends what replacing old by new (nil for no item) changes in the table's indexes, and adds the write capacity
// units that it costs: one write for each entry put, removed or changed in place.
func Plan(dst []Change, t *catalog.Table, old, new attribute.Item, units *capacity.Consumed) []Change {
	for _, x := range t.Indexes {
		oldKey, had := AppendKey(nil, t, x, old)
		newKey, has := AppendKey(nil, t, x, new)
		switch {
		case had && has && bytes.Equal(oldKey, newKey):
			before, after := Entry(x, old), Entry(x, new)
			if !bytes.Equal(before, after) {
				dst = append(dst, Change{x, newKey, before, after})
				units.AddIndex(x.Name, x.Global, capacity.Write(before.Size(), after.Size()))
			}
			continue
		case !had && !has:
			continue
		}
		if had {
			e := Entry(x, old)
			dst = append(dst, Change{Index: x, Key: oldKey, Old: e})
			units.AddIndex(x.Name, x.Global, capacity.Write(e.Size(), 0))
		}
		if has {
			e := Entry(x, new)
			dst = append(dst, Change{Index: x, Key: newKey, New: e})
			units.AddIndex(x.Name, x.Global, capacity.Write(0, e.Size()))
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

// Check returns the first problem that the item's attributes are for the table's indexes, or nil.
func Check(t *catalog.Table, it attribute.Item) *Problem {
	for _, x := range t.Indexes {
		i := 0
		for a := range x.Key.Attributes {
			sort := i >= len(x.Key.Partition)
			i++
			v := it.Get(a.Name)
			if v == nil {
				continue
			}
			p := &Problem{Index: x, Attribute: a, Sort: sort}
			if v.Type() != a.Type {
				p.Actual = v.Type()
				return p
			}
			n := len(v.Bytes())
			if a.Type == attribute.TypeN {
				continue
			}
			if n == 0 {
				p.Empty = true
				return p
			}
			if n > MaxPartitionKey || sort && n > MaxSortKey {
				p.TooLarge = true
				return p
			}
		}
	}
	return nil
}
