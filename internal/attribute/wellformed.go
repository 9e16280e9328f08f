package attribute

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// WellFormed returns what is wrong with bytes that should be an item in the documented form, or nil. Everything else in the package
// trusts an item's bytes.
func (it Item) WellFormed() error {
	if len(it) < itemHeader || it[0] != itemVersion {
		return errors.New("no item header")
	}
	c := cursor{b: it[itemHeader:]}
	size, err := c.fields(it.Len(), 1)
	switch {
	case err != nil:
		return err
	case len(c.b) > 0:
		return fmt.Errorf("%d bytes behind the last attribute", len(c.b))
	case size != it.Size():
		return fmt.Errorf("size is %d, header says %d", size, it.Size())
	}
	return nil
}

var errShort = errors.New("value ends early")

// cursor reads untrusted bytes.
type cursor struct{ b []byte }

// text takes a length and that many bytes.
func (c *cursor) text() ([]byte, error) {
	n, w := binary.Uvarint(c.b)
	if w <= 0 || n > uint64(len(c.b)-w) {
		return nil, errShort
	}
	out := c.b[w : w+int(n)]
	c.b = c.b[w+int(n):]
	return out, nil
}

// container takes a container's header. It returns a cursor over the payload, and the number of elements.
func (c *cursor) container() (payload cursor, count int, err error) {
	if len(c.b) < containerHeader-1 {
		return payload, 0, errShort
	}
	n := uint64(binary.LittleEndian.Uint32(c.b))
	count = int(binary.LittleEndian.Uint32(c.b[4:]))
	// The length covers the payload only, not the count of elements in front of it.
	if n > uint64(len(c.b)-(containerHeader-1)) {
		return payload, 0, errShort
	}
	payload.b = c.b[containerHeader-1 : containerHeader-1+int(n)]
	c.b = c.b[containerHeader-1+int(n):]
	return payload, count, nil
}

// fields takes count names and values, sorted by name, and returns their size.
func (c *cursor) fields(count, depth int) (size int, err error) {
	var last []byte
	for i := range count {
		name, err := c.text()
		if err != nil {
			return 0, err
		}
		if i > 0 && bytes.Compare(last, name) >= 0 {
			return 0, fmt.Errorf("attribute %q is out of order: it follows %q", name, last)
		}
		if !utf8.Valid(name) {
			return 0, fmt.Errorf("attribute name %q is not UTF-8", name)
		}
		last = name
		n, err := c.value(depth)
		if err != nil {
			return 0, fmt.Errorf("attribute %q: %w", name, err)
		}
		size += len(name) + n
	}
	return size, nil
}

// value takes a value and returns its size.
func (c *cursor) value(depth int) (size int, err error) {
	if len(c.b) == 0 {
		return 0, errShort
	}
	if depth > MaxDepth+1 {
		return 0, errors.New("nested too deeply")
	}
	tag := Type(c.b[0])
	c.b = c.b[1:]
	switch tag {
	case TypeS, TypeN, TypeB:
		text, err := c.text()
		if err != nil {
			return 0, err
		}
		return scalarSize(tag, text)
	case TypeTrue, TypeFalse, TypeNull:
		return 1, nil
	case TypeSS, TypeNS, TypeBS, TypeL, TypeM:
		payload, count, err := c.container()
		if err != nil {
			return 0, err
		}
		if size, err = payload.elements(tag, count, depth); err == nil && len(payload.b) > 0 {
			err = fmt.Errorf("%d bytes behind the last element", len(payload.b))
		}
		return size, err
	}
	return 0, fmt.Errorf("no data type has the tag %d", tag)
}

// elements takes the elements of a container and returns their size.
func (c *cursor) elements(tag Type, count, depth int) (size int, err error) {
	switch tag {
	case TypeM:
		size, err = c.fields(count, depth+1)
		return size + 3 + count, err
	case TypeL:
		size = 3
		for range count {
			n, err := c.value(depth + 1)
			if err != nil {
				return 0, err
			}
			size += n + 1
		}
		return size, nil
	}
	element := map[Type]Type{TypeSS: TypeS, TypeNS: TypeN, TypeBS: TypeB}[tag]
	var elems [][]byte
	for range count {
		text, err := c.text()
		if err != nil {
			return 0, err
		}
		elems = append(elems, text)
		n, err := scalarSize(element, text)
		if err != nil {
			return 0, err
		}
		size += n
	}
	if count == 0 {
		return 0, errors.New("empty set")
	}
	// Equality of sets compares their bytes, so the order and uniqueness of the elements are invariants.
	sorted := slices.Clone(elems)
	sortElements(tag, sorted)
	for i := range elems {
		if !bytes.Equal(elems[i], sorted[i]) || i > 0 && bytes.Equal(elems[i], elems[i-1]) {
			return 0, errors.New("set is not sorted, or repeats an element")
		}
	}
	return size, nil
}

// scalarSize checks a string, number or binary, and returns its size.
func scalarSize(t Type, text []byte) (int, error) {
	switch t {
	case TypeN:
		canonical, problem := AppendNumber(nil, text)
		if problem != "" || !bytes.Equal(canonical, text) {
			return 0, fmt.Errorf("%q is not a canonical number", text)
		}
		return NumberSize(text), nil
	case TypeS:
		if !utf8.Valid(text) {
			return 0, fmt.Errorf("string %q is not UTF-8", text)
		}
	}
	return len(text), nil
}
