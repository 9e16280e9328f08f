package itemfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/wirejson"
)

const (
	// chunkSize is about how many bytes of lines are parsed at a time.
	chunkSize = 256 << 10
	// maxLine is how long a line may be: an item of 400 KB has at most a few MB of JSON.
	maxLine = 16 << 20
)

var errLineTooLong = errors.New("a line is longer than 16 MB")

// readLines reads whole lines.
func readLines(in io.Reader) func() (Chunk, error) {
	var rest []byte // the beginning of a line
	var failed error
	return func() (Chunk, error) {
		if failed != nil {
			return nil, failed
		}
		buf := make([]byte, max(chunkSize, 2*len(rest)))
		n := copy(buf, rest)
		for {
			m, err := io.ReadFull(in, buf[n:])
			n += m
			if err != nil { // the end, or something that can't be read: what came before it counts
				if failed = err; errors.Is(err, io.ErrUnexpectedEOF) && endsHere(in) {
					failed = io.EOF
				}
				if len(bytes.TrimSpace(buf[:n])) == 0 || failed != io.EOF && !bytes.Contains(buf[:n], []byte{'\n'}) {
					return nil, failed
				}
				return parseLines(buf[:n]), nil
			}
			if end := bytes.LastIndexByte(buf, '\n'); end >= 0 {
				rest = buf[end+1:]
				return parseLines(buf[:end]), nil
			}
			if len(buf) >= maxLine {
				failed = errLineTooLong
				return nil, failed
			}
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// endsHere tells io.ReadFull's "unexpected EOF" for a reader that has ended from that of a compressed file that is cut off.
func endsHere(in io.Reader) bool {
	n, err := in.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

func parseLines(lines []byte) Chunk {
	return func() []Record {
		out := make([]Record, 0, 1+len(lines)/512)
		p := parsers.Get().(*parser)
		defer parsers.Put(p)
		// Items are somewhat smaller than their JSON, so all of them find room in one piece of memory, which they keep.
		p.r.Arena = make([]byte, 0, len(lines)+1024)
		defer func() { p.r.Arena = nil }()
		for len(lines) > 0 {
			var line []byte
			line, lines, _ = bytes.Cut(lines, []byte{'\n'})
			if line = bytes.TrimSpace(line); len(line) > 0 {
				out = append(out, p.parse(line))
			}
		}
		return out
	}
}

var parsers = sync.Pool{New: func() any { return new(parser) }}

type parser struct{ r wirejson.Reader }

// parse reads a line. What it returns stays valid.
func (p *parser) parse(line []byte) (rec Record) {
	r := &p.r
	r.Arena = r.Arena[len(r.Arena):] // Reset would use the memory of earlier items again
	r.Reset(line)
	item := func() attribute.Item {
		it := attribute.ReadItem(r)
		if name, problem, invalid := it.Invalid(); invalid && rec.Err == nil {
			rec.Err = fmt.Errorf("%s: attribute %s", problem, name)
		}
		return it
	}
	for r.BeginObject(""); r.Err() == nil; {
		name, more := r.NextField()
		if !more {
			break
		}
		switch string(name) {
		case "Item":
			rec.Item = item()
		case "Keys":
			rec.Keys = item()
		case "OldImage":
			rec.Old = item()
		case "NewImage":
			rec.New = item()
		case "ConditionExpression":
			s, _ := r.Bytes()
			rec.Condition = string(s)
		case "ExpressionAttributeNames":
			rec.Names = map[string]string{}
			for r.BeginObject(""); r.Err() == nil; {
				name, more := r.NextField()
				if !more {
					break
				}
				key := string(name)
				s, _ := r.Bytes()
				rec.Names[key] = string(s)
			}
		case "ExpressionAttributeValues":
			values := item()
			rec.Values = map[string]attribute.Value{}
			for name, v := range values.Fields {
				rec.Values[string(name)] = v
			}
		default:
			r.Skip()
		}
	}
	if r.Err() == nil {
		r.Done() // nothing may come behind it
	}
	if err := r.Err(); err != nil && rec.Err == nil {
		rec.Err = err
	}
	if rec.Err == nil && rec.Item == nil && rec.Keys == nil {
		rec.Err = ErrEmptyRecord
	}
	if rec.Err != nil {
		return Record{Err: rec.Err}
	}
	return rec
}

// AppendItem appends the line of an item of a full export.
func AppendItem(dst []byte, format string, it attribute.Item) []byte {
	if format == Ion {
		return appendIon(dst, func(w *ionWriter) { w.object("Item", it) })
	}
	dst = append(dst, `{"Item":`...)
	dst = it.AppendJSON(dst)
	return append(dst, "}\n"...)
}

// AppendChange appends the line of a change of an incremental export.
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
