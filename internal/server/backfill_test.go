package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// newIndex returns the description of an index that is created later.
func newIndex(name, hash, sort string) obj {
	return obj{"IndexName": name, "KeySchema": keys(hash, sort), "Projection": obj{"ProjectionType": "ALL"}}
}

func (d *db) indexStatus(table, index string) string {
	d.t.Helper()
	for _, x := range list(d.must("DescribeTable", obj{"TableName": table})["Table"].(obj)["GlobalSecondaryIndexes"]) {
		if x["IndexName"] == index {
			return x["IndexStatus"].(string)
		}
	}
	return ""
}

func TestIndexOfLiveTable(t *testing.T) {
	d := open(t, Options{DataDir: t.TempDir()})
	d.must("CreateTable", indexedTable("tbl"))
	put := func(i int, g, h obj) {
		item := obj{"pk": s(fmt.Sprint(i)), "sk": n(i), "v": n(i)}
		if g != nil {
			item["new"] = g
		}
		if h != nil {
			item["more"] = h
		}
		d.must("PutItem", obj{"TableName": "tbl", "Item": item})
	}
	const items = 400
	for i := range items {
		put(i, s(fmt.Sprint("g", i%7)), n(i))
	}
	put(1000, n(1), n(1))                          // wrong type
	put(1001, s("g1"), s("text"))                  // wrong type
	put(1002, s("g1"), nil)                        // missing
	put(1003, s(""), n(1))                         // empty
	put(1004, s(string(make([]byte, 2049))), n(1)) // too large
	create := obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("new", "S"), attr("more", "N")},
		"GlobalSecondaryIndexUpdates": []obj{{"Create": newIndex("late", "new", "more")}}}
	answer := d.must("UpdateTable", create)["TableDescription"].(obj)
	if answer["TableStatus"] != "UPDATING" {
		t.Fatalf("table status %v", answer["TableStatus"])
	}
	stop := make(chan struct{})
	wrote := make(chan error, 1)
	go func() { // concurrent writes
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				wrote <- nil
				return
			default:
			}
			k := i % (items + 50)
			switch i % 4 {
			case 0:
				_, err = d.call("DeleteItem", obj{"TableName": "tbl", "Key": obj{"pk": s(fmt.Sprint(k)), "sk": n(k)}})
			case 1:
				_, err = d.call("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s(fmt.Sprint(k)), "sk": n(k), "new": s("w"), "more": n(i)}})
			case 3: // the backfill must not make it fail
				_, err = d.call("TransactWriteItems", obj{"TransactItems": []obj{
					{"Put": obj{"TableName": "tbl", "Item": obj{"pk": s(fmt.Sprint(k)), "sk": n(k), "new": s("t"), "more": n(i)}}},
					{"Delete": obj{"TableName": "tbl", "Key": obj{"pk": s(fmt.Sprint(k + 1)), "sk": n(k + 1)}}},
				}})
			case 2:
				_, err = d.call("UpdateItem", obj{"TableName": "tbl", "Key": obj{"pk": s(fmt.Sprint(k)), "sk": n(k)},
					"UpdateExpression": "SET #n = :n", "ExpressionAttributeNames": obj{"#n": "new"}, "ExpressionAttributeValues": obj{":n": s(fmt.Sprint("u", i))}})
			}
		}
		wrote <- err
	}()
	eventually(t, "the index to be active", func() bool { return d.indexStatus("tbl", "late") == "ACTIVE" })
	close(stop)
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	d.checkConsistent()
	want := 0
	for _, it := range d.all("tbl", "", 0) {
		g, _ := it["new"].(obj)
		h, _ := it["more"].(obj)
		if text, ok := g["S"].(string); ok && text != "" && len(text) <= 2048 && h["N"] != nil {
			want++
		}
	}
	if got := len(d.all("tbl", "late", 0)); got != want || want == 0 {
		t.Fatalf("%d entries, want %d", got, want)
	}
	// An item that violates the index may still be updated in other attributes, but not put again.
	d.must("UpdateItem", obj{"TableName": "tbl", "Key": obj{"pk": s("1000"), "sk": n(1000)}, "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": obj{":v": n(2)}})
	if _, err := d.call("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("1000"), "sk": n(1000), "new": n(1)}}); kindOf(err) != "ValidationException" {
		t.Fatalf("an item of the wrong type: %v", err)
	}
	if _, err := d.call("UpdateTable", create); kindOf(err) != "ValidationException" {
		t.Fatalf("the same index again: %v", err)
	}
	two := obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("v", "N")},
		"GlobalSecondaryIndexUpdates": []obj{{"Create": newIndex("x-1", "v", "sk")}, {"Delete": obj{"IndexName": "late"}}}}
	if _, err := d.call("UpdateTable", two); kindOf(err) != "LimitExceededException" {
		t.Fatalf("two indexes at once: %v", err)
	}
	d.must("UpdateTable", obj{"TableName": "tbl", "GlobalSecondaryIndexUpdates": []obj{{"Delete": obj{"IndexName": "by-g"}}}})
	eventually(t, "the index to be gone", func() bool { return d.indexStatus("tbl", "by-g") == "" })
	d.checkConsistent()
	if _, err := d.call("Scan", obj{"TableName": "tbl", "IndexName": "by-g"}); kindOf(err) != "ValidationException" {
		t.Fatalf("scan of an index that is gone: %v", err)
	}
	for _, a := range list(d.must("DescribeTable", obj{"TableName": "tbl"})["Table"].(obj)["AttributeDefinitions"]) {
		if a["AttributeName"] == "g" {
			t.Fatal("the definition of an attribute that no key uses is still there")
		}
	}
	// The index's ID is reused, by an index with several key attributes.
	d.must("UpdateTable", obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("v", "N"), attr("new", "S"), attr("more", "N")},
		"GlobalSecondaryIndexUpdates": []obj{{"Create": obj{"IndexName": "multi", "Projection": obj{"ProjectionType": "KEYS_ONLY"}, "KeySchema": []obj{
			{"AttributeName": "v", "KeyType": "HASH"}, {"AttributeName": "more", "KeyType": "HASH"}, {"AttributeName": "new", "KeyType": "RANGE"}}}}}})
	eventually(t, "the second index to be active", func() bool { return d.indexStatus("tbl", "multi") == "ACTIVE" })
	d.checkConsistent()
}

// TestIndexTransitions keeps an index in its transient states for an hour, while only the table's clock moves.
func TestIndexTransitions(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, TransientStatus: time.Hour})
	d.must("CreateTable", indexedTable("tbl"))
	clock.Advance(time.Hour)
	d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("a"), "sk": n(1), "new": s("x")}})
	add := func(name string) obj {
		return obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("new", "S")},
			"GlobalSecondaryIndexUpdates": []obj{{"Create": newIndex(name, "new", "sk")}}}
	}
	remove := obj{"TableName": "tbl", "GlobalSecondaryIndexUpdates": []obj{{"Delete": obj{"IndexName": "late"}}}}
	d.must("UpdateTable", add("late"))
	for _, operation := range []string{"DeleteTable", "UpdateTable"} {
		in := obj{"TableName": "tbl"}
		if operation == "UpdateTable" {
			in = remove
		}
		if _, err := d.call(operation, in); kindOf(err) != "ResourceInUseException" {
			t.Fatalf("%s of a table that is updated: %v", operation, err)
		}
	}
	clock.Advance(time.Hour)
	description := d.must("DescribeTable", obj{"TableName": "tbl"})["Table"].(obj)
	if description["TableStatus"] != "ACTIVE" || d.indexStatus("tbl", "late") != "CREATING" {
		t.Fatalf("the table is %v, its index %s", description["TableStatus"], d.indexStatus("tbl", "late"))
	}
	query := obj{"TableName": "tbl", "IndexName": "late", "KeyConditionExpression": "#n = :n",
		"ExpressionAttributeNames": obj{"#n": "new"}, "ExpressionAttributeValues": obj{":n": s("x")}}
	if _, err := d.call("Query", query); err == nil || err.(*apiError).message != "Cannot read from backfilling global secondary index: late" {
		t.Fatalf("query of an index that is filled: %v", err)
	}
	d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("b"), "sk": n(1), "new": s("x")}})
	d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("a"), "sk": n(1), "new": s("y")}})
	d.checkConsistent()
	if _, err := d.call("UpdateTable", add("other")); kindOf(err) != "LimitExceededException" {
		t.Fatalf("a second index: %v", err)
	}
	d.must("UpdateTable", remove) // an index may be deleted before it is filled
	clock.Advance(time.Hour)
	if status := d.indexStatus("tbl", "late"); status != "DELETING" {
		t.Fatalf("the index is %s", status)
	}
	if _, err := d.call("UpdateTable", add("other")); kindOf(err) != "LimitExceededException" {
		t.Fatalf("an index beside one that goes: %v", err)
	}
	if _, err := d.call("Query", query); err == nil || err.(*apiError).message != "The table does not have the specified index: late" {
		t.Fatalf("query of an index that goes: %v", err)
	}
	d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("c"), "sk": n(1), "new": n(1)}}) // no index forbids this any more
	d.checkConsistent()
}

// TestBuildAfterCrash crashes the machine repeatedly while an index and the TTL index are filled and other indexes are deleted.
func TestBuildAfterCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opt := Options{DataDir: "data", fs: fs, MinFree: -1, TTLInterval: time.Hour}
	start := func() *db {
		s, err := Open(func() Options { opt.Listen = "127.0.0.1:0"; return opt }())
		if err != nil {
			t.Fatal(err)
		}
		return &db{t: t, Server: s}
	}
	d := start()
	d.must("CreateTable", indexedTable("tbl"))
	const items = 1500
	for i := 0; i < items; i += 25 {
		var batch []obj
		for j := range 25 {
			batch = append(batch, obj{"PutRequest": obj{"Item": obj{"pk": s(fmt.Sprint(i + j)), "sk": n(i), "g": s("g"), "h": n(i), "new": s(fmt.Sprint(j)), "at": n(int(time.Now().Unix()) + 10000)}}})
		}
		d.must("BatchWriteItem", obj{"RequestItems": obj{"tbl": batch}})
	}
	d.must("UpdateTable", obj{"TableName": "tbl", "GlobalSecondaryIndexUpdates": []obj{{"Delete": obj{"IndexName": "by-g"}}}})
	crashes := 0
	crash := func() {
		crashes++
		next := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: vfsRand(uint64(crashes))})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		fs = next
		opt.fs = fs
		d = start()
		d.checkConsistent()
	}
	crash()
	eventually(t, "the index to be gone", func() bool { return d.indexStatus("tbl", "by-g") == "" })
	d.must("UpdateTable", obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("new", "S")},
		"GlobalSecondaryIndexUpdates": []obj{{"Create": newIndex("late", "new", "sk")}}})
	if err := d.setTTL("tbl", "at", true); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		time.Sleep(2 * time.Millisecond) // let some of the work happen
		crash()
	}
	eventually(t, "the index to be active", func() bool { return d.indexStatus("tbl", "late") == "ACTIVE" && d.ttlStatus("tbl") == "ENABLED" })
	crash()
	if got := len(d.all("tbl", "late", 0)); got != items {
		t.Fatalf("%d entries, want %d", got, items)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
