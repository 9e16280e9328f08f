package server

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// expire deletes expired items, as the server does every second.
func (d *db) expire() int {
	d.t.Helper()
	n, err := d.items.Expire(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (d *db) setTTL(table, attribute string, enabled bool) error {
	_, err := d.call("UpdateTimeToLive", obj{"TableName": table, "TimeToLiveSpecification": obj{"AttributeName": attribute, "Enabled": enabled}})
	return err
}

func (d *db) ttlStatus(table string) any {
	d.t.Helper()
	return d.must("DescribeTimeToLive", obj{"TableName": table})["TimeToLiveDescription"].(obj)["TimeToLiveStatus"]
}

func TestTTL(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, TTLInterval: time.Hour})
	arn := d.createStreamed("tbl", "OLD_IMAGE")
	now := int(clock.Now().Unix())
	const year = 365 * 24 * 3600
	put := func(name string, at any) {
		t.Helper()
		item := obj{"pk": s(name), "sk": n(1), "g": s("g"), "h": n(1)}
		if at != nil {
			item["expires"] = at
		}
		d.must("PutItem", obj{"TableName": "tbl", "Item": item})
	}
	// Some items are older than the TTL setting, some newer.
	put("past", n(now-10))
	put("text", s(fmt.Sprint(now-10)))
	put("none", nil)
	if d.ttlStatus("tbl") != "DISABLED" {
		t.Fatal("TTL is on")
	}
	if err := d.setTTL("tbl", "expires", false); err == nil || err.(*apiError).message != "TimeToLive is already disabled" {
		t.Fatalf("disabling: %v", err)
	}
	if err := d.setTTL("tbl", "expires", true); err != nil {
		t.Fatal(err)
	}
	put("just", n(now))
	put("fraction", obj{"N": fmt.Sprintf("%d.5", now-1)})
	put("soon", n(now+100))
	put("five years", n(now-5*year-1))
	put("nearly five years", n(now-5*year+1000))
	put("zero", n(0))
	put("negative", n(-1))
	put("huge", obj{"N": "1E+125"})
	put("later", n(now+100))
	put("later", n(now+1000)) // moved
	put("never", n(now-1))
	d.must("UpdateItem", obj{"TableName": "tbl", "Key": obj{"pk": s("never"), "sk": n(1)}, "UpdateExpression": "REMOVE expires"})
	eventually(t, "TTL to be enabled", func() bool { return d.ttlStatus("tbl") == "ENABLED" })
	if err := d.setTTL("tbl", "expires", true); err == nil || err.(*apiError).message != "TimeToLive is already enabled" {
		t.Fatalf("enabling twice: %v", err)
	}
	if err := d.setTTL("tbl", "expires", false); err == nil || err.(*apiError).message != "Time to live has been modified multiple times within a fixed interval" {
		t.Fatalf("a change within the hour: %v", err)
	}
	if got := d.must("GetItem", obj{"TableName": "tbl", "Key": obj{"pk": s("past"), "sk": n(1)}}); got["Item"] == nil {
		t.Fatal("an expired item is gone before it is deleted")
	}
	if n := d.expire(); n != 4 { // past, just, fraction, nearly five years
		t.Fatalf("%d items expired: %v", n, sorted(d.all("tbl", "", 0)))
	}
	d.checkConsistent()
	clock.Advance(101 * time.Second)
	if n := d.expire(); n != 1 {
		t.Fatalf("%d items expired, want the one that was to", n)
	}
	clock.Advance(1000 * time.Second)
	if n := d.expire(); n != 1 {
		t.Fatalf("%d items expired, want the one that was moved", n)
	}
	removed := 0
	for _, r := range d.history(arn) {
		if r["eventName"] != "REMOVE" {
			continue
		}
		removed++
		who, _ := r["userIdentity"].(obj)
		if who["PrincipalId"] != "dynamodb.amazonaws.com" || who["Type"] != "Service" || r["dynamodb"].(obj)["OldImage"] == nil {
			t.Fatalf("record %v", r)
		}
	}
	if removed != 6 {
		t.Fatalf("%d removals in the stream", removed)
	}
	put("conflict", n(now))
	if got := len(d.all("tbl", "by-g", 0)); got != 8 {
		t.Fatalf("%d entries in the index", got)
	}
	clock.Advance(time.Hour)
	if err := d.setTTL("tbl", "expires", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "TTL to be disabled", func() bool { return d.ttlStatus("tbl") == "DISABLED" })
	if n := d.expire(); n != 0 {
		t.Fatalf("%d items expired with TTL disabled", n)
	}
	d.checkConsistent()
	clock.Advance(2 * time.Hour)
	if err := d.setTTL("tbl", "h", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "TTL to be enabled", func() bool { return d.ttlStatus("tbl") == "ENABLED" })
	d.checkConsistent()
}

// TestTTLRuns checks that expired items disappear within seconds without help, and that the TTL index is filled after a crash.
func TestTTLRuns(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{DataDir: dir, TTLInterval: 10 * time.Millisecond})
	d.must("CreateTable", indexedTable("tbl"))
	for i := range 300 {
		d.must("BatchWriteItem", obj{"RequestItems": obj{"tbl": []obj{{"PutRequest": obj{"Item": obj{"pk": s(fmt.Sprint(i)), "sk": n(i), "at": n(int(time.Now().Unix()) - 1)}}}}}})
	}
	if err := d.setTTL("tbl", "at", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all items to expire", func() bool { return len(d.all("tbl", "", 0)) == 0 })
	d.checkConsistent()
}
