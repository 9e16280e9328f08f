package itemfile

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/statordb/stator/internal/attribute"
)

// rowsPerChunk bounds the rows of CSV that are parsed at a time.
const rowsPerChunk = 500

// readCSV reads rows of CSV. Key attributes have their defined types, all others are strings ("DynamoDB import formats,
// quotas, and validation"). A key attribute whose field is empty is left out.
func readCSV(in io.Reader, opt Options) (func() (Chunk, error), error) {
	s := &rowScanner{in: bufio.NewReaderSize(in, chunkSize), comma: ','}
	if opt.Delimiter != 0 {
		s.comma = opt.Delimiter
	}
	headers := opt.Headers
	if len(headers) == 0 {
		var err error
		if headers, err = s.header(); err != nil {
			return nil, fmt.Errorf("CSV header: %w", err)
		}
	}
	seen, size := map[string]bool{}, 0
	for _, h := range headers {
		if h == "" || seen[h] || !utf8.ValidString(h) {
			return nil, fmt.Errorf("CSV header: the name %.100q is empty, used twice, or not UTF-8", h)
		}
		seen[h] = true
		size += len(h)
	}
	var held error // an error to return after the rows read before it
	return func() (Chunk, error) {
		rows := make([]byte, 0, chunkSize)
		n, cost := 0, 0
		for held == nil && n < rowsPerChunk && cost < chunkSize {
			start := len(rows)
			var fields int
			if rows, fields, held = s.next(rows, MaxRecord); held == nil && fields > len(headers) {
				held = fmt.Errorf("%w: it has %d fields, but there are %d columns", errRow, fields, len(headers))
			}
			if held != nil {
				rows = rows[:start]
				break
			}
			n++
			cost += len(rows) - start + size + 100*fields // every item repeats the names
		}
		if n > 0 {
			return Chunk{Bytes: cost, parse: func() []Record { return parseRows(rows, s.comma, headers, opt.Types) }}, nil
		}
		// A row that is refused counts as a record; any other error ends the file.
		err := held
		if errors.Is(err, errRecordTooLong) || errors.Is(err, errRow) {
			held = nil
			return refused(err), nil
		}
		return Chunk{}, err
	}, nil
}

// errRow is the error of a row that does not match the header.
var errRow = errors.New("the row does not match the header")

// rowScanner finds the ends of rows, by the rules of encoding/csv with LazyQuotes. It exists because encoding/csv keeps
// a row or a line of any length in memory.
type rowScanner struct {
	in     *bufio.Reader
	comma  byte
	state  int
	fields int // fields of the row that have ended
}

// States of a rowScanner.
const (
	beforeField = iota
	inField
	inQuotes
	behindQuote       // after a quote within quotes: it ends them, or is the first of two
	behindQuoteReturn // and a carriage return after it
)

// next appends the next row that is not empty, and counts its fields. If the row has more than limit bytes, next skips
// it and returns errRecordTooLong. It returns io.EOF at the end.
func (s *rowScanner) next(dst []byte, limit int) (row []byte, fields int, err error) {
	start, size := len(dst), 0
	for {
		var n int
		var ended bool
		n, ended, err = s.scan(&dst, limit-size)
		size += n
		if errors.Is(err, io.EOF) && size > 0 {
			if s.state != inQuotes && size <= limit { // within quotes, a line break would become part of the field
				dst = append(dst, '\n')
			}
			ended, err = true, nil
		}
		if err != nil {
			return dst[:start], 0, err
		}
		if !ended {
			continue
		}
		fields = s.fields + 1
		s.state, s.fields = beforeField, 0
		switch row := dst[start:]; {
		case size > limit:
			return dst[:start], 0, errRecordTooLong
		case string(row) == "\n" || string(row) == "\r\n": // encoding/csv ignores empty lines
			dst, size = dst[:start], 0
			continue
		}
		return dst, fields, nil
	}
}

// scan consumes what is buffered, up to the end of the row, and appends at most room bytes of it.
func (s *rowScanner) scan(dst *[]byte, room int) (n int, ended bool, err error) {
	if _, err := s.in.Peek(1); err != nil {
		return 0, false, err
	}
	buf, _ := s.in.Peek(s.in.Buffered()) // everything buffered
	state := s.state
	for n < len(buf) && !ended {
		c := buf[n]
		n++
		// The carriage return was data after all, so the quote before it did not end the field.
		if state == behindQuoteReturn && c != '\n' {
			state = inQuotes
		}
		switch {
		case state == inQuotes:
			if c == '"' {
				state = behindQuote
			}
		case c == '\n':
			ended = true
		case c == s.comma:
			state = beforeField
			s.fields++
		case state == inField:
		case c == '"': // the first of a field, or the second of two // the first of a field, or the second of two
			state = inQuotes
		case state == beforeField:
			state = inField
		case c == '\r':
			state = behindQuoteReturn
		default: // the quote before was part of the field
			state = inQuotes
		}
	}
	s.state = state
	*dst = append(*dst, buf[:min(n, max(room, 0))]...)
	_, err = s.in.Discard(n)
	return n, ended, err
}

// header reads the names of the columns; none if the file is empty.
func (s *rowScanner) header() ([]string, error) {
	row, _, err := s.next(nil, maxHeader)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case errors.Is(err, errRecordTooLong):
		return nil, fmt.Errorf("longer than %d MB", maxHeader>>20)
	case err != nil:
		return nil, err
	}
	return newCSV(row, s.comma).Read()
}

// newCSV returns a reader of rows that a rowScanner has delimited.
func newCSV(rows []byte, comma byte) *csv.Reader {
	r := csv.NewReader(bytes.NewReader(rows))
	r.LazyQuotes, r.FieldsPerRecord, r.Comma = true, -1, rune(comma)
	return r
}

// parseRows parses whole rows into records.
func parseRows(rows []byte, comma byte, headers []string, types map[string]attribute.Type) (out []Record) {
	r := newCSV(rows, comma)
	r.ReuseRecord = true
	for {
		row, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			out = append(out, Record{Err: err})
		default:
			out = append(out, parseRow(headers, row, types))
		}
	}
}

// parseRow makes an item of a row. It checks the size first: a row of many short fields may make an item that is too large.
func parseRow(headers, row []string, types map[string]attribute.Type) Record {
	size := 0
	for i, text := range row {
		if size += len(headers[i]); types[headers[i]] == 0 {
			size += len(text)
		}
	}
	if size > attribute.MaxItemSize {
		return Record{Err: errItemSize}
	}
	fields := make([]attribute.Field, 0, len(row))
	for i, text := range row {
		kind, isKey := types[headers[i]]
		if isKey && text == "" {
			continue
		}
		if !utf8.ValidString(text) {
			return Record{Err: fmt.Errorf("the field %s is not UTF-8", headers[i])}
		}
		v := attribute.String(text)
		switch kind {
		case attribute.TypeN:
			number, problem := attribute.AppendNumber(nil, []byte(text))
			if problem != "" {
				return Record{Err: errors.New(problem)}
			}
			v = attribute.AppendScalar(nil, attribute.TypeN, number)
		case attribute.TypeB:
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return Record{Err: err}
			}
			v = attribute.Binary(raw)
		}
		fields = append(fields, attribute.Field{Name: headers[i], Value: v})
	}
	return Record{Item: attribute.NewItem(fields...)}
}
