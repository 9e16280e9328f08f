// Package itemfile reads and writes the files in which items travel: DynamoDB JSON, Amazon Ion and CSV, each plain or
// compressed with gzip or zstd.
//
// [NewReader] reads a file of any size and content in a constant amount of memory: see [MaxRecord]. [AppendItem] and
// [AppendChange] write the lines of exports.
//
// Source: "DynamoDB table export output format", "DynamoDB import formats, quotas, and validation".
package itemfile

import (
	"errors"
	"fmt"
	"io"

	"github.com/statordb/stator/internal/attribute"
)

// Formats of files.
const (
	JSON = "DYNAMODB_JSON"
	Ion  = "ION"
	CSV  = "CSV"
)

// Compressions of files; "" means None.
const (
	None = "NONE"
	Gzip = "GZIP"
	Zstd = "ZSTD"
)

// Options describe a file.
type Options struct {
	Format      string
	Compression string
	// Delimiter and Headers apply to CSV: the separator of fields, 0 for a comma, and the names of the columns. Without
	// Headers, the first row has the names.
	Delimiter byte
	Headers   []string
	// Types are the types of attributes in CSV that are not strings.
	Types map[string]attribute.Type
}

// Record is a record of a file: an item, or a change of one.
type Record struct {
	Item attribute.Item
	// Keys, Old and New belong to incremental exports. New is nil for an item that was deleted.
	Keys, Old, New attribute.Item
	// Condition is the condition of a bulk put; "" for none. Names and Values are its placeholders.
	Condition string
	Names     map[string]string
	Values    map[string]attribute.Value

	Err error // why the record is invalid; all other fields are empty then, except the next
	// Unreadable means that the record is no JSON, so that what follows it can't be trusted.
	Unreadable bool
}

// Chunk is a group of records that have been read but not parsed.
type Chunk struct {
	// Bytes is about how much memory, in bytes, the chunk and its records need.
	Bytes int
	parse func() []Record
}

// Records parses the records. It may be called in any goroutine.
func (c Chunk) Records() []Record { return c.parse() }

// refused returns a chunk with an error in place of a record.
func refused(err error) Chunk {
	return Chunk{parse: func() []Record { return []Record{{Err: err}} }}
}

// Reader reads a file. It is not safe for concurrent use.
type Reader struct {
	next  func() (Chunk, error)
	close func()
}

// Next returns the next records; io.EOF at the end. Other errors mean that the rest of the file can't be read.
func (r *Reader) Next() (Chunk, error) { return r.next() }

// Close ends reading. It does not close the underlying reader.
func (r *Reader) Close() { r.close() }

// ErrEmptyRecord is the error of a record without an item.
var ErrEmptyRecord = errors.New("the record does not contain an item")

// NewReader returns a Reader of the file in. The caller must close it.
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
	Micros         int64 // when it was last written, in microseconds since 1970
}
