package protocol

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/statordb/stator/internal/wirejson"
)

// Major types of CBOR (RFC 8949), and special values of a head.
const (
	majorUint byte = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple

	infoIndefinite = 31
	byteBreak      = 0xff
)

// Tags with a meaning here. Others are skipped.
const (
	tagDateTime = 0 // RFC 3339
	tagPositive = 2 // big numbers, which the protocol lacks
	tagNegative = 3
)

// maxCBORDepth bounds the nesting of arrays, maps and tags.
const maxCBORDepth = 64

// transcoder converts CBOR to JSON while it reads it, without a tree in between: every byte of CBOR could be an empty map. Announced
// lengths are checked against the input and never allocated.
type transcoder struct {
	in, out []byte
	text    []byte // buffer for a string in pieces
}

// room makes room in the output, doubling it if need be.
func (t *transcoder) room(n int) {
	if cap(t.out)-len(t.out) < n {
		t.out = slices.Grow(t.out, max(n, cap(t.out), len(t.in)))
	}
}

// head takes the head of a data item.
func (t *transcoder) head() (major, info byte, arg uint64, ok bool) {
	if len(t.in) == 0 {
		return 0, 0, 0, false
	}
	major, info = t.in[0]>>5, t.in[0]&31
	t.in = t.in[1:]
	switch {
	case info < 24:
		return major, info, uint64(info), true
	case info == infoIndefinite:
		return major, info, 0, true
	case info > 27 || len(t.in) < 1<<(info-24):
		return 0, 0, 0, false
	}
	n := 1 << (info - 24)
	var wide [8]byte
	copy(wide[8-n:], t.in[:n])
	t.in = t.in[n:]
	return major, info, binary.BigEndian.Uint64(wide[:]), true
}

// atBreak takes a break, if it comes next.
func (t *transcoder) atBreak() bool {
	if len(t.in) > 0 && t.in[0] == byteBreak {
		t.in = t.in[1:]
		return true
	}
	return false
}

// value converts the next data item. It returns false if JSON has no equivalent or the input is malformed.
func (t *transcoder) value(depth int) bool {
	major, info, arg, ok := t.head()
	if !ok || depth > maxCBORDepth {
		return false
	}
	t.room(32) // enough for any scalar but strings
	switch major {
	case majorUint, majorNegative:
		if info == infoIndefinite || arg > math.MaxInt64 {
			return false
		}
		n := int64(arg)
		if major == majorNegative {
			n = -1 - n // the encoding of negative integers
		}
		t.out = strconv.AppendInt(t.out, n, 10)
		return true
	case majorBytes:
		b, ok := t.string(major, info, arg)
		if ok {
			t.room(2 + (len(b)+2)/3*4) // base64 in quotes
			t.out = wirejson.AppendBlob(t.out, b)
		}
		return ok
	case majorText:
		b, ok := t.string(major, info, arg)
		if ok {
			t.room(2 + len(b))
			t.out = wirejson.AppendStringBytes(t.out, b)
		}
		return ok
	case majorArray:
		return t.array(info, arg, depth)
	case majorMap:
		return t.object(info, arg, depth)
	case majorTag:
		return t.tagged(info, arg, depth)
	}
	return t.simple(info, arg)
}

// string takes a byte or text string, whose head has been read.
func (t *transcoder) string(major, info byte, arg uint64) ([]byte, bool) {
	if info != infoIndefinite {
		if arg > uint64(len(t.in)) {
			return nil, false
		}
		b := t.in[:arg]
		t.in = t.in[arg:]
		return b, major == majorBytes || utf8.Valid(b)
	}
	t.text = t.text[:0]
	for !t.atBreak() {
		piece, info, arg, ok := t.head()
		if !ok || piece != major || info == infoIndefinite {
			return nil, false
		}
		b, ok := t.string(major, info, arg)
		if !ok {
			return nil, false
		}
		t.text = append(t.text, b...)
	}
	return t.text, true
}

// more reports whether an array or map has an element i, given its head. It takes the break behind the last one.
func (t *transcoder) more(info byte, count, i uint64) bool {
	if info == infoIndefinite {
		return !t.atBreak()
	}
	return i < count
}

// array converts an array, whose head has been read.
func (t *transcoder) array(info byte, count uint64, depth int) bool {
	t.out = append(t.out, '[')
	for i := uint64(0); t.more(info, count, i); i++ {
		if i > 0 {
			t.out = append(t.out, ',')
		}
		if !t.value(depth + 1) {
			return false
		}
	}
	t.out = append(t.out, ']')
	return true
}

// object converts a map, whose head has been read. Keys must be text.
func (t *transcoder) object(info byte, count uint64, depth int) bool {
	t.out = append(t.out, '{')
	for i := uint64(0); t.more(info, count, i); i++ {
		if i > 0 {
			t.out = append(t.out, ',')
		}
		if len(t.in) == 0 || t.in[0]>>5 != majorText || !t.value(depth+1) {
			return false
		}
		t.out = append(t.out, ':')
		if !t.value(depth + 1) {
			return false
		}
	}
	t.out = append(t.out, '}')
	return true
}

// tagged converts a tagged data item, whose head has been read. Dates become seconds since 1970.
func (t *transcoder) tagged(info byte, tag uint64, depth int) bool {
	if info == infoIndefinite || tag == tagPositive || tag == tagNegative {
		return false
	}
	if tag != tagDateTime {
		return t.value(depth + 1)
	}
	major, info, arg, ok := t.head()
	if !ok || major != majorText {
		return false
	}
	b, ok := t.string(major, info, arg)
	if !ok {
		return false
	}
	at, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return false
	}
	return t.float(float64(at.UnixMicro()) / 1e6)
}

// simple converts a simple value or a floating-point number, whose width is in the head.
func (t *transcoder) simple(info byte, arg uint64) bool {
	switch info {
	case 20:
		t.out = append(t.out, "false"...)
	case 21:
		t.out = append(t.out, "true"...)
	case 22, 23: // null and undefined
		t.out = append(t.out, "null"...)
	case 25:
		return t.float(halfFloat(uint16(arg)))
	case 26:
		return t.float(float64(math.Float32frombits(uint32(arg))))
	case 27:
		return t.float(math.Float64frombits(arg))
	default:
		return false
	}
	return true
}

// float appends a number.
func (t *transcoder) float(f float64) bool {
	if math.IsNaN(f) || math.IsInf(f, 0) { // JSON has no such number
		return false
	}
	t.out = strconv.AppendFloat(t.out, f, 'g', -1, 64)
	return true
}

// halfFloat decodes IEEE 754 binary16 (RFC 8949, appendix D).
func halfFloat(half uint16) float64 {
	exponent, mantissa := int(half>>10&0x1f), float64(half&0x3ff)
	f := math.Inf(1)
	switch {
	case exponent == 0:
		f = math.Ldexp(mantissa, -24)
	case exponent != 31:
		f = math.Ldexp(mantissa+1024, exponent-25)
	case mantissa != 0:
		f = math.NaN()
	}
	if half&0x8000 != 0 {
		f = -f
	}
	return f
}
