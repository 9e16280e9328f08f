package attribute

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/statordb/stator/internal/wirejson"
)

// AWS's sentences for JSON that is no valid attribute value. Their spelling and spacing is AWS's.
//
// AWS validates values in one of two layers, by operation. They word some problems differently; see [Value.Invalid] and [Value.InvalidOlder].
const (
	msgEmptyValue     = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
	msgManyTypes      = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
	msgInvalidPrefix  = "One or more parameter values were invalid: "
	msgNullNotTrue    = msgInvalidPrefix + "Null attribute value types must have the value of true"
	msgEmptyStringSet = msgInvalidPrefix + "An string set  may not be empty"
	msgEmptyNumberSet = msgInvalidPrefix + "An number set  may not be empty"
	msgEmptyBinarySet = msgInvalidPrefix + "Binary sets should not be empty"
	msgNumberTwice    = msgInvalidPrefix + "Input collection contains duplicates."
	msgNumberTwiceOld = "Input collection contains duplicates"
	msgEmptyName      = "Empty attribute name"
	msgLongName       = "Attribute name is too large, must be less than 65536 bytes"
	msgDepth          = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
)

// Java types that AWS's deserializer names in errors.
const (
	javaValue    = "class com.amazonaws.dynamodb.v20120810.AttributeValue"
	javaValueMap = "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>"
)

// MaxName is the longest name of an attribute, in bytes, at any depth.
const MaxName = 65535

// decoder builds binary values in the reader's arena, and keeps the sentences about the first invalid value.
type decoder struct {
	r *wirejson.Reader
	// AWS checks the names of an item's attributes first, then the values, then the names within them.
	names, problem, inner problem
	name                  string // the top-level attribute with the problem
	deeper                int    // levels that values may nest beyond MaxDepth
}

// problem is AWS's sentence about an invalid value; its zero value means a valid value.
type problem struct {
	text  string
	older string // the older layer's sentence, if it differs
}

// worst returns the rank of the problem that AWS reports; 0 means a valid value.
func (d *decoder) worst() int {
	switch {
	case d.names.text != "":
		return 3
	case d.problem.text != "":
		return 2
	case d.inner.text != "":
		return 1
	}
	return 0
}

// found returns the problem that AWS reports.
func (d *decoder) found() problem { return [...]problem{{}, d.inner, d.problem, d.names}[d.worst()] }

// append appends the problem's binary form, which read undoes.
func (p problem) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p.text)))
	dst = append(dst, p.text...)
	return append(dst, p.older...)
}

// room is the length of append's form, at most.
func (p problem) room() int { return binary.MaxVarintLen64 + len(p.text) + len(p.older) }

// readProblem returns the two layers' sentences.
func readProblem(b []byte) (text, older string) {
	n, w := uvarint(b)
	text, older = string(b[w:w+n]), string(b[w+n:])
	if older == "" {
		older = text
	}
	return text, older
}

// ReadMember is ReadValue for a value that is a structure's member, not a list's element or a map's value.
func ReadMember(r *wirejson.Reader) Value {
	if !r.Member() {
		return nil
	}
	return ReadValue(r)
}

// ReadValue decodes an attribute value, or returns nil for JSON null. The value lives in the reader's Arena.
func ReadValue(r *wirejson.Reader) Value {
	d := decoder{r: r}
	start := len(r.Arena)
	if _, ok := d.value(0); !ok {
		return nil
	}
	if d.worst() > 0 {
		p := d.found()
		r.Arena = r.Arena[:start]
		// Constant sentences are shared: {} takes two bytes in a request, and its sentence eighty.
		if v := constantProblems[p]; v != nil {
			return v
		}
		r.Room(1 + p.room())
		r.Arena = p.append(append(r.Arena, byte(typeInvalid)))
	}
	return Value(r.Arena[start:len(r.Arena):len(r.Arena)])
}

// Typing is a set of problems with the types of a value.
type Typing uint8

const (
	// NoType is the problem of a value without a type.
	NoType Typing = 1 << iota
	// ManyTypes is the problem of a value with several types.
	ManyTypes
)

// TypingOf returns the problem with a value's types that an invalid value's sentence is about; 0 if it is about something else.
func TypingOf(problem string) Typing {
	switch problem {
	case msgEmptyValue:
		return NoType
	case msgManyTypes:
		return ManyTypes
	}
	return 0
}

// Misshapen reports whether an invalid value's sentence is about its nesting or its names: AWS's older layer reports those later than others.
func Misshapen(problem string) bool {
	return problem == msgDepth || problem == msgEmptyName || problem == msgLongName
}

// constantProblems are the invalid values whose sentences don't depend on the value.
var constantProblems = func() map[problem]Value {
	out := map[problem]Value{}
	add := func(p problem) { out[p] = slices.Clip(p.append(Value{byte(typeInvalid)})) }
	for _, text := range []string{
		msgEmptyValue, msgManyTypes, msgNullNotTrue, msgEmptyStringSet, msgEmptyNumberSet, msgEmptyBinarySet, msgDepth, msgPrecision,
		msgOverflow, msgUnderflow, msgEmptyName, msgLongName, nullMember(TypeSS), nullMember(TypeNS), nullMember(TypeBS),
	} {
		add(problem{text: text})
	}
	add(problem{msgNumberTwice, msgNumberTwiceOld})
	add(numberProblem(nil, notANumber(nil)))
	return out
}()

// ReadItem decodes a map of attribute values, or returns nil for JSON null. The item lives in the reader's Arena.
func ReadItem(r *wirejson.Reader) Item {
	d := decoder{r: r}
	return d.item()
}

// ReadTransactValues is ReadItem for the ExpressionAttributeValues of a transaction's action, which may nest one level deeper than an item's
// values.
func ReadTransactValues(r *wirejson.Reader) Item {
	d := decoder{r: r, deeper: 1}
	return d.item()
}

// item decodes a map of attribute values.
func (d *decoder) item() Item {
	r := d.r
	r.Room(itemHeader)
	start := len(r.Arena)
	r.Arena = append(r.Arena, itemVersion, 0, 0, 0, 0, 0, 0, 0, 0)
	size, count, ok := d.fields(0)
	if !ok {
		return nil
	}
	if d.worst() > 0 {
		p := d.found()
		r.Arena = r.Arena[:start]
		r.Room(1 + binary.MaxVarintLen64 + len(d.name) + p.room())
		r.Arena = append(r.Arena, itemInvalid)
		r.Arena = binary.AppendUvarint(r.Arena, uint64(len(d.name)))
		r.Arena = append(r.Arena, d.name...)
		r.Arena = p.append(r.Arena)
	} else {
		binary.LittleEndian.PutUint32(r.Arena[start+1:], uint32(size))
		binary.LittleEndian.PutUint32(r.Arena[start+5:], uint32(count))
	}
	return Item(r.Arena[start:len(r.Arena):len(r.Arena)])
}

// fail keeps the sentence of the first problem.
func (d *decoder) fail(text string) { d.failed(problem{text: text}) }

// failed keeps the first problem.
func (d *decoder) failed(p problem) {
	if d.problem.text == "" {
		d.problem = p
	}
}

// badName keeps the problem of an attribute's name, which is empty or too long.
func (d *decoder) badName(name []byte, depth int) {
	p := problem{text: msgLongName}
	if len(name) == 0 {
		p.text = msgEmptyName
	}
	switch {
	case depth > 0 && d.inner.text == "":
		d.inner = p
	case depth == 0 && d.names.text == "":
		d.names, d.name = p, string(name)
	}
}

// fields decodes a JSON object of attribute values and appends its fields, sorted by name. size includes names and, in nested maps, one
// byte per entry.
func (d *decoder) fields(depth int) (size, count int, ok bool) {
	r := d.r
	if !r.BeginObject(javaValueMap) {
		return 0, 0, false
	}
	base := len(r.Offsets)
	sorted := true
	var previous []byte
	for {
		name, more := r.NextField()
		if !more {
			break
		}
		r.PushOffset(len(r.Arena))
		r.Room(binary.MaxVarintLen64 + len(name))
		r.Arena = binary.AppendUvarint(r.Arena, uint64(len(name)))
		r.Arena = append(r.Arena, name...)
		if len(name) == 0 || len(name) > MaxName {
			d.badName(name, depth)
		}
		// Record at the top level in which attribute the first problem is.
		before := d.worst()
		n, found := d.value(depth)
		if !found && r.Err() == nil {
			d.fail(msgEmptyValue)
		}
		if depth == 0 && d.worst() > before {
			d.name = string(name)
		}
		size += len(name) + n
		if depth > 0 {
			size++
		}
		count++
		if count > 1 && bytes.Compare(previous, name) >= 0 { // also for a repeated name
			sorted = false
		}
		previous = name
	}
	if r.Err() != nil {
		return 0, 0, false
	}
	if !sorted && d.problem.text == "" {
		var dropped int
		dropped, count = d.sortFields(r.Offsets[base:], depth > 0)
		size -= dropped
	}
	r.Offsets = r.Offsets[:base]
	return size, count, true
}

// sortFields sorts the fields at the offsets, which end with the arena. If a JSON object repeats a name, it keeps the last one, as AWS
// does. It returns the size of the dropped fields and the number of the remaining ones.
func (d *decoder) sortFields(offsets []int, nested bool) (dropped, count int) {
	arena, start := d.r.Arena, offsets[0]
	slices.SortFunc(offsets, func(a, b int) int {
		return cmp.Or(bytes.Compare(textAt(arena, a), textAt(arena, b)), cmp.Compare(a, b))
	})
	kept := offsets[:0]
	for i, at := range offsets {
		name := textAt(arena, at)
		if i+1 < len(offsets) && bytes.Equal(name, textAt(arena, offsets[i+1])) {
			v := arena[at+textLen(arena[at:]):]
			dropped += len(name) + Value(v[:valueLen(v)]).Size()
			if nested {
				dropped++
			}
			continue
		}
		kept = append(kept, at)
	}
	d.arrange(start, kept, func(b []byte) int { n := textLen(b); return n + valueLen(b[n:]) })
	return dropped, len(kept)
}

// textAt returns the name of a field, or the element of a set, at an offset.
func textAt(arena []byte, at int) []byte {
	n, w := uvarint(arena[at:])
	return arena[at+w : at+w+n]
}

// textLen returns the length of a name or element, including its length prefix.
func textLen(b []byte) int {
	n, w := uvarint(b)
	return w + n
}

// arranged has scratch buffers (*[]byte) of arrange.
var arranged = sync.Pool{New: func() any { return new([]byte) }}

// arrange rewrites the arena from start on: only the parts at the offsets remain, in that order. length returns the length in bytes of the
// part at the beginning of b.
func (d *decoder) arrange(start int, offsets []int, length func(b []byte) int) {
	arena := d.r.Arena
	scratch := arranged.Get().(*[]byte)
	out := slices.Grow((*scratch)[:0], len(arena)-start)
	for _, at := range offsets {
		out = append(out, arena[at:at+length(arena[at:])]...)
	}
	d.r.Arena = append(arena[:start], out...)
	if cap(out) <= maxArranged {
		*scratch = out
		arranged.Put(scratch)
	}
}

// maxArranged is the largest scratch buffer that arrange keeps: enough for the largest item.
const maxArranged = MaxItemSize

// value decodes an attribute value and appends it. found is false for JSON null and on error.
func (d *decoder) value(depth int) (size int, found bool) {
	r := d.r
	if depth >= MaxDepth+d.deeper {
		d.fail(msgDepth)
		r.Skip()
		r.Arena = append(r.Arena, byte(TypeNull))
		return 0, r.Err() == nil
	}
	if !r.BeginStructure(javaValue) {
		return 0, false
	}
	start := len(r.Arena)
	for {
		name, more := r.NextField()
		if !more {
			break
		}
		before := len(r.Arena)
		n, ok := d.typed(name, depth)
		if !ok {
			r.Arena = r.Arena[:before]
			continue
		}
		if before != start {
			d.fail(msgManyTypes)
		}
		size = n
	}
	if r.Err() != nil {
		return 0, false
	}
	if len(r.Arena) == start {
		d.fail(msgEmptyValue)
	}
	return size, true
}

// typed decodes the payload of the type called name and appends the value. ok is false for null and for unknown types.
func (d *decoder) typed(name []byte, depth int) (size int, ok bool) {
	r := d.r
	switch string(name) {
	case "S":
		s, ok := r.Bytes()
		if ok {
			r.Room(1 + binary.MaxVarintLen64 + len(s))
			r.Arena = AppendScalar(r.Arena, TypeS, s)
		}
		return len(s), ok
	case "N":
		s, ok := r.Bytes()
		if !ok {
			return 0, false
		}
		return d.number(s), true
	case "B":
		s, ok := r.Base64()
		if !ok {
			return 0, false
		}
		return d.binary(s)
	case "BOOL":
		v, ok := r.Bool()
		if ok {
			r.Arena = append(r.Arena, Bool(v)...)
		}
		return 1, ok
	case "NULL":
		v, ok := r.Bool()
		if ok {
			r.Arena = append(r.Arena, byte(TypeNull))
			if !v {
				d.fail(msgNullNotTrue)
			}
		}
		return 1, ok
	case "SS":
		return d.set(TypeSS)
	case "NS":
		return d.set(TypeNS)
	case "BS":
		return d.set(TypeBS)
	case "L":
		return d.list(depth + 1)
	case "M":
		return d.mapValue(depth + 1)
	}
	// An unknown type still has to be consumed, so that the reader stays in step.
	r.Skip()
	return 0, false
}

// number appends a number value and returns its size.
func (d *decoder) number(text []byte) int {
	var room [maxText]byte
	n, problem := AppendNumber(room[:0], text)
	if problem != "" {
		d.failed(numberProblem(text, problem))
		return 0
	}
	r := d.r
	r.Room(1 + binary.MaxVarintLen64 + len(n))
	r.Arena = AppendScalar(r.Arena, TypeN, n)
	return NumberSize(n)
}

// binary appends a binary value.
func (d *decoder) binary(s []byte) (size int, ok bool) {
	d.r.Room(1 + binary.MaxVarintLen64 + len(s))
	d.r.Arena = append(d.r.Arena, byte(TypeB))
	return d.bytes(s)
}

// bytes appends the bytes that s encodes in base64, prefixed by their length.
func (d *decoder) bytes(s []byte) (size int, ok bool) {
	r := d.r
	padding := 0
	for padding < 2 && padding < len(s) && s[len(s)-1-padding] == '=' {
		padding++
	}
	n := max(0, len(s)/4*3-padding)
	r.Arena = binary.AppendUvarint(r.Arena, uint64(n))
	if !r.AppendBase64(s) {
		return 0, false
	}
	return n, true
}

// nullMember is AWS's sentence for a null in a set.
func nullMember(t Type) string {
	return msgInvalidPrefix + "An " + setName(t) + " may not have null values as members"
}

// set decodes a JSON array and appends it as a set.
func (d *decoder) set(t Type) (size int, ok bool) {
	r := d.r
	if !r.BeginArray() {
		return 0, false
	}
	var start int
	r.Room(containerHeader)
	r.Arena, start = beginContainer(r.Arena, t)
	base := len(r.Offsets)
	for r.NextElem() {
		s, ok := d.text(t)
		if !ok {
			if r.Err() == nil && d.problem.text == "" {
				d.fail(nullMember(t))
			}
			continue
		}
		at := len(r.Arena)
		n, ok := d.element(t, s)
		if ok {
			r.PushOffset(at)
			size += n
		}
	}
	if r.Err() != nil {
		return 0, false
	}
	offsets := r.Offsets[base:]
	d.sortSet(t, start+containerHeader, offsets)
	r.Arena = endContainer(r.Arena, start, len(offsets))
	r.Offsets = r.Offsets[:base]
	return size, true
}

// text reads the text of a set's element. ok is false for null and on error.
func (d *decoder) text(t Type) (s []byte, ok bool) {
	if t == TypeBS {
		return d.r.Base64()
	}
	return d.r.Bytes()
}

// element appends an element of a set of type t. ok is false if a set can't contain it.
func (d *decoder) element(t Type, s []byte) (size int, ok bool) {
	r := d.r
	r.Room(binary.MaxVarintLen64 + max(len(s), maxText))
	size = len(s)
	switch t {
	case TypeBS:
		return d.bytes(s)
	case TypeNS:
		var room [maxText]byte
		n, problem := AppendNumber(room[:0], s)
		if problem != "" {
			d.failed(numberProblem(s, problem))
			return 0, false
		}
		s, size = n, NumberSize(n)
	}
	r.Arena = binary.AppendUvarint(r.Arena, uint64(len(s)))
	r.Arena = append(r.Arena, s...)
	return size, true
}

// sortSet sorts the elements of a set at the offsets, which begin at start and end with the arena. It fails for an empty set and for
// duplicates.
func (d *decoder) sortSet(t Type, start int, offsets []int) {
	arena := d.r.Arena
	if len(offsets) == 0 {
		d.fail(emptySentence(t))
		return
	}
	order := func(a, b int) int { return compareElements(t, textAt(arena, a), textAt(arena, b)) }
	sorted := slices.IsSortedFunc(offsets, order)
	if !sorted {
		slices.SortFunc(offsets, order)
	}
	for i := range offsets[1:] {
		if d.problem.text == "" && bytes.Equal(textAt(arena, offsets[i]), textAt(arena, offsets[i+1])) {
			slices.Sort(offsets) // back in the order in which they were given, for the sentence
			d.failed(duplicates(t, len(offsets), func(i int) []byte { return textAt(arena, offsets[i]) }))
			return
		}
	}
	if !sorted {
		d.arrange(start, offsets, textLen)
	}
}

// SetOf returns a set of type t (SS, NS or BS) of a client's elements, or AWS's sentence if there are none or duplicates. Numbers must be
// canonical.
func SetOf(t Type, elems [][]byte) (v Value, problem string) {
	if len(elems) == 0 {
		problem = emptySentence(t)
	}
	given := elems
	if len(elems) > 1 {
		given = append([][]byte(nil), elems...)
	}
	if v = NewSet(t, elems); v.Len() < len(given) {
		problem = duplicateSentence(t, len(given), func(i int) []byte { return given[i] })
	}
	return v, problem
}

// emptySentence is AWS's sentence for an empty set.
func emptySentence(t Type) string {
	switch t {
	case TypeSS:
		return msgEmptyStringSet
	case TypeNS:
		return msgEmptyNumberSet
	}
	return msgEmptyBinarySet
}

// setName is what AWS's sentences call a type of set.
func setName(t Type) string {
	switch t {
	case TypeSS:
		return "string set"
	case TypeNS:
		return "number set"
	}
	return "binary set"
}

// duplicates is the problem of a set of type t with duplicates; elem returns one of its n elements as given.
func duplicates(t Type, n int, elem func(int) []byte) problem {
	if t == TypeNS {
		return problem{msgNumberTwice, msgNumberTwiceOld}
	}
	given := make([]int32, n)
	for i := range given {
		given[i] = int32(i)
	}
	older := shownSet(t, ", ", "", given, elem)
	return problem{duplicateSentence(t, n, elem), older}
}

// duplicateSentence is AWS's sentence for a set with duplicates. It shows the elements before the first repeated one in order, then the others as
// given.
func duplicateSentence(t Type, n int, elem func(int) []byte) string {
	if t == TypeNS {
		return msgNumberTwice
	}
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	byElement := func(i, j int32) int { return cmp.Or(bytes.Compare(elem(int(i)), elem(int(j))), cmp.Compare(i, j)) }
	slices.SortFunc(order, byElement)
	repeated := int32(n) // the first element that equals an earlier one
	for k, i := range order[1:] {
		if bytes.Equal(elem(int(i)), elem(int(order[k]))) {
			repeated = min(repeated, i)
		}
	}
	slices.Sort(order)
	slices.SortFunc(order[:repeated], byElement)
	sep := ", "
	if t == TypeBS {
		sep = ","
	}
	return shownSet(t, sep, `"`, order, elem)
}

// shownSet returns AWS's sentence for a set with duplicates that shows its elements in an order.
func shownSet(t Type, sep, quote string, order []int32, elem func(int) []byte) string {
	before, after := msgInvalidPrefix+"Input collection [", "] contains duplicates."
	if t == TypeBS {
		after = "]of type BS contains duplicates."
	}
	size := len(before) + len(after)
	for i := range order {
		n := len(elem(i))
		if t == TypeBS {
			n = base64.StdEncoding.EncodedLen(n)
		}
		size += n + len(sep) + 2*len(quote)
	}
	var dst strings.Builder
	dst.Grow(size)
	dst.WriteString(before)
	var encoded []byte
	for k, i := range order {
		if k > 0 {
			dst.WriteString(sep)
		}
		dst.WriteString(quote)
		if e := elem(int(i)); t == TypeBS {
			encoded = base64.StdEncoding.AppendEncode(encoded[:0], e)
			dst.Write(encoded)
		} else {
			dst.Write(e)
		}
		dst.WriteString(quote)
	}
	dst.WriteString(after)
	return dst.String()
}

// list decodes a JSON array and appends it as a list. A list costs 3 bytes, and one more per element.
func (d *decoder) list(depth int) (size int, ok bool) {
	r := d.r
	if !r.BeginArray() {
		return 0, false
	}
	var start, count int
	r.Room(containerHeader)
	r.Arena, start = beginContainer(r.Arena, TypeL)
	size = 3
	for r.NextElem() {
		n, found := d.value(depth)
		if !found && r.Err() == nil {
			d.fail(msgEmptyValue)
		}
		size += n + 1
		count++
	}
	if r.Err() != nil {
		return 0, false
	}
	r.Arena = endContainer(r.Arena, start, count)
	return size, true
}

// mapValue decodes a JSON object and appends it as a map.
func (d *decoder) mapValue(depth int) (size int, ok bool) {
	r := d.r
	var start int
	r.Room(containerHeader)
	r.Arena, start = beginContainer(r.Arena, TypeM)
	size, count, ok := d.fields(depth)
	if !ok {
		return 0, false
	}
	r.Arena = endContainer(r.Arena, start, count)
	return size + 3, true
}

// AppendJSON appends the item as JSON. A nil item becomes an empty object, and so does one that was decoded from invalid JSON.
func (it Item) AppendJSON(dst []byte) []byte {
	if len(it) <= itemHeader || it[0] == itemInvalid {
		return append(dst, '{', '}')
	}
	return appendFields(dst, it[itemHeader:])
}

// appendFields appends fields in binary form as a JSON object.
func appendFields(dst, b []byte) []byte {
	dst = append(dst, '{')
	for first := true; len(b) > 0; first = false {
		if !first {
			dst = append(dst, ',')
		}
		n, w := uvarint(b)
		dst = wirejson.AppendStringBytes(dst, b[w:w+n])
		dst = append(dst, ':')
		b = b[w+n:]
		size := valueLen(b)
		dst = Value(b[:size]).AppendJSON(dst)
		b = b[size:]
	}
	return append(dst, '}')
}

// AppendJSON appends the value as JSON: {"S":"text"}.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.Type() {
	case TypeS:
		dst = append(dst, `{"S":`...)
		dst = wirejson.AppendStringBytes(dst, v.Bytes())
	case TypeN:
		dst = append(dst, `{"N":"`...)
		dst = append(dst, v.Bytes()...)
		dst = append(dst, '"')
	case TypeB:
		dst = append(dst, `{"B":`...)
		dst = wirejson.AppendBlob(dst, v.Bytes())
	case TypeTrue:
		return append(dst, `{"BOOL":true}`...)
	case TypeFalse:
		return append(dst, `{"BOOL":false}`...)
	case TypeNull:
		return append(dst, `{"NULL":true}`...)
	case TypeSS, TypeNS, TypeBS:
		dst = append(dst, `{"`...)
		dst = append(dst, v.Type().String()...)
		dst = append(dst, `":[`...)
		for e := range v.Elements {
			dst = wirejson.Sep(dst)
			if v.Type() == TypeBS {
				dst = wirejson.AppendBlob(dst, e)
			} else {
				dst = wirejson.AppendStringBytes(dst, e)
			}
		}
		dst = append(dst, ']')
	case TypeL:
		dst = append(dst, `{"L":[`...)
		for e := range v.Values {
			dst = wirejson.Sep(dst)
			dst = e.AppendJSON(dst)
		}
		dst = append(dst, ']')
	case TypeM:
		dst = append(dst, `{"M":`...)
		dst = appendFields(dst, v[containerHeader:])
	default:
		return append(dst, "null"...)
	}
	return append(dst, '}')
}

// String returns the value in the form of AWS's messages: {S:text}.
func (v Value) String() string {
	var b strings.Builder
	b.WriteByte('{')
	b.WriteString(v.Type().String())
	b.WriteByte(':')
	switch v.Type() {
	case TypeS, TypeN:
		b.Write(v.Bytes())
	case TypeB:
		b.Write(appendJavaBuffer(nil, v.Bytes())) // the bytes themselves may not be text
	case TypeTrue, TypeNull:
		b.WriteString("true")
	case TypeFalse:
		b.WriteString("false")
	case TypeBS:
		b.Write(v.AppendJSON(nil))
	case TypeSS, TypeNS:
		b.WriteByte('[')
		first := true
		for e := range v.Elements {
			if !first {
				b.WriteString(", ")
			}
			first = false
			b.Write(e)
		}
		b.WriteByte(']')
	case TypeL, TypeM:
		b.Write(v.AppendJSON(nil))
	}
	b.WriteByte('}')
	return b.String()
}
