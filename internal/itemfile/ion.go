package itemfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/amazon-ion/ion-go/ion"

	"github.com/statordb/stator/internal/attribute"
)

const (
	// ionPerChunk bounds the Ion values that are read at a time.
	ionPerChunk = 200
	// ionVersion begins every line of an Ion export.
	ionVersion = "$ion_1_0 "
)

// setTypes maps the annotations that turn Ion lists into sets ("DynamoDB table export output format").
var setTypes = map[string]attribute.Type{
	"$dynamodb_SS": attribute.TypeSS, "$dynamodb_NS": attribute.TypeNS, "$dynamodb_BS": attribute.TypeBS,
}

// readIon reads text or binary Ion. The library reads values one after the other, so nothing is left to parse concurrently.
func readIon(in io.Reader) func() (Chunk, error) {
	guard := newIonGuard(in)
	r := &ionReader{Reader: ion.NewReader(guard), guard: guard}
	var failed error
	return func() (Chunk, error) {
		var out []Record
		size := 0
		for failed == nil && len(out) < ionPerChunk && size < chunkSize {
			var rec Record
			if rec, failed = r.record(); failed == nil {
				out = append(out, rec)
				size += len(rec.Item) + len(rec.Keys) + len(rec.Old) + len(rec.New)
			}
		}
		if len(out) == 0 {
			return Chunk{}, failed
		}
		return Chunk{Bytes: size, parse: func() []Record { return out }}, nil
	}
}

// ionReader reads records through a guard, which bounds what the library sees.
type ionReader struct {
	ion.Reader
	guard *ionGuard
	table ion.SymbolTable
	size  int // bytes of its symbols
}

// record reads the next top-level value as a record; io.EOF at the end.
func (r *ionReader) record() (rec Record, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on some malformed values
			err = fmt.Errorf("ion: %v", p)
		}
		if err != nil && r.guard.err != nil && !errors.Is(r.guard.err, io.EOF) {
			err = r.guard.err
		}
	}()
	for mark := true; mark; mark = isMark(r) {
		if !r.Next() {
			if r.Err() != nil {
				return rec, r.Err()
			}
			return rec, io.EOF
		}
		if err := r.checkTable(); err != nil {
			return rec, err
		}
	}
	if r.Type() == ion.StringType && !r.IsNull() {
		if text, err := r.StringValue(); err == nil && text != nil {
			if err := inPlaceOf(*text); err != nil {
				return Record{Err: err}, nil
			}
		}
	}
	d := ionDecoder{r: r}
	if r.Type() != ion.StructType || r.IsNull() {
		return Record{Err: ErrEmptyRecord}, nil
	}
	d.record(&rec, true)
	switch {
	case d.err != nil: // the next value can't be found
		return rec, d.err
	case d.problem != nil:
		return Record{Err: d.problem}, nil
	case rec.Item == nil && rec.Keys == nil:
		return Record{Err: ErrEmptyRecord}, nil
	}
	return rec, nil
}

// checkTable checks a new symbol table against the limits.
func (r *ionReader) checkTable() error {
	now := r.SymbolTable()
	if now == r.table {
		return nil
	}
	r.table = now
	if now == nil || now == ion.V1SystemSymbolTable {
		return nil
	}
	imports := now.Imports()
	if len(imports) > 1+maxImports {
		return fmt.Errorf("an Ion symbol table is appended to more than %d times", maxImports)
	}
	for _, i := range imports[1:] {
		if i.Name() != "" { // the table that it was appended to has no name
			return fmt.Errorf("unknown Ion symbol table %.100q", i.Name())
		}
	}
	if len(imports) == 1 {
		r.size = 0
	}
	for _, s := range now.Symbols() {
		r.size += len(s)
	}
	if r.size > maxTable {
		return errIonTable
	}
	return nil
}

// isMark reports whether the current value is no record: the marker that begins each line of an export, which the
// library takes for a symbol, or a checkpoint of the guard.
func isMark(r ion.Reader) bool {
	switch r.Type() {
	case ion.SymbolType:
		token, err := r.SymbolValue()
		return err == nil && token != nil && token.Text != nil && *token.Text == strings.TrimSpace(ionVersion)
	case ion.StringType:
		text, err := r.StringValue()
		return err == nil && text != nil && *text == checkpoint
	}
	return false
}

var emptyString, emptyBinary = attribute.String(""), attribute.Binary(nil)

// ionDecoder decodes one record. An error of the reader ends the file; a problem refuses only the record.
type ionDecoder struct {
	r       ion.Reader
	err     error // the reader's
	problem error // of the record
	size    int   // of the item so far: a lower bound of its final size
}

// grow adds to the item's size, and refuses the record as soon as the item is too large.
func (d *ionDecoder) grow(n int) {
	if d.size += n; d.size > attribute.MaxItemSize && d.problem == nil {
		d.problem = errItemSize
	}
}

func (d *ionDecoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *ionDecoder) refuse(format string, args ...any) {
	if d.problem == nil {
		d.problem = fmt.Errorf(format, args...)
	}
}

// each steps into a container and calls visit for each value in it, until there is a problem.
func (d *ionDecoder) each(visit func(name string)) {
	if err := d.r.StepIn(); err != nil {
		d.fail(err)
		return
	}
	for d.err == nil && d.r.Next() {
		if d.problem != nil {
			continue // skip to the end of the record
		}
		name := ""
		if token, err := d.r.FieldName(); err == nil && token != nil && token.Text != nil {
			name = *token.Text
		}
		visit(name)
	}
	if err := d.r.Err(); err != nil {
		d.fail(err)
	}
	if d.err == nil {
		if err := d.r.StepOut(); err != nil {
			d.fail(err)
		}
	}
}

// record reads the fields of a record. Incremental exports wrap them in a field Record.
func (d *ionDecoder) record(rec *Record, outer bool) {
	d.each(func(name string) {
		switch name {
		case "Item":
			rec.Item = d.item()
		case "Keys":
			rec.Keys = d.item()
		case "OldImage":
			rec.Old = d.item()
		case "NewImage":
			rec.New = d.item()
		case "Record":
			if outer && d.r.Type() == ion.StructType && !d.r.IsNull() {
				d.record(rec, false)
			}
		case "ConditionExpression":
			if s, err := d.r.StringValue(); err == nil && s != nil {
				rec.Condition = *s
			}
		case "ExpressionAttributeNames":
			rec.Names = map[string]string{}
			names := d.item()
			if names.Len() > maxPlaceholders {
				d.problem = errPlaceholders
				return
			}
			for name, v := range names.Fields {
				if v.Type() != attribute.TypeS {
					d.refuse("The name of %s is not a string", name)
					return
				}
				rec.Names[string(name)] = string(v.Bytes())
			}
		case "ExpressionAttributeValues":
			rec.Values = map[string]attribute.Value{}
			values := d.item()
			if values.Len() > maxPlaceholders {
				d.problem = errPlaceholders
				return
			}
			for name, v := range values.Fields {
				rec.Values[string(name)] = v
			}
		}
	})
}

// fields reads the attributes of an item or map.
func (d *ionDecoder) fields(depth int) []attribute.Field {
	if d.r.Type() != ion.StructType || d.r.IsNull() {
		d.refuse("An item must be a struct")
		return nil
	}
	var out []attribute.Field
	seen := map[string]bool{}
	d.each(func(name string) {
		switch {
		case seen[name]:
			d.refuse("The attribute %s occurs twice", name)
		case !utf8.ValidString(name):
			d.refuse("The attribute name %q is not UTF-8", name)
		}
		seen[name] = true
		if d.grow(len(name)); depth > 1 {
			d.grow(1)
		}
		out = append(out, attribute.Field{Name: name, Value: d.value(depth)})
	})
	return out
}

func (d *ionDecoder) item() attribute.Item {
	d.size = 0
	fields := d.fields(1)
	if d.problem != nil || d.err != nil {
		return nil
	}
	return attribute.NewItem(fields...)
}

// value reads the current value; it returns nil after an error or problem, which it has recorded.
func (d *ionDecoder) value(depth int) attribute.Value {
	if depth > attribute.MaxDepth {
		d.refuse("Nesting Levels have exceeded supported limits")
		return nil
	}
	kind := d.r.Type()
	d.grow(1) // the size of a null, boolean or number, and of an element of a list or map
	if d.r.IsNull() {
		return attribute.Null
	}
	switch kind {
	case ion.BoolType:
		b, err := d.r.BoolValue()
		if err != nil || b == nil {
			d.fail(err)
			return nil
		}
		return attribute.Bool(*b)
	case ion.IntType, ion.DecimalType, ion.FloatType:
		return d.number(kind)
	case ion.StringType, ion.SymbolType:
		return d.text(kind)
	case ion.BlobType, ion.ClobType:
		b, err := d.r.ByteValue()
		if err != nil {
			d.fail(err)
			return nil
		}
		d.grow(len(b) - 1)
		return attribute.Binary(b)
	case ion.StructType:
		fields := d.fields(depth + 1)
		if d.problem != nil || d.err != nil {
			return nil
		}
		return attribute.NewMap(fields)
	case ion.ListType, ion.SexpType:
		return d.list(depth)
	}
	d.refuse("Unsupported Ion type %s", kind)
	return nil
}

// number reads an integer, decimal or float. It limits the digits before it makes text of them, whose cost is
// quadratic.
func (d *ionDecoder) number(kind ion.Type) attribute.Value {
	var text string
	switch kind {
	case ion.IntType:
		n, err := d.r.BigIntValue()
		if err != nil || n == nil {
			d.fail(err)
			return nil
		}
		if n.BitLen() > 1000 { // far beyond any valid number; its text may be huge
			d.refuse("Number overflow. Attempting to store a number with magnitude larger than supported range")
			return nil
		}
		text = n.String()
	case ion.DecimalType:
		n, err := d.r.DecimalValue()
		if err != nil || n == nil {
			d.fail(err)
			return nil
		}
		coefficient, exponent := n.CoEx()
		if coefficient.BitLen() > 1000 {
			d.refuse("Attempting to store more than 38 significant digits in a Number")
			return nil
		}
		text = coefficient.String() + "E" + strconv.Itoa(int(exponent))
	default:
		f, err := d.r.FloatValue()
		if err != nil || f == nil {
			d.fail(err)
			return nil
		}
		text = strconv.FormatFloat(*f, 'g', -1, 64)
	}
	number, problem := attribute.AppendNumber(nil, []byte(text))
	if problem != "" {
		d.refuse("%s", problem)
		return nil
	}
	return attribute.AppendScalar(nil, attribute.TypeN, number)
}

// text reads a string or symbol, both of which are strings in DynamoDB.
func (d *ionDecoder) text(kind ion.Type) attribute.Value {
	if kind == ion.SymbolType {
		token, err := d.r.SymbolValue()
		if err != nil || token == nil || token.Text == nil {
			d.refuse("A symbol has no text")
			return nil
		}
		return d.string(*token.Text)
	}
	s, err := d.r.StringValue()
	if err != nil || s == nil {
		d.fail(err)
		return nil
	}
	return d.string(*s)
}

func (d *ionDecoder) string(s string) attribute.Value {
	if !utf8.ValidString(s) {
		d.refuse("A string is not UTF-8")
		return nil
	}
	d.grow(len(s) - 1)
	return attribute.String(s)
}

// list reads a list, or a set if it has such an annotation.
func (d *ionDecoder) list(depth int) attribute.Value {
	annotations, err := d.r.Annotations()
	if err != nil {
		d.fail(err)
		return nil
	}
	var set attribute.Type
	for _, a := range annotations {
		if a.Text != nil && setTypes[*a.Text] != 0 {
			set = setTypes[*a.Text]
		}
	}
	var elems []attribute.Value
	d.each(func(string) {
		v := d.value(depth + 1)
		if set == 0 || v.Equal(emptyString) || v.Equal(emptyBinary) { // every element must count, so that the list is bounded
			d.grow(1)
		}
		elems = append(elems, v)
	})
	if d.problem != nil || d.err != nil {
		return nil
	}
	if set == 0 {
		return attribute.NewList(elems)
	}
	want := map[attribute.Type]attribute.Type{attribute.TypeSS: attribute.TypeS, attribute.TypeNS: attribute.TypeN, attribute.TypeBS: attribute.TypeB}[set]
	var raw [][]byte
	for _, e := range elems {
		if e.Type() != want {
			d.refuse("A set has an element of another type")
			return nil
		}
		raw = append(raw, e.Bytes())
	}
	if len(raw) == 0 {
		d.refuse("A set may not be empty")
		return nil
	}
	return attribute.NewSet(set, raw)
}

// appendIon appends a line with one Ion struct.
func appendIon(dst []byte, write func(*ionWriter)) []byte {
	buf := bytes.NewBuffer(dst)
	buf.WriteString(ionVersion)
	w := ionWriter{ion.NewTextWriterOpts(buf, ion.TextWriterQuietFinish), nil}
	w.do(w.w.BeginStruct())
	write(&w)
	w.do(w.w.EndStruct())
	w.do(w.w.Finish())
	if w.err != nil {
		panic(fmt.Sprintf("itemfile: writing Ion to memory: %v", w.err)) // an item contains nothing that can't be written
	}
	buf.WriteByte('\n')
	return buf.Bytes()
}

// ionWriter writes Ion and remembers its errors.
type ionWriter struct {
	w   ion.Writer
	err error
}

func (w *ionWriter) do(err error) { w.err = errors.Join(w.err, err) }

func (w *ionWriter) name(name string) { w.do(w.w.FieldName(ion.NewSymbolTokenFromString(name))) }

func (w *ionWriter) object(name string, it attribute.Item) {
	w.name(name)
	w.do(w.w.BeginStruct())
	for name, v := range it.Fields {
		w.name(string(name))
		w.value(v)
	}
	w.do(w.w.EndStruct())
}

// change writes the record of an incremental export.
func (w *ionWriter) change(c *Change) {
	w.name("Record")
	w.do(w.w.BeginStruct())
	w.object("Keys", c.Keys)
	w.name("Metadata")
	w.do(w.w.BeginStruct())
	w.name("WriteTimestampMicros")
	w.do(w.w.WriteDecimal(ion.NewDecimalInt(c.Micros)))
	w.do(w.w.EndStruct())
	if c.Old != nil {
		w.object("OldImage", c.Old)
	}
	if c.New != nil {
		w.object("NewImage", c.New)
	}
	w.do(w.w.EndStruct())
}

// value writes an attribute value. Sets are lists with an annotation.
func (w *ionWriter) value(v attribute.Value) {
	switch v.Type() {
	case attribute.TypeS:
		w.do(w.w.WriteString(string(v.Bytes())))
	case attribute.TypeN:
		w.number(v.Bytes())
	case attribute.TypeB:
		w.do(w.w.WriteBlob(v.Bytes()))
	case attribute.TypeNull:
		w.do(w.w.WriteNull())
	case attribute.TypeTrue, attribute.TypeFalse:
		w.do(w.w.WriteBool(v.Type() == attribute.TypeTrue))
	case attribute.TypeSS, attribute.TypeNS, attribute.TypeBS:
		w.do(w.w.Annotation(ion.NewSymbolTokenFromString("$dynamodb_" + v.Type().String())))
		w.do(w.w.BeginList())
		for e := range v.Elements {
			switch v.Type() {
			case attribute.TypeSS:
				w.do(w.w.WriteString(string(e)))
			case attribute.TypeNS:
				w.number(e)
			default:
				w.do(w.w.WriteBlob(e))
			}
		}
		w.do(w.w.EndList())
	case attribute.TypeL:
		w.do(w.w.BeginList())
		for e := range v.Values {
			w.value(e)
		}
		w.do(w.w.EndList())
	case attribute.TypeM:
		w.do(w.w.BeginStruct())
		for name, e := range v.Fields {
			w.name(string(name))
			w.value(e)
		}
		w.do(w.w.EndStruct())
	}
}

// number writes a canonical number as a decimal without trailing zeros, as AWS does: 600 is 6d2.
func (w *ionWriter) number(text []byte) {
	mantissa, exponent := text, 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		e, err := strconv.Atoi(string(text[i+1:]))
		w.do(err)
		exponent = e
	}
	digits := make([]byte, 0, len(mantissa))
	for i, c := range mantissa {
		if c == '.' {
			exponent -= len(mantissa) - i - 1
		} else {
			digits = append(digits, c)
		}
	}
	for len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		exponent++
	}
	n, ok := new(big.Int).SetString(string(digits), 10)
	if !ok {
		w.do(fmt.Errorf("number %q", text))
		return
	}
	if n.Sign() == 0 {
		exponent = 0
	}
	w.do(w.w.WriteDecimal(ion.NewDecimal(n, int32(exponent), false)))
}
