package itemfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/wirejson"
)

// chunkSize is the target size of the lines that are parsed at a time, in bytes.
const chunkSize = 256 << 10

// readLines reads whole lines of JSON.
func readLines(in io.Reader) func() (Chunk, error) {
	l := lineReader{in: in}
	var block []byte
	return func() (Chunk, error) {
		if len(block) == 0 {
			var err error
			if block, err = l.next(); errors.Is(err, errRecordTooLong) {
				return refused(err), nil
			}
			if err != nil {
				return Chunk{}, err
			}
		}
		var lines []byte
		lines, block = cutLines(block, maxLines)
		return parseLines(lines), nil
	}
}

// cutLines returns the first n lines, and the rest.
func cutLines(block []byte, n int) (lines, others []byte) {
	end := 0
	for ; n > 0 && end < len(block); n-- {
		i := bytes.IndexByte(block[end:], '\n')
		if i < 0 {
			return block, nil
		}
		end += i + 1
	}
	return block[:end], block[end:]
}

// lineReader reads whole lines, many at a time.
type lineReader struct {
	in   io.Reader
	rest []byte // the beginning of a line
	err  error  // of in
}

// next returns whole lines. It returns errRecordTooLong for a line that is too long, and continues after it.
func (l *lineReader) next() ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	buf := make([]byte, max(chunkSize, 2*len(l.rest)))
	n := copy(buf, l.rest)
	for {
		m, err := readFull(l.in, buf[n:])
		n += m
		if err != nil { // the end, or damage: what came before still counts
			l.err = err
			if !errors.Is(err, io.EOF) {
				n = bytes.LastIndexByte(buf[:n], '\n') + 1 // the last line is not whole
			}
			if len(bytes.TrimSpace(buf[:n])) == 0 {
				return nil, err
			}
			return buf[:n], nil
		}
		// Pass on the whole lines; the beginning of the next one stays.
		if end := bytes.LastIndexByte(buf, '\n'); end >= 0 {
			l.rest = buf[end+1:]
			return buf[:end+1], nil
		}
		if len(buf) >= MaxRecord {
			l.skip(buf[:chunkSize])
			return nil, errRecordTooLong
		}
		// One long line: double the buffer, up to MaxRecord.
		buf = append(buf, make([]byte, len(buf))...)
	}
}

// skip skips the rest of a line. buf is scratch space.
func (l *lineReader) skip(buf []byte) {
	for l.err == nil {
		n, err := readFull(l.in, buf)
		l.err = err
		if end := bytes.IndexByte(buf[:n], '\n'); end >= 0 {
			l.rest = bytes.Clone(buf[end+1 : n])
			if l.err != nil { // the lines after it are still to be read
				l.in, l.err = failing{l.err}, nil
			}
			return
		}
	}
}

// failing is a reader that has ended with an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// parseLines returns a chunk that parses lines of JSON.
func parseLines(lines []byte) Chunk {
	return Chunk{Bytes: 2 * len(lines), parse: func() []Record {
		out := make([]Record, 0, 1+len(lines)/512)
		p := parsers.Get().(*parser)
		defer parsers.Put(p)
		// Items are somewhat smaller than their JSON, so all of them fit into one piece of memory, which they share.
		p.r.Arena = make([]byte, 0, len(lines)+1024)
		defer func() { p.r.Arena = nil }()
		for len(lines) > 0 {
			var line []byte
			line, lines, _ = bytes.Cut(lines, []byte{'\n'})
			for n := 0; len(bytes.TrimSpace(line)) > 0; n++ {
				if n == maxLines {
					out = append(out, Record{Err: errTooMany, Unreadable: true})
					break
				}
				var rec Record
				rec, line = p.parse(line)
				out = append(out, rec)
			}
		}
		return out
	}}
}

var parsers = sync.Pool{New: func() any { return new(parser) }}

// parser parses lines. Parsers are pooled to save allocations.
type parser struct{ r wirejson.Reader }

// errTooMany means that a line has more than maxLines records.
var errTooMany = errors.New("too many records on a line")

// parse parses the first record of a line, and returns what follows it. The record stays valid. Nothing follows an unreadable record.
func (p *parser) parse(line []byte) (rec Record, rest []byte) {
	r := &p.r
	r.Arena = r.Arena[len(r.Arena):] // Reset would reuse the memory of earlier items
	r.Reset(line)
	for r.BeginObject(""); r.Err() == nil; {
		name, more := r.NextField()
		if !more {
			break
		}
		p.field(&rec, name)
		if len(rec.Names) > maxPlaceholders || len(rec.Values) > maxPlaceholders {
			return Record{Err: errPlaceholders}, nil
		}
	}
	unreadable := false
	if err := r.Err(); err != nil {
		rec.Err = cmp.Or(rec.Err, error(err))
		unreadable = !r.Valid()
	} else {
		rest = r.Rest()
	}
	if rec.Err == nil && rec.Item == nil && rec.Keys == nil {
		rec.Err = ErrEmptyRecord
	}
	if rec.Err != nil {
		return Record{Err: rec.Err, Unreadable: unreadable}, rest
	}
	return rec, rest
}

// field parses a field of a line. Of more placeholders than maxPlaceholders it keeps one more than that.
func (p *parser) field(rec *Record, name []byte) {
	r := &p.r
	switch string(name) {
	case "Item":
		rec.Item = p.item(rec)
	case "Keys":
		rec.Keys = p.item(rec)
	case "OldImage":
		rec.Old = p.item(rec)
	case "NewImage":
		rec.New = p.item(rec)
	case "ConditionExpression":
		s, _ := r.Bytes()
		rec.Condition = string(s)
	case "ExpressionAttributeNames":
		rec.Names = map[string]string{}
		for r.BeginObject(""); r.Err() == nil && len(rec.Names) <= maxPlaceholders; {
			name, more := r.NextField()
			if !more {
				break
			}
			key := string(name)
			s, _ := r.Bytes()
			rec.Names[key] = string(s)
		}
	case "ExpressionAttributeValues":
		values := p.item(rec)
		rec.Values = map[string]attribute.Value{}
		for name, v := range values.Fields {
			if rec.Values[string(name)] = v; len(rec.Values) > maxPlaceholders {
				break
			}
		}
	default:
		r.Skip()
	}
}

// item parses an item. The record's error says what is wrong with it.
func (p *parser) item(rec *Record) attribute.Item {
	it := attribute.ReadItem(&p.r)
	if name, problem, invalid := it.Invalid(); invalid && rec.Err == nil {
		rec.Err = fmt.Errorf("%s: attribute %s", problem, name)
	}
	return it
}

// AppendItem appends a line of a full export.
func AppendItem(dst []byte, format string, it attribute.Item) []byte {
	if format == Ion {
		return appendIon(dst, func(w *ionWriter) { w.object("Item", it) })
	}
	dst = append(dst, `{"Item":`...)
	dst = it.AppendJSON(dst)
	return append(dst, "}\n"...)
}

// AppendChange appends a line of an incremental export.
func AppendChange(dst []byte, format string, c *Change) []byte {
	if format == Ion {
		return appendIon(dst, func(w *ionWriter) { w.change(c) })
	}
	dst = append(dst, `{"Metadata":{"WriteTimestampMicros":{"N":"`...)
	dst = strconv.AppendInt(dst, c.Micros, 10)
	dst = append(dst, `"}},"Keys":`...)
	dst = c.Keys.AppendJSON(dst)
	if c.Old != nil {
		dst = c.Old.AppendJSON(append(dst, `,"OldImage":`...))
	}
	if c.New != nil {
		dst = c.New.AppendJSON(append(dst, `,"NewImage":`...))
	}
	return append(dst, "}\n"...)
}
