package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/test/s3server"
)

// bucketed is a server with buckets that the test can access directly.
type bucketed struct {
	*db
	store objectstore.Store
}

// eachStore runs a test with buckets in a directory and on an S3 server.
func eachStore(t *testing.T, opt func(t *testing.T) Options, test func(t *testing.T, d bucketed)) {
	t.Run("Folder", func(t *testing.T) {
		o := opt(t)
		o.S3Dir = t.TempDir()
		if err := os.Mkdir(filepath.Join(o.S3Dir, "bucket"), 0o755); err != nil {
			t.Fatal(err)
		}
		test(t, bucketed{open(t, o), objectstore.NewFolder(o.S3Dir)})
	})
	t.Run("S3", func(t *testing.T) {
		url, _ := s3server.Start(t, "bucket")
		o := opt(t)
		o.S3 = S3Options{Endpoint: url, Region: "us-east-1", AccessKey: s3server.AccessKey, SecretKey: s3server.SecretKey}
		store, err := objectstore.NewS3(context.Background(), o.S3)
		if err != nil {
			t.Fatal(err)
		}
		test(t, bucketed{open(t, o), store})
	})
}

func (d bucketed) get(key string) []byte {
	d.t.Helper()
	body, err := objectstore.Get(context.Background(), d.store, "bucket", key, 1<<30)
	if err != nil {
		d.t.Fatalf("%s: %v", key, err)
	}
	return body
}

func (d bucketed) putObject(key string, body []byte) {
	d.t.Helper()
	if _, err := objectstore.Put(context.Background(), d.store, "bucket", key, body, objectstore.PutOptions{}); err != nil {
		d.t.Fatal(err)
	}
}

func (d bucketed) keysOf(prefix string) (keys []string) {
	d.t.Helper()
	err := d.store.List(context.Background(), "bucket", prefix, func(o objectstore.Object) error {
		keys = append(keys, o.Key)
		return nil
	})
	if err != nil && !errors.Is(err, objectstore.ErrNoBucket) {
		d.t.Fatal(err)
	}
	return keys
}

func gunzip(t *testing.T, body []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zip(body string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write([]byte(body))
	z.Close()
	return out.Bytes()
}

// exported waits for an export to end and returns its description.
func (d *db) exported(arn string) obj {
	d.t.Helper()
	var e obj
	eventually(d.t, "the export to end", func() bool {
		e = d.must("DescribeExport", obj{"ExportArn": arn})["ExportDescription"].(obj)
		return e["ExportStatus"] != "IN_PROGRESS"
	})
	return e
}

func (d *db) export(in obj) obj {
	d.t.Helper()
	e := d.must("ExportTableToPointInTime", in)["ExportDescription"].(obj)
	return d.exported(e["ExportArn"].(string))
}

// exportLines checks an export's manifests and returns the lines of its data files.
func (d bucketed) exportLines(e obj) (lines []string, summary obj) {
	d.t.Helper()
	if e["ExportStatus"] != "COMPLETED" {
		d.t.Fatalf("export %v", e)
	}
	manifest := e["ExportManifest"].(string)
	checkSum := func(key, want string) []byte {
		body := d.get(key)
		sum := md5.Sum(body)
		if got := base64.StdEncoding.EncodeToString(sum[:]); got != want {
			d.t.Errorf("%s has the checksum %s, want %s", key, got, want)
		}
		return body
	}
	body := checkSum(manifest, string(d.get(strings.TrimSuffix(manifest, "json")+"md5")))
	if err := json.Unmarshal(body, &summary); err != nil {
		d.t.Fatal(err)
	}
	files := summary["manifestFilesS3Key"].(string)
	body = checkSum(files, string(d.get(strings.TrimSuffix(files, "json")+"md5")))
	d.get(filepath.Dir(manifest) + "/_started")
	total := 0.0
	for dec := json.NewDecoder(bytes.NewReader(body)); dec.More(); {
		var f obj
		if err := dec.Decode(&f); err != nil {
			d.t.Fatal(err)
		}
		n := 0.0
		scan := bufio.NewScanner(bytes.NewReader(gunzip(d.t, checkSum(f["dataFileS3Key"].(string), f["md5Checksum"].(string)))))
		scan.Buffer(nil, 10<<20)
		for scan.Scan() {
			lines = append(lines, scan.Text())
			n++
		}
		if n != f["itemCount"] || f["etag"] == "" {
			d.t.Errorf("%v has %v items", f, n)
		}
		total += n
	}
	if total != summary["itemCount"] || total != e["ItemCount"] {
		d.t.Errorf("%v items, the summary says %v", total, summary["itemCount"])
	}
	return lines, summary
}

func itemsOf(t *testing.T, lines []string) (items []obj) {
	t.Helper()
	for _, l := range lines {
		var line obj
		if err := json.Unmarshal([]byte(l), &line); err != nil {
			t.Fatal(err)
		}
		items = append(items, line["Item"].(obj))
	}
	return items
}

func inMemory(*testing.T) Options { return Options{} }

// imported waits for an import to end and returns its description.
func (d *db) imported(in obj) obj {
	d.t.Helper()
	i := d.must("ImportTable", in)["ImportTableDescription"].(obj)
	if i["ImportStatus"] != "IN_PROGRESS" {
		d.t.Fatalf("import %v", i)
	}
	return d.importEnds(i["ImportArn"].(string))
}

func (d *db) importEnds(arn string) (i obj) {
	d.t.Helper()
	eventually(d.t, "the import to end", func() bool {
		i = d.must("DescribeImport", obj{"ImportArn": arn})["ImportTableDescription"].(obj)
		return i["ImportStatus"] != "IN_PROGRESS"
	})
	return i
}

// importInto describes an import into an indexedTable without its LSI, which imports can't create.
func importInto(name, prefix, format, compression string) obj {
	create := indexedTable(name)
	delete(create, "LocalSecondaryIndexes")
	create["AttributeDefinitions"] = []obj{attr("pk", "S"), attr("sk", "N"), attr("g", "S"), attr("h", "N")}
	return obj{
		"S3BucketSource": obj{"S3Bucket": "bucket", "S3KeyPrefix": prefix}, "InputFormat": format, "InputCompressionType": compression,
		"TableCreationParameters": create,
	}
}

// TestExport exports a table with values of every type in both formats, and imports the files again.
func TestExport(t *testing.T) {
	eachStore(t, inMemory, func(t *testing.T, d bucketed) {
		d.must("CreateTable", indexedTable("tbl"))
		arn := field(d.must("DescribeTable", obj{"TableName": "tbl"}), "Table.TableArn").(string)
		if _, err := d.call("ExportTableToPointInTime", obj{"TableArn": arn, "S3Bucket": "bucket"}); kindOf(err) != "PointInTimeRecoveryUnavailableException" {
			t.Errorf("without recovery: %v", err)
		}
		d.setRecovery("tbl", true, 0)
		for i := range 300 {
			it := randomItem(i)
			it["m"] = obj{"M": obj{"l": obj{"L": []obj{s("x"), n(2), {"NULL": true}, {"BOOL": true}}}, "b": obj{"B": "AQI="}}}
			it["ns"], it["ss"], it["bs"] = obj{"NS": []string{"1", "2.5"}}, obj{"SS": []string{"a", "b"}}, obj{"BS": []string{"AQ=="}}
			d.must("PutItem", obj{"TableName": "tbl", "Item": it})
		}
		want := sorted(d.all("tbl", "", 0))
		// Writes after the request are not exported.
		started := d.must("ExportTableToPointInTime", obj{"TableArn": arn, "S3Bucket": "bucket", "S3Prefix": "some/where", "ClientToken": "token-1"})["ExportDescription"].(obj)
		if started["ExportStatus"] != "IN_PROGRESS" || started["ExportFormat"] != "DYNAMODB_JSON" || started["S3SseAlgorithm"] != "AES256" {
			t.Errorf("started %v", started)
		}
		d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("later"), "sk": n(1)}})
		e := d.exported(started["ExportArn"].(string))
		lines, summary := d.exportLines(e)
		if got := sorted(itemsOf(t, lines)); !slices.Equal(got, want) {
			t.Errorf("%d items are exported, want %d", len(got), len(want))
		}
		id := started["ExportArn"].(string)[strings.LastIndex(started["ExportArn"].(string), "/")+1:]
		if e["ExportManifest"] != "some/where/AWSDynamoDB/"+id+"/manifest-summary.json" || summary["exportType"] != "FULL_EXPORT" ||
			summary["version"] != "2020-06-30" || summary["tableArn"] != arn || summary["s3Prefix"] != "some/where" || summary["outputFormat"] != "DYNAMODB_JSON" {
			t.Errorf("%v has the summary %v", e["ExportManifest"], summary)
		}
		again := d.must("ExportTableToPointInTime", obj{"TableArn": arn, "S3Bucket": "bucket", "S3Prefix": "some/where", "ClientToken": "token-1"})["ExportDescription"].(obj)
		if again["ExportArn"] != started["ExportArn"] {
			t.Error("a repeated token makes another export")
		}
		if _, err := d.call("ExportTableToPointInTime", obj{"TableArn": arn, "S3Bucket": "bucket", "ClientToken": "token-1"}); kindOf(err) != "ExportConflictException" {
			t.Errorf("a token with other parameters: %v", err)
		}
		d.must("DeleteItem", obj{"TableName": "tbl", "Key": obj{"pk": s("later"), "sk": n(1)}})
		i := d.imported(importInto("again", "some/where/AWSDynamoDB/"+id+"/data/", "DYNAMODB_JSON", "GZIP"))
		if i["ImportStatus"] != "COMPLETED" || i["ImportedItemCount"] != 300.0 || i["ErrorCount"] != 0.0 {
			t.Errorf("import %v", i)
		}
		d.isActive("again")
		if got := sorted(d.all("again", "", 0)); !slices.Equal(got, want) {
			t.Errorf("%d items are imported, want %d", len(got), len(want))
		}
		d.checkConsistent()

		ion := d.export(obj{"TableArn": arn, "S3Bucket": "bucket", "S3Prefix": "ion", "ExportFormat": "ION", "S3SseAlgorithm": "AES256"})
		lines, _ = d.exportLines(ion)
		if len(lines) != 300 || !strings.HasPrefix(lines[0], "$ion_1_0 {Item:{") {
			t.Errorf("%d lines, the first is %s", len(lines), lines[0])
		}
		for _, key := range d.keysOf("ion/") {
			if strings.Contains(key, "/data/") && !strings.HasSuffix(key, ".ion.gz") {
				t.Errorf("a file is called %s", key)
			}
		}
		id = filepath.Dir(ion["ExportManifest"].(string))
		i = d.imported(importInto("from-ion", id+"/data/", "ION", "GZIP"))
		if i["ImportStatus"] != "COMPLETED" {
			t.Fatalf("import %v", i)
		}
		if got := sorted(d.all("from-ion", "", 0)); !slices.Equal(got, want) {
			t.Errorf("%d items are imported from Ion, want %d", len(got), len(want))
		}

		// Filters.
		e = d.export(obj{"TableArn": arn, "S3Bucket": "bucket", "S3Prefix": "part", "FilterSpecification": obj{
			"KeyConditionExpression": "pk = :p AND sk > :s", "FilterExpression": "attribute_exists(g)", "ProjectionExpression": "pk, sk, m.b",
			"ExpressionAttributeValues": obj{":p": s("p3"), ":s": n(100)},
		}})
		lines, _ = d.exportLines(e)
		count := d.must("Query", obj{"TableName": "tbl", "KeyConditionExpression": "pk = :p AND sk > :s", "FilterExpression": "attribute_exists(g)",
			"ExpressionAttributeValues": obj{":p": s("p3"), ":s": n(100)}})["Count"]
		if count != float64(len(lines)) || len(lines) == 0 || len(itemsOf(t, lines)[0]) != 3 {
			t.Errorf("%d lines, want %v: %v", len(lines), count, lines)
		}
		for _, c := range []struct {
			in   obj
			kind string
		}{
			{obj{"TableArn": arn, "S3Bucket": "bucket", "ExportTime": time.Now().Unix() + 100}, "InvalidExportTimeException"},
			{obj{"TableArn": arn, "S3Bucket": "bucket", "ExportTime": 1}, "InvalidExportTimeException"},
			{obj{"TableArn": arn + "x", "S3Bucket": "bucket"}, "TableNotFoundException"},
			{obj{"TableArn": "tbl", "S3Bucket": "bucket"}, "ValidationException"},
			{obj{"TableArn": arn, "S3Bucket": "../bucket"}, "ValidationException"},
			{obj{"TableArn": arn, "S3Bucket": "bucket", "ExportType": "INCREMENTAL_EXPORT"}, "ValidationException"},
			{obj{"TableArn": arn, "S3Bucket": "bucket", "FilterSpecification": obj{"FilterExpression": "a >"}}, "ValidationException"},
			{obj{"TableArn": arn, "S3Bucket": "bucket", "FilterSpecification": obj{"KeyConditionExpression": "sk = :s", "ExpressionAttributeValues": obj{":s": n(1)}}}, "ValidationException"},
		} {
			if _, err := d.call("ExportTableToPointInTime", c.in); kindOf(err) != c.kind {
				t.Errorf("%v: %v, want %s", c.in, err, c.kind)
			}
		}
		if _, err := d.call("DescribeExport", obj{"ExportArn": started["ExportArn"].(string) + "0"}); kindOf(err) != "ExportNotFoundException" {
			t.Errorf("no such export: %v", err)
		}
		before := d.keysOf("")
		e = d.export(obj{"TableArn": arn, "S3Bucket": "bucket", "S3Prefix": "a/../b"})
		if _, folder := d.store.(*objectstore.Folder); folder && (e["ExportStatus"] != "FAILED" || e["FailureCode"] != "S3InvalidKey" || !slices.Equal(d.keysOf(""), before)) {
			t.Errorf("a prefix that leads elsewhere: %v", e)
		}
		if _, folder := d.store.(*objectstore.Folder); !folder {
			e = d.export(obj{"TableArn": arn, "S3Bucket": "no-bucket"})
			if e["ExportStatus"] != "FAILED" || e["FailureCode"] != "S3NoSuchBucket" || e["ExportManifest"] != nil {
				t.Errorf("to no bucket: %v", e)
			}
		}
		var arns []string
		in := obj{"TableArn": arn, "MaxResults": 2}
		for {
			page := d.must("ListExports", in)
			for _, e := range list(page["ExportSummaries"]) {
				arns = append(arns, e["ExportArn"].(string))
			}
			if page["NextToken"] == nil {
				break
			}
			in["NextToken"] = page["NextToken"]
		}
		if len(arns) < 4 || !slices.IsSortedFunc(arns, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Errorf("exports %v", arns)
		}
	})
}

// TestIncrementalExport makes a full export and then incremental ones, in both formats and views. Their lines lead from state
// to state.
func TestIncrementalExport(t *testing.T) {
	clock := newMovedClock()
	eachStore(t, func(*testing.T) Options { return Options{Now: clock.Now, TTLInterval: time.Hour} }, func(t *testing.T, d bucketed) {
		d.must("CreateTable", indexedTable("tbl"))
		arn := field(d.must("DescribeTable", obj{"TableName": "tbl"}), "Table.TableArn").(string)
		d.setRecovery("tbl", true, 0)
		keyOf := func(it obj) string { return it["sk"].(obj)["N"].(string) }
		state := map[string]string{}
		text := func(it obj) string { return sorted([]obj{it})[0] }
		from := clock.Now().Unix()
		for step := range 6 {
			for range 60 {
				clock.Advance(time.Duration(rand.IntN(60)) * time.Second)
				it := randomItem(rand.IntN(40))
				if rand.IntN(3) == 0 {
					d.must("DeleteItem", obj{"TableName": "tbl", "Key": project(it, "pk", "sk")})
				} else {
					d.must("PutItem", obj{"TableName": "tbl", "Item": it})
				}
			}
			clock.Advance(time.Second)
			to := clock.Now().Unix()
			view := []string{"NEW_AND_OLD_IMAGES", "NEW_IMAGE"}[step%2]
			e := d.export(obj{"TableArn": arn, "S3Bucket": "bucket", "ExportType": "INCREMENTAL_EXPORT", "IncrementalExportSpecification": obj{
				"ExportFromTime": from, "ExportToTime": to, "ExportViewType": view,
			}})
			lines, summary := d.exportLines(e)
			if summary["version"] != "2023-08-01" || summary["outputView"] != view || summary["exportFromTime"] == nil || summary["exportType"] != "INCREMENTAL_EXPORT" {
				t.Errorf("summary %v", summary)
			}
			for _, l := range lines {
				var c obj
				if err := json.Unmarshal([]byte(l), &c); err != nil {
					t.Fatal(err)
				}
				key := keyOf(c["Keys"].(obj))
				if old, has := c["OldImage"].(obj); view == "NEW_IMAGE" && has || view != "NEW_IMAGE" && (has != (state[key] != "") || has && text(old) != state[key]) {
					t.Fatalf("%s: the item was %s", l, state[key])
				}
				micros := field(c, "Metadata.WriteTimestampMicros.N").(string)
				if micros < fmt.Sprint(from*1e6) || micros >= fmt.Sprint(to*1e6) {
					t.Errorf("written at %s", micros)
				}
				if delete(state, key); c["NewImage"] != nil {
					state[key] = text(c["NewImage"].(obj))
				}
			}
			if got := slices.Sorted(maps.Values(state)); !slices.Equal(got, sorted(d.all("tbl", "", 0))) {
				t.Fatalf("step %d: the changes lead to %d items, the table has others", step, len(got))
			}
			from = to
		}
		for _, key := range d.keysOf("AWSDynamoDB/") {
			if strings.HasSuffix(key, ".gz") && !strings.HasPrefix(key, "AWSDynamoDB/data/") {
				t.Errorf("incremental data is at %s", key)
			}
		}
		for _, spec := range []obj{{"ExportFromTime": from + 1000}, {"ExportFromTime": from, "ExportToTime": from}} {
			_, err := d.call("ExportTableToPointInTime", obj{"TableArn": arn, "S3Bucket": "bucket", "ExportType": "INCREMENTAL_EXPORT", "IncrementalExportSpecification": spec})
			if kindOf(err) != "InvalidExportTimeException" {
				t.Errorf("%v: %v", spec, err)
			}
		}
	})
}

// TestImport imports CSV, DYNAMODB_JSON and ION in all compressions, including invalid items and files that can't be imported.
func TestImport(t *testing.T) {
	eachStore(t, inMemory, func(t *testing.T, d bucketed) {
		const items = 300
		var csv, lines, ion strings.Builder
		csv.WriteString("pk,sk,g,h,note\n")
		var want []obj
		for i := range items {
			fmt.Fprintf(&csv, "p%d,%d,g%d,%d,\"note, \"\"%d\"\"\"\n", i%9, i, i%5, i%4, i)
			fmt.Fprintf(&lines, `{"Item":{"pk":{"S":"p%d"},"sk":{"N":"%d"},"g":{"S":"g%d"},"h":{"N":"%d"},"note":{"S":"note, \"%d\""}}}`+"\n", i%9, i, i%5, i%4, i)
			fmt.Fprintf(&ion, `$ion_1_0 {Item:{pk:"p%d",sk:%d.,g:"g%d",h:%d,note:"note, \"%d\""}}`+"\n", i%9, i, i%5, i%4, i)
			want = append(want, obj{"pk": s(fmt.Sprint("p", i%9)), "sk": n(i), "g": s(fmt.Sprint("g", i%5)), "h": n(i % 4), "note": s(fmt.Sprintf("note, \"%d\"", i))})
		}
		zstdOf := func(body string) []byte {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return w.EncodeAll([]byte(body), nil)
		}
		for format, body := range map[string]string{"CSV": csv.String(), "DYNAMODB_JSON": lines.String(), "ION": ion.String()} {
			for compression, raw := range map[string][]byte{"NONE": []byte(body), "GZIP": zip(body), "ZSTD": zstdOf(body)} {
				name := strings.ToLower(strings.ReplaceAll(format+"-"+compression, "_", "-"))
				d.putObject("in/"+name+"/file", raw)
				i := d.imported(importInto(name, "in/"+name+"/", format, compression))
				if i["ImportStatus"] != "COMPLETED" || i["ProcessedItemCount"] != float64(items) || i["ImportedItemCount"] != float64(items) || i["ErrorCount"] != 0.0 ||
					i["ProcessedSizeBytes"] != float64(len(raw)) || i["FailureCode"] != nil {
					t.Errorf("%s: %v", name, i)
					continue
				}
				d.isActive(name)
				got := d.all(name, "", 0)
				if !slices.Equal(sorted(got), sorted(want)) {
					t.Errorf("%s: %d items, the first is %v", name, len(got), got[0])
				}
				if byG := d.must("Query", obj{"TableName": name, "IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": obj{":g": s("g3")}}); byG["Count"] != float64(items/5) {
					t.Errorf("%s: the index has %v", name, byG["Count"])
				}
			}
		}
		d.checkConsistent()

		// Files are read in the order of their keys. Of items with the same key the last one wins. Bad items are counted.
		d.putObject("mixed/1", []byte(`{"Item":{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":"old"},"h":{"N":"1"}}}`+"\n"+`{"Item":{"pk":{"S":"b"},"sk":{"N":"1"}}}`+"\n{broken\n"))
		d.putObject("mixed/2", []byte(`{"Item":{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":"new"},"h":{"N":"1"}}}`+"\n"+`{"Item":{"pk":{"S":"c"}}}`+"\n"+
			`{"Item":{"pk":{"N":"1"},"sk":{"N":"1"}}}`+"\n"+`{"Item":{"pk":{"S":"d"},"sk":{"N":"1"},"g":{"N":"1"}}}`+"\n"+
			`{"Item":{"pk":{"S":"e"},"sk":{"N":"1"},"v":{"S":"`+strings.Repeat("x", 401<<10)+`"}}}`))
		in := importInto("mixed", "mixed/", "DYNAMODB_JSON", "NONE")
		in["ClientToken"] = "token"
		i := d.imported(in)
		if i["ImportStatus"] != "FAILED" || i["ErrorCount"] != 5.0 || i["ProcessedItemCount"] != 8.0 || i["ImportedItemCount"] != 3.0 || i["FailureCode"] != "ItemValidationError" {
			t.Errorf("mixed: %v", i)
		}
		d.isActive("mixed")
		if got := d.all("mixed", "", 0); len(got) != 2 {
			t.Errorf("mixed: %v", got)
		}
		if got := d.must("DescribeTable", obj{"TableName": "mixed"}); field(got, "Table.ItemCount") != 2.0 {
			t.Errorf("mixed: %v", got)
		}
		if got := d.all("mixed", "by-g", 0); len(got) != 1 || field(got[0], "g.S") != "new" {
			t.Errorf("mixed: the index has %v", got)
		}
		d.checkConsistent()
		if _, err := d.call("ImportTable", in); kindOf(err) != "ResourceInUseException" {
			t.Errorf("a repeated token once the table is filled: %v", err)
		}
		other := importInto("another", "mixed/", "DYNAMODB_JSON", "NONE")
		other["ClientToken"] = "token"
		if _, err := d.call("ImportTable", other); kindOf(err) != "ImportConflictException" {
			t.Errorf("a token with other parameters: %v", err)
		}
		if _, err := d.call("ImportTable", importInto("mixed", "mixed/", "DYNAMODB_JSON", "NONE")); kindOf(err) != "ResourceInUseException" {
			t.Errorf("into a table that exists: %v", err)
		}

		// A failed import leaves no table behind.
		d.putObject("damaged/1", zip(lines.String())[:500])
		d.putObject("all-bad/1", []byte("{}\n{}\n"))
		for name, c := range map[string]struct {
			in   obj
			code string
		}{
			"no-bucket": {with(importInto("failed", "x", "CSV", "NONE"), obj{"S3BucketSource": obj{"S3Bucket": "no-bucket"}}), "S3NoSuchBucket"},
		} {
			i := d.imported(c.in)
			if i["ImportStatus"] != "FAILED" || i["FailureCode"] != c.code || i["EndTime"] == nil {
				t.Errorf("%s: %v", name, i)
			}
			if _, err := d.call("DescribeTable", obj{"TableName": "failed"}); kindOf(err) != "ResourceNotFoundException" {
				t.Errorf("%s: a table stays: %v", name, err)
			}
		}
		i = d.imported(importInto("no-objects", "nothing/", "DYNAMODB_JSON", "NONE"))
		if i["ImportStatus"] != "COMPLETED" || i["ProcessedItemCount"] != 0.0 || i["FailureCode"] != nil {
			t.Errorf("no objects: %v", i)
		}
		d.isActive("no-objects")
		for name, in := range map[string]obj{"damaged": importInto("damaged", "damaged/", "DYNAMODB_JSON", "GZIP"), "not-gzip": importInto("not-gzip", "mixed/", "DYNAMODB_JSON", "GZIP")} {
			i := d.imported(in)
			if i["ImportStatus"] != "FAILED" || i["FailureCode"] != "ItemValidationError" {
				t.Errorf("%s: %v", name, i)
			}
			d.isActive(name)
		}
		i = d.imported(importInto("all-bad", "all-bad/", "DYNAMODB_JSON", "NONE"))
		if i["ImportStatus"] != "FAILED" || i["FailureCode"] != "ItemValidationError" || i["ErrorCount"] != 2.0 {
			t.Errorf("only bad items: %v", i)
		}
		d.checkConsistent()
		if _, err := d.call("DescribeImport", obj{"ImportArn": i["ImportArn"].(string) + "0"}); kindOf(err) != "ImportNotFoundException" {
			t.Errorf("no such import: %v", err)
		}
		seen := map[string]bool{}
		page := obj{"PageSize": 5}
		for {
			out := d.must("ListImports", page)
			for _, i := range list(out["ImportSummaryList"]) {
				seen[i["ImportArn"].(string)] = true
			}
			if out["NextToken"] == nil {
				break
			}
			page["NextToken"] = out["NextToken"]
		}
		if len(seen) != 9+1+4+1 { // an import whose table name was taken is not listed
			t.Errorf("%d imports are listed", len(seen))
		}
	})
}

// TestImportOptions imports CSV with another delimiter and explicit headers.
func TestImportOptions(t *testing.T) {
	eachStore(t, inMemory, func(t *testing.T, d bucketed) {
		d.putObject("csv", []byte("a;1;x\nb;2;y\n"))
		in := importInto("tbl", "csv", "CSV", "NONE")
		in["InputFormatOptions"] = obj{"Csv": obj{"Delimiter": ";", "HeaderList": []string{"pk", "sk", "v"}}}
		if i := d.imported(in); i["ImportStatus"] != "COMPLETED" || field(i, "InputFormatOptions.Csv.Delimiter") != ";" {
			t.Fatalf("import %v", i)
		}
		if got := sorted(d.all("tbl", "", 0)); !slices.Equal(got, sorted([]obj{{"pk": s("a"), "sk": n(1), "v": s("x")}, {"pk": s("b"), "sk": n(2), "v": s("y")}})) {
			t.Errorf("items %v", got)
		}
		in = importInto("other", "csv", "ION", "NONE")
		in["InputFormatOptions"] = obj{"Csv": obj{"Delimiter": ";"}}
		if _, err := d.call("ImportTable", in); kindOf(err) != "ValidationException" {
			t.Errorf("CSV options for Ion: %v", err)
		}
	})
}

// bulkEnds waits for a bulk operation to end and returns its description.
func (d *db) bulkEnds(arn string) (b obj) {
	d.t.Helper()
	eventually(d.t, "the bulk operation to end", func() bool {
		b = d.must("DescribeBulkOperation", obj{"BulkOperationArn": arn})["BulkOperationDescription"].(obj)
		return b["BulkOperationStatus"] != "IN_PROGRESS" && b["BulkOperationStatus"] != "CANCELLING"
	})
	return b
}

// TestBulkPut puts items from objects into a table in use, some with conditions, and cancels an operation.
func TestBulkPut(t *testing.T) {
	eachStore(t, inMemory, func(t *testing.T, d bucketed) {
		arn := d.createStreamed("tbl", "NEW_AND_OLD_IMAGES")
		d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("p0"), "sk": n(0), "version": n(7)}})
		var lines strings.Builder
		for i := range 700 {
			fmt.Fprintf(&lines, `{"Item":{"pk":{"S":"p%d"},"sk":{"N":"%d"},"g":{"S":"g"},"h":{"N":"%d"}}}`+"\n", i%600%7, i%600, i)
		}
		lines.WriteString("{broken\n" + `{"Item":{"pk":{"S":"no sort key"}}}` + "\n")
		for _, v := range []string{"5", "8"} {
			lines.WriteString(`{"Item":{"pk":{"S":"locked"},"sk":{"N":"1"},"version":{"N":"` + v + `"}},"ConditionExpression":"attribute_not_exists(#v) OR #v < :v","ExpressionAttributeNames":{"#v":"version"},"ExpressionAttributeValues":{":v":{"N":"` + v + `"}}}` + "\n")
		}
		lines.WriteString(`{"Item":{"pk":{"S":"locked"},"sk":{"N":"1"},"version":{"N":"6"}},"ConditionExpression":"version < :v","ExpressionAttributeValues":{":v":{"N":"6"}}}` + "\n")
		d.putObject("in/1.json.gz", zip(lines.String()))
		in := obj{
			"TableName": "tbl", "ClientToken": "token", "InputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "in/", "InputFormat": "DYNAMODB_JSON", "InputCompressionType": "GZIP"},
			"OutputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "out", "OutputType": []string{"ERROR", "CONDITION_CHECK_FAILURE"}},
		}
		started := d.must("StartBulkPutItems", in)["BulkOperationDescription"].(obj)
		if started["BulkOperationStatus"] != "IN_PROGRESS" || started["PerformanceTier"] != "STANDARD" {
			t.Errorf("started %v", started)
		}
		b := d.bulkEnds(started["BulkOperationArn"].(string))
		if b["BulkOperationStatus"] != "COMPLETED_WITH_ERRORS" || b["ProcessedItemCount"] != 705.0 || b["FailedItemCount"] != 2.0 ||
			b["ProcessedInputBytes"] != b["TotalInputBytes"] || field(list(b["BulkOperationUsage"])[0], "GlobalSecondaryIndexes.by-g.BulkPutBytes").(float64) == 0 {
			t.Errorf("ended %v", b)
		}
		items := d.all("tbl", "", 0)
		d.checkIndexes("tbl", items)
		if len(items) != 601 {
			t.Errorf("%d items", len(items))
		}
		if got := d.must("GetItem", obj{"TableName": "tbl", "Key": obj{"pk": s("locked"), "sk": n(1)}}); field(got, "Item.version.N") != "8" {
			t.Errorf("the item with a version: %v", got)
		}
		if records := d.history(arn); len(records) != 1+700+2 {
			t.Errorf("%d change records", len(records))
		}
		var kinds []string
		for _, key := range d.keysOf("out/") {
			for _, line := range strings.Split(strings.TrimSpace(string(d.get(key))), "\n") {
				var r obj
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, r["Type"].(string))
				if r["Type"] == "CONDITION_CHECK_FAILURE" && (field(r, "ExistingItem.version.N") != "8" || field(r, "Item.version.N") != "6") {
					t.Errorf("report %v", r)
				}
			}
		}
		if !slices.Equal(kinds, []string{"ERROR", "ERROR", "CONDITION_CHECK_FAILURE"}) {
			t.Errorf("reports %v", kinds)
		}
		if again := d.must("StartBulkPutItems", in); field(again, "BulkOperationDescription.BulkOperationArn") != started["BulkOperationArn"] {
			t.Error("a repeated token makes another operation")
		}
		if _, err := d.call("StartBulkPutItems", with(in, obj{"PerformanceTier": "ACCELERATED"})); kindOf(err) != "IdempotentParameterMismatchException" {
			t.Errorf("a token with other parameters: %v", err)
		}
		delete(in, "ClientToken")
		if _, err := d.call("StartBulkPutItems", with(in, obj{"TableName": "none"})); kindOf(err) != "ResourceNotFoundException" {
			t.Errorf("into no table: %v", err)
		}
		b = d.bulkEnds(field(d.must("StartBulkPutItems", with(in, obj{"InputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "none", "InputFormat": "ION"}})), "BulkOperationDescription.BulkOperationArn").(string))
		if b["BulkOperationStatus"] != "FAILED" || b["FailureCode"] != "S3NoSuchKey" {
			t.Errorf("without objects: %v", b)
		}
		// An operation that would run for minutes.
		var many strings.Builder
		for i := range 200000 {
			fmt.Fprintf(&many, `{"Item":{"pk":{"S":"many"},"sk":{"N":"%d"}}}`+"\n", i)
		}
		d.putObject("many", []byte(many.String()))
		slow := d.must("StartBulkPutItems", with(in, obj{"MaxWriteRequestUnits": 1024, "InputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "many", "InputFormat": "DYNAMODB_JSON"}}))
		slowARN := field(slow, "BulkOperationDescription.BulkOperationArn").(string)
		eventually(t, "some items to be put", func() bool {
			return d.must("GetItem", obj{"TableName": "tbl", "Key": obj{"pk": s("many"), "sk": n(0)}})["Item"] != nil
		})
		if out := d.must("CancelBulkOperation", obj{"BulkOperationArn": slowARN}); out["BulkOperationStatus"] != "CANCELLING" {
			t.Errorf("cancelling %v", out)
		}
		if b = d.bulkEnds(slowARN); b["BulkOperationStatus"] != "CANCELLED" || b["EndTime"] == nil {
			t.Errorf("cancelled %v", b)
		}
		if listed := list(d.must("ListBulkOperations", obj{})["BulkOperationsSummaryList"]); len(listed) != 3 || listed[0]["BulkOperationArn"] != slowARN {
			t.Errorf("listed %v", listed)
		}
		d.checkConsistent()
	})
}

// TestTransfersInterrupted stops the server during imports, exports and bulk puts.
func TestTransfersInterrupted(t *testing.T) {
	dir, buckets := t.TempDir(), t.TempDir()
	store := objectstore.NewFolder(buckets)
	opt := Options{DataDir: dir, Durability: "none", S3Dir: buckets}
	d := bucketed{open(t, opt), store}
	var lines strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&lines, `{"Item":{"pk":{"S":"p%d"},"sk":{"N":"%d"},"g":{"S":"g"},"h":{"N":"%d"},"v":{"S":"%s"}}}`+"\n", i%7, i, i, strings.Repeat("v", 100))
	}
	d.putObject("in/1", []byte(lines.String()))
	d.must("CreateTable", indexedTable("tbl"))
	d.setRecovery("tbl", true, 0)
	tblARN := field(d.must("DescribeTable", obj{"TableName": "tbl"}), "Table.TableArn").(string)
	for i := range 100 {
		d.must("PutItem", obj{"TableName": "tbl", "Item": randomItem(100000 + i)})
	}
	bulk := field(d.must("StartBulkPutItems", obj{
		"TableName": "tbl", "InputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "in/", "InputFormat": "DYNAMODB_JSON"},
		"OutputS3Configuration": obj{"S3Bucket": "bucket", "OutputType": []string{"ERROR"}}, "MaxWriteRequestUnits": 30000,
	}), "BulkOperationDescription.BulkOperationArn").(string)
	imported := field(d.must("ImportTable", importInto("new", "in/", "DYNAMODB_JSON", "NONE")), "ImportTableDescription.ImportArn").(string)
	at := d.must("ExportTableToPointInTime", obj{"TableArn": tblARN, "S3Bucket": "bucket"})["ExportDescription"].(obj)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = bucketed{open(t, opt), store}
	if i := d.importEnds(imported); i["ImportStatus"] != "COMPLETED" || i["ImportedItemCount"] != 20000.0 {
		t.Errorf("import %v", i)
	}
	d.isActive("new")
	if got := len(d.all("new", "", 0)); got != 20000 {
		t.Errorf("%d items are imported", got)
	}
	if b := d.bulkEnds(bulk); b["BulkOperationStatus"] != "COMPLETED" {
		t.Errorf("bulk operation %v", b)
	}
	if got := len(d.all("tbl", "", 0)); got != 20100 {
		t.Errorf("%d items are put", got)
	}
	e := d.exported(at["ExportArn"].(string))
	lines2, _ := d.exportLines(e)
	if len(lines2) < 100 || e["ExportTime"] != at["ExportTime"] {
		t.Errorf("%d items are exported", len(lines2))
	}
	d.checkConsistent()
}

// TestHostileImports imports and bulk-puts files full of hostile records. Readable items are stored, the others get a reason of
// bounded length, and neither server nor job hangs.
func TestHostileImports(t *testing.T) {
	buckets := t.TempDir()
	d := bucketed{open(t, Options{S3Dir: buckets}), objectstore.NewFolder(buckets)}
	const good = `{"Item":{"pk":{"S":"p"},"sk":{"N":"1"}}}` + "\n"
	const mb = 1 << 20
	for i, c := range []struct {
		format, body    string
		status, failure string
		errors          float64
	}{
		{"DYNAMODB_JSON", good + strings.Repeat("x", 20*mb) + "\n" + good, "FAILED", "ItemValidationError", 1},
		{"DYNAMODB_JSON", good + `{"Item":{"` + strings.Repeat("x", 2*mb) + `":{"S":1}}}`, "FAILED", "ItemValidationError", 1},
		{"CSV", "pk,sk\np,1\n\"" + strings.Repeat("x\n", 10*mb), "FAILED", "ItemValidationError", 1},
		{"CSV", strings.Repeat("x,", 10*mb), "FAILED", "ItemValidationError", 1},
		{"ION", strings.Repeat("[", 20*mb), "FAILED", "ItemValidationError", 1},
		{"ION", `{Item:{pk:"p",sk:1}} ` + strings.Repeat("[", 10*mb) + strings.Repeat("]", 10*mb), "FAILED", "ItemValidationError", 1},
		{"ION", `$ion_symbol_table::{symbols:["` + strings.Repeat("x", mb/2) + `"]} {Item:{pk:"p",sk:1,$99:1}}`, "FAILED", "ItemValidationError", 1},
	} {
		prefix := fmt.Sprintf("in-%d/", i)
		d.putObject(prefix+"1.gz", zip(c.body))
		name := fmt.Sprintf("tbl-%d", i)
		got := d.imported(importInto(name, prefix, c.format, "GZIP"))
		if got["ImportStatus"] != c.status || got["FailureCode"] != c.failure || got["ErrorCount"] != c.errors || len(fmt.Sprint(got["FailureMessage"])) > 1200 {
			t.Errorf("%d: %.2000v", i, got)
		}
		if c.format == "CSV" || i == 4 || i == 6 { // none of their items is readable
			continue
		}
		d.isActive(name)
		bulk := field(d.must("StartBulkPutItems", obj{
			"TableName": name, "InputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": prefix, "InputFormat": c.format, "InputCompressionType": "GZIP"},
			"OutputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "out-" + name, "OutputType": []string{"ERROR"}},
		}), "BulkOperationDescription.BulkOperationArn").(string)
		if b := d.bulkEnds(bulk); b["BulkOperationStatus"] != "COMPLETED_WITH_ERRORS" || b["FailedItemCount"] != 1.0 {
			t.Errorf("%d: %v", i, b)
		}
		for _, key := range d.keysOf("out-" + name) {
			if report := d.get(key); len(report) > 2000 {
				t.Errorf("%d: the report has %d bytes", i, len(report))
			}
		}
	}
}
