package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/objectstore"
)

// TestBucketsOfAccounts checks that with credentials only the account that created a bucket may use it.
func TestBucketsOfAccounts(t *testing.T) {
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	err := os.WriteFile(credentials, []byte(`[{"accessKeyId":"A","secretAccessKey":"a","account":"111111111111"},{"accessKeyId":"B","secretAccessKey":"b","account":"222222222222"}]`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	buckets := t.TempDir()
	if _, err := objectstore.Put(t.Context(), objectstore.NewFolder(buckets), "old", "in/1.json", []byte(`{"Item":{"pk":{"S":"p"},"sk":{"N":"1"}}}`), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	d := open(t, Options{CredentialsFile: credentials, S3Dir: buckets})
	call := func(key, operation string, in obj) (out obj) {
		t.Helper()
		c := client.Server{Endpoint: d.URL(), Region: "us-east-1", AccessKey: key, SecretKey: string(key[0] + 'a' - 'A')}
		if err := c.Call(t.Context(), "DynamoDB_20120810."+operation, in, &out); err != nil {
			t.Fatalf("%s %s: %v", key, operation, err)
		}
		return out
	}
	// ended waits for a job to end and returns its status, or the code of its failure.
	ended := func(key, operation, of, arnName string, started obj) string {
		t.Helper()
		arn := started[of].(obj)[arnName]
		kind := map[string]string{"DescribeImport": "ImportStatus", "DescribeExport": "ExportStatus", "DescribeBulkOperation": "BulkOperationStatus"}[operation]
		var now obj
		eventually(t, "the end of a job", func() bool {
			now = call(key, operation, obj{arnName: arn})[of].(obj)
			return now[kind] != "IN_PROGRESS"
		})
		if code, ok := now["FailureCode"]; ok {
			return fmt.Sprint(code)
		}
		return fmt.Sprint(now[kind])
	}
	names := 0
	imports := func(key, bucket, owner string) string {
		t.Helper()
		names++
		in := importInto(fmt.Sprint("imported-", names), "", "DYNAMODB_JSON", "NONE")
		in["S3BucketSource"] = obj{"S3Bucket": bucket}
		if bucket != "old" {
			in["S3BucketSource"].(obj)["S3KeyPrefix"] = "AWSDynamoDB/0"
			in["InputCompressionType"] = "GZIP"
		}
		if owner != "" {
			in["S3BucketSource"].(obj)["S3BucketOwner"] = owner
		}
		return ended(key, "DescribeImport", "ImportTableDescription", "ImportArn", call(key, "ImportTable", in))
	}
	arns := map[string]string{}
	for _, key := range []string{"A", "B"} {
		call(key, "CreateTable", indexedTable("tbl"))
		call(key, "UpdateContinuousBackups", obj{"TableName": "tbl", "PointInTimeRecoverySpecification": obj{"PointInTimeRecoveryEnabled": true}})
		call(key, "PutItem", obj{"TableName": "tbl", "Item": randomItem(1)})
		arns[key] = field(call(key, "DescribeTable", obj{"TableName": "tbl"}), "Table.TableArn").(string)
	}
	exports := func(key, bucket, owner string) string {
		t.Helper()
		in := obj{"TableArn": arns[key], "S3Bucket": bucket}
		if owner != "" {
			in["S3BucketOwner"] = owner
		}
		return ended(key, "DescribeExport", "ExportDescription", "ExportArn", call(key, "ExportTableToPointInTime", in))
	}
	puts := func(key, from, to string) string {
		t.Helper()
		return ended(key, "DescribeBulkOperation", "BulkOperationDescription", "BulkOperationArn", call(key, "StartBulkPutItems", obj{
			"TableName": "tbl", "InputS3Configuration": obj{"S3Bucket": from, "S3KeyPrefix": "AWSDynamoDB/0", "InputFormat": "DYNAMODB_JSON", "InputCompressionType": "GZIP"},
			"OutputS3Configuration": obj{"S3Bucket": to, "OutputType": []string{"ERROR"}},
		}))
	}
	const denied = "S3AccessDenied"
	for i, got := range [][2]string{
		{imports("A", "of-a", ""), "S3NoSuchBucket"},
		{exports("A", "of-a", ""), "COMPLETED"}, // creates the bucket
		{exports("B", "of-a", ""), denied},
		{exports("B", "of-a", "111111111111"), denied},
		{imports("B", "of-a", ""), denied},
		{puts("B", "of-a", "of-a"), denied},
		{exports("B", "of-b", ""), "COMPLETED"},
		{puts("B", "of-b", "of-a"), denied},
		{puts("A", "of-a", "of-b"), denied},
		{exports("A", "of-a", "222222222222"), denied}, // B does not own it
		{exports("A", "of-a", "111111111111"), "COMPLETED"},
		{imports("A", "of-a", "222222222222"), denied},
		// The operator created it, and the credentials file grants it to no account.
		{imports("A", "old", ""), denied},
		{exports("B", "old", ""), denied},
	} {
		if got[0] != got[1] {
			t.Errorf("%d: %s, want %s", i, got[0], got[1])
		}
	}
	// An export's gzip files lie among objects that are not gzip. Only whether they can be read matters here.
	if got := imports("A", "of-a", "111111111111"); got == denied || got == "S3NoSuchBucket" {
		t.Errorf("its own bucket: %s", got)
	}
	// Without credentials every account may use every bucket.
	if err := d.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	d = open(t, Options{S3Dir: buckets})
	if i := d.imported(importInto("imported", "in/", "DYNAMODB_JSON", "NONE")); i["FailureCode"] != "S3NoSuchBucket" {
		t.Errorf("import %v", i)
	}
	in := importInto("imported", "", "DYNAMODB_JSON", "NONE")
	in["S3BucketSource"] = obj{"S3Bucket": "old"}
	if i := d.imported(in); i["ImportStatus"] != "COMPLETED" {
		t.Errorf("import %v", i)
	}
}
