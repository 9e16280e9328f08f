package smithy

import (
	"slices"
	"unsafe"

	"github.com/statordb/stator/internal/wirejson"
)

// New allocates a structure to be decoded. Its memory counts against the reader's budget.
func New[T any](r *wirejson.Reader) *T {
	out := new(T)
	r.Spend(int(unsafe.Sizeof(*out)))
	return out
}

// Append appends a decoded element. The list's memory counts against the reader's budget: beyond that the list stays as it is, and the
// reader fails.
func Append[T any](r *wirejson.Reader, list []T, e T) []T {
	if len(list) == cap(list) {
		size := max(1, int(unsafe.Sizeof(e)))
		more := len(list)
		if more == 0 {
			more = max(1, firstBytes/size)
		}
		if !r.Spend((len(list) + more) * size) {
			return list
		}
		list = slices.Grow(list, more)
	}
	return append(list, e)
}

// firstBytes is the first allocation of a list in bytes, if its elements are not larger.
const firstBytes = 64

// scanned is the number of keys up to which a Builder searches linearly. Beyond that it builds an index.
const scanned = 16

// indexed estimates the memory of an entry of a Builder's index, in bytes.
const indexed = 48

// Builder builds a Map in linear time: a request may have very many keys. The zero value is ready to use.
type Builder[V any] struct {
	entries Map[V]
	index   map[string]int
}

// Len returns the number of keys so far.
func (b *Builder[V]) Len() int { return len(b.entries) }

// Map returns the map, never nil. The Builder must not be used afterwards.
func (b *Builder[V]) Map() Map[V] {
	if b.entries == nil {
		return Map[V]{}
	}
	return b.entries
}

// Put sets the value of a key. If a JSON object repeats a key, the last value wins, in the place of the first. The memory counts against
// the reader's budget, as with Append.
func (b *Builder[V]) Put(r *wirejson.Reader, key string, v V) {
	if i, ok := b.find(key); ok {
		b.entries[i].Value = v
		return
	}
	n := len(b.entries)
	b.entries = Append(r, b.entries, Entry[V]{key, v})
	if len(b.entries) == n || n < scanned || !r.Spend(indexed) {
		return
	}
	if b.index == nil {
		b.index = make(map[string]int, 2*scanned)
		for i := range b.entries {
			b.index[b.entries[i].Key] = i
		}
	}
	b.index[key] = n
}

// find returns the index of a key's entry.
func (b *Builder[V]) find(key string) (int, bool) {
	if b.index != nil {
		i, ok := b.index[key]
		return i, ok
	}
	for i := range b.entries {
		if b.entries[i].Key == key {
			return i, true
		}
	}
	return 0, false
}
