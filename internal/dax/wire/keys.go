package wire

import (
	"unicode/utf8"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
)

// KeyAttribute is an attribute of a primary key. Its type is S, N or B.
type KeyAttribute struct {
	Name string
	Type attribute.Type
}

// KeySchema is a table's primary key: the partition key, and the sort key if there is one.
type KeySchema []KeyAttribute

// Has reports whether an attribute is part of the key.
func (s KeySchema) Has(name []byte) bool {
	return string(name) == s[0].Name || len(s) > 1 && string(name) == s[1].Name
}

// ReadKey decodes a key. If the bytes don't match the schema, it fails with AWS's ValidationException.
func ReadKey(schema KeySchema, b []byte) (attribute.Item, error) {
	var out [2]attribute.Value
	var room [256]byte // for the values of most keys
	r := Reader{b: b, arena: room[:0]}
	var ok bool
	if len(schema) == 1 {
		out[0], ok = keyRest(&r, schema[0].Type, false)
	} else if r.scalar(schema[0].Type) {
		out[0] = r.Value()
		ok = r.err == nil && out[0].Type() == schema[0].Type
		if ok {
			out[1], ok = keyRest(&r, schema[1].Type, true)
		}
	}
	if !ok {
		if known, is := r.err.(*awserr.Error); is {
			return nil, known
		}
		return nil, awserr.KeyMismatch()
	}
	var item attribute.Builder
	item.Grow(32 + len(schema[0].Name) + len(out[0]) + len(schema[len(schema)-1].Name) + len(out[1]))
	if len(schema) == 2 && schema[1].Name < schema[0].Name {
		item.Add([]byte(schema[1].Name), out[1])
		item.Add([]byte(schema[0].Name), out[0])
		return item.Item(), nil
	}
	for i, a := range schema {
		item.Add([]byte(a.Name), out[i])
	}
	return item.Item(), nil
}

// scalar reports whether a value of the type may come next. It rejects containers early: they could have any number of elements.
func (r *Reader) scalar(t attribute.Type) bool {
	switch first := r.peek(); t {
	case attribute.TypeS:
		return first>>5 == majorText
	case attribute.TypeB:
		return first>>5 == majorBytes
	default:
		return first>>5 <= majorNegative || first >= majorTag<<5 && first < majorTag<<5|24 || first>>5 == majorSimple
	}
}

// maxCompoundKey bounds the start key of an index in bytes: up to eight attributes of the index and two of the table, of 2 KB each.
const maxCompoundKey = 64 << 10

// keyRest takes all remaining bytes as the last value of a key. It needs no head. A number in a sort key is in the ordered form.
func keyRest(r *Reader, t attribute.Type, sort bool) (v attribute.Value, ok bool) {
	start := len(r.arena)
	switch t {
	case attribute.TypeS:
		b := r.Rest()
		r.arena, ok = attribute.AppendScalar(r.arena, t, b), utf8.Valid(b)
	case attribute.TypeB:
		r.arena, ok = attribute.AppendScalar(r.arena, t, r.Rest()), true
	default:
		if !sort {
			if !r.scalar(t) {
				return nil, false
			}
			v := r.Value()
			return v, r.err == nil && v.Type() == t && !r.More()
		}
		var room, canonical [192]byte
		text, fine := readOrdered(room[:0], r.Rest())
		if !fine {
			return nil, false
		}
		number, problem := attribute.AppendNumber(canonical[:0], text)
		if problem != "" {
			r.fail(awserr.RequestError(problem))
			return nil, false
		}
		r.arena, ok = attribute.AppendScalar(r.arena, t, number), true
	}
	return attribute.Value(r.arena[start:len(r.arena):len(r.arena)]), ok
}

// AppendKey appends the key of an item, as a byte string.
func AppendKey(dst []byte, schema KeySchema, it attribute.Item) []byte {
	start := len(dst)
	v := it.Get(schema[0].Name)
	switch {
	case len(schema) == 2:
		dst = AppendValue(dst, v)
		v = it.Get(schema[1].Name)
		if schema[1].Type == attribute.TypeN {
			dst = appendOrdered(dst, v.Bytes())
		} else {
			dst = append(dst, v.Bytes()...)
		}
	case schema[0].Type == attribute.TypeN:
		dst = appendNumber(dst, v.Bytes())
	default:
		dst = append(dst, v.Bytes()...)
	}
	return WrapBytes(dst, start)
}

// ReadCompoundKey decodes the start key of a page of an index.
func ReadCompoundKey(b []byte) (attribute.Item, error) {
	if len(b) > maxCompoundKey {
		return nil, awserr.KeyMismatch()
	}
	r := NewReader(b)
	fields := r.fields(0)
	if r.err == nil && r.More() {
		r.Malformed()
	}
	if r.err != nil {
		return nil, r.err
	}
	return attribute.NewItem(fields...), nil
}

// AppendCompoundKey appends the last key of a page of an index, as a byte string.
func AppendCompoundKey(dst []byte, key attribute.Item) []byte {
	start := len(dst)
	dst = BeginMap(dst)
	for name, v := range key.Fields {
		dst = append(appendHead(dst, majorText, uint64(len(name))), name...)
		dst = AppendValue(dst, v)
	}
	return WrapBytes(AppendEnd(dst), start)
}
