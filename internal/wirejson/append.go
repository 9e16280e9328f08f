package wirejson

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s to dst as a JSON string. s must be valid UTF-8.
func AppendString(dst []byte, s string) []byte {
	return AppendStringBytes(dst, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// AppendStringBytes is AppendString for bytes.
func AppendStringBytes(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := plain(s)
		for n < len(s) && s[n] >= 0x80 {
			_, size := utf8.DecodeRune(s[n:])
			n += size
			n += plain(s[n:])
		}
		dst = append(dst, s[:n]...)
		if n == len(s) {
			break
		}
		switch c := s[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		s = s[n+1:]
	}
	return append(dst, '"')
}

// AppendBlob appends b to dst as a JSON string of base64.
func AppendBlob(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// AppendFloat appends f in the form of AWS's doubles: whole numbers below 10 million get a fraction (5.0).
func AppendFloat(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1e7 {
		dst = strconv.AppendFloat(dst, f, 'f', 1, 64)
		return dst
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// Key appends the name of the next field: a comma unless the object was just opened, the quoted name, and a colon.
func Key(dst []byte, name string) []byte {
	if len(dst) > 0 && dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// Sep appends a comma unless the list was just opened.
func Sep(dst []byte) []byte {
	if len(dst) > 0 && dst[len(dst)-1] != '[' {
		dst = append(dst, ',')
	}
	return dst
}
