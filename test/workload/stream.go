package workload

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// follower reads the table's stream and reconstructs the table from it.
type follower struct {
	items map[string]any
	last  map[string]string // last sequence number read, by shard
}

// streamRecord is the relevant part of a record.
type streamRecord struct {
	EventName string
	Dynamodb  struct {
		Keys           map[string]struct{ S string }
		OldImage       any
		NewImage       any
		SequenceNumber string
	}
}

// streams sends a request to DynamoDB Streams, which must succeed.
func streams(call Call, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	status, answer, err := call("DynamoDBStreams_20120810."+operation, string(body))
	if err := answered(operation, status, answer, err); err != nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// follow continues reading where it stopped before the crash. Records that were read then, or older ones, must not appear again. Each
// record's old image must be what the previous record left.
func (f *follower) follow(call Call) error {
	if f.items == nil {
		f.items, f.last = map[string]any{}, map[string]string{}
	}
	var list struct{ Streams []struct{ StreamArn string } }
	if err := streams(call, "ListStreams", map[string]any{"TableName": table}, &list); err != nil {
		return err
	}
	if len(list.Streams) != 1 {
		return fmt.Errorf("there are %d streams", len(list.Streams))
	}
	arn := list.Streams[0].StreamArn
	var d struct {
		StreamDescription struct{ Shards []struct{ ShardId string } }
	}
	if err := streams(call, "DescribeStream", map[string]any{"StreamArn": arn}, &d); err != nil {
		return err
	}
	for _, shard := range d.StreamDescription.Shards {
		if err := f.shard(call, arn, shard.ShardId); err != nil {
			return err
		}
	}
	return nil
}

// shard reads the new records of a shard.
func (f *follower) shard(call Call, arn, id string) error {
	in := map[string]any{"StreamArn": arn, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON"}
	if f.last[id] != "" {
		in["ShardIteratorType"], in["SequenceNumber"] = "AFTER_SEQUENCE_NUMBER", f.last[id]
	}
	var it struct{ ShardIterator string }
	if err := streams(call, "GetShardIterator", in, &it); err != nil {
		return err
	}
	for next := it.ShardIterator; next != ""; {
		var page struct {
			Records           []streamRecord
			NextShardIterator string
		}
		if err := streams(call, "GetRecords", map[string]any{"ShardIterator": next}, &page); err != nil {
			return err
		}
		for i := range page.Records {
			if err := f.apply(&page.Records[i]); err != nil {
				return err
			}
			f.last[id] = page.Records[i].Dynamodb.SequenceNumber
		}
		if len(page.Records) == 0 {
			return nil
		}
		next = page.NextShardIterator
	}
	return nil
}

// apply checks a record and applies it.
func (f *follower) apply(r *streamRecord) error {
	id := r.Dynamodb.Keys["id"].S
	if !reflect.DeepEqual(f.items[id], r.Dynamodb.OldImage) {
		return fmt.Errorf("record %s changes %s from %v; the records before it left %v", r.Dynamodb.SequenceNumber, id, r.Dynamodb.OldImage, f.items[id])
	}
	want := "MODIFY"
	switch {
	case r.Dynamodb.OldImage == nil:
		want = "INSERT"
	case r.Dynamodb.NewImage == nil:
		want = "REMOVE"
	}
	if r.EventName != want {
		return fmt.Errorf("record %s is called %s, not %s", r.Dynamodb.SequenceNumber, r.EventName, want)
	}
	if r.Dynamodb.NewImage == nil {
		delete(f.items, id)
	} else {
		f.items[id] = r.Dynamodb.NewImage
	}
	return nil
}

// check compares the reconstructed table with the real one.
func (f *follower) check(items map[string]any) error {
	for id, it := range items {
		if !reflect.DeepEqual(f.items[id], it) {
			return fmt.Errorf("the stream leaves %s as %v, the table has %v", id, f.items[id], it)
		}
	}
	if len(items) != len(f.items) {
		return fmt.Errorf("the stream leaves %d items, the table has %d", len(f.items), len(items))
	}
	return nil
}

// catchUp reads the stream until it matches the items. If several servers share a store, records may arrive a moment late.
func (f *follower) catchUp(call Call, items map[string]any) error {
	for attempt := 0; ; attempt++ {
		if err := f.follow(call); err != nil {
			return err
		}
		err := f.check(items)
		if err == nil || attempt == 100 {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
