package abuse

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

var fileAttacks = []Attack{
	{Point: 2, Work: fileWork, Name: "Ion: 40 MB of [, in gzip", Run: imports("ION", "GZIP", inGzip("", "[", 40<<20, ""))},
	{Point: 2, Work: fileWork, Name: "Ion: 40 MB of {a:, in zstd", Run: imports("ION", "ZSTD", inZstd("", "{a:", 40<<20, ""))},
	{Point: 2, Work: fileWork, Name: "Ion: 40 MB of annotations", Run: imports("ION", "GZIP", inGzip("$ion_1_0 ", "a::", 40<<20, "{}"))},
	{Point: 2, Work: fileWork, Name: "Ion: 40 MB of S-expressions", Run: imports("ION", "GZIP", inGzip("", "(", 40<<20, ""))},
	{Point: 2, Work: fileWork, Name: "Ion: a list of 150 million numbers", Run: imports("ION", "GZIP", inGzip(`$ion_1_0 {Item:{pk:"a",l:[`, "1,", 300<<20, "1]}}\n"))},
	{Point: 2, Work: fileWork, Name: "Ion: a string of 2.5 GB", Run: imports("ION", "GZIP", inGzip(`$ion_1_0 {Item:{pk:"`, "x", 2500<<20, `"}}`+"\n"))},
	{Point: 2, Work: fileWork, Name: "Ion: a number of 100 MB of digits", Run: imports("ION", "GZIP", inGzip(`$ion_1_0 {Item:{pk:"a",n:`, "9", 100<<20, "}}\n"))},
	{Point: 2, Work: fileWork, Name: "Ion: binary values that announce more than there is", Run: imports("ION", "NONE", binaryIon())},
	{Point: 2, Work: fileWork, Name: "CSV: one quoted field of 2.5 GB", Run: imports("CSV", "GZIP", inGzip("pk,v\na,\"", "x\n", 2500<<20, ""))},
	{Point: 2, Work: fileWork, Name: "CSV: a header of 2.5 GB", Run: imports("CSV", "ZSTD", inZstd("pk,", "x", 2500<<20, ""))},
	{Point: 2, Work: fileWork, Name: "CSV: a header of 20 million columns", Run: imports("CSV", "GZIP", inGzip("pk", ",", 20<<20, "\n"))},
	{Point: 2, Work: fileWork, Name: "CSV: a row of 200 million fields", Run: imports("CSV", "GZIP", inGzip("pk,v\na", ",", 200<<20, "\n"))},
	{Point: 2, Work: fileWork, Name: "JSON: 40 MB of [", Run: imports("DYNAMODB_JSON", "GZIP", inGzip(`{"Item":{"pk":{"S":"a"},"l":`, "[", 40<<20, ""))},
	{Point: 2, Work: fileWork, Name: "JSON: a list 8 million deep", Run: imports("DYNAMODB_JSON", "GZIP", inGzip(`{"Item":{"pk":{"S":"a"},"l":`, `{"L":[`, 40<<20, ""))},
	{Point: 2, Work: fileWork, Name: "JSON: one line of 2.5 GB", Run: imports("DYNAMODB_JSON", "GZIP", inGzip(`{"Item":{"pk":{"S":"`, "x", 2500<<20, ""))},
	{Point: 2, Work: fileWork, Name: "JSON: a bomb of zeros", Run: imports("DYNAMODB_JSON", "ZSTD", inZstd("", "\x00", 2500<<20, ""))},
	{Point: 2, Work: fileWork, Name: "zstd: windows of 128 MB to 2 TB", Run: imports("DYNAMODB_JSON", "ZSTD", zstdWindows())},
	{Point: 2, Work: fileWork, Name: "files that are not what they are said to be", Run: imports("DYNAMODB_JSON", "GZIP", garbage)},
}

// content writes the files of the bucket. The short form's may be smaller.
type content func(t *Target) error

const (
	// shorter divides the sizes of the short form.
	shorter = 16
	// fileMemory is the memory in bytes that the server may use in the short form. Keeping the inflated data would take more.
	fileMemory = 256 << 20
	// fileWork is the CPU time that the server may spend on an import and a bulk put of up to 160 MB: 25 ns per byte.
	fileWork = 8 * time.Second
)

// imports attacks with files, by an import and by a bulk put. Both must end, and a restarted server must not repeat what crashed it.
func imports(format, compression string, files content) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		if err := files(t); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(t.Bucket); _ = os.MkdirAll(t.Bucket, 0o755) }()
		schema := `"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]`
		options := fmt.Sprintf(`"InputFormat":%q,"InputCompressionType":%q`, format, compression)
		defer func() { t.Call(ctx, Alice, "DeleteTable", `{"TableName":"imported"}`) }() // if it was created; the next round needs the name
		var failed error
		r := t.Call(ctx, Alice, "ImportTable", `{`+options+`,"S3BucketSource":{"S3Bucket":"bucket","S3KeyPrefix":"f"},"TableCreationParameters":{"TableName":"imported",`+schema+`}}`)
		failed = errors.Join(failed, r.Is("ImportTable", "ok"), job(ctx, t, r, "ImportTableDescription", "Import"))
		if err := t.Alive(); err != nil {
			return errors.Join(failed, err)
		}
		if format == "CSV" {
			return failed // bulk puts don't accept CSV
		}
		r = t.Call(ctx, Alice, "CreateTable", `{"TableName":"put",`+schema+`}`)
		failed = errors.Join(failed, r.Is("CreateTable", "ok", "ResourceInUseException"))
		r = t.Call(ctx, Alice, "StartBulkPutItems", `{"TableName":"put","InputS3Configuration":{"S3Bucket":"bucket","S3KeyPrefix":"f",`+options+`},"OutputS3Configuration":{"OutputType":["ERROR"]}}`)
		failed = errors.Join(failed, r.Is("StartBulkPutItems", "ok"), job(ctx, t, r, "BulkOperationDescription", "BulkOperation"))
		if most := t.MostMemory(); most > fileMemory && !t.Long {
			failed = errors.Join(failed, fmt.Errorf("the server took %d MiB of memory", most>>20))
		}
		return failed
	}
}

// job waits until the job that an answer describes has ended, successfully or not.
func job(ctx context.Context, t *Target, r Reply, description, kind string) error {
	if r.Status != 200 {
		return nil // refused
	}
	var answer map[string]map[string]any
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return err
	}
	arn, _ := answer[description][kind+"Arn"].(string)
	for ctx.Err() == nil {
		r := t.Call(ctx, Alice, "Describe"+kind, fmt.Sprintf(`{"%sArn":%q}`, kind, arn))
		if err := r.Is("Describe"+kind, "ok"); err != nil {
			return err
		}
		if err := json.Unmarshal(r.Body, &answer); err != nil {
			return err
		}
		if s := answer[description][kind+"Status"]; s != "IN_PROGRESS" && s != "CANCELLING" {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New(kind + " does not end")
}

// member is the number of bytes that are compressed once. A file repeats the result, which both formats allow.
const member = 1 << 20

// inGzip returns a gzip file of repetitions of unit, between begin and end.
func inGzip(begin, unit string, size int, end string) content {
	return repeated(begin, unit, size, end, func(b []byte) ([]byte, error) {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, err := w.Write(b)
		err = errors.Join(err, w.Close())
		return out.Bytes(), err
	})
}

// inZstd is inGzip for zstd.
func inZstd(begin, unit string, size int, end string) content {
	return repeated(begin, unit, size, end, func(b []byte) ([]byte, error) {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			return nil, err
		}
		return w.EncodeAll(b, nil), w.Close()
	})
}

// repeated writes a file of repetitions of unit, between begin and end. size is the decompressed size in bytes.
func repeated(begin, unit string, size int, end string, compress func([]byte) ([]byte, error)) content {
	return func(t *Target) error {
		size := size
		if !t.Long {
			size /= shorter
		}
		file, err := os.Create(filepath.Join(t.Bucket, "f"))
		if err != nil {
			return err
		}
		defer file.Close()
		put := func(text string, times int) {
			packed, bad := compress([]byte(text))
			err = errors.Join(err, bad)
			for range times {
				_, bad = file.Write(packed)
				err = errors.Join(err, bad)
			}
		}
		put(begin, 1)
		put(strings.Repeat(unit, member/len(unit)), size/member)
		put(end, 1)
		return err
	}
}

// binaryIon returns files of binary Ion whose values claim to be longer than the file.
func binaryIon() content {
	return several(map[string][]byte{
		"f-list":       []byte("\xe0\x01\x00\xea\xbe\x7f\x7f\x7f\x7f\x7f\xff\x21\x01"),
		"f-string":     []byte("\xe0\x01\x00\xea\x8e\x7f\x7f\x7f\x7f\xff"),
		"f-struct":     []byte("\xe0\x01\x00\xea\xde\x7f\x7f\x7f\x7f\x7f\x7f\x7f\xff"),
		"f-annotation": []byte("\xe0\x01\x00\xea\xee\x0f\x7f\x7f\x7f\xff\x84"),
		"f-int":        append([]byte("\xe0\x01\x00\xea\x2e\x7f\x7f\x7f\xff"), make([]byte, 1000)...),
		"f-deep":       append([]byte("\xe0\x01\x00\xea"), bytes.Repeat([]byte("\xbe\x7f\x7f\x7f\xff"), 1<<20)...),
		"f-symbols":    []byte("$ion_1_0 $ion_symbol_table::{max_id:9223372036854775807,imports:[{name:\"x\",version:1,max_id:2147483647}]} {Item:{pk:$2000000000}}"),
	})
}

// zstdWindows returns frames that demand windows of 2^27 to 2^41 bytes, each with blocks of a repeated byte.
func zstdWindows() content {
	files := map[string][]byte{}
	for _, exponent := range []byte{17, 19, 20, 21, 26, 31} {
		frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3}
		for range 8000 {
			frame = append(frame, 0x02, 0x00, 0x10, 'x') // 128 KB of x
		}
		files[fmt.Sprint("f-", exponent)] = frame
	}
	return several(files)
}

// several writes files by their names.
func several(files map[string][]byte) content {
	return func(t *Target) error {
		var err error
		for name, content := range files {
			err = errors.Join(err, os.WriteFile(filepath.Join(t.Bucket, name), content, 0o644))
		}
		return err
	}
}

// garbage writes damaged files, and one that is a link to a foreign file.
func garbage(t *Target) error {
	dir := t.Bucket
	if err := inGzip("", `{"Item":{"pk":{"S":"a"}}}`+"\n", shorter*member, "")(t); err != nil {
		return err
	}
	whole, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil {
		return err
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 0x55
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "f-cut"), whole[:len(whole)/2], 0o644),
		os.WriteFile(filepath.Join(dir, "f-damaged"), damaged, 0o644),
		os.WriteFile(filepath.Join(dir, "f-plain"), []byte(`{"Item":{"pk":{"S":"a"}}}`), 0o644),
		os.WriteFile(filepath.Join(dir, "f-empty"), nil, 0o644),
		os.Symlink("/etc/passwd", filepath.Join(dir, "f-link")),
	)
}
