package itemfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// ionGuard stands in front of the Ion library, which keeps a value of any length in memory and its nesting on the
// stack. It passes whole top-level values that are within the limits, and replaces others by a string that says what
// was wrong with them.
//
// The guard of text parses less of Ion than the library, so it must agree with it on where strings, comments and
// containers end. Input that the library treats differently when it reads a value and when it skips it is an error. No
// item needs such input: operators in s-expressions, a brace in a clob, a comment that begins with /*/.
type ionGuard struct {
	in   *bufio.Reader
	unit func() ([]byte, error) // returns the next top-level value, or a part of what is between two
	rest []byte
	err  error
}

// newIonGuard detects whether in is text or binary, as the library does.
func newIonGuard(in io.Reader) *ionGuard {
	g := &ionGuard{in: bufio.NewReaderSize(in, chunkSize)}
	if head, _ := g.in.Peek(4); len(head) == 4 && head[0] == bvm && head[3] == 0xEA {
		g.unit = (&ionBinary{in: g.in}).next
	} else {
		g.unit = (&ionText{in: g.in}).next
	}
	return g
}

// Read implements io.Reader.
func (g *ionGuard) Read(p []byte) (int, error) {
	for len(g.rest) == 0 {
		if g.err != nil {
			return 0, g.err
		}
		g.rest, g.err = g.unit()
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// inPlaceOf returns the error for which a guard's string stands; nil for any other string.
func inPlaceOf(text string) error {
	for _, err := range []error{errRecordTooLong, errAnnotated, errTooDeep, errNumberTooLong, errAnnotations, errIonBinary} {
		if text == err.Error() {
			return err
		}
	}
	return nil
}

// checkpoint is a string that a guard adds after an annotated value. The library reads consecutive symbol tables in one
// go, and the checkpoint makes it stop, so that each table can be checked.
const checkpoint = "$stator_checkpoint"

// ionText is the guard of text.
type ionText struct {
	in      *bufio.Reader
	buf     []byte
	refused error            // why the value will be replaced
	open    [maxNesting]byte // the open brackets
	depth   int              // the number of open brackets, which may exceed len(open)
	last    byte             // the first byte of the previous token; 0 if nothing can continue it
	names   int              // annotations of the current value
	noted   bool             // the top-level value is annotated
}

// put adds a byte to the value.
func (g *ionText) put(c byte) {
	if g.refused != nil {
		return
	}
	g.buf = append(g.buf, c)
	g.checkSize()
}

// checkSize refuses a value that has become too long.
func (g *ionText) checkSize() {
	if len(g.buf) > MaxRecord {
		g.refuse(errRecordTooLong)
	} else if g.noted && len(g.buf) > maxTable {
		g.refuse(errAnnotated)
	}
}

// refuse records the first reason to replace the value.
func (g *ionText) refuse(err error) {
	if g.refused == nil {
		g.refused = err
	}
}

// must reads a byte within a value.
func (g *ionText) must() (byte, error) {
	c, err := g.in.ReadByte()
	if errors.Is(err, io.EOF) {
		err = g.cut()
	}
	return c, err
}

// cut returns the error for a file that ends within a value.
func (g *ionText) cut() error {
	if g.refused != nil {
		return g.refused
	}
	return io.ErrUnexpectedEOF
}

// peek returns the next n bytes, or fewer at the end.
func (g *ionText) peek(n int) string {
	b, _ := g.in.Peek(n) // an error recurs when they are read
	return string(b)
}

// take adds a byte that was peeked at.
func (g *ionText) take() {
	c, _ := g.in.ReadByte()
	g.put(c)
}

func unexpected(c byte) error { return fmt.Errorf("unexpected %q in Ion text", c) }

// next returns the next top-level value, together with the white space around it.
func (g *ionText) next() ([]byte, error) {
	g.buf, g.refused, g.last, g.names, g.noted = g.buf[:0], nil, 0, 0, false
	complete := false // there is a value, which only a continuation of its token could extend
	for {
		c, err := g.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && g.depth > 0:
			return nil, g.cut()
		case err != nil:
			return g.value(), err
		case isSpace(c) || c == '/':
			if err := g.token(c); err != nil {
				return nil, err
			}
			continue
		}
		// An annotation may follow a symbol, and long strings in a row are one value.
		goesOn := c == ':' || c == '\'' && g.last == '\''
		if complete && !goesOn {
			return g.value(), g.in.UnreadByte()
		}
		if err := g.token(c); err != nil {
			return nil, err
		}
		complete = g.depth == 0 && c != ':'
	}
}

// value returns the value, or the string that replaces it.
func (g *ionText) value() []byte {
	if g.refused != nil {
		return fmt.Appendf(nil, " %q ", g.refused.Error())
	}
	if g.noted {
		return fmt.Appendf(g.buf, " %q ", checkpoint)
	}
	return g.buf
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || isSign(c)
}

func isSign(c byte) bool { return c == '+' || c == '-' || c == '.' }

// token consumes the token that begins with c, or the white space, comment or bracket that c is.
func (g *ionText) token(c byte) error {
	switch {
	case isSpace(c):
		g.space(c)
		return nil
	case c == '/':
		return g.comment()
	case c == ':':
		g.put(c)
		if g.last == ':' || g.peek(1) != ":" {
			g.last = ':'
			return nil
		}
		g.take()
		if g.names++; g.names > maxAnnotations {
			g.refuse(errAnnotations)
		}
		g.noted = g.noted || g.depth == 0
		g.last = ':'
		return nil
	}
	if g.last != ':' {
		g.names = 0
	}
	if c != ',' {
		defer func() { g.last = c }()
	}
	g.last = 0
	switch {
	case c == '"':
		g.put(c)
		return g.short('"', false)
	case c == '\'':
		g.put(c)
		return g.quoted(false)
	case c == '{' && g.peek(1) == "{":
		return g.lob()
	case c == '{', c == '[', c == '(':
		g.enter(c)
		g.put(c)
		return nil
	case c == '}', c == ']', c == ')':
		g.put(c)
		return g.leave(c)
	case c == ',':
		g.put(c)
		return nil
	case isWord(c):
		g.put(c)
		return g.word(c)
	}
	return unexpected(c)
}

// enter opens a container. It keeps counting beyond the limit, so that leave finds the end of the value.
func (g *ionText) enter(c byte) {
	if g.depth < maxNesting {
		g.open[g.depth] = c
	} else {
		g.refuse(errTooDeep)
	}
	g.depth++
}

func (g *ionText) leave(c byte) error {
	if g.depth == 0 || g.depth <= maxNesting && !closes(g.open[g.depth-1], c) {
		return unexpected(c)
	}
	g.depth--
	return nil
}

func closes(open, c byte) bool {
	return open == '{' && c == '}' || open == '[' && c == ']' || open == '(' && c == ')'
}

// space adds white space. Between top-level values, one character is enough.
func (g *ionText) space(c byte) {
	if n := len(g.buf); g.depth > 0 || n == 0 || !isSpace(g.buf[n-1]) {
		g.put(c)
	}
}

// comment skips a comment and puts a space in its place.
func (g *ionText) comment() error {
	g.space(' ')
	if g.peek(2) == "*/" { // the library would take /*/ for a whole comment
		return unexpected('/')
	}
	c, err := g.must()
	if err != nil {
		return err
	}
	switch c {
	case '/':
		for {
			c, err := g.in.ReadByte()
			if errors.Is(err, io.EOF) || err == nil && (c == '\n' || c == '\r') {
				return nil
			}
			if err != nil {
				return err
			}
		}
	case '*':
		for last := byte(0); ; last = c {
			if c, err = g.must(); err != nil || last == '*' && c == '/' {
				return err
			}
		}
	}
	return unexpected('/')
}

// word consumes the rest of a symbol, number or timestamp.
func (g *ionText) word(first byte) error {
	number := first < 'A' && first != '$' // begins with a digit or sign
	last := first
	for n := 1; ; n++ {
		if number && n > maxNumber {
			g.refuse(errNumberTooLong)
		}
		next := g.peek(1)
		if next == "" {
			return nil
		}
		c := next[0]
		switch {
		case isWord(c), c == ':' && number: // a colon is part of a timestamp
			last = c
			g.take()
			continue
		case c == '/' && isSign(last): // an operator, or a comment
			return unexpected(c)
		}
		return nil
	}
}

// short consumes the rest of a string, or of a symbol in single quotation marks.
func (g *ionText) short(quote byte, lob bool) error {
	for {
		g.plain(quote)
		c, err := g.must()
		if err != nil {
			return err
		}
		g.put(c)
		switch {
		case c == quote:
			return nil
		case c == '\n', c == '\r', lob && c == '}':
			return unexpected(c)
		case c == '\\':
			if err := g.escaped(); err != nil {
				return err
			}
		}
	}
}

// plain consumes the buffered part of a string up to a byte that matters.
func (g *ionText) plain(quote byte) {
	b, _ := g.in.Peek(g.in.Buffered()) // everything buffered
	n := 0
	for n < len(b) && b[n] != quote && b[n] != '\\' && b[n] != '\n' && b[n] != '\r' && b[n] != '}' {
		n++
	}
	if g.refused == nil {
		g.buf = append(g.buf, b[:n]...)
		g.checkSize()
	}
	_, _ = g.in.Discard(n) // it can't fail: the bytes are buffered
}

// escaped consumes what follows a backslash; \r\n is a single character.
func (g *ionText) escaped() error {
	c, err := g.must()
	if err != nil {
		return err
	}
	g.put(c)
	if c == '\r' && g.peek(1) == "\n" {
		g.take()
	}
	return nil
}

// quoted consumes the rest of a symbol or long string.
func (g *ionText) quoted(lob bool) error {
	if g.peek(2) != "''" {
		if lob {
			return unexpected('\'')
		}
		return g.short('\'', lob)
	}
	g.take()
	g.take()
	for {
		c, err := g.must()
		if err != nil {
			return err
		}
		g.put(c)
		switch {
		case c == '\'' && g.peek(2) == "''":
			g.take()
			g.take()
			return nil
		case lob && c == '}':
			return unexpected(c)
		case c == '\\':
			if err := g.escaped(); err != nil {
				return err
			}
		}
	}
}

// lob consumes a blob or clob, whose first brace has been read.
func (g *ionText) lob() error {
	g.put('{')
	g.take()
	for {
		c, err := g.must()
		if err != nil {
			return err
		}
		g.put(c)
		switch {
		case c == '}':
			if c, err = g.must(); err == nil && c != '}' {
				err = unexpected(c)
			}
			g.put(c)
			return err
		case c == '"':
			err = g.short('"', true)
		case c == '\'':
			err = g.quoted(true)
		case !isSpace(c) && !isWord(c) && c != '/' && c != '=':
			err = unexpected(c)
		}
		if err != nil {
			return err
		}
	}
}

const (
	bvm        = 0xE0 // first byte of a binary version marker
	tableID    = 3    // the symbol $ion_symbol_table
	maxTime    = 32   // largest size of a timestamp, in bytes
	maxNameIDs = 64   // largest size of a value's annotations, in bytes
)

// errIonBinary is the error of a value that is not well-formed binary Ion.
var errIonBinary = errors.New("the record is not well-formed Ion")

// errIonLength means that the end of a value can't be found.
var errIonLength = errors.New("a value of Ion has an impossible length")

// errIonTable means that the symbols of what follows can't be known.
var errIonTable = fmt.Errorf("a symbol table of Ion is damaged, or larger than %d MB", maxTable>>20)

// ionBinary is the guard of binary Ion.
type ionBinary struct {
	in  *bufio.Reader
	buf []byte
}

// Types of values in binary Ion.
const (
	ionNull      = 0
	ionBool      = 1
	ionTime      = 6
	ionList      = 11
	ionSexp      = 12
	ionStruct    = 13
	ionAnnotated = 14
	ionReserved  = 15
)

// next returns the next top-level value, or the string that replaces it.
func (g *ionBinary) next() ([]byte, error) {
	const longest = 1 + 10 + 10 + 10 // type, length, length of the annotations, and first annotation
	head, err := g.in.Peek(longest)
	if len(head) == 0 {
		return nil, err
	}
	if head[0] == bvm {
		g.buf = append(g.buf[:0], make([]byte, 4)...)
		_, err := io.ReadFull(g.in, g.buf)
		return g.buf, err
	}
	start, length, err := ionLength(head)
	if err != nil {
		return nil, err
	}
	limit, table := MaxRecord, false
	tooLong := errRecordTooLong
	if head[0]>>4 == ionAnnotated {
		limit, tooLong = maxTable, errAnnotated
		_, n := varUint(head[start:])
		id, m := varUint(head[start+n:])
		table = n > 0 && m > 0 && id == tableID
	}
	err = tooLong
	if length <= uint64(limit) {
		if size := start + int(length); cap(g.buf) < size {
			g.buf = make([]byte, size, max(size, 2*cap(g.buf)))
		} else {
			g.buf = g.buf[:size]
		}
		if _, err := io.ReadFull(g.in, g.buf); err != nil {
			return nil, cutOff(err)
		}
		if _, err = checkIon(g.buf, 0, false); err == nil && limit == maxTable {
			return append(g.buf, ionString(checkpoint)...), nil
		}
		if err == nil {
			return g.buf, nil
		}
	} else if !table {
		if err := g.skip(uint64(start) + length); err != nil {
			return nil, err
		}
	}
	if table {
		return nil, errIonTable
	}
	return ionString(err.Error()), nil
}

// ionString encodes a string in binary Ion.
func ionString(text string) []byte {
	return append([]byte{0x8E, byte(len(text)>>7) & 0x7F, byte(len(text)) | 0x80}, text...)
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// skip skips n bytes, in steps that fit an int on any machine.
func (g *ionBinary) skip(n uint64) error {
	for n > 0 {
		step := min(n, 1<<20)
		if _, err := g.in.Discard(int(step)); err != nil {
			return cutOff(err)
		}
		n -= step
	}
	return nil
}

// varUint decodes a number with 7 bits per byte. n is 0 if the number does not end within b or within nine bytes.
func varUint(b []byte) (v uint64, n int) {
	for i, c := range b {
		if i == 9 {
			break
		}
		if v = v<<7 | uint64(c&0x7F); c&0x80 != 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

// ionLength returns where the content of the value at the beginning of b starts, and its length.
func ionLength(b []byte) (start int, length uint64, err error) {
	kind, low := b[0]>>4, b[0]&0x0F
	switch {
	case kind == ionReserved, kind == ionAnnotated && low == 15:
		return 0, 0, errIonLength
	case kind == ionBool, low == 15:
		return 1, 0, nil
	case low == 14, kind == ionStruct && low == 1:
		v, n := varUint(b[1:])
		if n == 0 {
			return 0, 0, errIonLength
		}
		return 1 + n, v, nil
	}
	return 1, uint64(low), nil
}

// checkIon checks the value at the beginning of b and returns its size. It refuses structs that claim to have sorted
// fields, because the library misreads some of their lengths.
func checkIon(b []byte, depth int, annotated bool) (size int, err error) {
	if len(b) == 0 {
		return 0, errIonBinary
	}
	start, length, err := ionLength(b)
	if err != nil || length > uint64(len(b)-start) {
		return 0, errIonBinary
	}
	size = start + int(length)
	kind, low, body := b[0]>>4, b[0]&0x0F, b[start:size]
	if low == 15 {
		return size, nil // null
	}
	if depth >= maxNesting {
		return 0, errTooDeep
	}
	switch kind {
	case ionTime:
		if length > maxTime {
			return 0, errIonBinary
		}
	case ionList, ionSexp, ionStruct:
		if kind == ionStruct && low == 1 {
			return 0, errIonBinary
		}
		for len(body) > 0 {
			if kind == ionStruct {
				_, n := varUint(body)
				if n == 0 {
					return 0, errIonBinary
				}
				body = body[n:]
			}
			n, err := checkIon(body, depth+1, false)
			if err != nil {
				return 0, err
			}
			body = body[n:]
		}
	case ionAnnotated:
		names, n := varUint(body)
		if annotated || n == 0 || names > uint64(len(body)-n) {
			return 0, errIonBinary
		}
		if names > maxNameIDs {
			return 0, errAnnotations
		}
		body = body[n+int(names):]
		if n, err = checkIon(body, depth, true); err == nil && n != len(body) {
			err = errIonBinary
		}
		return size, err
	}
	return size, nil
}
