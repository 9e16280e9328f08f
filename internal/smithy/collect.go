package smithy

import (
	"slices"
	"unsafe"

	"github.com/statordb/stator/internal/wirejson"
)

// New returns a structure to be decoded, whose memory counts against the reader's.
func New[T any](r *wirejson.Reader) *T {
	out := new(T)
	r.Spend(int(unsafe.Sizeof(*out)))
	return out
}

// Append appends an element that was decoded. The list's memory counts against the reader's; without enough of it the list
// stays as it is and the reader has an error.
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

// firstBytes is how many bytes a list has room for at first, if an element is not larger.
const firstBytes = 64

// scanned is how many keys a Builder looks through before it makes an index of them.
const scanned = 16

// indexed is about what an entry of a Builder's index takes in bytes.
const indexed = 48

// Builder makes a Map in time linear in the number of its entries. The zero value is ready to use.
type Builder[V any] struct {
	entries Map[V]
	index   map[string]int
}

// Len returns the number of keys so far.
func (b *Builder[V]) Len() int { return len(b.entries) }

// Map returns the map, which is not nil; the Builder must not be used after it.
func (b *Builder[V]) Map() Map[V] {
	if b.entries == nil {
		return Map[V]{}
	}
	return b.entries
}

// Put sets the value of a key; the last of several in one JSON object counts, at the place of the first. The memory counts
// against the reader's, as with Append.
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
