// Package itemfile reads and writes the files in which items travel: DynamoDB JSON, Amazon Ion and CSV, plain, in gzip or in
// zstd.
//
// Source: "DynamoDB table export output format", "DynamoDB import formats, quotas, and validation".
package itemfile

import (
	"errors"
	"fmt"
	"io"

	"github.com/statordb/stator/internal/attribute"
)

// Formats.
const (
	JSON = "DYNAMODB_JSON"
	Ion  = "ION"
	CSV  = "CSV"
)

// Compressions; "" is None.
const (
	None = "NONE"
	Gzip = "GZIP"
	Zstd = "ZSTD"
)

// Options say how files are written.
type Options struct {
	Format      string
	Compression string
	// Delimiter and Headers are of CSV: the separator of fields, 0 for a comma, and the names of the columns; without names the
	// first line has them.
	Delimiter byte
	Headers   []string
	// Types are those of attributes in CSV that are no strings.
	Types map[string]attribute.Type
}

// Record is a record of a file: an item, or a change of one.
type Record struct {
	Item attribute.Item
	// Keys, Old and New are of an incremental export: New is nil for an item that was deleted.
	Keys, Old, New attribute.Item
	// Condition says when the item is put, in a bulk put; "" for always. Names and Values are those of the expression.
	Condition string
	Names     map[string]string
	Values    map[string]attribute.Value

	Err error // why the record is none; the others are empty then
}

// Chunk is a number of records that have been read and are still to be parsed.
type Chunk struct {
	// Bytes is about how many bytes of memory the chunk and its records need.
	Bytes int
	parse func() []Record
}

// Records parses the records, in any goroutine.
func (c Chunk) Records() []Record { return c.parse() }

// refused is a chunk that has an error in place of a record.
func refused(err error) Chunk {
	return Chunk{parse: func() []Record { return []Record{{Err: err}} }}
}

// Reader reads a file. It is used by one goroutine.
type Reader struct {
	next  func() (Chunk, error)
	close func()
}

// Next returns the next records; io.EOF at the end. Other errors say that the file can't be read any further.
func (r *Reader) Next() (Chunk, error) { return r.next() }

// Close ends the reading. It does not close what is read from.
func (r *Reader) Close() { r.close() }

// ErrEmptyRecord is why a record without an item is none.
var ErrEmptyRecord = errors.New("the record does not contain an item")

// NewReader reads the file that in has. See MaxRecord for what bounds the memory that this needs.
func NewReader(in io.Reader, opt Options) (*Reader, error) {
	in, end, err := decompress(in, opt.Compression)
	if errors.Is(err, io.EOF) {
		return &Reader{next: func() (Chunk, error) { return Chunk{}, io.EOF }, close: end}, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Reader{close: end}
	switch opt.Format {
	case JSON:
		r.next = readLines(in)
	case Ion:
		r.next = readIon(in)
	case CSV:
		r.next, err = readCSV(in, opt)
	default:
		err = fmt.Errorf("unknown format %q", opt.Format)
	}
	if err != nil {
		end()
		return nil, err
	}
	return r, nil
}

// Change is a change of an item between two times, for AppendChange.
type Change struct {
	Keys, Old, New attribute.Item
	Micros         int64 // when it was written last, in microseconds since 1970
}
