package wire

import (
	"bytes"
	"testing"

	"github.com/statordb/stator/internal/attribute"
)

// FuzzValue decodes any bytes as an attribute value. A valid one survives encoding and decoding.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{"00", "c48220187d", "d90cf9826161" + "6162", "a2616101616282f5f6", "fb3ff8000000000000", "c249010000000000000000"} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		v := r.Value()
		if r.Err() != nil {
			return
		}
		if err := attribute.NewItem(attribute.Field{Name: "a", Value: v}).WellFormed(); err != nil {
			t.Fatal(err)
		}
		again := NewReader(AppendValue(nil, v))
		if w := again.Value(); again.Err() != nil || !w.Equal(v) {
			t.Fatalf("%x became %x: %v", v, w, again.Err())
		}
	})
}

// FuzzKey decodes any bytes as keys of all schemas.
func FuzzKey(f *testing.F) {
	for i, seed := range []string{"6f6e6c79", "c48220187d", "6170c1800000", "070102"} {
		f.Add(byte(i), unhex(f, seed))
	}
	schemas := []KeySchema{hashS, hashN, hashB, rangeN, rangeB, rangeS}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		schema := schemas[int(which)%len(schemas)]
		key, err := ReadKey(schema, b)
		if err != nil {
			return
		}
		if err := key.WellFormed(); err != nil {
			t.Fatal(err)
		}
		r := NewReader(AppendKey(nil, schema, key))
		if again, err := ReadKey(schema, r.Bytes()); err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%s became %s: %v", key.AppendJSON(nil), again.AppendJSON(nil), err)
		}
	})
}

// FuzzCompoundKey decodes any bytes as the start key of an index.
func FuzzCompoundKey(f *testing.F) {
	f.Add(unhex(f, "bf6161016162"+"6178ff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := ReadCompoundKey(b)
		if err != nil {
			return
		}
		r := NewReader(AppendCompoundKey(nil, key))
		if again, err := ReadCompoundKey(r.Bytes()); key.WellFormed() != nil || err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%s became %s: %v", key.AppendJSON(nil), again.AppendJSON(nil), err)
		}
	})
}

// FuzzItem decodes any bytes as an item of a list of names.
func FuzzItem(f *testing.F) {
	f.Add(unhex(f, "02617801f5"))
	names := []string{"a", "b", "zz"}
	key := attribute.NewItem(attribute.Field{Name: "pk", Value: attribute.String("k")})
	f.Fuzz(func(t *testing.T, b []byte) {
		id, values, err := ListID(b)
		if err != nil {
			return
		}
		it, err := ReadItem(NewList(names), values, key)
		if err != nil {
			return
		}
		if err := it.WellFormed(); err != nil || it.Len() != 4 {
			t.Fatalf("%s: %v", it.AppendJSON(nil), err)
		}
		r := NewReader(AppendItem(nil, id, hashS, it))
		if _, values, err = ListID(r.Bytes()); err != nil {
			t.Fatal(err)
		}
		if again, err := ReadItem(NewList(names), values, key); err != nil || !bytes.Equal(again, it) {
			t.Fatalf("%s became %s: %v", it.AppendJSON(nil), again.AppendJSON(nil), err)
		}
	})
}

// FuzzExpressions decodes any bytes as expressions of all kinds.
func FuzzExpressions(f *testing.F) {
	for _, seed := range []string{
		`[1, [6, [0, [18,"s"], [17,0]], [11, [18,"m"]]], ["str"]]`, `[1, [[19,[18,"l",i0],[23,[18,"x"],[17,0]]], [22,[18,"z"]]], [3]]`, `[1, [[18,"s"], [18,"l",i2,"q"]]]`,
	} {
		f.Add(diag(f, seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var x Expressions
		if _, err := x.Condition(b); err != nil {
			x = Expressions{}
		}
		if _, err := x.Update(b); err != nil {
			x = Expressions{}
		}
		if _, paths, err := x.Projection(b); err == nil {
			for _, p := range paths {
				p.In(attribute.NewItem(attribute.Field{Name: p[0].Name, Value: attribute.NewList(nil)}))
			}
		}
	})
}

// FuzzMemory decodes any bytes as every part of a request: the memory taken is proportional to their number.
func FuzzMemory(f *testing.F) {
	for _, seed := range []string{"9f8080f6", "d90cfa9f00", "83019f821682126161", "8301820b821261619ff6", "c2584000", "bf60f6", "9affffffff", "5affffffff"} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if took := allocated(func() { readAll(b, []KeySchema{hashS, hashN, hashB, rangeN, rangeB, rangeS}) }); took > uint64(len(b))*maxMemory+1<<20 {
			t.Fatalf("%d bytes of memory for %d", took, len(b))
		}
	})
}

// FuzzSkimmer finds the end of any bytes, at once and byte by byte, with the same result.
func FuzzSkimmer(f *testing.F) {
	f.Add(unhex(f, "9f0082a1616100c10041ffff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var all, some Skimmer
		whole, err := all.Value(b)
		for n := 0; n <= len(b); n++ {
			done, failed := some.Value(b[:n])
			if failed != nil && err == nil || done && (!whole || some.Pos() != all.Pos()) {
				t.Fatalf("%v %v at %d, byte by byte %v %v at %d", whole, err, all.Pos(), done, failed, some.Pos())
			}
			if failed != nil || done {
				return
			}
		}
		if whole {
			t.Fatal("never done byte by byte")
		}
		if err == nil {
			return
		}
		t.Fatalf("only at once: %v", err)
	})
}
