package attribute

import (
	"encoding/binary"
	"sort"
)

// Item is a set of named attribute values in binary form. The nil Item means that there is no item.
type Item []byte

const (
	itemVersion = 0x01
	itemInvalid = 0xFF
	itemHeader  = 1 + 4 + 4
)

// MaxItemSize is the largest item in bytes, including names ("Quotas in Amazon DynamoDB").
const MaxItemSize = 400 * 1024

// MaxDepth is the deepest nesting of attribute values within an item, counting the innermost value ("Quotas in Amazon DynamoDB"): a
// scalar may be inside 31 lists and maps.
const MaxDepth = 32

// Invalid returns an attribute's name and AWS's sentence if the item was decoded from JSON that isn't a valid item.
func (it Item) Invalid() (name, problem string, invalid bool) {
	if len(it) == 0 || it[0] != itemInvalid {
		return "", "", false
	}
	n, w := uvarint(it[1:])
	problem, _ = readProblem(it[1+w+n:])
	return string(it[1+w : 1+w+n]), problem, true
}

// InvalidOlder is Invalid with the sentence of AWS's older layer of validation (see [Value.InvalidOlder]).
func (it Item) InvalidOlder() (name, problem string, invalid bool) {
	if len(it) == 0 || it[0] != itemInvalid {
		return "", "", false
	}
	n, w := uvarint(it[1:])
	_, problem = readProblem(it[1+w+n:])
	return string(it[1+w : 1+w+n]), problem, true
}

// Size returns the item's size in bytes as AWS counts it: the UTF-8 lengths of the names and the sizes of the values.
func (it Item) Size() int {
	if len(it) == 0 {
		return 0
	}
	return int(binary.LittleEndian.Uint32(it[1:]))
}

// Len returns the number of attributes.
func (it Item) Len() int {
	if len(it) == 0 || it[0] == itemInvalid {
		return 0
	}
	return int(binary.LittleEndian.Uint32(it[5:]))
}

// Get returns an attribute's value, or nil.
func (it Item) Get(name string) Value {
	if len(it) <= itemHeader || it[0] == itemInvalid {
		return nil
	}
	return lookup(it[itemHeader:], name)
}

// Fields calls yield for each attribute, sorted by name.
func (it Item) Fields(yield func(name []byte, val Value) bool) {
	if len(it) > itemHeader && it[0] != itemInvalid {
		fields(it[itemHeader:], yield)
	}
}

// Clone returns a copy with memory of its own.
func (it Item) Clone() Item {
	if it == nil {
		return nil
	}
	return append(Item(nil), it...)
}

// AsMap returns the item as a map value, sharing no memory.
func (it Item) AsMap() Value {
	v := make(Value, containerHeader, containerHeader+len(it))
	v[0] = byte(TypeM)
	binary.LittleEndian.PutUint32(v[5:], uint32(it.Len()))
	if len(it) > itemHeader {
		v = append(v, it[itemHeader:]...)
	}
	binary.LittleEndian.PutUint32(v[1:], uint32(len(v)-containerHeader))
	return v
}

// Builder builds an item from fields in order of their names. The zero value is ready to use.
type Builder struct {
	buf   []byte
	size  int
	count int
}

// Grow makes room for an item of about n bytes.
func (b *Builder) Grow(n int) {
	if cap(b.buf)-len(b.buf) < n {
		b.buf = append(make([]byte, 0, len(b.buf)+n), b.buf...)
	}
}

// Add appends a field. Its name must sort after all names added before.
func (b *Builder) Add(name []byte, val Value) {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, itemHeader)...)
	}
	b.buf = binary.AppendUvarint(b.buf, uint64(len(name)))
	b.buf = append(b.buf, name...)
	b.buf = append(b.buf, val...)
	b.size += len(name) + val.Size()
	b.count++
}

// Item returns the finished item. The Builder must not be used afterwards.
func (b *Builder) Item() Item {
	if len(b.buf) == 0 {
		b.buf = make([]byte, itemHeader)
	}
	b.buf[0] = itemVersion
	binary.LittleEndian.PutUint32(b.buf[1:], uint32(b.size))
	binary.LittleEndian.PutUint32(b.buf[5:], uint32(b.count))
	return Item(b.buf)
}

// Field is a name and its value.
type Field struct {
	Name  string
	Value Value
}

// NewItem builds an item from fields in any order. Names must be distinct.
func NewItem(fields ...Field) Item {
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	var b Builder
	for _, f := range fields {
		b.Add([]byte(f.Name), f.Value)
	}
	return b.Item()
}

// Project returns an item with only those attributes that keep accepts.
func (it Item) Project(keep func(name []byte) bool) Item {
	var b Builder
	b.Grow(len(it))
	for name, v := range it.Fields {
		if keep(name) {
			b.Add(name, v)
		}
	}
	return b.Item()
}
