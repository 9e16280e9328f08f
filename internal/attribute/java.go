package attribute

import (
	"iter"
	"slices"
	"strconv"
	"unicode/utf16"
)

// AWS prints values in some of its sentences as Java does. This file has Java's ways.

// MaxJava is the length in bytes after which a text in Java's form leaves out the rest of a collection: small values become many times longer
// than their JSON.
const MaxJava = 1 << 17

// HashCode returns Java's String.hashCode.
func HashCode(s string) uint32 {
	var h uint32
	var units [2]uint16
	for _, r := range s {
		for _, unit := range utf16.AppendRune(units[:0], r) {
			h = 31*h + uint32(unit)
		}
	}
	return h
}

// HashOrder returns the order in which a Java HashMap iterates over n keys. buckets is the size of its table, a power of two; 0 for the one
// that a map grows to.
func HashOrder(n, buckets int, key func(i int) string) []int {
	if buckets == 0 {
		for buckets = 16; n > buckets*3/4; buckets *= 2 {
		}
	}
	order, at := make([]int, n), make([]uint32, n)
	for i := range order {
		h := HashCode(key(i))
		order[i], at[i] = i, (h^h>>16)&uint32(buckets-1)
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(at[a]) - int(at[b]) })
	return order
}

// AppendJava appends the item as Java prints a map of AttributeValues.
func (it Item) AppendJava(b []byte) []byte {
	if _, _, invalid := it.Invalid(); invalid {
		return append(b, "{}"...) // its values were not kept
	}
	return appendJavaMap(b, it.Fields)
}

func appendJavaMap(b []byte, fields iter.Seq2[[]byte, Value]) []byte {
	var names []string
	var values []Value
	for name, v := range fields {
		names, values = append(names, string(name)), append(values, v)
	}
	b = append(b, '{')
	for i, at := range HashOrder(len(names), 0, func(i int) string { return names[i] }) {
		if len(b) > MaxJava {
			break
		}
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, names[at]...), '=')
		b = values[at].AppendJava(b)
	}
	return append(b, '}')
}

// javaMembers are the members of AWS's AttributeValue, by type. Those without a type are never set.
var javaMembers = []struct {
	name  string
	types []Type
}{
	{"s", []Type{TypeS}}, {"n", []Type{TypeN}}, {"b", []Type{TypeB}}, {"iNT", nil}, {"dECIMAL", nil}, {"dOUBLE", nil}, {"sS", []Type{TypeSS}},
	{"nS", []Type{TypeNS}}, {"bS", []Type{TypeBS}}, {"iNTSET", nil}, {"dECIMALSET", nil}, {"dOUBLESET", nil}, {"m", []Type{TypeM}}, {"l", []Type{TypeL}},
	{"nULL", []Type{TypeNull}}, {"bOOL", []Type{TypeTrue, TypeFalse}},
}

// AppendJava appends the value as Java prints an AttributeValue.
func (v Value) AppendJava(b []byte) []byte {
	b = append(b, "AttributeValue("...)
	for i, m := range javaMembers {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, m.name...), '=')
		if slices.Contains(m.types, v.Type()) {
			b = v.appendJavaContent(b)
		} else {
			b = append(b, "null"...)
		}
	}
	return append(b, ')')
}

// appendJavaContent appends what the value contains.
func (v Value) appendJavaContent(b []byte) []byte {
	switch v.Type() {
	case TypeS, TypeN:
		return append(b, v.Bytes()...)
	case TypeB:
		return appendJavaBuffer(b, v.Bytes())
	case TypeM:
		return appendJavaMap(b, v.Fields)
	case TypeFalse:
		return append(b, "false"...)
	case TypeTrue, TypeNull:
		return append(b, "true"...)
	case TypeL:
		return appendJavaList(b, v.Values, func(b []byte, e Value) []byte { return e.AppendJava(b) })
	case TypeBS:
		return appendJavaList(b, v.Elements, appendJavaBuffer)
	}
	return appendJavaList(b, v.Elements, func(b, e []byte) []byte { return append(b, e...) })
}

func appendJavaList[E any](b []byte, elements iter.Seq[E], one func(b []byte, e E) []byte) []byte {
	b = append(b, '[')
	first := true
	for e := range elements {
		if len(b) > MaxJava {
			break
		}
		if !first {
			b = append(b, ", "...)
		}
		b, first = one(b, e), false
	}
	return append(b, ']')
}

// appendJavaBuffer appends a ByteBuffer with content.
func appendJavaBuffer(b, content []byte) []byte {
	n := strconv.Itoa(len(content))
	return append(b, "java.nio.HeapByteBuffer[pos=0 lim="+n+" cap="+n+"]"...)
}
