package smithy

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/wirejson"
)

func readerOf(n int) *wirejson.Reader {
	var r wirejson.Reader
	r.Reset(make([]byte, n))
	return &r
}

// TestBuilder compares a Builder with a map and a list of keys.
func TestBuilder(t *testing.T) {
	for _, n := range []int{0, 1, scanned - 1, scanned, scanned + 1, 1000} {
		r := readerOf(1 << 20)
		var b Builder[int]
		last := map[string]int{}
		var order []string
		for i := range 3 * n {
			key := strconv.Itoa(i * 7 % n)
			if _, ok := last[key]; !ok {
				order = append(order, key)
			}
			last[key] = i
			b.Put(r, key, i)
		}
		m := b.Map()
		if m == nil || len(m) != n || b.Len() != n {
			t.Fatalf("%d entries of %d", len(m), n)
		}
		for i, e := range m {
			if e.Key != order[i] || e.Value != last[e.Key] {
				t.Errorf("entry %d of %d is %v, want %s=%d", i, n, e, order[i], last[order[i]])
			}
		}
		// With many keys, Put must not search linearly.
		if (b.index != nil) != (n > scanned) || b.index != nil && len(b.index) != n {
			t.Errorf("%d keys have an index of %d", n, len(b.index))
		}
	}
}

// TestMemoryIsBounded: the reader's budget ends New, Append and Builder, with an error.
func TestMemoryIsBounded(t *testing.T) {
	type large [1000]byte
	bound := wirejson.BaseMemory/1000 + 1
	r := readerOf(0)
	for i := 0; r.Err() == nil; i++ {
		if New[large](r); i > bound {
			t.Fatal("New ignores the budget")
		}
	}
	r = readerOf(0)
	var list []large
	for i := 0; r.Err() == nil; i++ {
		if list = Append(r, list, large{}); i > bound {
			t.Fatal("Append ignores the budget")
		}
	}
	had := len(list)
	if list = Append(r, list[:had:had], large{}); len(list) != had {
		t.Error("Append adds after an error")
	}
	r = readerOf(0)
	var b Builder[int]
	for i := 0; r.Err() == nil; i++ {
		if b.Put(r, strconv.Itoa(i), i); i > wirejson.BaseMemory/indexed {
			t.Fatal("Builder ignores the budget")
		}
	}
	if !r.Err().Malformed {
		t.Errorf("error %v", r.Err())
	}
}

// TestLongValue: a sentence with a long value copies it twice, once for the message and once for the answer.
func TestLongValue(t *testing.T) {
	value := strings.Repeat("x", 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var c Checker
	c.Enter("outer")
	c.MaxLen("name", value, 10)
	c.Enum("name", value, []string{"A"})
	err := c.Err(nil)
	answer := err.AppendJSON(nil)
	runtime.ReadMemStats(&after)
	if want := "1 validation error detected: Value '" + value + "' at 'outer.name' failed to satisfy constraint: Member must have length less than or equal to 10"; err.Message != want {
		t.Errorf("%.60s…%s", err.Message, err.Message[1<<20:])
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 5<<20 || len(answer) < 1<<20 {
		t.Errorf("%d bytes are allocated for a megabyte", got)
	}
}
