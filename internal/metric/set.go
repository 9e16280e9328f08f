package metric

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// Set is the statistics of a number of values. Its buckets, if present, describe their distribution to about 3 %.
type Set struct {
	Count, Sum float64
	Min, Max   float64
	Buckets    []Bucket // sorted by index
}

// Bucket counts similar values.
type Bucket struct {
	Index int32
	Count float64
}

// subBits is the number of fraction bits in a bucket's index: 32 buckets per power of two.
const subBits = 5

// Index returns the bucket of a value: the sign, the exponent and the first subBits of the fraction.
func Index(v float64) int32 {
	if v < 0 {
		return -int32(math.Float64bits(-v)>>(52-subBits)) - 1
	}
	return int32(math.Float64bits(v) >> (52 - subBits))
}

// bounds returns the smallest value of a bucket and the smallest value above it. For negative buckets the roles of the two are reversed in
// absolute terms.
func bounds(index int32) (low, high float64) {
	if index < 0 {
		low, high = bounds(-index - 1)
		return -high, -low
	}
	return math.Float64frombits(uint64(index) << (52 - subBits)), math.Float64frombits(uint64(index+1) << (52 - subBits))
}

// Of returns the statistics of a value that occurred count times.
func Of(v, count float64) Set {
	return Set{Count: count, Sum: v * count, Min: v, Max: v, Buckets: []Bucket{{Index(v), count}}}
}

// Add adds the values of another set. Buckets survive only if both sets have them.
func (s *Set) Add(o *Set) {
	switch {
	case o.Count == 0:
		return
	case s.Count == 0:
		*s = *o
		s.Buckets = slices.Clone(o.Buckets)
		return
	}
	s.Buckets = merge(s.Buckets, o.Buckets)
	s.Count += o.Count
	s.Sum += o.Sum
	s.Min = math.Min(s.Min, o.Min)
	s.Max = math.Max(s.Max, o.Max)
}

// merge adds two distributions. Without one of them, the sum is unknown.
func merge(a, b []Bucket) []Bucket {
	if a == nil || b == nil {
		return nil
	}
	out := make([]Bucket, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Index < b[0].Index:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0].Index < a[0].Index:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, Bucket{a[0].Index, a[0].Count + b[0].Count})
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// Average returns the mean of the values.
func (s *Set) Average() float64 { return s.Sum / s.Count }

// Percentile returns the value below which p percent of the values are. ok is false if the set can't tell, because its values differ and
// it has no buckets.
func (s *Set) Percentile(p float64) (v float64, ok bool) {
	switch {
	case s.Count == 0:
		return 0, false
	case s.Min == s.Max:
		return s.Min, true
	case s.Buckets == nil:
		return 0, false
	}
	rank, seen := p/100*s.Count, 0.0
	for _, b := range s.Buckets {
		if seen+b.Count >= rank {
			low, high := bounds(b.Index)
			low, high = math.Max(low, s.Min), math.Min(high, s.Max)
			return low + (high-low)*(rank-seen)/b.Count, true
		}
		seen += b.Count
	}
	return s.Max, true
}

// Between returns the statistics of the values between two percentiles. ok is false if the set can't tell.
func (s *Set) Between(from, to float64) (out Set, ok bool) {
	if s.Count > 0 && s.Min == s.Max {
		n := s.Count * (to - from) / 100
		return Set{Count: n, Sum: n * s.Min, Min: s.Min, Max: s.Max}, true
	}
	if s.Buckets == nil {
		return Set{}, false
	}
	low, high, seen := from/100*s.Count, to/100*s.Count, 0.0
	for _, b := range s.Buckets {
		n := math.Min(seen+b.Count, high) - math.Max(seen, low)
		seen += b.Count
		if n <= 0 {
			continue
		}
		l, h := bounds(b.Index)
		mid := math.Min(math.Max((l+h)/2, s.Min), s.Max)
		if out.Count == 0 {
			out.Min = mid
		}
		out.Count, out.Sum, out.Max = out.Count+n, out.Sum+n*mid, mid
	}
	return out, true
}

// Within returns the statistics of the values v with low < v <= high. ok is false if the set can't tell.
func (s *Set) Within(low, high float64) (out Set, ok bool) {
	if s.Buckets == nil {
		return Set{}, false
	}
	for _, b := range s.Buckets {
		l, h := bounds(b.Index)
		mid := math.Min(math.Max((l+h)/2, s.Min), s.Max)
		if mid <= low || mid > high {
			continue
		}
		if out.Count == 0 {
			out.Min = mid
		}
		out.Count, out.Sum, out.Max = out.Count+b.Count, out.Sum+b.Count*mid, mid
	}
	return out, true
}

// Append appends the stored form of the set: four numbers, then for each bucket the difference of its index to the previous one, and its
// count.
func (s *Set) Append(dst []byte) []byte {
	for _, v := range [...]float64{s.Count, s.Sum, s.Min, s.Max} {
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
	}
	last := int32(0)
	for _, b := range s.Buckets {
		dst = binary.AppendVarint(dst, int64(b.Index)-int64(last))
		dst = binary.AppendUvarint(dst, math.Float64bits(b.Count)>>24) // counts with more than 29 significant bits lose their lowest
		last = b.Index
	}
	return dst
}

// Decode decodes what Append has written.
func Decode(raw []byte) (Set, error) {
	bad := errors.New("metric: not a set")
	if len(raw) < 32 {
		return Set{}, bad
	}
	var f [4]float64
	for i := range f {
		f[i] = math.Float64frombits(binary.BigEndian.Uint64(raw[8*i:]))
	}
	s := Set{Count: f[0], Sum: f[1], Min: f[2], Max: f[3]}
	last := int64(0)
	for raw = raw[32:]; len(raw) > 0; {
		step, n := binary.Varint(raw)
		if n <= 0 {
			return Set{}, bad
		}
		count, m := binary.Uvarint(raw[n:])
		if m <= 0 {
			return Set{}, bad
		}
		raw = raw[n+m:]
		last += step
		s.Buckets = append(s.Buckets, Bucket{int32(last), math.Float64frombits(count << 24)})
	}
	return s, nil
}
