package wirejson

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// MaxDepth is the deepest nesting of JSON containers that a Reader accepts. A DynamoDB value of 32 levels needs about 70. A deeper body is
// treated as malformed.
const MaxDepth = 500

// newerDepth is the deepest nesting of JSON containers that AWS's newer reader of requests follows. Single-item operations give deeper
// requests, those with values nested more than 62 levels, to the older one.
const newerDepth = 128

// Error is a failure to decode a body.
type Error struct {
	// Malformed means that the body isn't JSON. Otherwise it is JSON whose types don't fit the shape.
	Malformed bool
	// Message is the sentence of AWS's deserializer; empty for malformed bodies.
	Message string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Malformed {
		return "malformed JSON"
	}
	return e.Message
}

// Reader is a pull parser over one JSON text. The zero value reads an empty text.
type Reader struct {
	buf     []byte
	pos     int
	depth   int
	first   bool // no entry of the innermost container was read yet
	deep    bool // see Deep
	err     *Error
	scratch []byte // decoded strings with escapes
	budget  int    // bytes of memory that Spend may still allow

	// Arena holds what decoding builds in binary form, mainly attribute values. It is reused between requests.
	Arena []byte
	// Offsets is a stack that decoders of maps use to sort their entries.
	Offsets []int
}

// Memory that decoding a text may take for lists, maps and structures: BaseMemory bytes, and MemoryPerByte for each byte of the text. AWS's
// own limits keep useful requests far below that.
const (
	BaseMemory    = 1 << 20
	MemoryPerByte = 16
)

// keptBytes is the largest buffer, in bytes, that a Reader keeps for its next text.
const keptBytes = 4 << 20

// Reset points r at the beginning of buf and forgets everything decoded before.
func (r *Reader) Reset(buf []byte) {
	r.buf, r.pos, r.depth, r.first, r.deep, r.err = buf, 0, 0, false, false, nil
	r.Arena, r.Offsets, r.scratch = r.Arena[:0], r.Offsets[:0], r.scratch[:0]
	r.budget = BaseMemory + MemoryPerByte*len(buf)
}

// Release drops the text, and buffers larger than keptBytes. Decoded values must not be used any more.
func (r *Reader) Release() {
	r.Reset(nil)
	if cap(r.Arena) > keptBytes {
		r.Arena = nil
	}
	if cap(r.scratch) > keptBytes {
		r.scratch = nil
	}
	if cap(r.Offsets) > keptBytes/8 {
		r.Offsets = nil
	}
}

// Spend must be called before n bytes are allocated for decoded values. It returns false after an error. A text that exceeds its budget
// fails as malformed, like one that is nested too deeply.
func (r *Reader) Spend(n int) bool {
	if r.budget -= n; r.budget < 0 {
		r.malformed()
	}
	return r.err == nil
}

// Room makes room in the Arena for n bytes, and for what the rest of the text will probably need. Growing by quarters, as append does,
// would allocate several times the final size.
func (r *Reader) Room(n int) {
	if cap(r.Arena)-len(r.Arena) < n {
		r.grow(n)
	}
}

// grow implements Room: it extrapolates from the part of the text read so far.
func (r *Reader) grow(n int) {
	rest := len(r.buf) - r.pos
	if r.pos > sampled {
		rest = int(float64(rest)*float64(len(r.Arena))/float64(r.pos)*1.05) + sampled
	} else {
		rest = min(rest, maxAhead)
	}
	r.Arena = slices.Grow(r.Arena, max(n+rest, cap(r.Arena)/2))
}

// PushOffset appends to Offsets, doubling its capacity when it is full.
func (r *Reader) PushOffset(at int) {
	if len(r.Offsets) == cap(r.Offsets) {
		r.Offsets = slices.Grow(r.Offsets, max(16, cap(r.Offsets)))
	}
	r.Offsets = append(r.Offsets, at)
}

const (
	// sampled is the number of bytes of a text after which Room extrapolates from them. Before that it reserves at most maxAhead.
	sampled  = 32 << 10
	maxAhead = 1 << 20
)

// Err returns the first error met, or nil.
func (r *Reader) Err() *Error { return r.err }

// Mismatch records that the JSON's type does not fit the shape, with AWS's sentence for it.
func (r *Reader) Mismatch(message string) {
	if r.err == nil {
		r.err = &Error{Message: message}
	}
}

// malformed records that the text isn't JSON.
func (r *Reader) malformed() {
	if r.err == nil {
		r.err = &Error{Malformed: true}
	}
}

// Done reports whether only white space is left. If not, the text is malformed.
func (r *Reader) Done() bool {
	if r.err != nil {
		return false
	}
	r.space()
	if r.pos != len(r.buf) {
		r.malformed()
		return false
	}
	return true
}

// Valid reports whether the text given to Reset is well-formed JSON. It discards the position and any error.
func (r *Reader) Valid() bool {
	r.pos, r.depth, r.err = 0, 0, nil
	r.Skip()
	return r.Done()
}

// Rest returns the text behind the current position.
func (r *Reader) Rest() []byte { return r.buf[r.pos:] }

// space skips white space.
func (r *Reader) space() {
	for r.pos < len(r.buf) {
		switch r.buf[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// Kind is the kind of the next JSON value.
type Kind byte

// The kinds of JSON values.
const (
	KindNone   Kind = 0
	KindObject Kind = '{'
	KindArray  Kind = '['
	KindString Kind = '"'
	KindNumber Kind = '0'
	KindTrue   Kind = 't'
	KindFalse  Kind = 'f'
	KindNull   Kind = 'n'
)

// Peek returns the kind of the next value without consuming it.
func (r *Reader) Peek() Kind {
	if r.err != nil {
		return KindNone
	}
	r.space()
	if r.pos >= len(r.buf) {
		r.malformed()
		return KindNone
	}
	switch c := r.buf[r.pos]; c {
	case '{', '[', '"', 't', 'f', 'n':
		return Kind(c)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return KindNumber
	}
	r.malformed()
	return KindNone
}

// literal consumes s, or fails.
func (r *Reader) literal(s string) bool {
	if r.pos+len(s) <= len(r.buf) && string(r.buf[r.pos:r.pos+len(s)]) == s {
		r.pos += len(s)
		return true
	}
	r.malformed()
	return false
}

// AWS's sentences for values that don't fit their place. The last one is a fault of AWS's deserializer that clients see.
const (
	msgStructure = "Start of structure or map found where not expected"
	msgField     = "Unexpected field type"
	msgElement   = "Unexpected value type in payload"
	msgBinary    = "only base-64-encoded strings are convertible to bytes"
	msgBoolean   = "Unexpected token received from parser"
	msgGeneric   = "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and java.lang.Class are in module java.base of loader 'bootstrap')"
)

// Structure reports whether the next value may be a structure that is a list's element or a map's value. If it can't be one, it records
// AWS's sentence, which differs from that for a member.
func (r *Reader) Structure() bool { return r.container(msgElement) }

// Collection is like Structure, for lists and maps.
func (r *Reader) Collection() bool { return r.container(msgGeneric) }

// Member is like Structure, for a structure that is a member of another one.
func (r *Reader) Member() bool { return r.container(msgField) }

// container reports whether the next value is an object, an array or null, and otherwise records the sentence.
func (r *Reader) container(sentence string) bool {
	switch r.Peek() {
	case KindObject, KindArray, KindNull:
		return true
	case KindNone:
	default:
		r.Mismatch(sentence)
	}
	return false
}

// wrongType records AWS's sentence for a value of kind k in the place of a scalar of a Java type.
func (r *Reader) wrongType(k Kind, scalar string) {
	switch k {
	case KindString:
		r.Mismatch("STRING_VALUE cannot be converted to " + scalar)
	case KindNumber:
		start := r.pos
		r.number()
		for _, c := range r.buf[start:r.pos] {
			if c == '.' || c == 'e' || c == 'E' {
				r.Mismatch("DECIMAL_VALUE cannot be converted to " + scalar)
				return
			}
		}
		r.Mismatch("NUMBER_VALUE cannot be converted to " + scalar)
	case KindTrue:
		r.Mismatch("TRUE_VALUE cannot be converted to " + scalar)
	case KindFalse:
		r.Mismatch("FALSE_VALUE cannot be converted to " + scalar)
	case KindObject:
		r.Mismatch(msgStructure)
	case KindArray:
		r.Mismatch("Unrecognized collection type class java.lang." + scalar)
	}
}

// BeginObject enters an object. It returns false for null and on error. javaType is the type that AWS's sentence names if there is an array
// instead.
func (r *Reader) BeginObject(javaType string) bool { return r.beginObject(javaType, msgField) }

// BeginStructure is BeginObject for a structure that is a list's element or a map's value, where AWS has another sentence for scalars.
func (r *Reader) BeginStructure(javaType string) bool { return r.beginObject(javaType, msgElement) }

// beginObject enters an object. scalar is the sentence for values that are no containers.
func (r *Reader) beginObject(javaType, scalar string) bool {
	switch k := r.Peek(); k {
	case KindObject:
		return r.enter()
	case KindNull:
		r.literal("null")
	case KindArray:
		r.Mismatch("Unrecognized collection type " + javaType)
	case KindNone:
	default:
		r.Mismatch(scalar)
	}
	return false
}

// BeginArray enters an array. It returns false for null and on error.
func (r *Reader) BeginArray() bool {
	switch k := r.Peek(); k {
	case KindArray:
		return r.enter()
	case KindNull:
		r.literal("null")
	case KindObject:
		r.Mismatch(msgStructure)
	case KindNone:
	default:
		r.Mismatch(msgField)
	}
	return false
}

// enter enters a container.
func (r *Reader) enter() bool {
	r.pos++
	r.depth++
	r.first = true
	if r.depth > newerDepth {
		r.deep = true
		if r.depth > MaxDepth {
			r.malformed()
			return false
		}
	}
	return true
}

// Deep reports whether the text read so far is nested too deeply for AWS's newer reader of requests.
func (r *Reader) Deep() bool { return r.deep }

// next advances to the next entry of the container that end closes. It returns false at its end and on error.
func (r *Reader) next(end byte) bool {
	if r.err != nil {
		return false
	}
	r.space()
	if r.pos >= len(r.buf) {
		r.malformed()
		return false
	}
	c := r.buf[r.pos]
	if c == end {
		r.pos++
		r.depth--
		r.first = false
		return false
	}
	if !r.first {
		if c != ',' {
			r.malformed()
			return false
		}
		r.pos++
		r.space()
		if r.pos < len(r.buf) && r.buf[r.pos] == end {
			r.malformed()
			return false
		}
	}
	r.first = false
	return true
}

// NextElem advances to the next element of the innermost array. It returns false at its end.
func (r *Reader) NextElem() bool { return r.next(']') }

// NextField advances to the next field of the innermost object and returns its name. It returns false at the object's end.
func (r *Reader) NextField() ([]byte, bool) {
	if !r.next('}') {
		return nil, false
	}
	r.space()
	if r.pos >= len(r.buf) || r.buf[r.pos] != '"' {
		r.malformed()
		return nil, false
	}
	key := r.rawString()
	r.space()
	if r.err != nil || r.pos >= len(r.buf) || r.buf[r.pos] != ':' {
		r.malformed()
		return nil, false
	}
	r.pos++
	return key, true
}

// special[c] is true for bytes that leave the fast path over a string: quote, backslash, control and non-ASCII bytes.
var special = func() (t [256]bool) {
	for i := range t {
		t[i] = i < 0x20 || i >= 0x80 || i == '"' || i == '\\'
	}
	return
}()

// plain returns how many leading bytes of b are printable ASCII except quote and backslash.
func plain(b []byte) int {
	i := 0
	// Four words at a time: nearly all text is plain, and rendering an answer spends most of its time here.
	for ; i+32 <= len(b); i += 32 {
		c := b[i : i+32 : i+32]
		if (unplain(binary.LittleEndian.Uint64(c))|unplain(binary.LittleEndian.Uint64(c[8:]))|
			unplain(binary.LittleEndian.Uint64(c[16:]))|unplain(binary.LittleEndian.Uint64(c[24:])))&high != 0 {
			break
		}
	}
	for ; i+8 <= len(b) && unplain(binary.LittleEndian.Uint64(b[i:]))&high == 0; i += 8 {
	}
	for i < len(b) && !special[b[i]] {
		i++
	}
	return i
}

const low, high = 0x0101010101010101, 0x8080808080808080

// unplain sets the high bit of each byte of w that isn't plain, and possibly of bytes above it.
func unplain(w uint64) uint64 {
	return w | (w - low*0x20) | ((w ^ low*'"') - low) | ((w ^ low*'\\') - low)
}

// rawString reads the string at the current position. The result is a view of the body or, if the string has escapes, of r.scratch.
func (r *Reader) rawString() []byte {
	r.pos++
	start := r.pos
	i := start
	ascii := true
	for {
		i += plain(r.buf[i:])
		if i >= len(r.buf) {
			r.malformed()
			return nil
		}
		switch c := r.buf[i]; {
		case c == '"':
			r.pos = i + 1
			s := r.buf[start:i:i]
			if !ascii && !utf8.Valid(s) {
				r.malformed()
				return nil
			}
			return s
		case c == '\\':
			return r.escapedString(start, i)
		case c >= 0x80:
			ascii = false
			i++
		default:
			r.malformed()
			return nil
		}
	}
}

// escapedString continues rawString at the first escape. It decodes into r.scratch. A lone surrogate becomes U+FFFD.
func (r *Reader) escapedString(start, i int) []byte {
	begin := len(r.scratch)
	out := append(r.scratch, r.buf[start:i]...)
	for {
		n := plain(r.buf[i:])
		out = append(out, r.buf[i:i+n]...)
		i += n
		if i >= len(r.buf) {
			r.malformed()
			return nil
		}
		switch c := r.buf[i]; {
		case c == '"':
			r.pos = i + 1
			r.scratch = out
			s := out[begin:len(out):len(out)] // appending to s must not overwrite what follows in scratch
			if !utf8.Valid(s) {
				r.malformed()
				return nil
			}
			return s
		case c >= 0x80:
			out = append(out, c)
			i++
		case c != '\\' || i+1 >= len(r.buf):
			r.malformed()
			return nil
		default:
			e := r.buf[i+1]
			i += 2
			switch e {
			case '"', '\\', '/':
				out = append(out, e)
			case 'b':
				out = append(out, '\b')
			case 'f':
				out = append(out, '\f')
			case 'n':
				out = append(out, '\n')
			case 'r':
				out = append(out, '\r')
			case 't':
				out = append(out, '\t')
			case 'u':
				c1, ok := hex4(r.buf, i)
				if !ok {
					r.malformed()
					return nil
				}
				i += 4
				// A code point beyond U+FFFF takes two escapes, a high and a low surrogate. An escape that doesn't complete the pair
				// isn't consumed, and is decoded by itself next.
				if utf16.IsSurrogate(c1) {
					c2, ok := rune(0), false
					if i+1 < len(r.buf) && r.buf[i] == '\\' && r.buf[i+1] == 'u' {
						c2, ok = hex4(r.buf, i+2)
					}
					if dec := utf16.DecodeRune(c1, c2); ok && dec != utf8.RuneError {
						c1 = dec
						i += 6
					} else {
						c1 = utf8.RuneError
					}
				}
				out = utf8.AppendRune(out, c1)
			default:
				r.malformed()
				return nil
			}
		}
	}
}

// hex4 decodes four hex digits at an offset.
func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	var v rune
	for _, c := range b[i : i+4] {
		v <<= 4
		switch {
		case c >= '0' && c <= '9':
			v |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			v |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			v |= rune(c-'A') + 10
		default:
			return 0, false
		}
	}
	return v, true
}

// number reads the number at the current position and returns its text.
func (r *Reader) number() []byte {
	start := r.pos
	i := r.pos
	if i < len(r.buf) && r.buf[i] == '-' {
		i++
	}
	digits := func() bool {
		n := i
		for i < len(r.buf) && r.buf[i] >= '0' && r.buf[i] <= '9' {
			i++
		}
		return i > n
	}
	zero := i < len(r.buf) && r.buf[i] == '0'
	intStart := i
	if !digits() || (zero && i-intStart > 1) {
		r.malformed()
		return nil
	}
	if i < len(r.buf) && r.buf[i] == '.' {
		i++
		if !digits() {
			r.malformed()
			return nil
		}
	}
	if i < len(r.buf) && (r.buf[i] == 'e' || r.buf[i] == 'E') {
		i++
		if i < len(r.buf) && (r.buf[i] == '+' || r.buf[i] == '-') {
			i++
		}
		if !digits() {
			r.malformed()
			return nil
		}
	}
	r.pos = i
	return r.buf[start:i]
}

// Skip consumes the next value of any kind.
func (r *Reader) Skip() {
	kept := len(r.scratch)
	r.skip()
	r.scratch = r.scratch[:kept]
}

// skip is Skip without restoring the scratch buffer.
func (r *Reader) skip() {
	switch r.Peek() {
	case KindObject:
		if r.enter() {
			for {
				if _, ok := r.NextField(); !ok {
					break
				}
				r.skip()
			}
		}
	case KindArray:
		if r.enter() {
			for r.NextElem() {
				r.skip()
			}
		}
	case KindString:
		r.rawString()
	case KindNumber:
		r.number()
	case KindTrue:
		r.literal("true")
	case KindFalse:
		r.literal("false")
	case KindNull:
		r.literal("null")
	}
}

// Bytes reads a string. ok is false for null and on error. The result is a view: see Reader.
func (r *Reader) Bytes() (s []byte, ok bool) {
	switch k := r.Peek(); k {
	case KindString:
		s = r.rawString()
		return s, r.err == nil
	case KindNull:
		r.literal("null")
	default:
		r.wrongType(k, "String")
	}
	return nil, false
}

// String reads a string. ok is false for null and on error. The result is a view: see Reader.
func (r *Reader) String() (string, bool) {
	b, ok := r.Bytes()
	return unsafe.String(unsafe.SliceData(b), len(b)), ok
}

// Bool reads a boolean. ok is false for null and on error.
func (r *Reader) Bool() (v, ok bool) {
	switch k := r.Peek(); k {
	case KindTrue:
		return true, r.literal("true")
	case KindFalse:
		return false, r.literal("false")
	case KindNull:
		r.literal("null")
	case KindString:
		return r.boolText()
	default:
		r.wrongType(k, "Boolean")
	}
	return false, false
}

// boolText reads a boolean written as a string, in any case.
func (r *Reader) boolText() (v, ok bool) {
	switch text := r.rawString(); {
	case r.err != nil:
	case strings.EqualFold(View(text), "true"):
		return true, true
	case strings.EqualFold(View(text), "false"):
		return false, true
	default:
		r.Mismatch(msgBoolean)
	}
	return false, false
}

// Int reads an integer of a Java type (Integer or Long). ok is false for null and on error. Fractions are truncated, and values out of the
// range of 64 bits are clamped, as AWS's deserializer does.
func (r *Reader) Int(javaType string) (int64, bool) {
	switch k := r.Peek(); k {
	case KindNumber:
		text := r.number()
		if r.err != nil {
			return 0, false
		}
		if v, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return v, true
		}
		f, err := strconv.ParseFloat(string(text), 64)
		switch {
		case err != nil && f == 0:
			return 0, true
		case f >= math.MaxInt64:
			return math.MaxInt64, true
		case f <= math.MinInt64:
			return math.MinInt64, true
		}
		return int64(f), true
	case KindNull:
		r.literal("null")
	default:
		r.wrongType(k, javaType)
	}
	return 0, false
}

// Float reads a floating-point number. ok is false for null and on error.
func (r *Reader) Float() (float64, bool) {
	switch k := r.Peek(); k {
	case KindNumber:
		text := r.number()
		f, _ := strconv.ParseFloat(string(text), 64)
		return f, r.err == nil
	case KindNull:
		r.literal("null")
	default:
		r.wrongType(k, "Double")
	}
	return 0, false
}

// Base64 reads a string that should be base64, without decoding it. ok is false for null and on error.
func (r *Reader) Base64() (s []byte, ok bool) {
	switch r.Peek() {
	case KindArray:
		r.Mismatch("Unrecognized collection type class java.nio.ByteBuffer")
	case KindNumber, KindTrue, KindFalse:
		r.Mismatch(msgBinary)
	default:
		return r.Bytes()
	}
	return nil, false
}

// Blob decodes a base64 string into the Arena. ok is false for null and on error.
func (r *Reader) Blob() ([]byte, bool) {
	s, ok := r.Base64()
	if !ok {
		return nil, false
	}
	start := len(r.Arena)
	if !r.AppendBase64(s) {
		return nil, false
	}
	return r.Arena[start:len(r.Arena):len(r.Arena)], true
}

// AppendBase64 appends the bytes that s encodes to the Arena. If s isn't base64 it records AWS's sentence.
func (r *Reader) AppendBase64(s []byte) bool {
	out, err := base64.StdEncoding.Strict().AppendDecode(r.Arena, s)
	if err == nil {
		// The library skips line breaks; AWS rejects them.
		for _, c := range s {
			if c == '\r' || c == '\n' {
				err = base64.CorruptInputError(0)
			}
		}
	}
	if err == nil {
		r.Arena = out
		return true
	}
	switch {
	case len(s)%4 != 0:
		r.Mismatch("Base64 encoded length is expected a multiple of 4 bytes but found: " + strconv.Itoa(len(s)))
	case validAlphabet(s):
		r.Mismatch("Invalid last non-pad Base64 character dectected")
	default:
		r.Mismatch("Invalid Base64 character")
	}
	return false
}

// validAlphabet reports whether s consists of characters of base64.
func validAlphabet(s []byte) bool {
	for _, c := range s {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return true
}

// View returns b as a string that shares its memory.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
