package itemfile

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/amazon-ion/ion-go/ion"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// repeated is a text that is generated while it is read.
type repeated struct {
	text string
	left int // bytes
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	for n < len(p) && r.left > 0 {
		m := copy(p[n:min(len(p), n+r.left)], r.text[r.at:])
		n, r.at, r.left = n+m, (r.at+m)%len(r.text), r.left-m
	}
	return n, nil
}

// file returns a file made of parts: strings, and strings followed by the number of bytes for which they are repeated.
func file(parts ...any) io.Reader {
	var all []io.Reader
	for i := 0; i < len(parts); i++ {
		text := parts[i].(string)
		if i+1 < len(parts) {
			if n, ok := parts[i+1].(int); ok {
				all = append(all, &repeated{text: text, left: n})
				i++
				continue
			}
		}
		all = append(all, strings.NewReader(text))
	}
	return io.MultiReader(all...)
}

// ends tells how reading a file ended: its items, the records refused, and the last reason.
type ends struct {
	items, refused int
	reason         error
	err            error
	allocated      uint64 // bytes allocated in total
	chunk          int    // the largest Chunk.Bytes
}

func readAll(in io.Reader, opt Options) (e ends) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		runtime.ReadMemStats(&after)
		e.allocated = after.TotalAlloc - before.TotalAlloc
	}()
	r, err := NewReader(in, opt)
	if err != nil {
		e.err = err
		return e
	}
	defer r.Close()
	for {
		chunk, err := r.Next()
		if errors.Is(err, io.EOF) {
			return e
		}
		if err != nil {
			e.err = err
			return e
		}
		e.chunk = max(e.chunk, chunk.Bytes)
		for _, rec := range chunk.Records() {
			if rec.Err != nil {
				e.refused++
				e.reason = rec.Err
			} else {
				e.items++
			}
		}
	}
}

const mb = 1 << 20

// hostile are files that attack a reader's memory, stack or time, between valid records.
var hostile = []struct {
	name, format   string
	parts          []any
	items, refused int
	reason         string // for the last record refused, or for the file
	whole          bool   // the file can't be read to its end
	allocated      int    // upper bound in MB
}{
	{"json line", JSON, []any{goodJSON, "x", 24 * mb, "\n", goodJSON}, 2, 1, "longer than 8 MB", false, 40},
	{"json line without end", JSON, []any{goodJSON, "x", 24 * mb}, 1, 1, "longer than 8 MB", false, 40},
	{"json arrays", JSON, []any{goodJSON, `{"Item":`, "[", 7 * mb, "\n", goodJSON}, 2, 1, "", false, 60},
	{"json maps", JSON, []any{goodJSON, `{"Item":{"a":`, `{"M":{"a":`, 7 * mb, "\n", goodJSON}, 2, 1, "malformed", false, 60},
	{"json lists skipped", JSON, []any{goodJSON, `{"x":`, `[`, 7 * mb, "\n", goodJSON}, 2, 1, "malformed", false, 60},
	{"json empty strings", JSON, []any{goodJSON, `{"Item":{"a":{"L":[{"S":""}`, `,{"S":""}`, 9 * (mb * 3 / 4), "]}}}\n", goodJSON}, 3, 0, "", false, 60},
	{"json names", JSON, []any{goodJSON, `{"ExpressionAttributeNames":{"a":"a"`, `,"a":"a"`, 7 * mb, "}}\n", goodJSON}, 2, 1, "", false, 60},
	{"json empty lines", JSON, []any{goodJSON, "\n", 24 * mb, goodJSON}, 2, 0, "", false, 160},
	{"json tiny records", JSON, []any{"{}\n", 3 << 17}, 0, 1 << 17, "does not contain an item", false, 120},
	{"csv field", CSV, []any{"id\ngood\n\"", "x", 10 * mb, "\"\ngood\n"}, 2, 1, "longer than 8 MB", false, 40},
	{"csv quote without end", CSV, []any{"id\ngood\n\"", "x,\n", 10 * mb}, 1, 1, "longer than 8 MB", false, 40},
	{"csv line", CSV, []any{"id\ngood\n", "x", 10 * mb, "\ngood"}, 2, 1, "longer than 8 MB", false, 40},
	{"csv fields", CSV, []any{"id\ngood\n", ",", 7 * mb, "\ngood"}, 2, 1, "columns", false, 40},
	{"csv header", CSV, []any{"x", 10 * mb, "\ngood\n"}, 0, 0, "longer than 1 MB", true, 20},
	{"csv columns", CSV, []any{"x,", 10 * mb, "\ngood\n"}, 0, 0, "longer than 1 MB", true, 20},
	{"csv quoted header", CSV, []any{"\"x\n", 10 * mb}, 0, 0, "longer than 1 MB", true, 20},
	{"csv names", CSV, []any{"a", mb / 3, ",", "b", mb / 10, "\nx,y\n", "x\n", 200}, 100, 1, "Item size", false, 120},
	{"ion lists", Ion, []any{goodIon, "[", 10 * mb}, 1, 0, "nested deeper", true, 40},
	{"ion lists with an end", Ion, []any{goodIon, "[", 10 * mb, "]", 10 * mb, goodIon}, 2, 1, "nested deeper", false, 40},
	{"ion s-expressions", Ion, []any{goodIon, "(", 10 * mb}, 1, 0, "nested deeper", true, 40},
	{"ion structs", Ion, []any{goodIon, "{a:", 10 * mb}, 1, 0, "nested deeper", true, 40},
	{"ion in an item", Ion, []any{goodIon, "{Item:{a:", "[", 10 * mb}, 1, 0, "nested deeper", true, 40},
	{"ion in a symbol table", Ion, []any{goodIon, "$ion_symbol_table::{x:", "[", 10 * mb}, 1, 0, "nested deeper", true, 40},
	{"ion behind what only looks like a comment", Ion, []any{goodIon, "{x:/*/", "[", 10 * mb, "*/"}, 1, 0, "unexpected", true, 40},
	{"ion behind an operator", Ion, []any{goodIon, "(+//", "[", 10 * mb, "\n)"}, 1, 0, "unexpected", true, 40},
	{"ion behind a clob", Ion, []any{goodIon, `$ion_symbol_table::{x:{{"}} "}}, y:"`, "[", 10 * mb, `"}`}, 1, 0, "unexpected", true, 40},
	{"ion numbers", Ion, []any{goodIon, "{Item:{a:[0", ",0", 10 * mb, "]}}", goodIon}, 2, 1, "longer than 8 MB", false, 40},
	{"ion nulls", Ion, []any{goodIon, "{Item:{a:[0", ",null", 7 * mb, "]}}", goodIon}, 2, 1, "Item size", false, 250},
	{"ion empty strings", Ion, []any{goodIon, `{Item:{a:[""`, `,""`, 7 * mb, "]}}", goodIon}, 2, 1, "Item size", false, 500},
	{"ion set", Ion, []any{goodIon, `{Item:{a:$dynamodb_SS::[""`, `,""`, 7 * mb, "]}}", goodIon}, 2, 1, "Item size", false, 500},
	{"ion string", Ion, []any{goodIon, `{Item:{a:"`, "x", 10 * mb, `"}}`, goodIon}, 2, 1, "longer than 8 MB", false, 40},
	{"ion string without end", Ion, []any{goodIon, `{Item:{a:"`, "x", 10 * mb}, 1, 0, "longer than 8 MB", true, 40},
	{"ion long string", Ion, []any{goodIon, "{Item:{a:'''", "x\n", 10 * mb, "'''}}", goodIon}, 2, 1, "longer than 8 MB", false, 40},
	{"ion long strings", Ion, []any{goodIon, "'''x''' ", 10 * mb, goodIon}, 2, 1, "longer than 8 MB", false, 40},
	{"ion blob", Ion, []any{goodIon, "{Item:{a:{{", "AAAA", 10 * mb, "}}}}", goodIon}, 2, 1, "longer than 8 MB", false, 40},
	{"ion symbol", Ion, []any{goodIon, "x", 10 * mb, " ", goodIon}, 2, 1, "longer than 8 MB", false, 40},
	{"ion quoted symbol", Ion, []any{goodIon, "'", "x", 10 * mb, "'", goodIon}, 2, 1, "longer than 8 MB", false, 40},
	{"ion integer", Ion, []any{goodIon, "{Item:{a:1", "0", 7 * mb, "}}", goodIon}, 2, 1, "digits", false, 40},
	{"ion hexadecimal", Ion, []any{goodIon, "{Item:{a:0x1", "0", 7 * mb, "}}", goodIon}, 2, 1, "digits", false, 40},
	{"ion decimal", Ion, []any{goodIon, "{Item:{a:1.", "0", 7 * mb, "}}", goodIon}, 2, 1, "digits", false, 40},
	{"ion timestamp", Ion, []any{goodIon, "{Item:{a:2020-01-01T00:00:00.", "0", 7 * mb, "Z}}", goodIon}, 2, 1, "digits", false, 40},
	{"ion exponent", Ion, []any{goodIon, "{Item:{a:1d999999999}}", "{Item:{a:1d-999999999}}", "{Item:{a:1e999}}", goodIon}, 2, 3, "", false, 1},
	{"ion exponent out of range", Ion, []any{goodIon, "{Item:{a:1d9999999999}}", goodIon}, 1, 0, "range", true, 1},
	{"ion annotations", Ion, []any{goodIon, "a::", 3 * 8 * mb, goodIon}, 1, 1, "annotations", false, 40},
	{"ion annotations within", Ion, []any{goodIon, "{Item:{a:[", "a::", 3 * mb, "1]}}", goodIon}, 2, 1, "annotations", false, 40},
	{"ion annotated", Ion, []any{goodIon, "a::{b:[0", ",0", 2 * mb, "]}", goodIon}, 2, 1, "longer than 1 MB", false, 40},
	{"ion comment", Ion, []any{goodIon, "/*", "x", 10 * mb, "*/", goodIon}, 2, 0, "", false, 2},
	{"ion line of a comment", Ion, []any{goodIon, "//", "x", 10 * mb, "\n", goodIon}, 2, 0, "", false, 2},
	{"ion white space", Ion, []any{goodIon, " \n", 10 * mb, goodIon}, 2, 0, "", false, 2},
	{"ion names", Ion, []any{goodIon, "{Item:{a:1},ExpressionAttributeNames:{", "x:1,", 3 * mb, "}}", goodIon}, 2, 1, "twice", false, 200},
	{"ion symbols", Ion, []any{goodIon, `$ion_symbol_table::{symbols:[""`, `,""`, 3 * mb, "]}", goodIon}, 2, 1, "longer than 1 MB", false, 40},
	{"ion appended symbols", Ion, []any{goodIon, `$ion_symbol_table::{imports:$ion_symbol_table,symbols:["x"]}`, 600 * 61}, 1, 0, "appended", true, 10},
	{"ion shared symbols", Ion, []any{goodIon, `$ion_symbol_table::{imports:[{name:"x",version:1,max_id:2000000000}]} {Item:{a:$99}}`}, 1, 0, "unknown Ion symbol table", true, 1},
	{"ion binary string", Ion, []any{ionStart, goodBinary, "\x8e" + varInt(12*mb), "x", 12 * mb, goodBinary}, 2, 1, "longer than 8 MB", false, 20},
	{"ion binary that is cut off", Ion, []any{ionStart, goodBinary, "\x8e" + varInt(1<<60), "x", mb}, 1, 0, "unexpected EOF", true, 10},
	{"ion binary length", Ion, []any{ionStart, goodBinary, "\x8e", "\x7f", 20, "\xff"}, 1, 0, "impossible length", true, 2},
	{"ion binary length within", Ion, []any{ionStart, goodBinary, "\xb7\x8e\x7f\x7f\x7f\x7f\xff\x21", goodBinary}, 2, 1, "well-formed", false, 2},
	{"ion binary lists", Ion, []any{ionStart, goodBinary, nested(100), goodBinary}, 2, 1, "nested deeper", false, 2},
	{"ion binary table", Ion, []any{ionStart, goodBinary, "\xee" + varInt(2*mb) + "\x81\x83", "\x0f", 2 * mb}, 1, 0, "symbol table", true, 4},
	{"ion binary table that is damaged", Ion, []any{ionStart, goodBinary, "\xe4\x81\x83\xd8\x87", goodBinary}, 1, 0, "symbol table", true, 4},
	{"ion binary sorted struct", Ion, []any{ionStart, goodBinary, "\xd1\x8e" + strings.Repeat("\x84\x0f", 7), goodBinary}, 2, 1, "well-formed", false, 2},
	{"ion binary timestamp", Ion, []any{ionStart, goodBinary, "\x6e" + varInt(7*mb) + "\x80\x0f\xe4\x81\x81\x80\x80\x80\xc3", "\x7f", 7*mb - 9, goodBinary}, 2, 1, "well-formed", false, 40},
	{"ion binary annotations", Ion, []any{ionStart, goodBinary, "\xee" + varInt(3+100+1) + "\x00\x00" + varInt(100), "\x84", 100, "\x0f"}, 1, 1, "", false, 2},
	{"ion binary padding", Ion, []any{ionStart, goodBinary, "\x0e" + varInt(1000) + "", "x", 1000, goodBinary}, 2, 0, "", false, 2},
}

const (
	goodJSON = `{"Item":{"id":{"S":"good"}}}` + "\n"
	goodIon  = `{Item:{id:"good"}}` + "\n"
)

// ionStart is the beginning of a binary file, with its symbols; goodBinary is an item.
var ionStart, goodBinary = func() (string, string) {
	write := func(n int) string {
		var buf bytes.Buffer
		w := ion.NewBinaryWriter(&buf)
		for range n {
			_ = ion.MarshalTo(w, map[string]any{"Item": map[string]any{"id": "good"}})
		}
		_ = w.Finish()
		return buf.String()
	}
	two, three := write(2), write(3)
	item := three[len(two):]
	return strings.TrimSuffix(two, item+item), item
}()

// varInt encodes a length in binary Ion.
func varInt(n int) string {
	out := []byte{byte(n)&0x7F | 0x80}
	for n >>= 7; n > 0; n >>= 7 {
		out = append([]byte{byte(n) & 0x7F}, out...)
	}
	return string(out)
}

// nested returns binary lists nested to a depth.
func nested(depth int) string {
	s := "\x10"
	for range depth {
		s = "\xbe" + varInt(len(s)) + s
	}
	return s
}

// compressed returns a reader of a compressed copy of in.
func compressed(t testing.TB, kind string, in io.Reader) io.Reader {
	t.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case Gzip:
		w, err = gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	case Zstd:
		w, err = zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
	default:
		return in
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf
}

// TestHostileFiles reads files that would exhaust a server if the libraries saw them.
func TestHostileFiles(t *testing.T) {
	for i, c := range hostile {
		kinds := []string{None, Gzip, Zstd}
		if i%8 != 0 {
			kinds = kinds[:1]
		}
		for _, kind := range kinds {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				got := readAll(compressed(t, kind, file(c.parts...)), Options{Format: c.format, Compression: kind})
				reason := got.reason
				if c.whole {
					reason = got.err
				}
				if got.items != c.items || got.refused != c.refused || (got.err != nil) != c.whole || (reason != nil) != (c.whole || c.refused > 0) {
					t.Fatalf("%d items, %d refused, %v, %v", got.items, got.refused, got.reason, got.err)
				}
				if reason != nil && !strings.Contains(reason.Error(), c.reason) {
					t.Errorf("refused with %.300v", reason)
				}
				// zstd's decoder has some memory of its own.
				if limit := uint64(c.allocated+40) * mb; got.allocated > limit {
					t.Errorf("%d MB were allocated", got.allocated/mb)
				}
				if got.chunk > 2*MaxRecord+chunkSize {
					t.Errorf("a chunk has %d bytes", got.chunk)
				}
			})
		}
	}
}

// TestZstdWindow reads a frame with a window larger than the decoder may keep, and many small frames that claim large windows.
func TestZstdWindow(t *testing.T) {
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, zstd.WithWindowSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, file("x", 80*mb)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := readAll(&buf, Options{Format: JSON, Compression: Zstd})
	if !errors.Is(got.err, zstd.ErrWindowSizeExceeded) || got.allocated > 40*mb {
		t.Errorf("%v, %d MB were allocated", got.err, got.allocated/mb)
	}
	// A frame without a size, with a window of 32 MB and an empty last block.
	frames := strings.Repeat("\x28\xb5\x2f\xfd\x00\x78\x01\x00\x00", 100_000)
	got = readAll(strings.NewReader(frames), Options{Format: JSON, Compression: Zstd})
	if got.err != nil || got.allocated > 200*mb {
		t.Errorf("%v, %d MB were allocated", got.err, got.allocated/mb)
	}
}

// FuzzIonGuard has the library read what the guard of text lets through, once skipping values and once reading
// everything in them. Both must find the same values, and nothing may be nested too deep.
func FuzzIonGuard(f *testing.F) {
	for _, c := range hostile {
		if c.format == Ion && !strings.HasPrefix(c.name, "ion binary") {
			body, err := io.ReadAll(io.LimitReader(file(c.parts...), 300))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body)
		}
	}
	for _, text := range []string{
		"a::{b:'''x''' /* y */ '''z'''} // c", `{{"clob"}} {{ '''a''' '''b''' }} {{AAAA}}`, "(a +b . c -1 null.int)",
		`$ion_symbol_table::{symbols:["a"]} {$10:$10}`, `2020-01-01T00:00:00.000+01:00 1_000 -0x1F 'a\'b'`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 3 && body[0] == bvm && body[3] == 0xEA {
			return
		}
		safe, err := io.ReadAll(newIonGuard(bytes.NewReader(body)))
		if err != nil {
			return
		}
		values, err := walkIon(t, safe, true)
		if err != nil {
			return
		}
		if skipped, err := walkIon(t, safe, false); err != nil || skipped != values {
			t.Errorf("%q has %d values, and %d of them when they are skipped (%v)", safe, values, skipped, err)
		}
	})
}

// walkIon counts the top-level values, reading everything in them if all is set.
func walkIon(t *testing.T, body []byte, all bool) (values int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the library panics")
		}
	}()
	r := ion.NewReaderBytes(body)
	depth := 0
	for {
		for r.Next() {
			if depth == 0 {
				values++
			}
			if all && !r.IsNull() && ion.IsContainer(r.Type()) {
				if depth++; depth > maxNesting {
					t.Errorf("%q is nested deeper than %d levels", body, depth)
				}
				if err := r.StepIn(); err != nil {
					return 0, err
				}
			}
		}
		if r.Err() != nil || depth == 0 {
			return values, r.Err()
		}
		if err := r.StepOut(); err != nil {
			return 0, err
		}
		depth--
	}
}

// FuzzRows compares the rows of rowScanner with those of encoding/csv.
func FuzzRows(f *testing.F) {
	for _, text := range []string{
		"a,b\r\nc,\"d\n\"\"e\"\n", "\"a\"b\",c\n\n\r\nx", "\"a\"\r\n\"b\"\r\r\n\"c", "a\"b,\"c\r", ",,\n\"\",\"\"\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, err := newCSV(body, ',').ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var got [][]string
		s := rowScanner{in: bufio.NewReaderSize(bytes.NewReader(body), 16), comma: ','}
		for {
			row, fields, err := s.next(nil, len(body)+1)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			rows, err := newCSV(row, ',').ReadAll()
			if err != nil || len(rows) != 1 || len(rows[0]) != fields {
				t.Fatalf("the row %q is %q, with %d fields, %v", row, rows, fields, err)
			}
			got = append(got, rows[0])
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%q has the rows %q, want %q", body, got, want)
		}
	})
}
