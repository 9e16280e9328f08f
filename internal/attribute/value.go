package attribute

import (
	"bytes"
	"encoding/binary"
	"unsafe"
)

// Type is the data type of an attribute value. It is also the tag of its binary form.
type Type byte

// The ten data types, with two tags for booleans, and the tag of invalid values.
const (
	TypeNone  Type = 0
	TypeS     Type = 1
	TypeN     Type = 2
	TypeB     Type = 3
	TypeTrue  Type = 4
	TypeFalse Type = 5
	TypeNull  Type = 6
	TypeSS    Type = 7
	TypeNS    Type = 8
	TypeBS    Type = 9
	TypeL     Type = 10
	TypeM     Type = 11

	typeInvalid Type = 0xFF
)

var typeNames = [...]string{"", "S", "N", "B", "BOOL", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"}

// String returns the type's name on the wire: S, N, B, BOOL, NULL, SS, NS, BS, L or M.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return ""
}

// Value is an attribute value in binary form, including its tag. The nil Value means that there is no value.
type Value []byte

// The values without payload.
var (
	True  = Value{byte(TypeTrue)}
	False = Value{byte(TypeFalse)}
	Null  = Value{byte(TypeNull)}
)

// containerHeader is the length of the tag, the payload's length and the element count of sets, lists and maps.
const containerHeader = 1 + 4 + 4

// Type returns the value's data type; TypeNone for the nil Value.
func (v Value) Type() Type {
	if len(v) == 0 {
		return TypeNone
	}
	return Type(v[0])
}

// Invalid returns AWS's sentence if the value was decoded from JSON that isn't a valid attribute value.
func (v Value) Invalid() (problem string, invalid bool) {
	if v.Type() != typeInvalid {
		return "", false
	}
	problem, _ = readProblem(v[1:])
	return problem, true
}

// InvalidOlder is Invalid with the sentence of AWS's older layer of validation, through which BatchWriteItem, transactions and PartiQL go.
func (v Value) InvalidOlder() (problem string, invalid bool) {
	if v.Type() != typeInvalid {
		return "", false
	}
	_, problem = readProblem(v[1:])
	return problem, true
}

// Bytes returns the payload of a string, number (canonical text) or binary value.
func (v Value) Bytes() []byte {
	n, w := uvarint(v[1:])
	return v[1+w : 1+w+n]
}

// Text returns Bytes as a string that shares their memory.
func (v Value) Text() string {
	b := v.Bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Len returns the number of elements of a set, list or map.
func (v Value) Len() int { return int(binary.LittleEndian.Uint32(v[5:])) }

// Equal reports whether two values have the same type and value, regardless of the original order in sets and maps: the form is canonical.
func (v Value) Equal(w Value) bool { return bytes.Equal(v, w) }

// uvarint is binary.Uvarint with a fast path for small numbers.
func uvarint(b []byte) (n, width int) {
	if b[0] < 0x80 {
		return int(b[0]), 1
	}
	u, w := binary.Uvarint(b)
	return int(u), w
}

// valueLen returns the length in bytes of the value at the start of b.
func valueLen(b []byte) int {
	switch Type(b[0]) {
	case TypeS, TypeN, TypeB:
		n, w := uvarint(b[1:])
		return 1 + w + n
	case TypeTrue, TypeFalse, TypeNull:
		return 1
	}
	return containerHeader + int(binary.LittleEndian.Uint32(b[1:]))
}

// Elements yields each element of a set as bytes (canonical text for numbers), in sorted order.
func (v Value) Elements(yield func(elem []byte) bool) {
	b := v[containerHeader:]
	for len(b) > 0 {
		n, w := uvarint(b)
		if !yield(b[w : w+n]) {
			return
		}
		b = b[w+n:]
	}
}

// Values yields each element of a list.
func (v Value) Values(yield func(elem Value) bool) {
	b := v[containerHeader:]
	for len(b) > 0 {
		n := valueLen(b)
		if !yield(Value(b[:n:n])) {
			return
		}
		b = b[n:]
	}
}

// Index returns element i of a list, or nil if v isn't a list or has no such element.
func (v Value) Index(i int) Value {
	if v.Type() != TypeL || i < 0 || i >= v.Len() {
		return nil
	}
	b := v[containerHeader:]
	for ; i > 0; i-- {
		b = b[valueLen(b):]
	}
	n := valueLen(b)
	return Value(b[:n:n])
}

// Get returns the value of a map's key, or nil if v isn't a map or has no such key.
func (v Value) Get(name string) Value {
	if v.Type() != TypeM {
		return nil
	}
	return lookup(v[containerHeader:], name)
}

// Fields yields each entry of a map, sorted by name.
func (v Value) Fields(yield func(name []byte, val Value) bool) { fields(v[containerHeader:], yield) }

// Contains reports whether a set contains an element.
func (v Value) Contains(elem []byte) bool {
	for e := range v.Elements {
		if bytes.Equal(e, elem) {
			return true
		}
	}
	return false
}

// lookup returns the value of a name among fields in binary form, or nil.
func lookup(b []byte, name string) Value {
	for len(b) > 0 {
		n, w := uvarint(b)
		field := b[w : w+n]
		b = b[w+n:]
		size := valueLen(b)
		if string(field) == name {
			return Value(b[:size:size])
		}
		b = b[size:]
	}
	return nil
}

// fields yields fields in binary form.
func fields(b []byte, yield func(name []byte, val Value) bool) {
	for len(b) > 0 {
		n, w := uvarint(b)
		name := b[w : w+n]
		b = b[w+n:]
		size := valueLen(b)
		if !yield(name, Value(b[:size:size])) {
			return
		}
		b = b[size:]
	}
}

// Size returns the value's size in bytes as AWS counts it: UTF-8 length of strings, length of binaries, NumberSize of numbers, 1 for
// booleans and null, the sum of the elements of sets, and for lists and maps 3, plus 1 per element, plus the contents ("DynamoDB item
// sizes and formats").
func (v Value) Size() int {
	switch v.Type() {
	case TypeS, TypeB:
		n, _ := uvarint(v[1:])
		return n
	case TypeN:
		return NumberSize(v.Bytes())
	case TypeTrue, TypeFalse, TypeNull:
		return 1
	case TypeSS, TypeBS:
		size := 0
		for e := range v.Elements {
			size += len(e)
		}
		return size
	case TypeNS:
		size := 0
		for e := range v.Elements {
			size += NumberSize(e)
		}
		return size
	case TypeL:
		size := 3
		for e := range v.Values {
			size += 1 + e.Size()
		}
		return size
	case TypeM:
		size := 3
		for name, e := range v.Fields {
			size += 1 + len(name) + e.Size()
		}
		return size
	}
	return 0
}

// Depth returns how deep lists and maps are nested in v: 0 for a scalar and an empty list or map, 1 for a list of those.
func (v Value) Depth() int {
	deepest := -1
	switch v.Type() {
	case TypeL:
		for e := range v.Values {
			deepest = max(deepest, e.Depth())
		}
		return deepest + 1
	case TypeM:
		for _, e := range v.Fields {
			deepest = max(deepest, e.Depth())
		}
		return deepest + 1
	}
	return 0
}

// Compare orders two values of the same scalar type: strings and binaries by their bytes, numbers by value. ok is false if the types
// differ or have no order.
func Compare(a, b Value) (c int, ok bool) {
	if a.Type() != b.Type() {
		return 0, false
	}
	switch a.Type() {
	case TypeS, TypeB:
		return bytes.Compare(a.Bytes(), b.Bytes()), true
	case TypeN:
		return CompareNumbers(a.Bytes(), b.Bytes()), true
	}
	return 0, false
}

// AppendScalar appends a value of type S, N or B. Numbers must be canonical.
func AppendScalar(dst []byte, t Type, payload []byte) []byte {
	dst = append(dst, byte(t))
	dst = binary.AppendUvarint(dst, uint64(len(payload)))
	return append(dst, payload...)
}

// String returns a new string value.
func String(s string) Value { return AppendScalar(nil, TypeS, []byte(s)) }

// Number returns a new number value. It is for constants: it panics if the number can't be stored.
func Number(text string) Value {
	n, problem := AppendNumber(nil, []byte(text))
	if problem != "" {
		panic("attribute: " + problem)
	}
	return AppendScalar(nil, TypeN, n)
}

// Binary returns a new binary value.
func Binary(b []byte) Value { return AppendScalar(nil, TypeB, b) }

// Bool returns True or False.
func Bool(b bool) Value {
	if b {
		return True
	}
	return False
}
