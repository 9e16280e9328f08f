package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/stream"
)

// streams calls an operation of DynamoDB Streams.
func (d *db) streams(operation string, in any) (obj, error) {
	return d.call("DynamoDBStreams_20120810."+operation, in)
}

func (d *db) mustStreams(operation string, in any) obj {
	d.t.Helper()
	out, err := d.streams(operation, in)
	if err != nil {
		d.t.Fatalf("%s: %v", operation, err)
	}
	return out
}

// kindOf returns the type of a request's error.
func kindOf(err error) string {
	var e *apiError
	if errors.As(err, &e) {
		return e.kind
	}
	return ""
}

func list(v any) []obj {
	raw, _ := v.([]any)
	out := make([]obj, len(raw))
	for i := range raw {
		out[i] = raw[i].(obj)
	}
	return out
}

func streamedTable(name, view string) obj {
	t := indexedTable(name)
	t["StreamSpecification"] = obj{"StreamEnabled": true, "StreamViewType": view}
	return t
}

func (d *db) createStreamed(name, view string) (arn string) {
	d.t.Helper()
	return d.must("CreateTable", streamedTable(name, view))["TableDescription"].(obj)["LatestStreamArn"].(string)
}

func (d *db) shards(arn string) []obj {
	d.t.Helper()
	var out []obj
	in := obj{"StreamArn": arn, "Limit": 2}
	for {
		desc := d.mustStreams("DescribeStream", in)["StreamDescription"].(obj)
		out = append(out, list(desc["Shards"])...)
		last, more := desc["LastEvaluatedShardId"]
		if !more {
			return out
		}
		in["ExclusiveStartShardId"] = last
	}
}

func (d *db) iterator(arn string, shard obj, kind string, more obj) string {
	d.t.Helper()
	in := obj{"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": kind}
	for k, v := range more {
		in[k] = v
	}
	return d.mustStreams("GetShardIterator", in)["ShardIterator"].(string)
}

// drain reads from an iterator until there are no more records. next is empty at the end of the shard.
func (d *db) drain(it string, limit int) (records []obj, next string) {
	d.t.Helper()
	for {
		in := obj{"ShardIterator": it}
		if limit > 0 {
			in["Limit"] = limit
		}
		out := d.mustStreams("GetRecords", in)
		got := list(out["Records"])
		records = append(records, got...)
		next, _ = out["NextShardIterator"].(string)
		if next == "" || len(got) == 0 {
			return records, next
		}
		it = next
	}
}

// history reads a whole stream, parents before children.
func (d *db) history(arn string) (records []obj) {
	d.t.Helper()
	for _, shard := range d.shards(arn) {
		got, _ := d.drain(d.iterator(arn, shard, "TRIM_HORIZON", nil), 0)
		records = append(records, got...)
	}
	return records
}

// summary returns the part of a record that most tests compare.
func summary(r obj) string {
	change := r["dynamodb"].(obj)
	text := func(it any) string {
		if it == nil {
			return "-"
		}
		return sorted([]obj{it.(obj)})[0]
	}
	return fmt.Sprintf("%s %s %s %s", r["eventName"], text(change["Keys"]), text(change["OldImage"]), text(change["NewImage"]))
}

func TestStreamRecords(t *testing.T) {
	d := open(t, Options{})
	for _, view := range []string{"NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"} {
		arn := d.createStreamed(view, view)
		item := func(v int) obj { return obj{"pk": s("a"), "sk": n(1), "v": n(v)} }
		key := obj{"pk": s("a"), "sk": n(1)}
		d.must("PutItem", obj{"TableName": view, "Item": item(1)})
		d.must("PutItem", obj{"TableName": view, "Item": item(1)}) // no change, so no record
		d.must("UpdateItem", obj{"TableName": view, "Key": key, "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": obj{":v": n(2)}})
		d.must("UpdateItem", obj{"TableName": view, "Key": key, "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": obj{":v": n(2)}}) // no change
		if _, err := d.call("PutItem", obj{"TableName": view, "Item": item(3), "ConditionExpression": "attribute_not_exists(pk)"}); err == nil {
			t.Fatal("the condition holds")
		}
		d.must("DeleteItem", obj{"TableName": view, "Key": key})
		d.must("DeleteItem", obj{"TableName": view, "Key": key}) // no change, so no record
		d.must("TransactWriteItems", obj{"TransactItems": []obj{
			{"Put": obj{"TableName": view, "Item": obj{"pk": s("x"), "sk": n(1)}}},
			{"Put": obj{"TableName": view, "Item": obj{"pk": s("x"), "sk": n(2)}}},
		}})
		image := func(show bool, v int) string {
			if !show {
				return "-"
			}
			return sorted([]obj{item(v)})[0]
		}
		old, next := strings.Contains(view, "OLD"), strings.Contains(view, "NEW")
		k, k1, k2 := sorted([]obj{key})[0], sorted([]obj{{"pk": s("x"), "sk": n(1)}})[0], sorted([]obj{{"pk": s("x"), "sk": n(2)}})[0]
		whole := func(k string) string {
			if next {
				return k
			}
			return "-"
		}
		want := []string{
			"INSERT " + k + " - " + image(next, 1),
			"MODIFY " + k + " " + image(old, 1) + " " + image(next, 2),
			"REMOVE " + k + " " + image(old, 2) + " -",
			"INSERT " + k1 + " - " + whole(k1),
			"INSERT " + k2 + " - " + whole(k2),
		}
		shard := d.shards(arn)[0]
		for _, limit := range []int{0, 1, 2} {
			records, _ := d.drain(d.iterator(arn, shard, "TRIM_HORIZON", nil), limit)
			var got []string
			last := ""
			for _, r := range records {
				got = append(got, summary(r))
				number := r["dynamodb"].(obj)["SequenceNumber"].(string)
				if number <= last || len(number) < 21 {
					t.Fatalf("sequence number %s behind %s", number, last)
				}
				last = number
				if r["eventSource"] != "aws:dynamodb" || r["awsRegion"] != "us-east-1" || r["eventVersion"] != "1.1" || r["userIdentity"] != nil {
					t.Fatalf("record %v", r)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s, limit %d: got\n%s\nwant\n%s", view, limit, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		records, _ := d.drain(d.iterator(arn, shard, "TRIM_HORIZON", nil), 0)
		second := records[1]["dynamodb"].(obj)["SequenceNumber"]
		for kind, from := range map[string]int{"AT_SEQUENCE_NUMBER": 1, "AFTER_SEQUENCE_NUMBER": 2} {
			got, _ := d.drain(d.iterator(arn, shard, kind, obj{"SequenceNumber": second}), 0)
			if len(got) != len(records)-from || summary(got[0]) != want[from] {
				t.Fatalf("%s gives %d records", kind, len(got))
			}
		}
		latest := d.iterator(arn, shard, "LATEST", nil)
		if got, next := d.drain(latest, 0); len(got) != 0 || next == "" {
			t.Fatalf("LATEST gives %d records", len(got))
		}
		d.must("PutItem", obj{"TableName": view, "Item": obj{"pk": s("late"), "sk": n(1)}})
		if got, _ := d.drain(latest, 0); len(got) != 1 {
			t.Fatalf("LATEST gives %d records, want the one written behind it", len(got))
		}
	}
	names := list(d.mustStreams("ListStreams", obj{"TableName": "KEYS_ONLY"})["Streams"])
	if len(names) != 1 || names[0]["TableName"] != "KEYS_ONLY" {
		t.Fatalf("streams %v", names)
	}
	page := d.mustStreams("ListStreams", obj{"Limit": 3})
	rest := d.mustStreams("ListStreams", obj{"Limit": 3, "ExclusiveStartStreamArn": page["LastEvaluatedStreamArn"]})
	if len(list(page["Streams"])) != 3 || len(list(rest["Streams"])) != 1 || rest["LastEvaluatedStreamArn"] != nil {
		t.Fatalf("pages %v and %v", page, rest)
	}
}

// maintain runs the minute's sweep.
func (d *db) maintain(now func() time.Time) {
	d.t.Helper()
	m := stream.Maintainer{KV: d.store, Catalog: d.items.Catalog, Now: now}
	if err := m.Maintain(context.Background()); err != nil {
		d.t.Fatal(err)
	}
}

func TestStreamLifetimes(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	arn := d.createStreamed("tbl", "NEW_IMAGE")
	put := func(i int) {
		t.Helper()
		d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s(fmt.Sprint(i)), "sk": n(i)}})
	}
	put(0)
	first := d.shards(arn)[0]
	old := d.iterator(arn, first, "TRIM_HORIZON", nil)
	clock.Advance(15*time.Minute + time.Second)
	if _, err := d.streams("GetRecords", obj{"ShardIterator": old}); kindOf(err) != "ExpiredIteratorException" {
		t.Fatalf("an iterator of 15 minutes: %v", err)
	}
	clock.Advance(4 * time.Hour)
	d.maintain(clock.Now)
	put(1)
	shards := d.shards(arn)
	if len(shards) != 2 || shards[1]["ParentShardId"] != first["ShardId"] || shards[0]["SequenceNumberRange"].(obj)["EndingSequenceNumber"] == nil {
		t.Fatalf("after four hours: %v", shards)
	}
	children := d.mustStreams("DescribeStream", obj{"StreamArn": arn, "ShardFilter": obj{"Type": "CHILD_SHARDS", "ShardId": first["ShardId"]}})
	if got := list(children["StreamDescription"].(obj)["Shards"]); len(got) != 1 || got[0]["ShardId"] != shards[1]["ShardId"] {
		t.Fatalf("children %v", got)
	}
	closed := d.iterator(arn, first, "LATEST", nil)
	if got, next := d.drain(closed, 0); len(got) != 0 || next != "" {
		t.Fatalf("a closed shard gives %v and goes on at %q", got, next)
	}
	number := d.history(arn)[0]["dynamodb"].(obj)["SequenceNumber"]
	at := clock.Now()
	clock.Advance(time.Hour)
	put(2)
	if got, _ := d.drain(d.iterator(arn, shards[1], "AT_TIMESTAMP", obj{"Timestamp": at.Unix() + 1}), 0); len(got) != 1 {
		t.Fatalf("AT_TIMESTAMP gives %d records", len(got))
	}

	// A new stream beside the old one.
	if _, err := d.call("UpdateTable", obj{"TableName": "tbl", "StreamSpecification": obj{"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"}}); kindOf(err) != "ValidationException" && kindOf(err) != "ResourceInUseException" {
		t.Fatalf("enabling twice: %v", err)
	}
	d.must("UpdateTable", obj{"TableName": "tbl", "StreamSpecification": obj{"StreamEnabled": false}})
	put(3) // recorded in no stream
	if status := d.mustStreams("DescribeStream", obj{"StreamArn": arn})["StreamDescription"].(obj)["StreamStatus"]; status != "DISABLED" {
		t.Fatalf("status %v", status)
	}
	second := d.must("UpdateTable", obj{"TableName": "tbl", "StreamSpecification": obj{"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"}})["TableDescription"].(obj)["LatestStreamArn"].(string)
	if second == arn {
		t.Fatal("the new stream has the old one's ARN")
	}
	put(4)
	if got := d.history(arn); len(got) != 3 {
		t.Fatalf("the old stream has %d records", len(got))
	}
	if got := d.history(second); len(got) != 1 {
		t.Fatalf("the new stream has %d records", len(got))
	}
	d.must("DeleteTable", obj{"TableName": "tbl"})
	if got := d.history(second); len(got) != 1 {
		t.Fatalf("after its table's deletion the stream has %d records", len(got))
	}

	clock.Advance(stream.Retention - 5*time.Hour)
	if got := d.history(arn); len(got) != 2 {
		t.Fatalf("behind the horizon are %d records", len(got))
	}
	if _, err := d.streams("GetShardIterator", obj{"StreamArn": arn, "ShardId": first["ShardId"], "ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": number}); kindOf(err) != "TrimmedDataAccessException" {
		t.Fatalf("an old sequence number: %v", err)
	}
	clock.Advance(6 * time.Hour)
	d.maintain(clock.Now)
	if _, err := d.streams("DescribeStream", obj{"StreamArn": arn}); kindOf(err) != "ResourceNotFoundException" {
		t.Fatalf("a day after its end: %v", err)
	}
	d.checkNoChanges()
}

// checkNoChanges fails if the store contains change records.
func (d *db) checkNoChanges() {
	d.t.Helper()
	snap, err := d.store.Snapshot(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	defer snap.Close()
	left := 0
	err = kv.Each(context.Background(), snap, kv.Range{Start: []byte("s"), End: []byte("t")}, func(_, _ []byte) error {
		left++
		return nil
	})
	if err != nil || left != 0 {
		d.t.Fatalf("%d change records are left, %v", left, err)
	}
}

// TestStreamUnderLoad follows a stream under concurrent writes while shards are split and rotated. Every change appears once,
// and changes of one item appear in order.
func TestStreamUnderLoad(t *testing.T) {
	d := open(t, Options{DataDir: t.TempDir()})
	arn := d.createStreamed("tbl", "NEW_AND_OLD_IMAGES")
	const writers, each, items = 8, 120, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			update := func(i int) obj {
				return obj{"TableName": "tbl", "Key": obj{"pk": s(fmt.Sprint(i)), "sk": n(0)},
					"UpdateExpression": "ADD c :one", "ExpressionAttributeValues": obj{":one": n(1)}}
			}
			for range each {
				i := rnd.IntN(items)
				if rnd.IntN(4) > 0 {
					if _, err := d.call("UpdateItem", update(i)); err != nil && kindOf(err) != "TransactionConflictException" {
						t.Error(err)
					}
					continue
				}
				_, err := d.call("TransactWriteItems", obj{"TransactItems": []obj{{"Update": update(i)}, {"Update": update((i + 1) % items)}}})
				if err != nil && kindOf(err) != "TransactionCanceledException" {
					t.Error(err)
				}
			}
		}()
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	go func() {
		for round := 0; ; round++ {
			select {
			case <-done:
				return
			case <-time.After(15 * time.Millisecond):
			}
			_, err := d.items.Catalog.Change(context.Background(), catalog.Namespace{Account: "000000000000", Region: "us-east-1"}, "tbl", func(t *catalog.Table) error {
				children := 1
				if round < 4 {
					children = 2
				}
				now, err := d.store.Now(context.Background())
				if err != nil {
					return err
				}
				stream.Renew(t, now, func(*catalog.Shard) int { return children })
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	counts := map[string]int{}
	iterators := map[string]string{}
	seen := map[string]bool{}
	for last := false; ; {
		for _, shard := range d.shards(arn) {
			id := shard["ShardId"].(string)
			if _, known := iterators[id]; !known {
				iterators[id] = d.iterator(arn, shard, "TRIM_HORIZON", nil)
			}
			if parent, _ := shard["ParentShardId"].(string); iterators[id] == "" || parent != "" && iterators[parent] != "" {
				continue // parents first
			}
			var records []obj
			records, iterators[id] = d.drain(iterators[id], 7)
			for _, r := range records {
				change := r["dynamodb"].(obj)
				key := fmt.Sprint(change["Keys"])
				counts[key]++
				if want := fmt.Sprint(counts[key]); change["NewImage"].(obj)["c"].(obj)["N"] != want {
					t.Fatalf("%s: change %s comes as %v", key, want, change["NewImage"])
				}
				if id := r["eventID"].(string); seen[id] {
					t.Fatalf("record %s comes twice", id)
				} else {
					seen[id] = true
				}
			}
		}
		if last {
			break
		}
		select {
		case <-done:
			last = true
		default:
		}
	}
	var want, got []string
	for _, it := range d.all("tbl", "", 0) {
		want = append(want, fmt.Sprint(obj{"pk": it["pk"], "sk": it["sk"]}, it["c"].(obj)["N"]))
	}
	for key, n := range counts {
		got = append(got, fmt.Sprint(key, n))
	}
	sort.Strings(want)
	sort.Strings(got)
	if !slices.Equal(got, want) {
		t.Fatalf("the stream leads to\n%v\nthe table has\n%v", got, want)
	}
	d.checkConsistent()
}
