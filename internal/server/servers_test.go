package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statordb/stator/internal/admin"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/kv"
)

// openServers starts several servers over one new database.
func openServers(t *testing.T, n int, opt Options) []*db {
	t.Helper()
	opt.Storage = newDatabase(t)
	list := make([]*db, n)
	for i := range list {
		opt.DataDir = t.TempDir()
		list[i] = open(t, opt)
	}
	return list
}

// TestServers changes tables on one server and uses them on the others at once.
func TestServers(t *testing.T) {
	servers := openServers(t, 3, Options{NoChangeLimits: true}) // the limits use wall time
	a, b, c := servers[0], servers[1], servers[2]
	began := time.Now()
	a.must("CreateTable", indexedTable("tbl"))
	t.Logf("CreateTable took %v", time.Since(began))
	b.must("PutItem", obj{"TableName": "tbl", "Item": randomItem(1)})
	if got := c.must("GetItem", obj{"TableName": "tbl", "Key": project(randomItem(1), "pk", "sk"), "ConsistentRead": true}); got["Item"] == nil {
		t.Fatal("the item is not there")
	}
	if _, err := c.call("CreateTable", indexedTable("tbl")); kindOf(err) != "ResourceInUseException" {
		t.Errorf("creating the table again: %v", err)
	}
	began = time.Now()
	b.must("UpdateTable", obj{"TableName": "tbl", "DeletionProtectionEnabled": true})
	t.Logf("UpdateTable took %v", time.Since(began))
	if got := c.must("DescribeTable", obj{"TableName": "tbl"}); field(got, "Table.DeletionProtectionEnabled") != true {
		t.Errorf("another server says %v", got)
	}
	a.must("UpdateTable", obj{"TableName": "tbl", "DeletionProtectionEnabled": false})
	a.must("TagResource", obj{"ResourceArn": field(a.must("DescribeTable", obj{"TableName": "tbl"}), "Table.TableArn"), "Tags": []obj{{"Key": "k", "Value": "v"}}})
	c.must("DeleteTable", obj{"TableName": "tbl"})
	if _, err := b.call("DescribeTable", obj{"TableName": "tbl"}); kindOf(err) != "ResourceNotFoundException" {
		t.Errorf("a deleted table: %v", err)
	}
	b.must("CreateTable", indexedTable("tbl"))
	if got := a.must("Scan", obj{"TableName": "tbl"}); got["Count"] != 0.0 {
		t.Errorf("the new table has %v", got)
	}
}

// TestServersCreate creates the same tables on all servers at the same time; exactly one attempt per table succeeds.
func TestServersCreate(t *testing.T) {
	servers := openServers(t, 3, Options{})
	for i := range 5 {
		var made atomic.Int64
		var wg sync.WaitGroup
		for _, d := range servers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				_, err := d.call("CreateTable", indexedTable(fmt.Sprint("table", i)))
				switch kindOf(err) {
				case "":
					made.Add(1)
				case "ResourceInUseException":
				default:
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Fatalf("table %d was created %d times", i, made.Load())
		}
	}
	for _, d := range servers {
		if got := d.must("ListTables", obj{})["TableNames"].([]any); len(got) != 5 {
			t.Errorf("a server lists %v", got)
		}
	}
}

// TestServersThroughput spends a table's throughput on three servers in turn. Together they get what a single server would.
func TestServersThroughput(t *testing.T) {
	for name, c := range map[string]struct {
		mode    obj
		refused string
		units   float64 // initial budget
	}{
		// The units of 300 seconds of burst, and of one second.
		"provisioned": {obj{"ProvisionedThroughput": obj{"ReadCapacityUnits": 5, "WriteCapacityUnits": 2}}, "ProvisionedThroughputExceededException", 600},
		"on-demand":   {obj{"BillingMode": "PAY_PER_REQUEST", "OnDemandThroughput": obj{"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": 600}}, "ThrottlingException", 600},
	} {
		t.Run(name, func(t *testing.T) { spendThroughput(t, c.mode, c.refused, c.units) })
	}
}

func spendThroughput(t *testing.T, mode obj, refused string, units float64) {
	clock := newMovedClock() // stands still
	servers := openServers(t, 3, Options{Now: clock.Now, sharesByHand: true})
	servers[0].must("CreateTable", with(mode, obj{"TableName": "tbl", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S")}}))
	// Before servers settle for the first time, each grants a new table's whole throughput.
	settle := func() {
		t.Helper()
		for range 2 {
			for _, d := range servers {
				if err := d.sharing.share(context.Background(), d.servers.(*cluster.Member), d.meters, clock.Now); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	settle()
	written := 0
	for idle := 0; idle < 3; {
		before := written
		for _, d := range servers {
			for range 100 {
				_, err := d.call("PutItem", obj{"TableName": "tbl", "Item": obj{"id": s("x")}})
				if kindOf(err) == refused {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				written++
			}
		}
		settle()
		if idle++; written > before+3 {
			idle = 0
		}
	}
	t.Logf("%d writes", written)
	if float64(written) < units*0.95 || float64(written) > units*1.05 {
		t.Errorf("%d writes, want about %v", written, units)
	}
}

// TestServersTokens sends transactions with the same token to several servers, in turn and concurrently. Each takes effect
// once.
func TestServersTokens(t *testing.T) {
	servers := openServers(t, 3, Options{})
	servers[0].must("CreateTable", obj{"TableName": "tbl", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S")}})
	add := func(d *db, token string, by int) error {
		_, err := d.call("TransactWriteItems", obj{"ClientRequestToken": token, "TransactItems": []obj{
			{"Update": obj{"TableName": "tbl", "Key": obj{"id": s("counter")}, "UpdateExpression": "ADD n :n", "ExpressionAttributeValues": obj{":n": n(by)}}},
			{"Put": obj{"TableName": "tbl", "Item": obj{"id": s(token)}}}}})
		return err
	}
	for _, d := range servers {
		if err := add(d, "token", 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(servers[1], "token", 2); kindOf(err) != "IdempotentParameterMismatchException" {
		t.Errorf("another transaction with the token: %v", err)
	}
	const tokens = 10
	var wg sync.WaitGroup
	for i := range tokens {
		for _, d := range servers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for { // retry like an SDK
					err := add(d, fmt.Sprint("token", i), 1)
					switch kindOf(err) {
					case "":
						return
					case "TransactionInProgressException", "TransactionCanceledException":
					default:
						t.Error(err)
						return
					}
				}
			}()
		}
	}
	wg.Wait()
	if got := servers[2].must("GetItem", obj{"TableName": "tbl", "Key": obj{"id": s("counter")}, "ConsistentRead": true}); field(got, "Item.n.N") != fmt.Sprint(tokens+1) {
		t.Errorf("the counter is %v, want %d", got["Item"], tokens+1)
	}
}

// TestServersMetrics adds up the measurements of three servers.
func TestServersMetrics(t *testing.T) {
	servers := openServers(t, 3, Options{})
	servers[0].must("CreateTable", indexedTable("tbl"))
	for i := range 30 {
		servers[i%3].must("PutItem", obj{"TableName": "tbl", "Item": randomItem(i)})
	}
	for _, d := range servers {
		if err := d.metrics.Collect(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for i, d := range servers {
		out, err := d.call("GraniteServiceVersion20100801.GetMetricStatistics", obj{
			"Namespace": "AWS/DynamoDB", "MetricName": "SuccessfulRequestLatency", "Statistics": []string{"SampleCount"}, "Period": 3600,
			"Dimensions": []obj{{"Name": "TableName", "Value": "tbl"}, {"Name": "Operation", "Value": "PutItem"}},
			"StartTime":  time.Now().Add(-time.Hour).Unix(), "EndTime": time.Now().Add(time.Hour).Unix(),
		})
		if err != nil {
			t.Fatal(err)
		}
		n := 0.0
		for _, p := range list(out["Datapoints"]) {
			n += p["SampleCount"].(float64)
		}
		if n != 30 {
			t.Errorf("server %d counts %v requests", i, n)
		}
	}
}

// TestServersScaling registers scalable targets on all servers at the same time, which changes their tables, so that each server waits for
// the others while it changes its own records. Then every server has all targets, policies and alarms, and changes those of others.
func TestServersScaling(t *testing.T) {
	servers := openServers(t, 3, Options{})
	target := func(i int) obj {
		return obj{"ServiceNamespace": "dynamodb", "ResourceId": fmt.Sprint("table/tbl", i), "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
	}
	for i := range servers {
		servers[0].must("CreateTable", provisioned(fmt.Sprint("tbl", i), 5, 5))
	}
	var wg sync.WaitGroup
	for i, d := range servers {
		wg.Go(func() {
			if _, err := d.call("AnyScaleFrontendService.RegisterScalableTarget", with(target(i), obj{"MinCapacity": 10 + i, "MaxCapacity": 100})); err != nil {
				t.Errorf("server %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	counts := func(d *db) string {
		all := obj{"ServiceNamespace": "dynamodb"}
		return fmt.Sprintf("%d targets, %d policies, %d activities, %d alarms",
			len(list(d.must("AnyScaleFrontendService.DescribeScalableTargets", all)["ScalableTargets"])),
			len(list(d.must("AnyScaleFrontendService.DescribeScalingPolicies", all)["ScalingPolicies"])),
			len(list(d.must("AnyScaleFrontendService.DescribeScalingActivities", all)["ScalingActivities"])),
			len(list(d.must("GraniteServiceVersion20100801.DescribeAlarms", obj{})["MetricAlarms"])))
	}
	for i, d := range servers {
		next := (i + 1) % len(servers)
		d.must("AnyScaleFrontendService.PutScalingPolicy", with(target(next), obj{
			"PolicyName": "follow", "PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": obj{
				"TargetValue": 70, "PredefinedMetricSpecification": obj{"PredefinedMetricType": "DynamoDBReadCapacityUtilization"},
			},
		}))
		if got := d.must("DescribeTable", obj{"TableName": fmt.Sprint("tbl", next)}); field(got, "Table.ProvisionedThroughput.ReadCapacityUnits") != float64(10+next) {
			t.Errorf("table %d has %v", next, field(got, "Table.ProvisionedThroughput"))
		}
	}
	for i, d := range servers {
		if got := counts(d); got != "3 targets, 3 policies, 3 activities, 12 alarms" {
			t.Errorf("server %d has %s", i, got)
		}
	}
	for i, d := range servers {
		d.must("AnyScaleFrontendService.DeregisterScalableTarget", target((i+2)%len(servers)))
	}
	for i, d := range servers {
		if got := counts(d); got != "0 targets, 0 policies, 3 activities, 0 alarms" {
			t.Errorf("in the end, server %d has %s", i, got)
		}
	}
}

// TestServersIndex creates an index on one server while all servers write, and reads the table's stream. The index must match
// the table, and the stream must contain each change once and in order.
func TestServersIndex(t *testing.T) {
	servers := openServers(t, 3, Options{})
	in := obj{"TableName": "tbl", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S")},
		"StreamSpecification": obj{"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
	servers[0].must("CreateTable", in)
	item := func(i, v int) obj { return obj{"id": s(fmt.Sprint("i", i)), "g": s(fmt.Sprint("g", v%5)), "v": n(v)} }
	for i := range 200 {
		servers[i%3].must("PutItem", obj{"TableName": "tbl", "Item": item(i, 0)})
	}
	var stop atomic.Bool
	var writes atomic.Int64
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			d := servers[w%3]
			for v := 1; !stop.Load(); v++ {
				i := (v*7 + w*31) % 200
				var err error
				switch v % 4 {
				case 0:
					_, err = d.call("DeleteItem", obj{"TableName": "tbl", "Key": obj{"id": s(fmt.Sprint("i", i))}})
				case 1:
					_, err = d.call("UpdateItem", obj{"TableName": "tbl", "Key": obj{"id": s(fmt.Sprint("i", i))}, "UpdateExpression": "SET g = :g ADD v :v",
						"ExpressionAttributeValues": obj{":g": s(fmt.Sprint("g", v%5)), ":v": n(1)}})
				default:
					_, err = d.call("PutItem", obj{"TableName": "tbl", "Item": item(i, v)})
				}
				var refused *apiError
				if errors.As(err, &refused) && refused.kind == "TransactionConflictException" {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				writes.Add(1)
			}
		}()
	}
	eventually(t, "some writes", func() bool { return writes.Load() > 100 })
	servers[1].must("UpdateTable", obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("id", "S"), attr("g", "S")}, "GlobalSecondaryIndexUpdates": []obj{
		{"Create": obj{"IndexName": "by-g", "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "ALL"}}}}})
	eventually(t, "the index", func() bool {
		got := servers[2].must("DescribeTable", obj{"TableName": "tbl"})
		return list(field(got, "Table.GlobalSecondaryIndexes"))[0]["IndexStatus"] == "ACTIVE"
	})
	stop.Store(true)
	wg.Wait()
	v, err := admin.Verify(context.Background(), servers[0].storage, nil)
	if err != nil || len(v.Problems) > 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	want := sorted(servers[0].all("tbl", "", 0))
	if got := sorted(servers[1].all("tbl", "by-g", 0)); len(got) != len(want) {
		t.Errorf("the index has %d items, the table %d", len(got), len(want))
	}
	arn := field(servers[1].must("DescribeTable", obj{"TableName": "tbl"}), "Table.LatestStreamArn").(string)
	items := map[string]any{}
	eventually(t, "all records", func() bool {
		clear(items)
		for _, r := range servers[2].history(arn) {
			change := r["dynamodb"].(obj)
			key := field(change, "Keys.id.S").(string)
			if old := change["OldImage"]; fmt.Sprint(old) != fmt.Sprint(items[key]) {
				t.Fatalf("a record of %s begins with %v, the one before left %v", key, old, items[key])
			}
			if items[key] = change["NewImage"]; items[key] == nil {
				delete(items, key)
			}
		}
		return len(items) == len(want)
	})
}

// TestServersDAX asks a DAX node for the cluster's nodes: it returns those of all live servers.
func TestServersDAX(t *testing.T) {
	servers := openServers(t, 3, Options{DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	client := dialDAX(t, servers[0].DAXURLs()[0], 0)
	nodes := func() (ports []int64) {
		r := client.must("endpoints")
		for n := r.Array(); r.Next(&n); {
			for m := r.Map(); r.Next(&m); {
				if r.Int() == 3 {
					ports = append(ports, r.Int())
				} else {
					r.Skip()
				}
			}
		}
		return ports
	}
	eventually(t, "three nodes", func() bool { return len(nodes()) == 3 })
	if err := servers[2].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two nodes", func() bool { return len(nodes()) == 2 })
}

// TestServersDAXWrites reads items through all servers' DAX nodes and writes them through one. The other nodes soon see the
// change, because nodes broadcast invalidations as in AWS. Items changed behind DAX stay in the caches. If a server dies, its
// last invalidations are unknown.
func TestServersDAXWrites(t *testing.T) {
	servers := openServers(t, 3, Options{DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	servers[0].must("CreateTable", obj{"TableName": daxTable, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("pk"), "AttributeDefinitions": []obj{attr("pk", "S")}})
	var clients []*daxConn
	for _, d := range servers {
		clients = append(clients, dialDAX(t, d.DAXURLs()[0], 0))
	}
	servers[0].must("PutItem", obj{"TableName": daxTable, "Item": obj{"pk": s("other"), "x": s("old")}})
	for _, c := range clients {
		for _, key := range []string{"other", "a", "b", "nothing"} {
			c.get(key)
		}
	}
	servers[1].must("PutItem", obj{"TableName": daxTable, "Item": obj{"pk": s("other"), "x": s("new")}})
	for round := range 5 {
		for i, c := range clients {
			want := fmt.Sprint("round", round, "by", i)
			c.put("a", want)
			for _, other := range clients {
				eventually(t, "the change to be seen by all nodes", func() bool { return other.get("a") == want })
			}
			c.must("deleteItem", text(c.table), text("a"), options())
			for _, other := range clients {
				eventually(t, "the deletion to be seen by all nodes", func() bool { return other.get("a") == "nothing" })
			}
		}
	}
	for i, c := range clients {
		if got := c.get("other"); got != "old" {
			t.Errorf("node %d has forgotten what nobody wrote through DAX: %q", i, got)
		}
	}
	if err := servers[2].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the caches to be emptied", func() bool { return clients[0].get("other") == "new" && clients[1].get("other") == "new" })
}

// TestServersDAXCluster creates a cluster on one server; the others describe its endpoint.
func TestServersDAXCluster(t *testing.T) {
	servers := openServers(t, 2, Options{DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	servers[0].must("AmazonDAXV3.CreateCluster", obj{"ClusterName": "many", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": "arn:aws:iam::123456789012:role/DAX"})
	var urls []any
	for _, d := range servers {
		clusters := list(d.must("AmazonDAXV3.DescribeClusters", obj{})["Clusters"])
		urls = append(urls, field(clusters[0], "ClusterDiscoveryEndpoint.URL"))
	}
	if urls[0] != servers[0].DAXURLs()[0] || urls[1] != urls[0] {
		t.Errorf("the cluster is at %v", urls)
	}
}

// TestServersLargeKeys puts items whose sort keys are too large for PostgreSQL's index. They are refused, and nothing breaks.
func TestServersLargeKeys(t *testing.T) {
	d := openServers(t, 1, Options{})[0]
	d.must("CreateTable", obj{"TableName": "tbl", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"),
		"AttributeDefinitions": []obj{attr("id", "S"), attr("a", "S"), attr("b", "S"), attr("c", "S")},
		"GlobalSecondaryIndexes": []obj{{"IndexName": "gsi", "Projection": obj{"ProjectionType": "ALL"}, "KeySchema": []obj{
			{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "a", "KeyType": "RANGE"}, {"AttributeName": "b", "KeyType": "RANGE"}, {"AttributeName": "c", "KeyType": "RANGE"}}}}})
	item := func(id string, size int) obj {
		long := s(strings.Repeat("x", size))
		return obj{"id": s(id), "a": long, "b": long, "c": long}
	}
	d.must("PutItem", obj{"TableName": "tbl", "Item": item("fits", 800)})
	d.refused("ValidationException", "The storage of this server takes no keys or items of this size", "PutItem", obj{"TableName": "tbl", "Item": item("large", 1024)})
	for _, index := range []string{"", "gsi"} {
		request := obj{"TableName": "tbl"}
		if index != "" {
			request["IndexName"] = index
		}
		if got := d.must("Scan", request); got["Count"] != 1.0 {
			t.Errorf("index %q has %v items", index, got["Count"])
		}
	}
}

// lateStore delays news of other servers' changes.
type lateStore struct{ kv.Store }

func (s lateStore) Latest(ctx context.Context) (kv.Snapshot, error) {
	time.Sleep(20 * time.Millisecond)
	return s.Store.Latest(ctx)
}

// openLate starts three servers over one new database. Only the first hears of others' changes without delay.
func openLate(t *testing.T) []*db {
	t.Helper()
	opt := Options{Storage: newDatabase(t)}
	var servers []*db
	for range 3 {
		opt.DataDir = t.TempDir()
		servers = append(servers, open(t, opt))
		opt.wrap = func(s kv.Store) kv.Store { return lateStore{s} }
	}
	return servers
}

// TestServersActive reads an index on all servers as soon as one of them reports it as active.
func TestServersActive(t *testing.T) {
	servers := openLate(t)
	servers[0].must("CreateTable", obj{"TableName": "tbl", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S")}})
	servers[0].must("PutItem", obj{"TableName": "tbl", "Item": obj{"id": s("a"), "g": s("a")}})
	for round := range 4 {
		name := fmt.Sprint("by-g", round)
		servers[round%3].must("UpdateTable", obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("id", "S"), attr("g", "S")}, "GlobalSecondaryIndexUpdates": []obj{
			{"Create": obj{"IndexName": name, "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "ALL"}}}}})
		active := func(d *db) bool {
			for _, x := range list(field(d.must("DescribeTable", obj{"TableName": "tbl"}), "Table.GlobalSecondaryIndexes")) {
				if x["IndexName"] == name && x["IndexStatus"] == "ACTIVE" {
					return true
				}
			}
			return false
		}
		for i := 0; !active(servers[i%3]); i++ {
			if i == 100_000 {
				t.Fatal("the index does not become active")
			}
		}
		for i, d := range servers {
			if _, err := d.call("Query", obj{"TableName": "tbl", "IndexName": name, "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": obj{":g": s("a")}}); err != nil {
				t.Errorf("%s, server %d: %v", name, i, err)
			}
		}
	}
}

// TestServersNews asks all servers for a backup as soon as one of them lists it, which is before CreateBackup has answered.
func TestServersNews(t *testing.T) {
	servers := openLate(t)
	servers[0].must("CreateTable", obj{"TableName": "tbl", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S")}})
	for round := range 8 {
		made := make(chan error, 1)
		go func() {
			_, err := servers[1].call("CreateBackup", obj{"TableName": "tbl", "BackupName": "backup"})
			made <- err
		}()
		var backups []obj
		for i := 0; len(backups) == round; i++ {
			if i == 100_000 {
				t.Fatal("the backup is not listed")
			}
			backups = list(servers[0].must("ListBackups", obj{})["BackupSummaries"])
		}
		for i, d := range servers {
			for _, b := range backups {
				if _, err := d.call("DescribeBackup", obj{"BackupArn": b["BackupArn"]}); err != nil {
					t.Errorf("server %d: %v", i, err)
				}
			}
		}
		if err := <-made; err != nil {
			t.Fatal(err)
		}
	}
}
