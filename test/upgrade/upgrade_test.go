// Package upgrade opens data directories saved by earlier versions.
//
// testdata has an archive for each format version, together with what a client read from it when it was saved. A change of the format needs
// a new version (keyspace.FormatVersion) and `go test ./test/upgrade -args -save`. Archives are never replaced. format-3-long-keys was
// saved later, by format 3, with long keys, which format 4 stores differently in new tables.
package upgrade

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator"
	"github.com/statordb/stator/internal/admin"
	"github.com/statordb/stator/test/request"
)

var (
	save    = flag.Bool("save", false, "save a data directory of the current format, unless one is saved already")
	rewrite = flag.Bool("rewrite", false, "rewrite the expected answers, after a change of what answers look like; check the difference")
)

// send sends a request that must succeed, and returns the answer.
func send(t *testing.T, s *stator.Server, operation, body string) string {
	t.Helper()
	status, answer, err := request.Send(s.URL(), operation, []byte(body), nil)
	if err != nil || status != 200 {
		t.Fatalf("%s %s: %d %s %v", operation, body, status, answer, err)
	}
	return string(answer)
}

func open(t *testing.T, dir string) *stator.Server {
	t.Helper()
	// The clock stands still, so that stream records don't expire.
	s, err := stator.Open(stator.Options{DataDir: dir, Listen: "127.0.0.1:0", NoChangeLimits: true,
		Now: func() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// write fills a database with everything that a format version can hold.
func write(t *testing.T, dir string) {
	s := open(t, dir)
	send(t, s, "CreateTable", `{"TableName":"everything","BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5},
		"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"},{"AttributeName":"l","AttributeType":"B"},{"AttributeName":"g","AttributeType":"S"},{"AttributeName":"h","AttributeType":"N"}],
		"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],
		"LocalSecondaryIndexes":[{"IndexName":"by-l","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}}],
		"GlobalSecondaryIndexes":[
			{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"},{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"Projection":{"ProjectionType":"KEYS_ONLY"},"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5}},
			{"IndexName":"by-h","KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["s"]},"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5}}],
		"Tags":[{"Key":"team","Value":"storage"}],"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_AND_OLD_IMAGES"},"DeletionProtectionEnabled":true}`)
	send(t, s, "CreateTable", `{"TableName":"dropped","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"B"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`)
	send(t, s, "PutItem", `{"TableName":"dropped","Item":{"id":{"B":"AAEC"}}}`)
	item := func(pk string, sk int) string {
		return fmt.Sprintf(`{"pk":{"S":"%s"},"sk":{"N":"%d"},"l":{"B":"AAH/"},"g":{"S":"g\u0000%d"},"h":{"N":"%d.5"},"s":{"S":"Grüße"},"n":{"N":"-1.2345678901234567890123456789012345678E-100"},"ss":{"SS":["a","b"]},"ns":{"NS":["1","-2"]},"bs":{"BS":["AQ==","Ag=="]},"m":{"M":{"x":{"L":[{"NULL":true},{"BOOL":false},{"S":""}]}}}}`,
			pk, sk, sk%2, sk%3)
	}
	for i := range 20 {
		send(t, s, "PutItem", `{"TableName":"everything","Item":`+item(fmt.Sprintf("p\\u0000%d", i%3), i-10)+`}`)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Reopening moves the log's content into tables. What follows stays in the log.
	s = open(t, dir)
	send(t, s, "DeleteTable", `{"TableName":"dropped"}`)
	send(t, s, "UpdateItem", `{"TableName":"everything","Key":{"pk":{"S":"p\u00000"},"sk":{"N":"-10"}},"UpdateExpression":"REMOVE l, g SET h = :h","ExpressionAttributeValues":{":h":{"N":"9"}}}`)
	send(t, s, "TransactWriteItems", `{"ClientRequestToken":"token","TransactItems":[{"Put":{"TableName":"everything","Item":`+item("late", 1)+`}},{"Delete":{"TableName":"everything","Key":{"pk":{"S":"p\u00001"},"sk":{"N":"-9"}}}}]}`)
	send(t, s, "UpdateTable", `{"TableName":"everything","AttributeDefinitions":[{"AttributeName":"n","AttributeType":"N"}],
		"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"late","KeySchema":[{"AttributeName":"n","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"},"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}]}`)
	send(t, s, "UpdateTimeToLive", `{"TableName":"everything","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"expires"}}`)
	settled := func(operation, body, want string) {
		t.Helper()
		for range 500 {
			if strings.Contains(send(t, s, operation, body), want) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s does not become %s", operation, want)
	}
	settled("DescribeTimeToLive", `{"TableName":"everything"}`, `"ENABLED"`)
	settled("DescribeTable", `{"TableName":"everything"}`, `"IndexName":"late","KeySchema":[{"AttributeName":"n","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"},"IndexStatus":"ACTIVE"`)
	send(t, s, "PutItem", `{"TableName":"everything","Item":{"pk":{"S":"later"},"sk":{"N":"1"},"expires":{"N":"1900000000"},"n":{"N":"5"}}}`)
	send(t, s, "PutResourcePolicy", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/everything","Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"000000000000\"},\"Action\":\"dynamodb:GetItem\",\"Resource\":\"*\"}]}"}`)
	send(t, s, "UpdateTable", `{"TableName":"everything","StreamSpecification":{"StreamEnabled":false}}`)
	send(t, s, "UpdateTable", `{"TableName":"everything","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"}}`)
	send(t, s, "PutItem", `{"TableName":"everything","Item":{"pk":{"S":"last"},"sk":{"N":"1"}}}`)
	for _, name := range []string{"kept", "gone"} {
		send(t, s, "CreateTable", `{"TableName":"`+name+`","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`)
		send(t, s, "PutItem", `{"TableName":"`+name+`","Item":{"id":{"S":"a"},"v":{"N":"1"}}}`)
		send(t, s, "UpdateContinuousBackups", `{"TableName":"`+name+`","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true,"RecoveryPeriodInDays":20}}`)
		send(t, s, "PutItem", `{"TableName":"`+name+`","Item":{"id":{"S":"a"},"v":{"N":"2"}}}`)
		send(t, s, "PutItem", `{"TableName":"`+name+`","Item":{"id":{"S":"b"}}}`)
	}
	send(t, s, "DeleteTable", `{"TableName":"gone"}`)
	// Keys of the maximal length.
	for i := range 3 {
		send(t, s, "PutItem", fmt.Sprintf(`{"TableName":"everything","Item":{"pk":{"S":"%s"},"sk":{"N":"%d"},"g":{"S":"%s"},"h":{"N":"1"},"l":{"B":"%s"}}}`, strings.Repeat("p", 2048), i, strings.Repeat("g", 2048), strings.Repeat("AAAA", 340)))
		send(t, s, "PutItem", fmt.Sprintf(`{"TableName":"kept","Item":{"id":{"S":"%s%d"}}}`, strings.Repeat("p", 2047), i))
	}
	send(t, s, "CreateBackup", `{"TableName":"kept","BackupName":"by-hand"}`)
	settled("ListBackups", `{"TableName":"kept"}`, `"AVAILABLE"`)
	send(t, s, "ExportTableToPointInTime", `{"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/kept","S3Bucket":"bucket","ClientToken":"token"}`)
	settled("ListExports", `{}`, `"COMPLETED"`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// history returns the records of all of the table's streams.
func history(t *testing.T, s *stator.Server) string {
	var out strings.Builder
	var list struct{ Streams []struct{ StreamArn string } }
	decode := func(operation, body string, into any) {
		t.Helper()
		answer := send(t, s, "DynamoDBStreams_20120810."+operation, body)
		fmt.Fprintf(&out, "%s\n", answer)
		if err := json.Unmarshal([]byte(answer), into); err != nil {
			t.Fatal(err)
		}
	}
	decode("ListStreams", `{}`, &list)
	for _, stream := range list.Streams {
		var d struct {
			StreamDescription struct{ Shards []struct{ ShardId string } }
		}
		decode("DescribeStream", `{"StreamArn":"`+stream.StreamArn+`"}`, &d)
		for _, shard := range d.StreamDescription.Shards {
			var it struct{ ShardIterator string }
			decode("GetShardIterator", `{"StreamArn":"`+stream.StreamArn+`","ShardId":"`+shard.ShardId+`","ShardIteratorType":"TRIM_HORIZON"}`, &it)
			var page struct{ Records []json.RawMessage }
			decode("GetRecords", `{"ShardIterator":"`+it.ShardIterator+`"}`, &page)
		}
	}
	return string(nextIterator.ReplaceAll([]byte(out.String()), nil))
}

// nextIterator matches what differs from one read to the next.
var nextIterator = regexp.MustCompile(`,?"NextShardIterator":"[^"]*"`)

// read returns everything of the format that a client can see.
func read(t *testing.T, dir, format string) string {
	s := open(t, dir)
	var out strings.Builder
	if format >= "2" {
		for _, r := range [][2]string{
			{"DescribeTimeToLive", `{"TableName":"everything"}`},
			{"GetResourcePolicy", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/everything"}`},
			{"Scan", `{"TableName":"everything","IndexName":"late"}`},
		} {
			fmt.Fprintf(&out, "%s %s\n%s\n", r[0], r[1], send(t, s, r[0], r[1]))
		}
		fmt.Fprintf(&out, "Streams\n%s", history(t, s))
	}
	for _, r := range [][2]string{
		{"ListTables", `{}`},
		{"DescribeTable", `{"TableName":"everything"}`},
		{"ListTagsOfResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/everything"}`},
		{"Scan", `{"TableName":"everything"}`},
		{"Scan", `{"TableName":"everything","IndexName":"by-l"}`},
		{"Scan", `{"TableName":"everything","IndexName":"by-g"}`},
		{"Scan", `{"TableName":"everything","IndexName":"by-h"}`},
		{"Query", `{"TableName":"everything","KeyConditionExpression":"pk = :p AND sk < :s","ExpressionAttributeValues":{":p":{"S":"p\u00002"},":s":{"N":"5"}}}`},
	} {
		fmt.Fprintf(&out, "%s %s\n%s\n", r[0], r[1], send(t, s, r[0], r[1]))
	}
	if format >= "3" {
		for _, r := range [][2]string{{"ListBackups", `{"BackupType":"ALL"}`}, {"DescribeContinuousBackups", `{"TableName":"kept"}`}, {"ListExports", `{}`}} {
			fmt.Fprintf(&out, "%s %s\n%s\n", r[0], r[1], send(t, s, r[0], r[1]))
		}
		fmt.Fprintf(&out, "Restored\n%s", restored(t, s))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// restored restores all backups, and a table to the moment when its recovery was enabled, and returns the tables' content.
func restored(t *testing.T, s *stator.Server) string {
	var list struct {
		BackupSummaries []struct{ BackupArn, TableName string }
	}
	if err := json.Unmarshal([]byte(send(t, s, "ListBackups", `{"BackupType":"ALL"}`)), &list); err != nil {
		t.Fatal(err)
	}
	for _, b := range list.BackupSummaries {
		send(t, s, "RestoreTableFromBackup", `{"BackupArn":"`+b.BackupArn+`","TargetTableName":"from-backup-of-`+b.TableName+`"}`)
	}
	send(t, s, "RestoreTableToPointInTime", fmt.Sprintf(`{"SourceTableName":"kept","TargetTableName":"from-the-past","RestoreDateTime":%d}`,
		time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC).Unix()))
	var out strings.Builder
	for _, name := range []string{"from-backup-of-kept", "from-backup-of-gone", "from-the-past"} {
		for range 500 {
			if strings.Contains(send(t, s, "DescribeTable", `{"TableName":"`+name+`"}`), `"TableStatus":"ACTIVE"`) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Fprintf(&out, "%s %s\n", name, send(t, s, "Scan", `{"TableName":"`+name+`"}`))
	}
	return out.String()
}

func TestUpgrade(t *testing.T) {
	current := t.TempDir()
	write(t, current)
	raw, err := os.ReadFile(filepath.Join(current, "FORMAT"))
	if err != nil {
		t.Fatal(err)
	}
	format := strings.TrimSpace(string(raw))
	newest := filepath.Join("testdata", "format-"+format)
	if _, err := os.Stat(newest + ".tar.gz"); *save && errors.Is(err, fs.ErrNotExist) {
		if err := pack(current, newest+".tar.gz"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(newest+".txt", []byte(read(t, current, format)), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if err != nil {
		t.Errorf("no data directory of the current format is saved: %v", err)
	}
	archives, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, archive := range archives {
		t.Run(filepath.Base(archive), func(t *testing.T) {
			dir := t.TempDir()
			if err := unpack(archive, dir); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(archive, ".tar.gz") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			format := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(archive), "format-"), ".tar.gz")
			got := read(t, dir, format)
			if *rewrite {
				if err := os.WriteFile(strings.TrimSuffix(archive, ".tar.gz")+".txt", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("reads\n%s\nwant\n%s", got, want)
			}
			v, err := admin.Verify(context.Background(), dir, nil)
			if err != nil || len(v.Problems) > 0 {
				t.Errorf("%v %v", v, err)
			}
			// The database is still writable.
			s := open(t, dir)
			send(t, s, "PutItem", `{"TableName":"everything","Item":{"pk":{"S":"new"},"sk":{"N":"1"}}}`)
		})
	}
}

func pack(dir, archive string) error {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(archive, buf.Bytes(), 0o644)
}

func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(name, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
			var raw []byte
			if raw, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(name, raw, 0o644)
			}
		}
		if err != nil {
			return err
		}
	}
}
