package itemfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/wirejson"
)

func item(t testing.TB, text string) attribute.Item {
	t.Helper()
	var r wirejson.Reader
	r.Reset([]byte(text))
	it := attribute.ReadItem(&r)
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	if _, problem, invalid := it.Invalid(); invalid {
		t.Fatal(problem)
	}
	return it.Clone()
}

// everything has a value of every type.
const everything = `{"s":{"S":"text \" \\ \n ü 🚀"},"empty":{"S":""},"n":{"N":"600"},"neg":{"N":"-0.00125"},"big":{"N":"1E+125"},"small":{"N":"9.9999999999999999999999999999999999999E-130"},
"zero":{"N":"0"},"b":{"B":"AAEC/w=="},"t":{"BOOL":true},"f":{"BOOL":false},"null":{"NULL":true},"ss":{"SS":["a","b c"]},"ns":{"NS":["1","2.5","-3"]},"bs":{"BS":["AQ==","/w=="]},
"l":{"L":[{"S":"x"},{"L":[]},{"N":"1"},{"M":{}}]},"m":{"M":{"a b":{"S":"y"},"l":{"L":[{"NULL":true}]}}},"with space":{"S":"1"},"null2":{"S":"null"},"$x":{"BOOL":true}}`

func compress(t testing.TB, kind string, body []byte) []byte {
	var buf bytes.Buffer
	var w io.WriteCloser
	switch kind {
	case Gzip:
		w = gzip.NewWriter(&buf)
	case Zstd:
		w, _ = zstd.NewWriter(&buf)
	default:
		return body
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func read(body []byte, opt Options) (out []Record, err error) {
	r, err := NewReader(bytes.NewReader(body), opt)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		chunk, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, chunk.Records()...)
	}
}

// TestRoundTrip writes many items and changes, and reads them again, in all formats and compressions.
func TestRoundTrip(t *testing.T) {
	it := item(t, everything)
	old := item(t, `{"id":{"N":"1"},"v":{"S":"old"}}`)
	keys := item(t, `{"id":{"N":"1"}}`)
	for _, format := range []string{JSON, Ion} {
		for _, compression := range []string{"", None, Gzip, Zstd} {
			var body []byte
			const n = 3000
			for range n {
				body = AppendItem(body, format, it)
			}
			body = AppendChange(body, format, &Change{Keys: keys, Old: old, New: it, Micros: 1680109764000000})
			body = AppendChange(body, format, &Change{Keys: keys, Micros: 1680109764000000})
			got, err := read(compress(t, compression, body), Options{Format: format, Compression: compression})
			if err != nil || len(got) != n+2 {
				t.Fatalf("%s %s: %d records, %v", format, compression, len(got), err)
			}
			for i, rec := range got[:n] {
				if rec.Err != nil || !bytes.Equal(rec.Item, it) {
					t.Fatalf("%s %s: record %d is %s (%v)", format, compression, i, rec.Item.AppendJSON(nil), rec.Err)
				}
				if err := rec.Item.WellFormed(); err != nil {
					t.Fatal(err)
				}
			}
			if c := got[n]; c.Err != nil || !bytes.Equal(c.Keys, keys) || !bytes.Equal(c.Old, old) || !bytes.Equal(c.New, it) {
				t.Errorf("%s %s: change %v", format, compression, c)
			}
			if c := got[n+1]; c.Err != nil || !bytes.Equal(c.Keys, keys) || c.Old != nil || c.New != nil {
				t.Errorf("%s %s: deletion %v", format, compression, c)
			}
		}
	}
}

// TestLines compares lines with those in AWS's documentation.
func TestLines(t *testing.T) {
	it := item(t, `{"Authors":{"SS":["Author1","Author2"]},"ISBN":{"S":"333-3333333333"},"Id":{"N":"103"},"InPublication":{"BOOL":false},"PageCount":{"N":"600"},"Price":{"N":"2000"}}`)
	keys := item(t, `{"ISBN":{"S":"333-3333333333"}}`)
	for want, got := range map[string][]byte{
		`{"Item":{"Authors":{"SS":["Author1","Author2"]},"ISBN":{"S":"333-3333333333"},"Id":{"N":"103"},"InPublication":{"BOOL":false},"PageCount":{"N":"600"},"Price":{"N":"2000"}}}`: AppendItem(nil, JSON, it),
		`$ion_1_0 {Item:{Authors:$dynamodb_SS::["Author1","Author2"],ISBN:"333-3333333333",Id:103.,InPublication:false,PageCount:6d2,Price:2d3}}`:                                      AppendItem(nil, Ion, it),
		`{"Metadata":{"WriteTimestampMicros":{"N":"1680109764000000"}},"Keys":{"ISBN":{"S":"333-3333333333"}},"NewImage":{"ISBN":{"S":"333-3333333333"}}}`:                             AppendChange(nil, JSON, &Change{Keys: keys, New: keys, Micros: 1680109764000000}),
		`$ion_1_0 {Record:{Keys:{ISBN:"333-3333333333"},Metadata:{WriteTimestampMicros:1684374845117899.},OldImage:{ISBN:"333-3333333333"},NewImage:{ISBN:"333-3333333333"}}}`:         AppendChange(nil, Ion, &Change{Keys: keys, Old: keys, New: keys, Micros: 1684374845117899}),
	} {
		if string(got) != want+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}

// TestBadRecords puts invalid records between valid ones, and reads files that can't be read to their end.
func TestBadRecords(t *testing.T) {
	good := `{"Item":{"id":{"S":"good"}}}`
	for _, bad := range []string{`{`, `{"Item":{"id":{"X":"1"}}}`, `{"Item":{"id":{"N":"one"}}}`, `{"Item":{"id":{"SS":[]}}}`, `{"item":{}}`, `[]`, `{"Item":[]}`, `"text"`, `{"Item":{"id":{"S":1}}}`} {
		got, err := read([]byte(good+"\n"+bad+"\n\r\n"+good), Options{Format: JSON})
		if err != nil || len(got) != 3 || got[0].Err != nil || got[1].Err == nil || got[2].Err != nil {
			t.Errorf("%s: %v, %v", bad, got, err)
		}
	}
	if got, err := read([]byte(good+good+` x `+good+"\n"+good), Options{Format: JSON}); err != nil || len(got) != 4 || got[0].Err != nil || got[1].Err != nil ||
		!got[2].Unreadable || got[3].Err != nil {
		t.Errorf("two items and a word on a line: %v, %v", got, err)
	}
	for _, bad := range []string{`{Item:{id:2020-01-01T}}`, `{Item:{id:$dynamodb_SS::["a",1]}}`, `{Item:{id:$dynamodb_SS::[]}}`, `{item:{}}`, `[]`, `{Item:[]}`, `{Item:{id:1d200}}`, `{Item:{id:"a",id:"b"}}`, `7`} {
		got, err := read([]byte(`{Item:{id:"good"}}`+"\n"+bad+"\n"+`{Item:{id:"good"}}`), Options{Format: Ion})
		if err != nil || len(got) != 3 || got[0].Err != nil || got[1].Err == nil || got[2].Err != nil {
			t.Errorf("%s: %v, %v", bad, got, err)
		}
	}
	body := []byte(strings.Repeat(good+"\n", 100000))
	for _, kind := range []string{Gzip, Zstd} {
		z := compress(t, kind, body)
		if _, err := read(z[:len(z)-20], Options{Format: JSON, Compression: kind}); err == nil {
			t.Errorf("truncated %s was read", kind)
		}
		z[len(z)/2] ^= 0xFF
		if _, err := read(z, Options{Format: JSON, Compression: kind}); err == nil {
			t.Errorf("damaged %s was read", kind)
		}
		if _, err := read(body, Options{Format: JSON, Compression: kind}); err == nil {
			t.Errorf("a file that is not %s was read as such", kind)
		}
	}
	if _, err := read([]byte(`{Item:{id:"good"}} {Item:{id:"`), Options{Format: Ion}); err == nil {
		t.Error("truncated Ion was read")
	}
	for _, format := range []string{JSON, Ion, CSV} {
		for _, compression := range []string{None, Gzip, Zstd} {
			if got, err := read(nil, Options{Format: format, Compression: compression}); err != nil || len(got) != 0 {
				t.Errorf("an empty file, %s %s: %v, %v", format, compression, got, err)
			}
		}
	}
}

func TestLongLines(t *testing.T) {
	var body []byte
	for i := range 50 {
		body = fmt.Appendf(body, `{"Item":{"id":{"N":"%d"},"v":{"S":"%s"}}}`+"\n", i, strings.Repeat("x", i*20000))
	}
	got, err := read(body, Options{Format: JSON})
	if err != nil || len(got) != 50 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	for i, rec := range got {
		if rec.Err != nil || len(rec.Item.Get("v").Bytes()) != i*20000 {
			t.Errorf("record %d: %v", i, rec.Err)
		}
	}
}

func TestCSV(t *testing.T) {
	types := map[string]attribute.Type{"id": attribute.TypeN, "g": attribute.TypeS, "raw": attribute.TypeB}
	got, err := read([]byte("id,name,g,raw\n1,\"a,\"\"b\"\"\",x,AQI=\n2,,,\nthree,a,b,\n4,a,b,!\n5,a\n6,a,b,,more\n"), Options{Format: CSV, Types: types})
	if err != nil || len(got) != 6 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, want := range []string{
		`{"g":{"S":"x"},"id":{"N":"1"},"name":{"S":"a,\"b\""},"raw":{"B":"AQI="}}`, `{"id":{"N":"2"},"name":{"S":""}}`, "", "", `{"id":{"N":"5"},"name":{"S":"a"}}`, "",
	} {
		text := ""
		if got[i].Err == nil {
			text = string(got[i].Item.AppendJSON(nil))
		}
		if text != want {
			t.Errorf("row %d is %s (%v), want %s", i, text, got[i].Err, want)
		}
	}
	got, err = read([]byte("1;a\n2;b"), Options{Format: CSV, Types: types, Delimiter: ';', Headers: []string{"id", "name"}})
	if err != nil || len(got) != 2 || string(got[0].Item.AppendJSON(nil)) != `{"id":{"N":"1"},"name":{"S":"a"}}` {
		t.Errorf("with headers given: %v, %v", got, err)
	}
	if _, err := read([]byte("a,a\n1,2"), Options{Format: CSV}); err == nil {
		t.Error("a header with a duplicate name was accepted")
	}
}

// TestCondition reads records of a bulk put that have a condition.
func TestCondition(t *testing.T) {
	for format, body := range map[string]string{
		JSON: `{"Item":{"id":{"S":"a"}},"ConditionExpression":"#v < :v","ExpressionAttributeNames":{"#v":"v"},"ExpressionAttributeValues":{":v":{"N":"1"}}}`,
		Ion:  `{Item:{id:"a"},ConditionExpression:"#v < :v",ExpressionAttributeNames:{'#v':"v"},ExpressionAttributeValues:{':v':1}}`,
	} {
		got, err := read([]byte(body), Options{Format: format})
		if err != nil || len(got) != 1 || got[0].Condition != "#v < :v" || got[0].Names["#v"] != "v" || got[0].Values[":v"].String() != "{N:1}" {
			t.Errorf("%s: %v, %v", format, got, err)
		}
	}
}

// FuzzRead reads anything in all formats: every item that comes out must be well-formed.
func FuzzRead(f *testing.F) {
	it := item(f, everything)
	f.Add(AppendItem(nil, JSON, it))
	f.Add(AppendItem(nil, Ion, it))
	f.Add([]byte("id,name\n1,\"x\"\n"))
	f.Add(compress(f, Gzip, AppendItem(nil, JSON, it)))
	f.Add(compress(f, Zstd, AppendItem(nil, Ion, it)))
	f.Add([]byte("\xe0\x01\x00\xea\xee\x8c\x81\x83\xde\x88\x87\xbe\x85\x84Item"))
	f.Add([]byte("$ion_symbol_table::{symbols:[\"id\"]} {Item:{$10:1,b:{{AQI=}},c:'''x''' /* y */ '''z'''}}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, format := range []string{JSON, Ion, CSV} {
			for _, kind := range []string{None, Gzip, Zstd} {
				fuzzRead(t, body, format, kind)
				fuzzRead(t, compress(t, kind, body), format, kind)
			}
		}
	})
}

// fuzzRead reads a file: its items must be well-formed, and memory must be linear in its decompressed size.
func fuzzRead(t *testing.T, body []byte, format, kind string) {
	size := int64(0)
	if in, end, err := decompress(bytes.NewReader(body), kind); err == nil {
		size, _ = io.Copy(io.Discard, in)
		end()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	records, _ := read(body, Options{Format: format, Compression: kind, Types: map[string]attribute.Type{"id": attribute.TypeN}})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20+400*uint64(size) {
		t.Errorf("%s %s of %d bytes: %d bytes were allocated", format, kind, size, n)
	}
	for _, rec := range records {
		for _, it := range []attribute.Item{rec.Item, rec.Keys, rec.Old, rec.New} {
			if it != nil && rec.Err == nil {
				if err := it.WellFormed(); err != nil {
					t.Fatalf("%s: %v", format, err)
				}
			}
		}
	}
}
