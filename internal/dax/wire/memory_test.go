package wire

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
)

// allocated returns how many bytes f allocates. No other goroutine may allocate meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// readAll decodes bytes as every part that a request may have.
func readAll(b []byte, schemas []KeySchema) {
	var s Skimmer
	_, _ = s.Value(b)
	NewReader(b).Value()
	for _, schema := range schemas {
		_, _ = ReadKey(schema, b)
	}
	_, _ = ReadCompoundKey(b)
	_, _ = ReadItem(NewList([]string{"a"}), b, attribute.NewItem())
	var x Expressions
	_, _ = x.Condition(b)
	_, _ = x.Update(b)
	_, _, _ = x.Projection(b)
}

// maxMemory is how many bytes may be allocated per byte of a hostile value. An element takes at least one byte on the wire, and a slice
// header in a growing list for each of the readers.
const maxMemory = 400

// TestHostileMemory decodes values made to take much memory: whatever lengths they announce, each byte takes a bounded amount.
func TestHostileMemory(t *testing.T) {
	const size = 64 << 10
	fill := func(head, element string) []byte {
		return append(unhex(t, head), bytes.Repeat(unhex(t, element), size/(len(element)/2))...)
	}
	nested := strings.Repeat("81", attribute.MaxDepth-1)
	for name, b := range map[string][]byte{
		"announced string":      unhex(t, "5a00ffffff"),
		"announced text":        unhex(t, "7a00ffffff"),
		"announced array":       unhex(t, "9a00ffffff"),
		"announced map":         unhex(t, "ba00ffffff"),
		"announced set":         unhex(t, "d90cf99a00ffffff"),
		"nulls":                 fill("9f", "f6"),
		"deep nulls":            fill(nested+"9f", "f6"),
		"empty lists":           fill("9f", "80"),
		"empty strings":         fill("9f", "60"),
		"fields":                fill("bf", "60f6"),
		"string set":            fill("d90cf99f", "60"),
		"number set":            fill("d90cfa9f", "00"),
		"binary set":            fill("d90cfb9f", "40"),
		"numbers":               fill("9f", "c4821a7fffffff01"),
		"large numbers":         fill("9f", "c2584000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"),
		"tags":                  fill("", "c1"),
		"conditions":            fill("8301", "83068300"),
		"IN":                    fill("8301830a821261619f", "821100"),
		"paths":                 fill("82019f", "82126161"),
		"a path":                fill("8201819f12", "6161"),
		"values":                fill("8301820b821261619f", "f6"),
		"actions":               fill("83019f", "821682126161"),
		"key of a list":         fill("9f", "f6"),
		"sort key after a list": fill("9f", "f6"),
	} {
		for _, whole := range []bool{false, true} {
			if whole {
				b = append(bytes.Clone(b), 0xff, 0x80)
			}
			if took := allocated(func() { readAll(b, []KeySchema{hashS, hashN, hashB, rangeN, rangeB, rangeS}) }); took > uint64(len(b))*maxMemory+64<<10 {
				t.Errorf("%s, whole %v: %d bytes for %d", name, whole, took, len(b))
			}
		}
	}
}

// TestBoundedExpressions decodes expressions longer than DynamoDB allows: the text made from them is bounded.
func TestBoundedExpressions(t *testing.T) {
	many := func(head, element, tail string) []byte {
		return append(append(unhex(t, head), bytes.Repeat(unhex(t, element), 100_000)...), unhex(t, tail)...)
	}
	var x Expressions
	text, _, err := x.Projection(many("82019f", "82126161", "ff"))
	if err != nil || len(text) < 4096 || len(text) > 2*maxText {
		t.Errorf("a projection: %d bytes, %v", len(text), err)
	}
	x = Expressions{}
	if text, err = x.Update(many("83019f", "821682126161", "ff80")); err != nil || len(text) < 4096 || len(text) > 2*maxText {
		t.Errorf("an update: %d bytes, %v", len(text), err)
	}
	x = Expressions{}
	if _, err = x.Condition(many("8301820b821261619f", "f6", "ff")); err == nil || len(x.Values) > maxValues+1 {
		t.Errorf("values: %d, %v", len(x.Values), err)
	}
}

// TestManyElements decodes a value with more elements than any item has: it is refused early.
func TestManyElements(t *testing.T) {
	for name, head := range map[string]string{"list": "9f", "string set": "d90cf99f", "map": "bf"} {
		element := []byte{0x60}
		if name == "map" {
			element = []byte{0x60, 0xf6}
		}
		r := NewReader(append(unhex(t, head), bytes.Repeat(element, 2*attribute.MaxItemSize)...))
		if r.Value(); r.Err() == nil || r.Err().Error() != awserr.ItemTooLarge().Error() || r.pos > len(element)*(attribute.MaxItemSize+8) {
			t.Errorf("%s: %v at %d", name, r.Err(), r.pos)
		}
	}
}
