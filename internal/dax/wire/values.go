package wire

import (
	"sort"
	"unicode/utf8"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
)

// Value takes an attribute value. The result is a view of memory that the Reader won't overwrite.
func (r *Reader) Value() attribute.Value {
	start := len(r.arena)
	r.elements = 0
	r.value(0)
	if r.err != nil {
		return nil
	}
	return attribute.Value(r.arena[start:len(r.arena):len(r.arena)])
}

// value takes an attribute value and appends it to the arena. depth is the number of containers around it.
func (r *Reader) value(depth int) {
	if depth >= attribute.MaxDepth {
		r.fail(awserr.TooDeep())
		return
	}
	start := len(r.arena)
	switch first := r.peek(); {
	case first>>5 == majorText:
		r.arena = attribute.AppendScalar(r.arena, attribute.TypeS, r.utf8())
	case first>>5 == majorBytes:
		r.arena = attribute.AppendScalar(r.arena, attribute.TypeB, r.Bytes())
	case first>>5 == majorArray:
		var elems []attribute.Value
		for n := r.Array(); r.another(&n); {
			elems = append(elems, r.element(depth+1))
		}
		r.contain(start, func() attribute.Value { return attribute.NewList(elems) })
	case first>>5 == majorMap:
		fields := r.fields(depth + 1)
		r.contain(start, func() attribute.Value { return attribute.NewMap(fields) })
	case first == majorTag<<5|25: // tags of sets take two bytes
		r.set()
	case first == byteTrue || first == byteFalse:
		r.pos++
		r.arena = append(r.arena, attribute.Bool(first == byteTrue)...)
	case first == byteNull:
		r.pos++
		r.arena = append(r.arena, attribute.Null...)
	default:
		var room [192]byte
		text := r.number(room[:0])
		if r.err == nil {
			r.arena = attribute.AppendScalar(r.arena, attribute.TypeN, text)
		}
	}
}

// another is Next for elements of an attribute value. While it is decoded, an element takes far more memory than its one byte on the
// wire, so their number is bounded: no valid item has more elements than bytes.
func (r *Reader) another(n *Count) bool {
	if r.elements++; r.elements > attribute.MaxItemSize {
		r.fail(awserr.ItemTooLarge())
	}
	return r.Next(n)
}

// contain replaces the elements behind start by the container that holds copies of them.
func (r *Reader) contain(start int, v func() attribute.Value) {
	if r.err == nil {
		r.arena = append(r.arena[:start], v()...)
	}
}

// element takes a value inside a container.
func (r *Reader) element(depth int) attribute.Value {
	start := len(r.arena)
	r.value(depth)
	if r.err != nil {
		return nil
	}
	return attribute.Value(r.arena[start:len(r.arena):len(r.arena)])
}

// utf8 takes a text string and checks that it is UTF-8.
func (r *Reader) utf8() []byte {
	b := r.Text()
	if !utf8.Valid(b) {
		r.Malformed()
	}
	return b
}

// fields takes a map of attribute values. Of a repeated name, the last value wins.
func (r *Reader) fields(depth int) []attribute.Field {
	var out []attribute.Field
	for n := r.Map(); r.another(&n); {
		name := string(r.utf8())
		out = append(out, attribute.Field{Name: name, Value: r.element(depth)})
	}
	if r.err != nil {
		return nil
	}
	return distinct(out)
}

// distinct sorts the fields by name and keeps the last of each name.
func distinct(fields []attribute.Field) []attribute.Field {
	sort.SliceStable(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	out := fields[:0]
	for i, f := range fields {
		if i+1 == len(fields) || fields[i+1].Name != f.Name {
			out = append(out, f)
		}
	}
	return out
}

// set takes a set. It may not be empty, nor have an element twice.
func (r *Reader) set() {
	var t attribute.Type
	switch r.tag() {
	case tagStringSet:
		t = attribute.TypeSS
	case tagNumberSet:
		t = attribute.TypeNS
	case tagBinarySet:
		t = attribute.TypeBS
	default:
		r.Malformed()
		return
	}
	var elems [][]byte
	for n := r.Array(); r.another(&n); {
		switch t {
		case attribute.TypeSS:
			elems = append(elems, r.utf8())
		case attribute.TypeBS:
			elems = append(elems, r.Bytes())
		default:
			elems = append(elems, r.number(nil))
		}
	}
	if r.err != nil {
		return
	}
	v, problem := attribute.SetOf(t, elems)
	if problem != "" {
		r.fail(awserr.RequestError(problem))
		return
	}
	r.arena = append(r.arena, v...)
}

// AppendValue appends an attribute value.
func AppendValue(dst []byte, v attribute.Value) []byte {
	switch v.Type() {
	case attribute.TypeS:
		return AppendText(dst, v.Text())
	case attribute.TypeN:
		return appendNumber(dst, v.Bytes())
	case attribute.TypeB:
		return AppendBytes(dst, v.Bytes())
	case attribute.TypeTrue:
		return append(dst, byteTrue)
	case attribute.TypeFalse:
		return append(dst, byteFalse)
	case attribute.TypeSS:
		dst = AppendArray(appendHead(dst, majorTag, tagStringSet), v.Len())
		for e := range v.Elements {
			dst = append(appendHead(dst, majorText, uint64(len(e))), e...)
		}
	case attribute.TypeNS:
		dst = AppendArray(appendHead(dst, majorTag, tagNumberSet), v.Len())
		for e := range v.Elements {
			dst = appendNumber(dst, e)
		}
	case attribute.TypeBS:
		dst = AppendArray(appendHead(dst, majorTag, tagBinarySet), v.Len())
		for e := range v.Elements {
			dst = AppendBytes(dst, e)
		}
	case attribute.TypeL:
		dst = AppendArray(dst, v.Len())
		for e := range v.Values {
			dst = AppendValue(dst, e)
		}
	case attribute.TypeM:
		dst = AppendMap(dst, v.Len())
		for name, e := range v.Fields {
			dst = append(appendHead(dst, majorText, uint64(len(name))), name...)
			dst = AppendValue(dst, e)
		}
	default:
		return AppendNull(dst)
	}
	return dst
}
