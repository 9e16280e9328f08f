package keyspace

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/kv"
)

// TestValueOrder checks that encoded strings sort by their bytes, and that begins_with is a range.
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
		end := kv.PrefixEnd(prefix)
		inRange := bytes.Compare(kb, prefix) >= 0 && (end == nil || bytes.Compare(kb, end) < 0)
		if inRange != bytes.HasPrefix(b, a) {
			t.Fatalf("%x begins with %x: range says %v", b, a, inRange)
		}
	}
}

func TestHashBounds(t *testing.T) {
	last := AppendPartition(nil, 7, 2, []byte{0xFF, 0xFF, 0xFF}, KeysBounded)
	copy(last[6:], []byte{0xFF, 0xFF, 0xFF, 0xFF})
	if bytes.Compare(last, AppendHashBound(nil, 7, 2, HashSpace)) >= 0 {
		t.Error("the last hash is outside the hash space")
	}
	if bytes.Compare(AppendHashBound(nil, 7, 2, HashSpace), AppendIndexPrefix(nil, 7, 3)) > 0 {
		t.Error("the hash space of an index reaches into the next index")
	}
}

// TestBounded checks the bounds on the lengths of keys, and that no other encoded key equals a digest.
func TestBounded(t *testing.T) {
	zeros := func(n int) []byte { return AppendValue(nil, attribute.Binary(make([]byte, n))) }
	longest := append(AppendPartition(nil, 1, 0, zeros(126), KeysBounded), zeros(1024)...) // 254 and 2050 bytes
	if n := len(AppendPast(nil, longest, 1, 1)); n > 2340 || len(AppendExpiry(nil, longest, 1)) > 2340 {
		t.Errorf("an item's key has %d bytes, %d in the history", len(longest), n)
	}
	entry := append(bytes.Clone(longest), zeros(126)...)
	if entry = BoundItemKey(entry, len(longest), KeysBounded); len(entry) > 2570 {
		t.Errorf("an entry's key has %d bytes", len(entry))
	}
	a, b := zeros(127), zeros(128)
	ka, kb := AppendPartition(nil, 1, 0, a, KeysBounded), AppendPartition(nil, 1, 0, b, KeysBounded)
	if bytes.Equal(ka[10:], kb[10:]) || len(ka) != len(kb) || len(ka) != 10+34 || HashOf(ka) != PartitionHash(a) {
		t.Errorf("keys %x and %x", ka, kb)
	}
	for _, v := range []attribute.Value{attribute.Binary([]byte{0, 2}), attribute.Binary([]byte{2}), attribute.Number("-1E125"), attribute.Number("0")} {
		if k := AppendValue(nil, v); bytes.HasPrefix(k, []byte{0, 2}) {
			t.Errorf("%v: key %x begins as digests do", v, k)
		}
	}
	if k := AppendPartition(nil, 1, 0, b, KeysInFull); !bytes.HasSuffix(k, b) {
		t.Errorf("key in full %x", k)
	}
}

// FuzzValueOrder checks that encoded values sort as the values do, and that none is a prefix of another, so that
// consecutive values can't be confused.
func FuzzValueOrder(f *testing.F) {
	f.Add([]byte(""), []byte("a"), false)
	f.Add([]byte("a\x00"), []byte("a\x00\x01"), false)
	f.Add([]byte("-1.5"), []byte("1E125"), true)
	f.Add([]byte("0.000000000000001"), []byte("-99999999999999999999999999999999999999"), true)
	f.Fuzz(func(t *testing.T, a, b []byte, number bool) {
		va, vb := attribute.Binary(a), attribute.Binary(b)
		if number {
			na, problemA := attribute.AppendNumber(nil, a)
			nb, problemB := attribute.AppendNumber(nil, b)
			if problemA != "" || problemB != "" {
				return
			}
			va, vb = attribute.Number(string(na)), attribute.Number(string(nb))
		}
		want, ok := attribute.Compare(va, vb)
		if !ok {
			t.Fatalf("%q and %q can't be compared", a, b)
		}
		ka, kb := AppendValue(nil, va), AppendValue(nil, vb)
		if got := bytes.Compare(ka, kb); got != want {
			t.Fatalf("%q and %q: keys %x and %x compare %d, values %d", a, b, ka, kb, got, want)
		}
		if want != 0 && (bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka)) {
			t.Fatalf("%q and %q: key %x and %x: one is a prefix of the other", a, b, ka, kb)
		}
	})
}
