package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/statordb/stator/internal/kv/pgkv"
	"github.com/statordb/stator/internal/smithy"
)

// TestRoundTrips counts an operation's round trips to PostgreSQL; docs/cluster.md has the table.
func TestRoundTrips(t *testing.T) {
	d := openServers(t, 1, Options{})[0]
	table := func(name string, more obj) obj {
		in := obj{"TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S"), attr("g", "S")}}
		gsi := []obj{{"IndexName": "by-g", "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "ALL"}}}
		if more == nil {
			in["AttributeDefinitions"] = []obj{attr("id", "S")}
		} else {
			in["GlobalSecondaryIndexes"] = gsi
		}
		for k, v := range more {
			in[k] = v
		}
		return in
	}
	d.must("CreateTable", table("plain", nil))
	d.must("CreateTable", table("indexed", obj{}))
	d.must("CreateTable", table("stream", obj{"StreamSpecification": obj{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}}))
	item := func(i int) obj { return obj{"id": s(fmt.Sprint("i", i)), "g": s(fmt.Sprint("g", i%3))} }
	for _, name := range []string{"plain", "indexed", "stream"} {
		for i := range 30 {
			d.must("PutItem", obj{"TableName": name, "Item": item(i)})
		}
	}
	d.must("CreateTable", obj{"TableName": "local", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id", "r"),
		"AttributeDefinitions":  []obj{attr("id", "S"), attr("r", "N"), attr("g", "S")},
		"LocalSecondaryIndexes": []obj{{"IndexName": "by-g", "KeySchema": keys("id", "g"), "Projection": obj{"ProjectionType": "KEYS_ONLY"}}}})
	for i := range 30 {
		d.must("PutItem", obj{"TableName": "local", "Item": obj{"id": s("i"), "r": n(i), "g": s(fmt.Sprint("g", i)), "v": n(i)}})
	}
	key := obj{"id": s("i1")}
	var gets, puts, transact []obj
	for i := range 20 {
		gets = append(gets, obj{"id": s(fmt.Sprint("i", i))})
		puts = append(puts, obj{"PutRequest": obj{"Item": item(i)}})
	}
	for i := range 4 {
		transact = append(transact, obj{"Put": obj{"TableName": "plain", "Item": item(i)}})
	}
	transactGets := []obj{{"Get": obj{"TableName": "plain", "Key": key}}, {"Get": obj{"TableName": "indexed", "Key": key}}}
	for _, c := range []struct {
		what, operation string
		in              obj
		want            int64
	}{
		{"GetItem", "GetItem", obj{"TableName": "plain", "Key": key, "ConsistentRead": true}, 1},
		{"GetItem of nothing", "GetItem", obj{"TableName": "plain", "Key": obj{"id": s("no")}}, 1},
		{"PutItem", "PutItem", obj{"TableName": "plain", "Item": item(1)}, 2},
		{"PutItem of a new item", "PutItem", obj{"TableName": "plain", "Item": item(1000)}, 2},
		{"PutItem, GSI", "PutItem", obj{"TableName": "indexed", "Item": item(1001)}, 2},
		{"PutItem, GSI and stream", "PutItem", obj{"TableName": "stream", "Item": item(1001)}, 2},
		{"UpdateItem", "UpdateItem", obj{"TableName": "indexed", "Key": key, "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": obj{":v": n(1)}}, 2},
		{"PutItem whose condition fails", "PutItem", obj{"TableName": "plain", "Item": item(1), "ConditionExpression": "attribute_not_exists(id)"}, 1},
		{"DeleteItem", "DeleteItem", obj{"TableName": "indexed", "Key": key}, 2},
		{"Query of 10 items", "Query", obj{"TableName": "indexed", "IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": obj{":g": s("g1")}}, 1},
		{"Query of 30 items of a local index, with attributes it doesn't have", "Query", obj{"TableName": "local", "IndexName": "by-g", "ProjectionExpression": "v",
			"KeyConditionExpression": "id = :id", "ExpressionAttributeValues": obj{":id": s("i")}}, 3},
		{"Scan of 30 items", "Scan", obj{"TableName": "plain"}, 1},
		{"BatchGetItem of 20", "BatchGetItem", obj{"RequestItems": obj{"plain": obj{"Keys": gets}}}, 1},
		{"BatchWriteItem of 20", "BatchWriteItem", obj{"RequestItems": obj{"plain": puts}}, 2},
		{"TransactWriteItems of 4", "TransactWriteItems", obj{"TransactItems": transact}, 2},
		{"TransactGetItems of 2", "TransactGetItems", obj{"TransactItems": transactGets}, 1},
	} {
		var trips atomic.Int64
		err := d.direct(pgkv.CountTrips(context.Background(), &trips), c.operation, c.in)
		if (err != nil) != (c.what == "PutItem whose condition fails") {
			t.Fatalf("%s: %v", c.what, err)
		}
		if trips.Load() != c.want {
			t.Errorf("%s takes %d round trips, want %d", c.what, trips.Load(), c.want)
		}
	}
}

// direct runs an operation without the network.
func (d *db) direct(ctx context.Context, operation string, in obj) error {
	i := slices.IndexFunc(d.handlers, func(h smithy.Handler) bool { return h.Target == "DynamoDB_20120810."+operation })
	h := d.handlers[i]
	call := &smithy.Call{Caller: smithy.Caller{Account: "000000000000", Region: "us-east-1"}}
	defer call.Release()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	decoded, decodeErr := h.Decode(call, body)
	if decodeErr != nil {
		return decodeErr
	}
	_, err = h.Run(ctx, call, decoded)
	return err
}
