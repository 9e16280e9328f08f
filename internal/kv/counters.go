package kv

import "encoding/binary"

// AppendCounters appends the stored form of a list of counters: signed varints, one after the other, without a length.
func AppendCounters(dst []byte, counters []int64) []byte {
	for _, c := range counters {
		dst = binary.AppendVarint(dst, c)
	}
	return dst
}

// DecodeCounters decodes the stored form of a list of counters. A nil value has no counters.
func DecodeCounters(val []byte) []int64 {
	var out []int64
	for len(val) > 0 {
		v, n := binary.Varint(val)
		if n <= 0 {
			break
		}
		out = append(out, v)
		val = val[n:]
	}
	return out
}

// SumCounters adds two lists of counters element by element; the shorter one counts as padded with zeros. Adding is commutative
// and associative, so engines may merge deltas in any order.
func SumCounters(a, b []int64) []int64 {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := append([]int64(nil), a...)
	for i, v := range b {
		out[i] += v
	}
	return out
}
