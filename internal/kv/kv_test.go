package kv

import (
	"fmt"
	"slices"
	"testing"
)

// TestRanges: the parts of a range at and after a key, in both directions.
func TestRanges(t *testing.T) {
	r := Range{Start: []byte("b"), End: []byte("y")}
	for _, c := range []struct {
		got  Range
		want string
	}{
		{r.From([]byte("m"), false), `["m" "y"]`},
		{r.From([]byte("a"), false), `["b" "y"]`},
		{r.From([]byte("m"), true), `["b" "m\x00"]`},
		{r.From([]byte("z"), true), `["b" "y"]`},
		{Range{Start: []byte("b")}.From([]byte("m"), true), `["b" "m\x00"]`},
		{r.After([]byte("m"), false), `["m\x00" "y"]`},
		{r.After([]byte("m"), true), `["b" "m"]`},
	} {
		if got := fmt.Sprintf("%q", [][]byte{c.got.Start, c.got.End}); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestCounters(t *testing.T) {
	for _, list := range [][]int64{nil, {0}, {1, -1, 1 << 62, -1 << 62}} {
		if got := DecodeCounters(AppendCounters(nil, list)); !slices.Equal(got, list) {
			t.Errorf("%v becomes %v", list, got)
		}
	}
	if got := DecodeCounters([]byte{2, 0x80}); !slices.Equal(got, []int64{1}) {
		t.Errorf("a torn list becomes %v", got)
	}
	a, b := []int64{1, 2}, []int64{10, 20, 30}
	if x, y := SumCounters(a, b), SumCounters(b, a); !slices.Equal(x, []int64{11, 22, 30}) || !slices.Equal(x, y) {
		t.Errorf("the sums are %v and %v", x, y)
	}
	if !slices.Equal(a, []int64{1, 2}) || !slices.Equal(b, []int64{10, 20, 30}) {
		t.Error("a sum has changed its terms")
	}
}

func TestTimestamps(t *testing.T) {
	if ms := AtMillis(1_800_000_000_000).Millis(); ms != 1_800_000_000_000 {
		t.Errorf("%d ms", ms)
	}
	if AtMillis(5) <= AtMillis(4)|(1<<18-1) {
		t.Error("the last timestamp of a millisecond is not before the next one's first")
	}
	if AtMillis(-1) != 0 {
		t.Error("times before 1970 are not 0")
	}
}
