package keyspace

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/statordb/stator/internal/attribute"
)

// TestValueOrder checks that encoded strings sort as their bytes and that begins_with is a range.
func TestValueOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	text := func() []byte {
		b := make([]byte, r.IntN(5))
		for i := range b {
			b[i] = []byte{0, 1, 'a', 0xFE, 0xFF}[r.IntN(5)]
		}
		return b
	}
	for range 50000 {
		a, b := text(), text()
		ka, kb := AppendValue(nil, attribute.Binary(a)), AppendValue(nil, attribute.Binary(b))
		if bytes.Compare(ka, kb) != bytes.Compare(a, b) {
			t.Fatalf("%x and %x: keys %x and %x", a, b, ka, kb)
		}
		prefix := AppendValuePrefix(nil, a)
		end := PrefixEnd(prefix)
		inRange := bytes.Compare(kb, prefix) >= 0 && (end == nil || bytes.Compare(kb, end) < 0)
		if inRange != bytes.HasPrefix(b, a) {
			t.Fatalf("%x begins with %x: range says %v", b, a, inRange)
		}
	}
}

func TestHashBounds(t *testing.T) {
	last := AppendPartition(nil, 7, 2, []byte{0xFF, 0xFF, 0xFF})
	copy(last[6:], []byte{0xFF, 0xFF, 0xFF, 0xFF})
	if bytes.Compare(last, AppendHashBound(nil, 7, 2, HashSpace)) >= 0 {
		t.Error("the last hash is outside the hash space")
	}
	if bytes.Compare(AppendHashBound(nil, 7, 2, HashSpace), AppendIndexPrefix(nil, 7, 3)) > 0 {
		t.Error("the hash space of an index reaches into the next index")
	}
}
