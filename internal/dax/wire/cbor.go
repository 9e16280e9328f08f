package wire

import (
	"encoding/binary"
	"errors"
	"math"
)

// Major types and simple values of CBOR (RFC 8949).
const (
	majorUint byte = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

const (
	byteFalse = 0xf4
	byteTrue  = 0xf5
	byteNull  = 0xf6
	byteBreak = 0xff

	infoIndefinite = 31
)

// Tags: those of CBOR for numbers, and DAX's own.
const (
	tagPositive  = 2
	tagNegative  = 3
	tagDecimal   = 4
	tagStringSet = 3321
	tagNumberSet = 3322
	tagBinarySet = 3323
	tagListIndex = 3324
)

// MaxMessage is how many bytes a request may have: more than a BatchWriteItem of 25 items of 400 KB, or of 16 MB ("BatchWriteItem"). A
// transaction has 4 MB at most.
const MaxMessage = 17 << 20

// MaxNesting is how deep containers of a request may be nested, outside of its byte strings.
const MaxNesting = 64

// ErrMalformed says that bytes are none of what the protocol has.
var ErrMalformed = errors.New("malformed DAX request")

// ErrTooLarge says that a value is to have more than MaxMessage bytes.
var ErrTooLarge = errors.New("DAX request of too many bytes")

// Skimmer finds out where values end, also in bytes of which only the beginning has come so far.
type Skimmer struct {
	pos  int
	left []int64 // elements to come of the open containers, the innermost last; -1 for those that end with a break
	want int     // how many bytes there must be before it can go on
}

// Reset begins anew at an offset.
func (s *Skimmer) Reset(pos int) { s.pos, s.left, s.want = pos, s.left[:0], 0 }

// Want returns how many bytes there must be at least before Value can say more.
func (s *Skimmer) Want() int { return s.want }

// Pos returns the offset that was reached: after Value returned true, where the value ends.
func (s *Skimmer) Pos() int { return s.pos }

// Value goes on to the end of one value. It returns false if b ends before: call it again with more behind the same bytes.
func (s *Skimmer) Value(b []byte) (whole bool, err error) {
	if len(b) < s.want {
		return false, nil
	}
	for {
		major, info, arg, n := head(b, s.pos)
		if n == 0 {
			s.want = len(b) + 1
			return false, nil
		}
		if n < 0 {
			return false, ErrMalformed
		}
		ends := true // a value ends here
		switch major {
		case majorBytes, majorText:
			if info == infoIndefinite {
				return false, ErrMalformed
			}
			if arg > MaxMessage-uint64(s.pos) {
				return false, ErrTooLarge
			}
			if s.want = s.pos + n + int(arg); s.want > len(b) {
				return false, nil
			}
			n += int(arg)
		case majorArray, majorMap:
			if len(s.left) == MaxNesting {
				return false, ErrMalformed
			}
			if info != infoIndefinite && arg > MaxMessage { // each element has a byte at least
				return false, ErrTooLarge
			}
			count := int64(arg)
			switch {
			case info == infoIndefinite:
				count = -1
			case major == majorMap:
				count *= 2
			}
			if count != 0 {
				s.left, ends = append(s.left, count), false
			}
		case majorTag:
			ends = false
		case majorSimple:
			if info == infoIndefinite {
				last := len(s.left) - 1
				if last < 0 || s.left[last] != -1 {
					return false, ErrMalformed
				}
				s.left = s.left[:last]
			}
		}
		s.pos += n
		if s.pos > MaxMessage {
			return false, ErrTooLarge
		}
		for ends {
			last := len(s.left) - 1
			if last < 0 {
				return true, nil
			}
			if s.left[last] == -1 {
				break
			}
			if s.left[last]--; s.left[last] > 0 {
				break
			}
			s.left = s.left[:last]
		}
	}
}

// head reads the head of the value at an offset: its length n is 0 if b ends before, and -1 if it is malformed.
func head(b []byte, pos int) (major, info byte, arg uint64, n int) {
	if pos >= len(b) {
		return 0, 0, 0, 0
	}
	major, info = b[pos]>>5, b[pos]&31
	rest := b[pos+1:]
	switch {
	case info < 24:
		return major, info, uint64(info), 1
	case info == 24 && len(rest) >= 1:
		return major, info, uint64(rest[0]), 2
	case info == 25 && len(rest) >= 2:
		return major, info, uint64(binary.BigEndian.Uint16(rest)), 3
	case info == 26 && len(rest) >= 4:
		return major, info, uint64(binary.BigEndian.Uint32(rest)), 5
	case info == 27 && len(rest) >= 8:
		return major, info, binary.BigEndian.Uint64(rest), 9
	case info < 28:
		return 0, 0, 0, 0
	case info == infoIndefinite && (major >= majorBytes && major <= majorMap || major == majorSimple):
		return major, info, 0, 1
	}
	return 0, 0, 0, -1
}

// Reader reads values of bytes that are all there. The first error stays, and everything read after it is zero. What it
// returns are views of the bytes.
type Reader struct {
	b     []byte
	pos   int
	err   error
	arena []byte // of the attribute values

	elements int // of the attribute value that is read
}

// NewReader returns a Reader of the bytes.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// More reports whether there are bytes left to read.
func (r *Reader) More() bool { return r.err == nil && r.pos < len(r.b) }

// Rest takes all bytes that are left.
func (r *Reader) Rest() []byte {
	if r.err != nil {
		return nil
	}
	rest := r.b[r.pos:]
	r.pos = len(r.b)
	return rest
}

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Malformed makes the Reader fail: what it has read means nothing.
func (r *Reader) Malformed() { r.fail(ErrMalformed) }

// peek returns the first byte of the next value; a break at the end and after errors.
func (r *Reader) peek() byte {
	if r.err != nil || r.pos >= len(r.b) {
		return byteBreak
	}
	return r.b[r.pos]
}

func (r *Reader) head() (major, info byte, arg uint64) {
	if r.err != nil {
		return majorSimple, 0, 0
	}
	major, info, arg, n := head(r.b, r.pos)
	if n <= 0 {
		r.Malformed()
		return majorSimple, 0, 0
	}
	r.pos += n
	return major, info, arg
}

// Null takes a null if one comes next.
func (r *Reader) Null() bool {
	if r.peek() == byteNull {
		r.pos++
		return true
	}
	return false
}

// Int takes an integer; booleans are 0 and 1, as some clients mix the two.
func (r *Reader) Int() int64 {
	switch r.peek() {
	case byteFalse, byteTrue:
		r.pos++
		return int64(r.b[r.pos-1] - byteFalse)
	}
	major, _, arg := r.head()
	if major > majorNegative || arg > math.MaxInt64 {
		r.Malformed()
		return 0
	}
	if major == majorNegative {
		return -1 - int64(arg)
	}
	return int64(arg)
}

func (r *Reader) chunk(want byte) []byte {
	major, info, arg := r.head()
	if major != want || info == infoIndefinite || arg > uint64(len(r.b)-r.pos) {
		r.Malformed()
		return nil
	}
	out := r.b[r.pos : r.pos+int(arg) : r.pos+int(arg)]
	r.pos += int(arg)
	return out
}

// Bytes takes a byte string.
func (r *Reader) Bytes() []byte { return r.chunk(majorBytes) }

// Text takes a text string; it may be no UTF-8.
func (r *Reader) Text() []byte { return r.chunk(majorText) }

// BytesOrNull takes a byte string, or null, which is nil.
func (r *Reader) BytesOrNull() []byte {
	if r.Null() {
		return nil
	}
	return r.Bytes()
}

// Count is how many elements of a container are left; -1 for one that ends with a break.
type Count int64

// Array begins an array.
func (r *Reader) Array() Count { return r.container(majorArray) }

// Map begins a map, whose elements are its keys: Next counts entries.
func (r *Reader) Map() Count { return r.container(majorMap) }

func (r *Reader) container(want byte) Count {
	major, info, arg := r.head()
	if major != want {
		r.Malformed()
		return 0
	}
	if info == infoIndefinite {
		return -1
	}
	if arg > uint64(len(r.b)-r.pos) { // each element has a byte at least
		r.Malformed()
		return 0
	}
	return Count(arg)
}

// Next reports whether the container has another element.
func (r *Reader) Next(n *Count) bool {
	if r.err != nil || *n == 0 {
		return false
	}
	if *n > 0 {
		*n--
		return true
	}
	if r.peek() == byteBreak {
		if r.pos >= len(r.b) {
			r.Malformed()
		}
		r.pos++
		return false
	}
	return true
}

// Skip takes one value, whatever it is, and returns its bytes.
func (r *Reader) Skip() []byte {
	if r.err != nil {
		return nil
	}
	s := Skimmer{pos: r.pos}
	if whole, err := s.Value(r.b); err != nil || !whole {
		r.Malformed()
		return nil
	}
	out := r.b[r.pos:s.pos]
	r.pos = s.pos
	return out
}

// SkipTag takes a tag if one comes next: its value comes then.
func (r *Reader) SkipTag() {
	if r.peek()>>5 == majorTag {
		r.tag()
	}
}

func (r *Reader) tag() uint64 {
	major, _, arg := r.head()
	if major != majorTag {
		r.Malformed()
		return 0
	}
	return arg
}

func appendHead(dst []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(dst, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), arg)
}

// AppendInt appends an integer.
func AppendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNegative, uint64(-1-v))
	}
	return appendHead(dst, majorUint, uint64(v))
}

// AppendBytes appends a byte string.
func AppendBytes(dst, b []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(b))), b...)
}

// AppendText appends a text string.
func AppendText(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

// AppendArray begins an array of n elements.
func AppendArray(dst []byte, n int) []byte { return appendHead(dst, majorArray, uint64(n)) }

// AppendMap begins a map of n entries.
func AppendMap(dst []byte, n int) []byte { return appendHead(dst, majorMap, uint64(n)) }

// BeginMap begins a map that AppendEnd ends. Clients want some maps so and not otherwise.
func BeginMap(dst []byte) []byte { return append(dst, majorMap<<5|infoIndefinite) }

// AppendEnd ends what BeginMap began.
func AppendEnd(dst []byte) []byte { return append(dst, byteBreak) }

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, byteNull) }

// AppendFloat appends a number of 64 bits. Clients take no shorter ones.
func AppendFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, majorSimple<<5|27), math.Float64bits(v))
}

// WrapBytes makes the bytes behind an offset the content of a byte string there.
func WrapBytes(dst []byte, from int) []byte {
	n := len(dst) - from
	var room [9]byte
	h := appendHead(room[:0], majorBytes, uint64(n))
	dst = append(dst, h...)
	copy(dst[from+len(h):], dst[from:from+n])
	copy(dst[from:], h)
	return dst
}
