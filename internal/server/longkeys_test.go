package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/admin"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// longKeysTable describes a table with indexes whose keys may have AWS's maximum length.
func longKeysTable(name string) obj {
	return obj{
		"TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("pk", "sk"),
		"AttributeDefinitions": []obj{attr("pk", "S"), attr("sk", "B"), attr("l", "B"), attr("g", "B"), attr("h", "B")},
		"LocalSecondaryIndexes": []obj{
			{"IndexName": "lsi", "KeySchema": keys("pk", "l"), "Projection": obj{"ProjectionType": "ALL"}}},
		"GlobalSecondaryIndexes": []obj{
			{"IndexName": "gsi", "KeySchema": keys("g", "h"), "Projection": obj{"ProjectionType": "KEYS_ONLY"}}},
	}
}

// TestLongKeys uses keys of 2,048 and 1,024 bytes on both engines. They consist of zeros, which take the most space when
// escaped.
func TestLongKeys(t *testing.T) {
	for engine, opt := range map[string]func() Options{
		"pebble":   func() Options { return Options{DataDir: t.TempDir()} },
		"postgres": func() Options { return Options{Storage: newDatabase(t), DataDir: t.TempDir()} },
	} {
		t.Run(engine, func(t *testing.T) { useLongKeys(t, open(t, opt())) })
	}
}

func useLongKeys(t *testing.T, d *db) {
	d.must("CreateTable", longKeysTable("tbl"))
	d.must("UpdateContinuousBackups", obj{"TableName": "tbl", "PointInTimeRecoverySpecification": obj{"PointInTimeRecoveryEnabled": true}})
	d.must("UpdateTimeToLive", obj{"TableName": "tbl", "TimeToLiveSpecification": obj{"Enabled": true, "AttributeName": "ttl"}})
	zeros := func(size, last int) obj {
		b := make([]byte, size)
		b[size-1] = byte(last)
		return obj{"B": base64.StdEncoding.EncodeToString(b)}
	}
	partition := func(i int) obj { return s(strings.Repeat("\x00", 2047) + string(rune('a'+i))) }
	key := func(i, j int) obj { return obj{"pk": partition(i), "sk": zeros(1024, j)} }
	const partitions, items = 3, 4
	for i := range partitions {
		for j := range items {
			it := key(i, j)
			it["l"], it["g"], it["h"], it["ttl"], it["j"] = zeros(1024, items-j), zeros(2048, i), zeros(1024, 7), n(4000000000), n(j)
			d.must("PutItem", obj{"TableName": "tbl", "Item": it})
		}
	}
	d.must("UpdateItem", obj{"TableName": "tbl", "Key": key(1, 2), "UpdateExpression": "SET seen = :t, g = :g", "ExpressionAttributeValues": obj{":t": obj{"BOOL": true}, ":g": zeros(2048, 9)}})
	if got := d.must("GetItem", obj{"TableName": "tbl", "Key": key(1, 2), "ConsistentRead": true}); field(got, "Item.seen") == nil {
		t.Fatalf("the item changed is %v", got)
	}
	// pages returns the values of j, reading pages of one item.
	pages := func(operation string, request obj) string {
		t.Helper()
		var out []string
		request["TableName"], request["Limit"] = "tbl", 1
		for {
			got := d.must(operation, request)
			for _, it := range list(got["Items"]) {
				out = append(out, fmt.Sprint(field(it, "j.N")))
			}
			if got["LastEvaluatedKey"] == nil {
				return strings.Join(out, " ")
			}
			request["ExclusiveStartKey"] = got["LastEvaluatedKey"]
		}
	}
	query := func(index, condition string, forward bool, values obj) string {
		t.Helper()
		request := obj{"KeyConditionExpression": condition, "ExpressionAttributeValues": values, "ScanIndexForward": forward}
		if index != "" {
			request["IndexName"] = index
		}
		return pages("Query", request)
	}
	for _, c := range []struct{ got, want string }{
		{query("", "pk = :p", true, obj{":p": partition(1)}), "0 1 2 3"},
		{query("", "pk = :p", false, obj{":p": partition(2)}), "3 2 1 0"},
		{query("", "pk = :p AND sk > :s", true, obj{":p": partition(1), ":s": zeros(1024, 1)}), "2 3"},
		{query("", "pk = :p AND begins_with(sk, :s)", true, obj{":p": partition(1), ":s": zeros(1023, 0)}), "0 1 2 3"},
		{query("lsi", "pk = :p AND l >= :l", true, obj{":p": partition(0), ":l": zeros(1024, 2)}), "2 1 0"},
		{query("", "pk = :p", true, obj{":p": partition(9)}), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	// All entries in a GSI partition have the same sort key, and are still returned one by one.
	if got := strings.Fields(query("gsi", "g = :g AND h = :h", true, obj{":g": zeros(2048, 1), ":h": zeros(1024, 7)})); len(got) != items-1 {
		t.Errorf("%d entries in a partition of the GSI, want %d", len(got), items-1)
	}
	for _, index := range []string{"", "lsi", "gsi"} {
		request := obj{}
		if index != "" {
			request["IndexName"] = index
		}
		if got := strings.Fields(pages("Scan", request)); len(got) != partitions*items {
			t.Errorf("a scan of index %q returns %d items, want %d", index, len(got), partitions*items)
		}
	}
	d.must("DeleteItem", obj{"TableName": "tbl", "Key": key(0, 0)})
	arn := d.backUp("tbl", "long")
	d.must("RestoreTableFromBackup", obj{"BackupArn": arn, "TargetTableName": "restored"})
	d.isActive("restored")
	if got := d.must("GetItem", obj{"TableName": "restored", "Key": key(2, 3)}); got["Item"] == nil {
		t.Error("an item of the restored table is not there")
	}
	if got := d.must("Scan", obj{"TableName": "restored", "IndexName": "lsi", "Select": "COUNT"}); got["Count"] != float64(partitions*items-1) {
		t.Errorf("the restored table's index has %v items", got["Count"])
	}
}

// TestUpgradeStorage uses a storage in the previous format, whose older servers would misread newer data. Tables keep the old
// key form until all old servers are gone and an operator upgrades.
func TestUpgradeStorage(t *testing.T) {
	ctx := context.Background()
	url := newDatabase(t)
	store, err := engine.OpenTool(ctx, url, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	err = kv.Update(ctx, store, kv.TxnOpt{}, func(txn kv.Txn) error { return catalog.PutFormat(txn, keyspace.FormatVersion-1) })
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, Options{Storage: url, DataDir: t.TempDir()})
	old, err := cluster.Join(ctx, cluster.Options{KV: store, Info: cluster.Info{ID: "older", Version: "old"}})
	if err == nil {
		err = old.Start(ctx, func() {})
	}
	if err != nil {
		t.Fatal(err)
	}
	long := func(table string) error {
		_, err := d.call("PutItem", obj{"TableName": table, "Item": obj{"pk": s(strings.Repeat("p", 2048)), "sk": obj{"B": base64.StdEncoding.EncodeToString(make([]byte, 1024))}}})
		return err
	}
	d.must("CreateTable", longKeysTable("before"))
	if err := long("before"); kindOf(err) != "ValidationException" {
		t.Errorf("a key in full that the storage has no room for: %v", err)
	}
	if _, err := admin.UpgradeStorage(ctx, url); err == nil || !strings.Contains(err.Error(), "older") {
		t.Fatalf("upgrading while an older server lives: %v", err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if from, err := admin.UpgradeStorage(ctx, url); err != nil || from != keyspace.FormatVersion-1 {
		t.Fatalf("upgrading: from %d, %v", from, err)
	}
	c, err := admin.ReadCluster(ctx, url)
	if err != nil || c.Format != keyspace.FormatVersion {
		t.Fatalf("the storage has format %v, %v", c, err)
	}
	d.must("CreateTable", longKeysTable("after"))
	if err := long("after"); err != nil {
		t.Error(err)
	}
	// A table keeps its key form, in its backups and in restored tables too.
	d.must("PutItem", obj{"TableName": "before", "Item": obj{"pk": s(strings.Repeat("p", 400)), "sk": obj{"B": "AAAA"}}})
	arn := d.backUp("before", "full")
	d.must("RestoreTableFromBackup", obj{"BackupArn": arn, "TargetTableName": "restored"})
	d.isActive("restored")
	for _, table := range []string{"before", "restored"} {
		if got := d.must("GetItem", obj{"TableName": table, "Key": obj{"pk": s(strings.Repeat("p", 400)), "sk": obj{"B": "AAAA"}}}); got["Item"] == nil {
			t.Errorf("the item of table %s is not found", table)
		}
	}
}
