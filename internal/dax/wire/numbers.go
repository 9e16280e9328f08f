package wire

import (
	"bytes"
	"math"
	"math/big"
	"strconv"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
)

const (
	// maxBignum is the largest integer in bytes that is decoded: 10^126, beyond DynamoDB's range, has 53.
	maxBignum = 64
	// maxExponent bounds the exponents that are decoded; DynamoDB's range is far smaller.
	maxExponent = 1 << 20
)

// number takes a number and appends its canonical text.
func (r *Reader) number(dst []byte) []byte {
	var room [96]byte
	text := r.numberText(room[:0])
	if r.err != nil {
		return dst
	}
	out, problem := attribute.AppendNumber(dst, text)
	if problem != "" {
		r.fail(awserr.RequestError(problem))
	}
	return out
}

// numberText takes a number and appends its text, not yet canonical.
func (r *Reader) numberText(dst []byte) []byte {
	switch first := r.peek(); first >> 5 {
	case majorTag:
		if first != majorTag<<5|tagDecimal {
			return r.integer(dst)
		}
		r.pos++
		if n := r.Array(); n != 2 {
			r.Malformed()
			return dst
		}
		exponent := r.Int()
		dst = r.integer(dst)
		if exponent > maxExponent || exponent < -maxExponent {
			exponent = max(-maxExponent, min(exponent, maxExponent)) // still out of DynamoDB's range, as before
		}
		return strconv.AppendInt(append(dst, 'E'), exponent, 10)
	case majorSimple:
		_, info, arg := r.head()
		switch info {
		case 26:
			return strconv.AppendFloat(dst, float64(math.Float32frombits(uint32(arg))), 'g', -1, 32)
		case 27:
			return strconv.AppendFloat(dst, math.Float64frombits(arg), 'g', -1, 64)
		}
		r.Malformed()
		return dst
	}
	return r.integer(dst)
}

// integer takes an integer of any size.
func (r *Reader) integer(dst []byte) []byte {
	major, _, arg := r.head()
	switch {
	case r.err != nil:
		return dst
	case major == majorUint:
		return strconv.AppendUint(dst, arg, 10)
	case major == majorNegative && arg < math.MaxInt64:
		return strconv.AppendInt(dst, -1-int64(arg), 10)
	case major == majorNegative:
		v := new(big.Int).SetUint64(arg)
		return v.Not(v).Append(dst, 10)
	case major == majorTag && (arg == tagPositive || arg == tagNegative):
		b := bytes.TrimLeft(r.Bytes(), "\x00")
		if len(b) > maxBignum {
			b = bytes.Repeat([]byte{255}, maxBignum) // still out of DynamoDB's range, as before
		}
		v := new(big.Int).SetBytes(b)
		if arg == tagNegative {
			v.Not(v)
		}
		return v.Append(dst, 10)
	}
	r.Malformed()
	return dst
}

// appendNumber appends a canonical number: as an integer if it is one, otherwise as a decimal fraction.
func appendNumber(dst, text []byte) []byte {
	point := bytes.IndexByte(text, '.')
	if point < 0 {
		return appendInteger(dst, text)
	}
	var room [64]byte
	digits := append(append(room[:0], text[:point]...), text[point+1:]...)
	dst = append(dst, majorTag<<5|tagDecimal, majorArray<<5|2)
	dst = AppendInt(dst, int64(point+1-len(text)))
	return appendInteger(dst, digits)
}

// appendInteger appends an integer, whose text may have leading zeros.
func appendInteger(dst, text []byte) []byte {
	if len(text) <= 18 {
		v, negative := int64(0), false
		for _, c := range text {
			if c == '-' {
				negative = true
			} else {
				v = v*10 + int64(c-'0')
			}
		}
		if negative {
			v = -v
		}
		return AppendInt(dst, v)
	}
	v, _ := new(big.Int).SetString(string(text), 10)
	major, tag := majorUint, byte(tagPositive)
	if v.Sign() < 0 {
		major, tag = majorNegative, tagNegative
		v.Not(v)
	}
	if v.IsUint64() {
		return appendHead(dst, major, v.Uint64())
	}
	return AppendBytes(append(dst, majorTag<<5|tag), v.Bytes())
}

// Sort keys hold numbers in a form whose byte order is the numeric order: a header with sign and exponent, then the digits in groups
// of three, 10 bits each, then 10 bits that say how many digits of the last group count.
const (
	orderedZero      = 0x80
	orderedPositive  = 0xc0 // + exponent
	orderedNegative  = 0x3f // - exponent
	orderedLarge     = 0xfe // followed by the exponent in four bytes
	orderedSmall     = 0x81
	orderedNegSmall  = 0x7e
	orderedNegLarge  = 0x01
	orderedNear      = 62 // the header holds exponents from -62 to 61
	orderedOffset    = 12
	orderedNegOffset = 1011
	signBit          = 0x80000000
)

// appendOrdered appends a canonical number in the ordered form.
func appendOrdered(dst, text []byte) []byte {
	negative := text[0] == '-'
	if negative {
		text = text[1:]
	}
	point := bytes.IndexByte(text, '.')
	var room [192]byte
	digits := room[:0]
	exponent := len(text)
	if point < 0 {
		digits = append(digits, text...)
	} else {
		exponent = point
		digits = append(append(digits, text[:point]...), text[point+1:]...)
	}
	// Normalize to 0.digits * 10^exponent, with neither leading nor trailing zeros.
	for len(digits) > 0 && digits[0] == '0' {
		digits = digits[1:]
		exponent--
	}
	digits = bytes.TrimRight(digits, "0")
	if len(digits) == 0 {
		return append(dst, orderedZero)
	}
	// An exponent that doesn't fit into the header follows in 4 bytes. Flipped bits make them sort like the numbers.
	large := func(header byte, flip uint32) {
		e := uint32(int32(exponent)) ^ flip
		dst = append(dst, header, byte(e>>24), byte(e>>16), byte(e>>8), byte(e))
	}
	switch near := exponent >= -orderedNear && exponent < orderedNear; {
	case near && negative:
		dst = append(dst, byte(orderedNegative-exponent))
	case near:
		dst = append(dst, byte(orderedPositive+exponent))
	case exponent > 0 && negative:
		large(orderedNegLarge, signBit-1)
	case exponent > 0:
		large(orderedLarge, signBit)
	case negative:
		large(orderedNegSmall, signBit-1)
	default:
		large(orderedSmall, signBit)
	}
	var bits uint32
	have := 0
	// bits holds up to 7 bits that don't fill a byte yet.
	unit := func(u int) {
		bits = bits<<10 | uint32(u)
		for have += 10; have >= 8; {
			have -= 8
			dst = append(dst, byte(bits>>have))
		}
	}
	last := 0
	// Groups of negative numbers count down, so that a larger group sorts first.
	for i := 0; i < len(digits); i += 3 {
		group := 0
		last = min(3, len(digits)-i)
		for j := range 3 {
			group *= 10
			if j < last {
				group += int(digits[i+j] - '0')
			}
		}
		if negative {
			unit(orderedNegOffset - group)
		} else {
			unit(orderedOffset + group)
		}
	}
	if negative {
		unit(1024 - last)
	} else {
		unit(last - 1)
	}
	if have > 0 {
		dst = append(dst, byte(bits<<(8-have)))
	}
	return dst
}

// readOrdered appends the text of a number in the ordered form. It returns false if the bytes aren't one.
func readOrdered(dst, b []byte) (text []byte, ok bool) {
	if len(b) == 1 && b[0] == orderedZero {
		return append(dst, '0'), true
	}
	if len(b) < 2 || len(b) > 128 {
		return dst, false
	}
	header := b[0]
	b = b[1:]
	exponent, negative := 0, header < 0x80
	switch header {
	case orderedLarge, orderedSmall, orderedNegLarge, orderedNegSmall:
		if len(b) < 5 {
			return dst, false
		}
		flip := uint32(signBit)
		if negative {
			flip--
		}
		exponent = int(int32((uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])) ^ flip))
		b = b[4:]
	case 0x00, 0x7f, orderedZero, 0xff:
		return dst, false
	default:
		if negative {
			exponent = orderedNegative - int(header)
		} else {
			exponent = int(header) - orderedPositive
		}
	}
	if exponent > maxExponent || exponent < -maxExponent {
		return dst, false
	}
	if negative {
		dst = append(dst, '-')
	}
	dst = append(dst, '0', '.')
	start := len(dst)
	var bits uint32
	have := 0
	for _, c := range b {
		// Older bits overflow out of the top; only the lower have bits count.
		bits, have = bits<<8|uint32(c), have+8
		if have < 10 {
			continue
		}
		have -= 10
		unit := int(bits>>have) & 1023
		group, digits := unit-orderedOffset, unit+1
		if negative {
			group, digits = orderedNegOffset-unit, 1024-unit
		}
		if digits <= 3 && digits > 0 { // the last group: this many of its digits count
			if len(dst) == start {
				return dst, false
			}
			dst = dst[:len(dst)-3+digits]
			return strconv.AppendInt(append(dst, 'E'), int64(exponent), 10), true
		}
		if group < 0 || group > 999 {
			return dst, false
		}
		dst = append(dst, byte('0'+group/100), byte('0'+group/10%10), byte('0'+group%10))
	}
	return dst, false
}
