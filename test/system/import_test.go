package system

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answer sends a request that must succeed.
func (p server) answer(t *testing.T, operation, body string) map[string]any {
	t.Helper()
	status, raw, err := p.call(operation, body)
	if err != nil || status != 200 {
		t.Fatalf("%s %s: %d %s %v", operation, body, status, raw, err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// export exports a table and waits for the export.
func (p server) export(t *testing.T, body string) {
	t.Helper()
	arn := p.answer(t, "ExportTableToPointInTime", body)["ExportDescription"].(map[string]any)["ExportArn"].(string)
	for range 200 {
		switch status := p.answer(t, "DescribeExport", `{"ExportArn":"`+arn+`"}`)["ExportDescription"].(map[string]any)["ExportStatus"]; status {
		case "COMPLETED":
			return
		case "FAILED":
			t.Fatal("the export failed")
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the export does not end")
}

func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file, args...).CombinedOutput()
	return string(out), err
}

func (p server) clock(t *testing.T, advance string) string {
	t.Helper()
	res, err := http.Post("http://"+p.Addr+"/_stator/clock", "application/json", strings.NewReader(`{"advance":"`+advance+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var now struct{ Now time.Time }
	if err := json.Unmarshal(out, &now); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return fmt.Sprint(now.Now.Unix())
}

// TestImportExports exports a table, once fully and then incrementally, and imports all of it into another server from a copy of the
// bucket.
func TestImportExports(t *testing.T) {
	for _, format := range []string{"DYNAMODB_JSON", "ION"} {
		t.Run(format, func(t *testing.T) {
			buckets := t.TempDir()
			from := start(t, "--in-memory", "--s3-dir", buckets, "--test-clock")
			from.answer(t, "CreateTable", `{"TableName":"tbl","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`)
			from.answer(t, "UpdateContinuousBackups", `{"TableName":"tbl","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`)
			arn := from.answer(t, "DescribeTable", `{"TableName":"tbl"}`)["Table"].(map[string]any)["TableArn"].(string)
			put := func(i int, v string) {
				from.answer(t, "PutItem", fmt.Sprintf(`{"TableName":"tbl","Item":{"pk":{"S":"p%d"},"sk":{"N":"%d"},"v":{"S":%q},"l":{"L":[{"NS":["1","2"]},{"B":"AQI="}]}}}`, i%5, i, v))
			}
			for i := range 300 {
				put(i, "first")
			}
			at := from.clock(t, "1m")
			common := `{"TableArn":"` + arn + `","S3Bucket":"bucket","S3Prefix":"deep/prefix","ExportFormat":"` + format + `",`
			from.export(t, common+`"ExportTime":`+at+`}`)
			for step := range 2 {
				for i := step * 50; i < step*50+50; i++ {
					put(i, fmt.Sprint("changed in ", step))
				}
				from.answer(t, "DeleteItem", fmt.Sprintf(`{"TableName":"tbl","Key":{"pk":{"S":"p%d"},"sk":{"N":"%d"}}}`, (200+step)%5, 200+step))
				put(1000+step, "new")
				to := from.clock(t, "20m")
				from.export(t, common+`"ExportType":"INCREMENTAL_EXPORT","IncrementalExportSpecification":{"ExportFromTime":`+at+`,"ExportToTime":`+to+`}}`)
				at = to
			}
			// A copy of part of the bucket is enough.
			copied := filepath.Join(t.TempDir(), "copy")
			if err := os.Rename(filepath.Join(buckets, "bucket", "deep", "prefix"), copied); err != nil {
				t.Fatal(err)
			}
			to := start(t, "--in-memory")
			url := "http://" + to.Addr
			if out, err := command(t, "import", copied, "--endpoint-url", url); err == nil || !strings.Contains(out, "--key") {
				t.Errorf("without a key schema: %v %s", err, out)
			}
			out, err := command(t, "import", copied, "--endpoint-url", url, "--table", "copy", "--key", "pk:S,sk:N")
			if err != nil {
				t.Fatalf("import: %v %s", err, out)
			}
			want := from.answer(t, "Scan", `{"TableName":"tbl"}`)
			got := to.answer(t, "Scan", `{"TableName":"copy"}`)
			a, _ := json.Marshal(want["Items"])
			b, _ := json.Marshal(got["Items"])
			if string(a) != string(b) || got["Count"] != 300.0 {
				t.Errorf("%v items, want %v:\n%s", got["Count"], want["Count"], out)
			}
			// Damage is detected, and so is a missing part.
			files, err := filepath.Glob(filepath.Join(copied, "AWSDynamoDB", "*", "data", "*.gz"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			raw, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)-1] ^= 1
			if err := os.WriteFile(files[0], raw, 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := command(t, "import", copied, "--endpoint-url", url, "--table", "damaged", "--key", "pk:S,sk:N"); err == nil {
				t.Errorf("a damaged export is imported: %s", out)
			}
			if out, err := command(t, "import", t.TempDir(), "--endpoint-url", url); err == nil || !strings.Contains(out, "no export") {
				t.Errorf("nothing is imported: %v %s", err, out)
			}
		})
	}
}

// TestImportFromDynamoDBLocal imports a data file written by DynamoDB Local 3.3.1.
func TestImportFromDynamoDBLocal(t *testing.T) {
	in, err := os.Open(filepath.Join("testdata", "dynamodb-local.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fakekey_eu-west-1.db")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--in-memory")
	out, err := command(t, "import", "--from-dynamodb-local", file, "--endpoint-url", "http://"+p.Addr)
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	d := p.answer(t, "DescribeTable", `{"TableName":"Music"}`)["Table"].(map[string]any)
	if len(d["GlobalSecondaryIndexes"].([]any)) != 1 || len(d["LocalSecondaryIndexes"].([]any)) != 1 || d["ItemCount"] != 30.0 ||
		d["StreamSpecification"].(map[string]any)["StreamViewType"] != "NEW_IMAGE" || d["ProvisionedThroughput"].(map[string]any)["WriteCapacityUnits"] != 6.0 {
		t.Errorf("table %v", d)
	}
	got, _ := json.Marshal(p.answer(t, "GetItem", `{"TableName":"Music","Key":{"Artist":{"S":"a1"},"Year":{"N":"1993"}}}`))
	if string(got) != "{}" {
		t.Errorf("an item that is not there: %s", got)
	}
	got, _ = json.Marshal(p.answer(t, "GetItem", `{"TableName":"Music","Key":{"Artist":{"S":"a1"},"Year":{"N":"1991"}}}`)["Item"])
	want := `{"Artist":{"S":"a1"},"Genre":{"S":"g1"},"Year":{"N":"1991"},"bs":{"BS":["AQ==","Ag=="]},"empty":{"S":""},"l":{"L":[{"S":"x"},{"N":"1"}]},"m":{"M":{"e":{"L":[]},"k":{"B":"eno="}}},"n":{"N":"-0.000000000000000000015"},"nl":{"NULL":true},"ns":{"NS":["1","2"]},"raw":{"B":"AAEx"},"s":{"S":"ü \"x\""},"ss":{"SS":["a","b"]},"t":{"BOOL":true}}`
	if string(got) != want {
		t.Errorf("item %s\nwant %s", got, want)
	}
	if ttl := p.answer(t, "DescribeTimeToLive", `{"TableName":"Music"}`)["TimeToLiveDescription"].(map[string]any); ttl["AttributeName"] != "exp" {
		t.Errorf("TTL %v", ttl)
	}
	if got := p.answer(t, "Scan", `{"TableName":"simple"}`); got["Count"] != 1.0 {
		t.Errorf("table simple: %v", got)
	}
	if out, err := command(t, "import", "--from-dynamodb-local", filepath.Join("testdata", "dynamodb-local.db.gz"), "--endpoint-url", "http://"+p.Addr); err == nil || !strings.Contains(out, "not a data file") {
		t.Errorf("an invalid file is imported: %s", out)
	}
}

// TestKilledJobs repeatedly kills the server during an import, export, restore, backup and bulk put, until all of them are done.
func TestKilledJobs(t *testing.T) {
	data, buckets := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(buckets, "bucket"), 0o755); err != nil {
		t.Fatal(err)
	}
	const n = 60000
	file, err := os.Create(filepath.Join(buckets, "bucket", "items.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		fmt.Fprintf(file, `{"Item":{"pk":{"S":"p%d"},"g":{"S":"g%d"},"v":{"S":"%s"}}}`+"\n", i, i%10, strings.Repeat("v", 300))
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	run := func() server { return start(t, "--data-dir", data, "--s3-dir", buckets) }
	schema := `"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"g","AttributeType":"S"}],"GlobalSecondaryIndexes":[{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]`
	p := run()
	// The server gives a job up after two runs that ended with the process and made no progress, which can happen on a busy machine. So
	// between two kills the server is stopped properly.
	kill := func() {
		t.Helper()
		p.Kill()
		p = run()
		if err := p.Terminate(); err != nil {
			t.Fatal(err)
		}
		p = run()
	}
	ended := func(operation, body string, path ...string) string {
		t.Helper()
		for range 600 {
			var v any = p.answer(t, operation, body)
			for _, name := range path {
				v = v.(map[string]any)[name]
			}
			if s := v.(string); s != "IN_PROGRESS" && s != "CREATING" {
				return s
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%s %s does not end", operation, body)
		return ""
	}
	source := `"S3BucketSource":{"S3Bucket":"bucket","S3KeyPrefix":"items"},"InputFormat":"DYNAMODB_JSON"`
	first := p.answer(t, "ImportTable", `{`+source+`,"TableCreationParameters":{"TableName":"source",`+schema+`}}`)["ImportTableDescription"].(map[string]any)
	for i := range 3 { // kill it during the import
		time.Sleep(time.Duration(20+60*i) * time.Millisecond)
		kill()
	}
	if s := ended("DescribeImport", `{"ImportArn":"`+first["ImportArn"].(string)+`"}`, "ImportTableDescription", "ImportStatus"); s != "COMPLETED" {
		t.Fatalf("the import is %s", s)
	}
	ended("DescribeTable", `{"TableName":"source"}`, "Table", "TableStatus")
	p.answer(t, "UpdateContinuousBackups", `{"TableName":"source","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`)
	p.answer(t, "CreateTable", `{"TableName":"target",`+schema+`}`)
	backup := p.answer(t, "CreateBackup", `{"TableName":"source","BackupName":"whole"}`)["BackupDetails"].(map[string]any)["BackupArn"].(string)
	export := p.answer(t, "ExportTableToPointInTime", `{"TableArn":"`+first["TableArn"].(string)+`","S3Bucket":"bucket","S3Prefix":"out"}`)["ExportDescription"].(map[string]any)["ExportArn"].(string)
	p.answer(t, "RestoreTableToPointInTime", `{"SourceTableName":"source","TargetTableName":"copy","UseLatestRestorableTime":true}`)
	bulk := p.answer(t, "StartBulkPutItems", `{"TableName":"target","InputS3Configuration":{"S3Bucket":"bucket","S3KeyPrefix":"items","InputFormat":"DYNAMODB_JSON"},"OutputS3Configuration":{"OutputType":["ERROR"]}}`)["BulkOperationDescription"].(map[string]any)["BulkOperationArn"].(string)
	for i := range 3 {
		time.Sleep(time.Duration(20+100*i) * time.Millisecond)
		kill()
	}
	for _, c := range []struct {
		operation, body, want string
		path                  []string
	}{
		{"DescribeBackup", `{"BackupArn":"` + backup + `"}`, "AVAILABLE", []string{"BackupDescription", "BackupDetails", "BackupStatus"}},
		{"DescribeExport", `{"ExportArn":"` + export + `"}`, "COMPLETED", []string{"ExportDescription", "ExportStatus"}},
		{"DescribeTable", `{"TableName":"copy"}`, "ACTIVE", []string{"Table", "TableStatus"}},
		{"DescribeBulkOperation", `{"BulkOperationArn":"` + bulk + `"}`, "COMPLETED", []string{"BulkOperationDescription", "BulkOperationStatus"}},
	} {
		if s := ended(c.operation, c.body, c.path...); s != c.want {
			t.Errorf("%s: %s, want %s", c.operation, s, c.want)
		}
	}
	if d := p.answer(t, "DescribeExport", `{"ExportArn":"`+export+`"}`)["ExportDescription"].(map[string]any); d["ItemCount"] != float64(n) {
		t.Errorf("export %v", d)
	}
	for _, table := range []string{"source", "copy", "target"} {
		if d := p.answer(t, "DescribeTable", `{"TableName":"`+table+`"}`)["Table"].(map[string]any); d["ItemCount"] != float64(n) {
			t.Errorf("%s has %v items", table, d["ItemCount"])
		}
	}
	p.Kill()
	out, err := command(t, "verify", "--data-dir", data)
	if err != nil || !strings.Contains(out, "3 tables") {
		t.Errorf("verify: %v %s", err, out)
	}
	for _, pattern := range []string{"pebble/load-*", "tmp/run-*"} {
		p := run() // a start removes leftovers
		p.Kill()
		if left, _ := filepath.Glob(filepath.Join(data, pattern)); len(left) > 0 {
			t.Errorf("%d files %s stay", len(left), pattern)
		}
	}
}
