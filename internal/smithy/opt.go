package smithy

// Opt is an optional scalar: requests may leave it out, and answers may omit it.
type Opt[T any] struct {
	Value T
	Set   bool
}

// Some returns an Opt that is set.
func Some[T any](v T) Opt[T] { return Opt[T]{Value: v, Set: true} }

// Or returns the value if it is set, and otherwise the argument.
func (o Opt[T]) Or(otherwise T) T {
	if o.Set {
		return o.Value
	}
	return otherwise
}

// Entry is one entry of a Map.
type Entry[V any] struct {
	Key   string
	Value V
}

// Map is a JSON object with arbitrary keys, in the order of the wire. Keys are distinct.
type Map[V any] []Entry[V]

// Get returns the value of a key.
func (m Map[V]) Get(key string) (v V, ok bool) {
	for i := range m {
		if m[i].Key == key {
			return m[i].Value, true
		}
	}
	return v, false
}

// All reports whether every entry satisfies a condition.
func (m Map[V]) All(ok func(key string, v V) bool) bool {
	for i := range m {
		if !ok(m[i].Key, m[i].Value) {
			return false
		}
	}
	return true
}

// Put sets the value of a key. It searches linearly, so it is for small maps; see Builder for large ones.
func (m *Map[V]) Put(key string, v V) {
	for i := range *m {
		if (*m)[i].Key == key {
			(*m)[i].Value = v
			return
		}
	}
	*m = append(*m, Entry[V]{key, v})
}
