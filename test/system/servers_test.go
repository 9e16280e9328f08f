package system

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
	"github.com/statordb/stator/test/workload"
)

// servers are several processes that share a database.
type servers struct {
	t    *testing.T
	db   *pgtest.Instance
	url  string
	list []server
	name []string
	args []string // of each process
	made int
}

func startServers(t *testing.T, n int, args ...string) *servers {
	t.Helper()
	s := &servers{t: t, db: pgtest.New(t), args: append(args, "--s3-dir", t.TempDir())}
	var err error
	if s.url, err = s.db.Database(); err != nil {
		t.Fatal(err)
	}
	s.list, s.name = make([]server, n), make([]string, n)
	for i := range n {
		s.start(i)
	}
	return s
}

func (s *servers) start(i int) {
	s.t.Helper()
	s.made++
	s.name[i] = fmt.Sprintf("server%d", s.made)
	s.list[i] = start(s.t, append([]string{"--storage", s.url, "--name", s.name[i], "--data-dir", s.t.TempDir()}, s.args...)...)
	name, started := s.name[i], s.list[i]
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s (%d):\n%s", name, i, started.Output)
		}
	})
}

// kill kills a server like a crash, and waits until the database has ended the server's transactions.
func (s *servers) kill(i int) {
	s.t.Helper()
	s.list[i].Kill()
	if err := s.db.Gone(s.name[i]); err != nil {
		s.t.Fatal(err)
	}
}

// load distributes requests over the servers.
func (s *servers) load() workload.Call {
	var n atomic.Int64
	return func(operation, body string) (int, []byte, error) {
		return s.list[int(n.Add(1))%len(s.list)].load()(operation, body)
	}
}

// verify checks the whole database with `stator verify`.
func (s *servers) verify() {
	s.t.Helper()
	out, err := stator("verify", "--storage", s.url)
	if err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// must sends a request that must succeed. It retries like an SDK.
func (s *servers) must(i int, operation, body string) map[string]any {
	s.t.Helper()
	for attempt := 0; ; attempt++ {
		status, answer, err := s.list[i].call(operation, body)
		if err == nil && status == 200 {
			var out map[string]any
			if err := json.Unmarshal(answer, &out); err != nil {
				s.t.Fatal(err)
			}
			return out
		}
		if err == nil && status < 500 || attempt == 200 {
			s.t.Fatalf("%s on server %d: %d %s %v", operation, i, status, answer, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestServersKilled kills servers, and the database, during concurrent writes to three servers. Acknowledged writes must be there, the
// streams must lead to them without repeated or missing records, and in the end each index must equal its table.
func TestServersKilled(t *testing.T) {
	s := startServers(t, 3)
	l := workload.New(8)
	if err := l.Setup(s.load()); err != nil {
		t.Fatal(err)
	}
	for round := range *kills {
		done := make(chan error, 1)
		go func() { done <- l.Run(s.load(), nil) }()
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		victim := rand.IntN(3)
		if round%3 == 2 {
			if err := s.db.Stop(syscall.SIGQUIT); err != nil {
				t.Fatal(err)
			}
		} else {
			s.kill(victim)
		}
		// Each writer ends when it meets a server that is down.
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if round%3 == 2 {
			if err := s.db.Restart(); err != nil {
				t.Fatal(err)
			}
		} else {
			s.start(victim)
		}
		s.must(0, "DescribeTable", `{"TableName":"crash"}`)
		if err := l.Check(func(operation, body string) (int, []byte, error) {
			for attempt := 0; ; attempt++ {
				status, answer, err := s.load()(operation, body)
				if err == nil || attempt == 100 {
					return status, answer, err
				}
				time.Sleep(50 * time.Millisecond)
			}
		}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s.verify()
	}
	if l.Acknowledged() < 100 {
		t.Errorf("only %d writes were acknowledged", l.Acknowledged())
	}
	t.Logf("%d rounds, %d writes acknowledged, none lost", *kills, l.Acknowledged())
}

// TestServersLead kills the server that deletes expired items, and the one that fills an index. Another server takes over, and every item
// is deleted exactly once.
func TestServersLead(t *testing.T) {
	s := startServers(t, 3)
	s.must(0, "CreateTable", `{"TableName":"ttl","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],
		"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"}}`)
	const items = 500
	for from := 0; from < items; from += 25 {
		var puts []string
		for i := from; i < from+25; i++ {
			puts = append(puts, fmt.Sprintf(`{"PutRequest":{"Item":{"id":{"S":"i%d"},"g":{"S":"g%d"},"expires":{"N":"%d"}}}}`, i, i%7, time.Now().Unix()+int64(2+i%4)))
		}
		s.must(from/25%3, "BatchWriteItem", `{"RequestItems":{"ttl":[`+strings.Join(puts, ",")+`]}}`)
	}
	s.must(1, "UpdateTimeToLive", `{"TableName":"ttl","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"expires"}}`)
	s.must(2, "UpdateTable", `{"TableName":"ttl","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"g","AttributeType":"S"}],
		"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}}]}`)
	killed := map[string]bool{}
	for _, job := range []string{"ttl", "indexes"} {
		if i := s.leader(job); !killed[s.name[i]] {
			killed[s.name[i]] = true
			s.kill(i)
			s.start(i)
		}
	}
	began := time.Now()
	for attempt := 0; ; attempt++ {
		if s.must(attempt%3, "Scan", `{"TableName":"ttl","Select":"COUNT","ConsistentRead":true}`)["Count"] == 0.0 {
			break
		}
		if attempt == 600 {
			t.Fatal("not all items expire")
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("the last item was deleted %v after the kill", time.Since(began))
	removed := map[string]int{}
	for _, r := range s.stream("ttl") {
		if r.EventName == "REMOVE" {
			removed[r.Dynamodb.Keys["id"].S]++
		}
	}
	for i := range items {
		if n := removed[fmt.Sprint("i", i)]; n != 1 {
			t.Fatalf("item %d was removed %d times", i, n)
		}
	}
	for attempt := 0; ; attempt++ {
		table := s.must(attempt%3, "DescribeTable", `{"TableName":"ttl"}`)["Table"].(map[string]any)
		index := table["GlobalSecondaryIndexes"].([]any)[0].(map[string]any)
		if index["IndexStatus"] == "ACTIVE" {
			break
		}
		if attempt == 600 {
			t.Fatalf("the index stays %v", index["IndexStatus"])
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.verify()
}

// leader returns the server that currently does a job.
func (s *servers) leader(job string) int {
	s.t.Helper()
	for range 20 {
		out, err := stator("cluster", "--json", "--storage", s.url)
		if err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
		var state struct{ Leases map[string]string }
		if err := json.Unmarshal(out, &state); err != nil {
			s.t.Fatal(err)
		}
		for i, name := range s.name {
			if strings.HasPrefix(state.Leases[job], name+"-") {
				return i
			}
		}
	}
	s.t.Fatalf("no server does %s", job)
	return 0
}

type change struct {
	EventName string
	Dynamodb  struct{ Keys map[string]struct{ S string } }
}

// stream returns all records of a table's stream.
func (s *servers) stream(table string) (out []change) {
	s.t.Helper()
	const target = "DynamoDBStreams_20120810."
	arn := s.must(0, target+"ListStreams", `{"TableName":"`+table+`"}`)["Streams"].([]any)[0].(map[string]any)["StreamArn"].(string)
	d := s.must(1, target+"DescribeStream", `{"StreamArn":"`+arn+`"}`)["StreamDescription"].(map[string]any)
	for _, shard := range d["Shards"].([]any) {
		in := fmt.Sprintf(`{"StreamArn":%q,"ShardId":%q,"ShardIteratorType":"TRIM_HORIZON"}`, arn, shard.(map[string]any)["ShardId"])
		iterator, _ := s.must(2, target+"GetShardIterator", in)["ShardIterator"].(string)
		for empty := 0; iterator != "" && empty < 3; {
			raw, err := json.Marshal(s.must(0, target+"GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, iterator)))
			if err != nil {
				s.t.Fatal(err)
			}
			var page struct {
				Records           []change
				NextShardIterator string
			}
			if err := json.Unmarshal(raw, &page); err != nil {
				s.t.Fatal(err)
			}
			if empty++; len(page.Records) > 0 {
				empty = 0
			}
			out, iterator = append(out, page.Records...), page.NextShardIterator
		}
	}
	return out
}

// TestServersRestore kills the server that creates a backup, and then the one that restores it. Another server finishes each.
func TestServersRestore(t *testing.T) {
	s := startServers(t, 3)
	const items = 2000
	s.fill(items)
	backup := s.must(1, "CreateBackup", `{"TableName":"tbl","BackupName":"before"}`)["BackupDetails"].(map[string]any)["BackupArn"].(string)
	s.kill(1)
	s.start(1)
	s.until("the backup", func(i int) bool {
		d := s.must(i, "DescribeBackup", fmt.Sprintf(`{"BackupArn":%q}`, backup))["BackupDescription"].(map[string]any)
		return d["BackupDetails"].(map[string]any)["BackupStatus"] == "AVAILABLE"
	})
	s.must(2, "RestoreTableFromBackup", fmt.Sprintf(`{"BackupArn":%q,"TargetTableName":"copy"}`, backup))
	s.kill(2)
	s.start(2)
	s.until("the restored table", func(i int) bool {
		return s.must(i, "DescribeTable", `{"TableName":"copy"}`)["Table"].(map[string]any)["TableStatus"] == "ACTIVE"
	})
	if got := s.must(0, "Scan", `{"TableName":"copy","Select":"COUNT"}`); got["Count"] != float64(items) && got["LastEvaluatedKey"] == nil {
		t.Errorf("the restored table has %v items", got["Count"])
	}
	s.verify()
}

// fill creates a table with items of 500 bytes and point-in-time recovery.
func (s *servers) fill(items int) (arn string) {
	s.t.Helper()
	d := s.must(0, "CreateTable", `{"TableName":"tbl","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`)
	for from := 0; from < items; from += 25 {
		var puts []string
		for i := from; i < from+25; i++ {
			puts = append(puts, fmt.Sprintf(`{"PutRequest":{"Item":{"id":{"S":"i%d"},"pad":{"S":%q}}}}`, i, strings.Repeat("x", 500)))
		}
		s.must(from/25%3, "BatchWriteItem", `{"RequestItems":{"tbl":[`+strings.Join(puts, ",")+`]}}`)
	}
	s.must(0, "UpdateContinuousBackups", `{"TableName":"tbl","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`)
	return d["TableDescription"].(map[string]any)["TableArn"].(string)
}

// TestServersTransfer kills the server that exports a table, and then the one that imports it. The remaining servers finish both.
func TestServersTransfer(t *testing.T) {
	s := startServers(t, 3)
	const items = 2000
	table := s.fill(items)
	export := s.must(1, "ExportTableToPointInTime", fmt.Sprintf(`{"TableArn":%q,"S3Bucket":"bucket"}`, table))["ExportDescription"].(map[string]any)["ExportArn"].(string)
	s.kill(1)
	s.until("the export", func(i int) bool {
		d := s.must(i/2*2, "DescribeExport", fmt.Sprintf(`{"ExportArn":%q}`, export))["ExportDescription"].(map[string]any)
		if d["ExportStatus"] == "COMPLETED" && d["ItemCount"] != float64(items) {
			t.Fatalf("the export has %v items", d["ItemCount"])
		}
		return d["ExportStatus"] == "COMPLETED"
	})
	s.start(1)
	_, id, _ := strings.Cut(export, "/export/")
	in := s.must(2, "ImportTable", fmt.Sprintf(`{"S3BucketSource":{"S3Bucket":"bucket","S3KeyPrefix":"AWSDynamoDB/%s/data/"},"InputFormat":"DYNAMODB_JSON","InputCompressionType":"GZIP",
		"TableCreationParameters":{"TableName":"imported","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}}`, id))
	arn := in["ImportTableDescription"].(map[string]any)["ImportArn"].(string)
	s.kill(2)
	s.until("the import", func(i int) bool {
		d := s.must(i%2, "DescribeImport", fmt.Sprintf(`{"ImportArn":%q}`, arn))["ImportTableDescription"].(map[string]any)
		if d["ImportStatus"] == "COMPLETED" && d["ImportedItemCount"] != float64(items) {
			t.Fatalf("the import has %v items", d["ImportedItemCount"])
		}
		return d["ImportStatus"] == "COMPLETED"
	})
	s.start(2)
	s.verify()
}

// TestServersScale kills the server that does auto scaling before a scheduled action is due. Another server runs the action, once.
func TestServersScale(t *testing.T) {
	s := startServers(t, 3, "--test-clock")
	s.must(0, "CreateTable", `{"TableName":"tbl","ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5},"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`)
	const target = `"ServiceNamespace":"dynamodb","ResourceId":"table/tbl","ScalableDimension":"dynamodb:table:ReadCapacityUnits"`
	s.must(1, "AnyScaleFrontendService.RegisterScalableTarget", `{`+target+`,"MinCapacity":5,"MaxCapacity":100}`)
	due := time.Now().Add(10 * time.Minute).UTC().Format("2006-01-02T15:04:05")
	s.must(2, "AnyScaleFrontendService.PutScheduledAction", `{`+target+`,"ScheduledActionName":"more","Schedule":"at(`+due+`)","ScalableTargetAction":{"MinCapacity":50}}`)
	dead := s.leader("metrics")
	s.kill(dead)
	var left []int
	for i := range s.list {
		if i == dead {
			continue
		}
		left = append(left, i)
		res, err := http.Post("http://"+s.list[i].Addr+"/_stator/clock", "application/json", strings.NewReader(`{"advance":"15m"}`))
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		res.Body.Close()
	}
	s.until("the scheduled action", func(i int) bool {
		d := s.must(left[i%2], "DescribeTable", `{"TableName":"tbl"}`)["Table"].(map[string]any)
		return d["ProvisionedThroughput"].(map[string]any)["ReadCapacityUnits"] == 50.0
	})
	var done []any
	// Activities are recorded once they have succeeded, after their effect.
	s.until("the activities", func(int) bool {
		done = s.must(left[0], "AnyScaleFrontendService.DescribeScalingActivities", `{"ServiceNamespace":"dynamodb"}`)["ScalingActivities"].([]any)
		return len(done) >= 2
	})
	if len(done) != 2 { // one for the bounds, one for the capacity
		t.Errorf("there are %d activities: %v", len(done), done)
	}
}

// until polls one server after the other.
func (s *servers) until(what string, f func(i int) bool) {
	s.t.Helper()
	for attempt := range 600 {
		if f(attempt % 3) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("%s: did not happen", what)
}
