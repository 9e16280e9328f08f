package kv

import "encoding/binary"

// AppendCounters appends the form of a list of counters that Txn.Add keeps: varints one after the other.
func AppendCounters(dst []byte, counters []int64) []byte {
	for _, c := range counters {
		dst = binary.AppendVarint(dst, c)
	}
	return dst
}

// DecodeCounters returns the counters at a key that Txn.Add writes; none for the nil value.
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

// SumCounters adds two lists of counters element by element.
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
