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

// Tags: CBOR's for numbers, and DAX's own.
const (
	tagPositive  = 2
	tagNegative  = 3
	tagDecimal   = 4
	tagStringSet = 3321
	tagNumberSet = 3322
	tagBinarySet = 3323
	tagListIndex = 3324
)

// MaxMessage is the largest request in bytes: more than a BatchWriteItem of 25 items of 400 KB, or of 16 MB ("BatchWriteItem"). A
// transaction has at most 4 MB.
const MaxMessage = 17 << 20

// MaxNesting is how deep containers of a request may nest, not counting those inside byte strings.
const MaxNesting = 64

// ErrMalformed is the error for bytes that the protocol doesn't allow.
var ErrMalformed = errors.New("malformed DAX request")

// ErrTooLarge is the error for a value that announces more than MaxMessage bytes.
var ErrTooLarge = errors.New("DAX request of too many bytes")

// Skimmer finds where values end, in bytes that are still arriving. It resumes where the bytes ended.
type Skimmer struct {
	pos  int     // offset reached so far
	left []int64 // elements to come of each open container, the innermost last; -1 if a break ends it
	want int     // number of bytes needed before it can make progress
}

// Reset restarts at an offset.
func (s *Skimmer) Reset(pos int) { s.pos, s.left, s.want = pos, s.left[:0], 0 }

// Want returns how many bytes Value needs at least before it can make progress.
func (s *Skimmer) Want() int { return s.want }

// Pos returns the offset reached: after Value has returned true, the end of the value.
func (s *Skimmer) Pos() int { return s.pos }

// Value advances to the end of one value. It returns false if b ends before that: call it again with more bytes appended to b.
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
		ends := true // the head completes a value
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
			if info != infoIndefinite && arg > MaxMessage { // each element takes at least a byte
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

// head decodes the head at an offset. Its length n is 0 if b ends too early, and -1 if the head is malformed.
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

// Reader decodes values of a complete message. Its first error is kept; every read after it returns a zero value. Byte slices that it
// returns are views of the message.
type Reader struct {
	b     []byte
	pos   int
	err   error
	arena []byte // memory of the attribute values

	elements int // number of elements of the current attribute value so far: see another
}

// NewReader returns a Reader of the bytes.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// More reports whether bytes are left to read.
func (r *Reader) More() bool { return r.err == nil && r.pos < len(r.b) }

// Rest takes all remaining bytes.
func (r *Reader) Rest() []byte {
	if r.err != nil {
		return nil
	}
	rest := r.b[r.pos:]
	r.pos = len(r.b)
	return rest
}

// fail keeps the first error.
func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Malformed makes the Reader fail with ErrMalformed.
func (r *Reader) Malformed() { r.fail(ErrMalformed) }

// peek returns the first byte of the next value, or a break at the end and after an error.
func (r *Reader) peek() byte {
	if r.err != nil || r.pos >= len(r.b) {
		return byteBreak
	}
	return r.b[r.pos]
}

// head takes a head.
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

// Null takes a null, if it comes next.
func (r *Reader) Null() bool {
	if r.peek() == byteNull {
		r.pos++
		return true
	}
	return false
}

// Int takes an integer. Booleans count as 0 and 1, because some clients send either.
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

// chunk takes a byte or text string of a definite length.
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

// Text takes a text string, without checking that it is UTF-8.
func (r *Reader) Text() []byte { return r.chunk(majorText) }

// BytesOrNull takes a byte string, or a null, for which it returns nil.
func (r *Reader) BytesOrNull() []byte {
	if r.Null() {
		return nil
	}
	return r.Bytes()
}

// Count is the number of elements left of a container, or -1 if a break ends it.
type Count int64

// Array takes the head of an array.
func (r *Reader) Array() Count { return r.container(majorArray) }

// Map takes the head of a map. Next then counts entries, each a key and a value.
func (r *Reader) Map() Count { return r.container(majorMap) }

// container takes the head of a container.
func (r *Reader) container(want byte) Count {
	major, info, arg := r.head()
	if major != want {
		r.Malformed()
		return 0
	}
	if info == infoIndefinite {
		return -1
	}
	if arg > uint64(len(r.b)-r.pos) { // each element takes at least a byte
		r.Malformed()
		return 0
	}
	return Count(arg)
}

// Next advances to the container's next element and reports whether there is one.
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

// Skip takes one value of any kind and returns its bytes.
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

// SkipTag takes a tag, if it comes next. Its value follows.
func (r *Reader) SkipTag() {
	if r.peek()>>5 == majorTag {
		r.tag()
	}
}

// tag takes a tag.
func (r *Reader) tag() uint64 {
	major, _, arg := r.head()
	if major != majorTag {
		r.Malformed()
		return 0
	}
	return arg
}

// appendHead appends a head in its shortest form.
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

// BeginMap appends the head of a map that AppendEnd ends. Clients insist on this form for some maps.
func BeginMap(dst []byte) []byte { return append(dst, majorMap<<5|infoIndefinite) }

// AppendEnd ends a map that BeginMap began.
func AppendEnd(dst []byte) []byte { return append(dst, byteBreak) }

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, byteNull) }

// AppendFloat appends a 64-bit number. Clients accept no shorter ones.
func AppendFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, majorSimple<<5|27), math.Float64bits(v))
}

// WrapBytes turns the bytes from an offset on into the content of a byte string.
func WrapBytes(dst []byte, from int) []byte {
	n := len(dst) - from
	var room [9]byte
	h := appendHead(room[:0], majorBytes, uint64(n))
	dst = append(dst, h...)
	copy(dst[from+len(h):], dst[from:from+n])
	copy(dst[from:], h)
	return dst
}
