package attribute

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
)

// beginContainer appends a placeholder header of a set, list or map, and returns its offset for endContainer.
func beginContainer(dst []byte, t Type) ([]byte, int) {
	start := len(dst)
	dst = append(dst, byte(t), 0, 0, 0, 0, 0, 0, 0, 0)
	return dst, start
}

// endContainer fills in the header at start.
func endContainer(dst []byte, start, count int) []byte {
	binary.LittleEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-containerHeader))
	binary.LittleEndian.PutUint32(dst[start+5:], uint32(count))
	return dst
}

// NewList returns a list of the values.
func NewList(elems []Value) Value {
	size := containerHeader
	for _, e := range elems {
		size += len(e)
	}
	dst, start := beginContainer(make([]byte, 0, size), TypeL)
	for _, e := range elems {
		dst = append(dst, e...)
	}
	return endContainer(dst, start, len(elems))
}

// NewMap returns a map of the fields, which it sorts. Names must be distinct.
func NewMap(fields []Field) Value {
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	dst, start := beginContainer(nil, TypeM)
	for _, f := range fields {
		dst = binary.AppendUvarint(dst, uint64(len(f.Name)))
		dst = append(dst, f.Name...)
		dst = append(dst, f.Value...)
	}
	return endContainer(dst, start, len(fields))
}

// NewSet returns a set of type t (SS, NS or BS). It sorts the elements and drops duplicates. Numbers must be canonical.
func NewSet(t Type, elems [][]byte) Value {
	sortElements(t, elems)
	dst, start := beginContainer(nil, t)
	n := 0
	for i, e := range elems {
		if i > 0 && bytes.Equal(e, elems[i-1]) {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(e)))
		dst = append(dst, e...)
		n++
	}
	return endContainer(dst, start, n)
}

// sortElements sorts strings and binaries by their bytes and numbers by value.
func sortElements(t Type, elems [][]byte) {
	slices.SortFunc(elems, func(a, b []byte) int { return compareElements(t, a, b) })
}

// compareElements defines the order of elements within a set of type t.
func compareElements(t Type, a, b []byte) int {
	if t == TypeNS {
		return CompareNumbers(a, b)
	}
	return bytes.Compare(a, b)
}

// Union returns the set of all elements of two sets of the same type.
func Union(a, b Value) Value {
	elems := make([][]byte, 0, a.Len()+b.Len())
	for e := range a.Elements {
		elems = append(elems, e)
	}
	for e := range b.Elements {
		elems = append(elems, e)
	}
	return NewSet(a.Type(), elems)
}

// Difference returns the set of the elements of a that are not in b, or nil if there are none: sets can't be empty.
func Difference(a, b Value) Value {
	drop := make(map[string]struct{}, b.Len())
	for e := range b.Elements {
		drop[string(e)] = struct{}{}
	}
	var elems [][]byte
	for e := range a.Elements {
		if _, ok := drop[string(e)]; !ok {
			elems = append(elems, e)
		}
	}
	if len(elems) == 0 {
		return nil
	}
	return NewSet(a.Type(), elems)
}
