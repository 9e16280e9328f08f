package itemfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Limits on a file, in bytes unless noted. They give a Reader a constant amount of memory, whatever the file contains,
// and time linear in its decompressed size, because what exceeds a limit never reaches the decoders of Ion, CSV and
// JSON.
const (
	// MaxRecord bounds a record. An item of 400 KB takes at most 3.7 MB of DynamoDB JSON without white space (a list of empty
	// strings), and a record of an incremental export has two of them.
	MaxRecord = 8 << 20
	// maxHeader bounds the header of a CSV file, whose names every item repeats.
	maxHeader = 1 << 20
	// maxTable bounds an Ion symbol table, including the tables it was appended to, and any other annotated value that
	// is no record.
	maxTable = 1 << 20
	// maxImports bounds how often an Ion symbol table may be appended to, since looking up a symbol takes time for each.
	maxImports = 32
	// maxNesting bounds the nesting of containers in an Ion value: 32 levels of attribute values, and those of the record.
	maxNesting = 64
	// maxNumber bounds the digits of a number in Ion text: reading a number takes time that grows with the square of
	// their count.
	maxNumber = 1024
	// maxAnnotations bounds the annotations of an Ion value. Items need at most one.
	maxAnnotations = 16
	// maxPlaceholders bounds the names, and the values, of an expression, which itself has at most 4 KB.
	maxPlaceholders = 2048
	// maxWindow bounds the window of zstd: enough for all levels without --ultra, and for level 20 with it.
	maxWindow = 32 << 20
	// maxLines bounds the lines of a Chunk.
	maxLines = 4096
)

var (
	errRecordTooLong = fmt.Errorf("the record is longer than %d MB, more than any item can be", MaxRecord>>20)
	errTooDeep       = fmt.Errorf("the record is nested deeper than %d levels", maxNesting)
	errAnnotated     = fmt.Errorf("an annotated value is longer than %d MB", maxTable>>20)
	errNumberTooLong = fmt.Errorf("the record has a number of more than %d digits", maxNumber)
	errAnnotations   = fmt.Errorf("the record has a value with more than %d annotations", maxAnnotations)
	//lint:ignore ST1005 it is AWS's sentence
	errItemSize     = errors.New("Item size has exceeded the maximum allowed size")
	errPlaceholders = fmt.Errorf("the record has more than %d names, or values, of an expression", maxPlaceholders)
)

// decompress returns a reader of the decompressed content of in, and a function that releases the decompressor. It
// returns io.EOF if in is empty.
func decompress(in io.Reader, kind string) (io.Reader, func(), error) {
	none := func() {}
	switch kind {
	case "", None:
		return in, none, nil
	case Gzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(in, chunkSize))
		if errors.Is(err, io.EOF) {
			return nil, none, io.EOF
		}
		if err != nil {
			return nil, none, err // begins with "gzip: "
		}
		return z, none, nil
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecodeBuffersBelow(0))
		if err != nil {
			return nil, none, fmt.Errorf("zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return nil, none, fmt.Errorf("unknown compression %q", kind)
}

// readFull reads until p is full or in ends. Unlike io.ReadFull it returns in's own error, so that a truncated file is
// not mistaken for one that ends.
func readFull(in io.Reader, p []byte) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; {
		var m int
		m, err = in.Read(p[n:])
		n += m
		if empty++; m > 0 {
			empty = 0
		} else if empty > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}
