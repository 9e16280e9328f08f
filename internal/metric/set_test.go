package metric

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// TestPercentile compares percentiles with exact ones: a set knows them to about 3 %.
func TestPercentile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		var values []float64
		var s Set
		for range 1 + rng.IntN(2000) {
			v := math.Exp(rng.NormFloat64()*3) * map[bool]float64{true: 1, false: -1}[round%5 != 0 || rng.IntN(3) > 0]
			values = append(values, v)
			one := Of(v, 1)
			s.Add(&one)
		}
		slices.Sort(values)
		for _, p := range []float64{0, 1, 50, 90, 99, 100} {
			got, ok := s.Percentile(p)
			want := values[min(len(values)-1, max(0, int(math.Ceil(p/100*float64(len(values))))-1))]
			if !ok || math.Abs(got-want) > 0.035*math.Abs(want)+1e-12 {
				t.Fatalf("p%v of %d values: %v, want %v", p, len(values), got, want)
			}
		}
		raw := s.Append(nil)
		back, err := Decode(raw)
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Fatalf("%v came back as %v, %v", s, back, err)
		}
	}
}

// TestIndex: buckets are in the order of values, and values are within the bounds of their buckets.
func TestIndex(t *testing.T) {
	values := []float64{-1e9, -3, -1, -0.1, 0, 1e-300, 0.5, 1, 1.01, 1.04, 2, 3.5, 1e18}
	for i, v := range values {
		low, high := bounds(Index(v))
		if v < low && v >= 0 || v > high && v < 0 || v >= 0 && v >= high {
			t.Errorf("%v is in the bucket from %v to %v", v, low, high)
		}
		if i > 0 && Index(values[i-1]) > Index(v) {
			t.Errorf("the bucket of %v is behind that of %v", values[i-1], v)
		}
	}
}

// TestWithoutBuckets: a set without a distribution has percentiles only if all its values are equal.
func TestWithoutBuckets(t *testing.T) {
	s := Set{Count: 2, Sum: 3, Min: 1, Max: 2}
	if v, ok := s.Percentile(50); ok {
		t.Errorf("p50 is %v", v)
	}
	alike := Set{Count: 3, Sum: 6, Min: 2, Max: 2}
	if v, ok := alike.Percentile(99); !ok || v != 2 {
		t.Errorf("p99 is %v, %v", v, ok)
	}
	one := Of(5, 1)
	s.Add(&one)
	if want := (Set{Count: 3, Sum: 8, Min: 1, Max: 5}); !reflect.DeepEqual(s, want) {
		t.Errorf("%v, want %v", s, want)
	}
}

func FuzzDecode(f *testing.F) {
	s := Of(3, 2)
	f.Add(s.Append(nil))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		if s, err := Decode(raw); err == nil {
			s.Percentile(50)
			s.Between(10, 90)
		}
	})
}
