package itemfile

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/statordb/stator/internal/attribute"
)

// rowsPerChunk is how many rows of CSV are parsed at a time.
const rowsPerChunk = 500

// readCSV reads rows. Key attributes have the types that they are defined with, all others are strings ("DynamoDB import formats,
// quotas, and validation"). A key attribute whose field is empty is left out.
func readCSV(in io.Reader, opt Options) (func() (Chunk, error), error) {
	r := csv.NewReader(bufio.NewReaderSize(in, chunkSize))
	r.LazyQuotes = true
	r.FieldsPerRecord = -1
	if opt.Delimiter != 0 {
		r.Comma = rune(opt.Delimiter)
	}
	headers := opt.Headers
	if len(headers) == 0 {
		var err error
		if headers, err = r.Read(); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("CSV header: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, h := range headers {
		if h == "" || seen[h] || !utf8.ValidString(h) {
			return nil, fmt.Errorf("CSV header: the name %q is empty, there twice, or not UTF-8", h)
		}
		seen[h] = true
	}
	var failed error
	return func() (Chunk, error) {
		if failed != nil {
			return nil, failed
		}
		var rows [][]string
		for len(rows) < rowsPerChunk {
			row, err := r.Read()
			if err != nil {
				failed = err
				break
			}
			rows = append(rows, row)
		}
		if len(rows) == 0 {
			return nil, failed
		}
		return func() []Record {
			out := make([]Record, len(rows))
			for i, row := range rows {
				out[i] = parseRow(headers, row, opt.Types)
			}
			return out
		}, nil
	}, nil
}

func parseRow(headers, row []string, types map[string]attribute.Type) Record {
	if len(row) > len(headers) {
		return Record{Err: fmt.Errorf("the row has %d fields, and there are %d columns", len(row), len(headers))}
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
