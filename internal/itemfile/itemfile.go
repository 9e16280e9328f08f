// Package itemfile reads and writes the files in which items travel: DynamoDB JSON, Amazon Ion and CSV, plain, in gzip or in
// zstd.
//
// Source: "DynamoDB table export output format", "DynamoDB import formats, quotas, and validation".
package itemfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

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

// Chunk are records that have been read and are still to be parsed, which can be done in any goroutine.
type Chunk func() []Record

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

// NewReader reads the file that in has.
func NewReader(in io.Reader, opt Options) (*Reader, error) {
	r := &Reader{close: func() {}}
	switch opt.Compression {
	case "", None:
	case Gzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(in, chunkSize))
		if errors.Is(err, io.EOF) { // nothing at all
			r.next = func() (Chunk, error) { return nil, io.EOF }
			return r, nil
		}
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		in = z
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		r.close = z.Close
		in = z
	default:
		return nil, fmt.Errorf("unknown compression %q", opt.Compression)
	}
	switch opt.Format {
	case JSON:
		r.next = readLines(in)
	case Ion:
		r.next = readIon(in)
	case CSV:
		next, err := readCSV(in, opt)
		if err != nil {
			r.close()
			return nil, err
		}
		r.next = next
	default:
		r.close()
		return nil, fmt.Errorf("unknown format %q", opt.Format)
	}
	return r, nil
}

// Change is a change of an item between two times, for AppendChange.
type Change struct {
	Keys, Old, New attribute.Item
	Micros         int64 // when it was written last, in microseconds since 1970
}
