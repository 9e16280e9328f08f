package metering

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/metric"
)

// sketchSize is the number of keys in a sketch. It contains every key with more than 1/sketchSize of the load.
const sketchSize = 256

// sketch finds the most frequent keys in bounded memory, with the Space-Saving algorithm: a new key replaces the rarest one and inherits
// its count. So counts are too high by at most the total divided by sketchSize.
type sketch struct {
	mu       sync.Mutex
	entries  []entry
	index    map[uint64]int // by hash
	total    float64
	distinct float64 // upper bound of the number of keys
}

// entry is a key in a sketch.
type entry struct {
	hash  uint64
	count float64
	key   string
}

// add counts a key. label returns its text; it is called only if the key is new to the sketch.
func (s *sketch) add(hash uint64, count float64, label func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += count
	if i, ok := s.index[hash]; ok {
		s.entries[i].count += count
		return
	}
	s.distinct++
	if s.index == nil {
		s.index = make(map[uint64]int, sketchSize)
	}
	if len(s.entries) < sketchSize {
		s.index[hash] = len(s.entries)
		s.entries = append(s.entries, entry{hash, count, label()})
		return
	}
	rarest := 0
	for i := range s.entries {
		if s.entries[i].count < s.entries[rarest].count {
			rarest = i
		}
	}
	e := &s.entries[rarest]
	delete(s.index, e.hash)
	s.index[hash] = rarest
	*e = entry{hash, e.count + count, label()}
}

// top returns the n most frequent keys, the total of all keys, and an upper bound of their number.
func (s *sketch) top(n int) (out []metric.Contributor, total, distinct float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		out = append(out, metric.Contributor{Key: e.key, Count: e.count})
	}
	slices.SortFunc(out, byCount)
	return out[:min(n, len(out))], s.total, s.distinct
}

// byCount orders the most frequent first.
func byCount(a, b metric.Contributor) int {
	switch {
	case a.Count > b.Count:
		return -1
	case a.Count < b.Count:
		return 1
	}
	return strings.Compare(a.Key, b.Key)
}

// countBy counts a use under the named attributes of its key. Those of the partition key must be present.
func countBy(at *atomic.Pointer[sketch], partition, sort []string, u Use, units float64) {
	var room [256]byte
	raw := room[:0]
	for _, names := range [...][]string{partition, sort} {
		for _, name := range names {
			raw = append(append(raw, u.Key.Get(name)...), 0)
		}
	}
	s := at.Load()
	if s == nil {
		at.CompareAndSwap(nil, new(sketch))
		s = at.Load()
	}
	s.add(xxhash.Sum64(raw), units, func() string {
		var fields []attribute.Field
		for _, names := range [...][]string{partition, sort} {
			for _, name := range names {
				if v := u.Key.Get(name); v != nil {
					fields = append(fields, attribute.Field{Name: name, Value: v})
				}
			}
		}
		return string(attribute.NewItem(fields...).AppendJSON(nil))
	})
}
