package wire

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/statordb/stator/internal/attribute"
)

// ListID splits an encoded item into the id of its attribute list and its values.
func ListID(content []byte) (id int64, values []byte, err error) {
	r := Reader{b: content}
	id = r.Int()
	return id, content[r.pos:], r.err
}

// List is an attribute list: distinct names.
type List struct {
	Names    []string
	size     int  // total bytes of the names
	unsorted bool // not in byte order: some clients sort by UTF-16 or code points
}

// Size returns the total bytes of the names.
func (l *List) Size() int { return l.size }

// ValidName reports whether an attribute may have the name.
func ValidName(name []byte) bool { return utf8.Valid(name) && len(name) > 0 }

// NewList returns a List of the names.
func NewList(names []string) *List {
	l := &List{Names: names, unsorted: !slices.IsSorted(names)}
	for _, n := range names {
		l.size += len(n)
	}
	return l
}

// ReadItem decodes an item: the values of the list's attributes, one after the other. It adds the key; encoded values of key attributes
// are ignored.
func ReadItem(list *List, values []byte, key attribute.Item) (attribute.Item, error) {
	names := list.Names
	if len(names) > len(values) { // each value takes at least a byte
		return nil, ErrMalformed
	}
	r := Reader{b: values, arena: make([]byte, 0, len(values)+len(values)/8+16)}
	read := make([]attribute.Value, len(names))
	for i := range names {
		read[i] = r.Value()
	}
	if r.err == nil && r.pos < len(r.b) {
		r.Malformed()
	}
	if r.err != nil {
		return nil, r.err
	}
	// The merge below needs sorted names, so sort all fields here.
	if list.unsorted {
		var fields []attribute.Field
		for i, name := range names {
			fields = append(fields, attribute.Field{Name: name, Value: read[i]})
		}
		for name, v := range key.Fields {
			fields = append(fields, attribute.Field{Name: string(name), Value: v})
		}
		return attribute.NewItem(distinct(fields)...), nil
	}
	var it attribute.Builder
	it.Grow(len(r.arena) + len(key) + list.size + 2*len(names))
	i := 0
	// Merge the attributes with those of the key: both are sorted by name. before adds the attributes whose names precede limit, or all
	// if limit is nil.
	before := func(limit []byte) {
		for ; i < len(names) && (limit == nil || bytes.Compare([]byte(names[i]), limit) < 0); i++ {
			it.Add([]byte(names[i]), read[i])
		}
	}
	for name, v := range key.Fields {
		before(name)
		it.Add(name, v)
		if i < len(names) && names[i] == string(name) { // the key's own value wins
			i++
		}
	}
	before(nil)
	return it.Item(), nil
}

// AppendItem appends an item without its key, as a byte string: the id of the list of its other attributes, and their values in order
// of the names.
func AppendItem(dst []byte, id int64, schema KeySchema, it attribute.Item) []byte {
	start := len(dst)
	dst = AppendInt(dst, id)
	for name, v := range it.Fields {
		if !schema.Has(name) {
			dst = AppendValue(dst, v)
		}
	}
	return WrapBytes(dst, start)
}

// AppendProjected appends the values at the paths, each under the path's index. Paths without a value are left out.
func AppendProjected(dst []byte, paths []Path, it attribute.Item) []byte {
	dst = BeginMap(dst)
	for i, p := range paths {
		if v := p.In(it); v != nil {
			dst = AppendValue(AppendInt(dst, int64(i)), v)
		}
	}
	return AppendEnd(dst)
}

// AppendAttributes appends some attributes of an item, as updates return them: the id of the list of their names, and the values by
// their index in the list.
func AppendAttributes(dst []byte, id int64, it attribute.Item) []byte {
	start := len(dst)
	dst = BeginMap(AppendInt(dst, id))
	i := int64(0)
	for _, v := range it.Fields {
		dst = AppendValue(AppendInt(dst, i), v)
		i++
	}
	return WrapBytes(AppendEnd(dst), start)
}
