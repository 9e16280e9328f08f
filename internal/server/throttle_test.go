package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// provisioned describes a table with provisioned throughput.
func provisioned(name string, read, write int) obj {
	return obj{
		"TableName": name, "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"),
		"ProvisionedThroughput": throughput(read, write),
	}
}

func throughput(read, write int) obj {
	return obj{"ReadCapacityUnits": read, "WriteCapacityUnits": write}
}

// until counts the calls until one fails, which must be with this kind of error.
func (d *db) until(kind, operation string, in func(i int) any) (calls int, refused *apiError) {
	d.t.Helper()
	for i := range 100_000 {
		_, err := d.call(operation, in(i))
		if err == nil {
			continue
		}
		if !errors.As(err, &refused) || refused.kind != kind {
			d.t.Fatal(err)
		}
		return i, refused
	}
	d.t.Fatal("never throttled")
	return 0, nil
}

const exceeded = "ProvisionedThroughputExceededException"

// reasons returns the ThrottlingReasons of an error.
func (d *db) reasons(e *apiError) (out []string) {
	d.t.Helper()
	var body struct {
		ThrottlingReasons []struct{ Reason, Resource string }
	}
	if err := json.Unmarshal(e.body, &body); err != nil {
		d.t.Fatal(err)
	}
	for _, r := range body.ThrottlingReasons {
		out = append(out, r.Reason+" "+r.Resource)
	}
	return out
}

func putOf(table string, size int) func(i int) any {
	return func(i int) any {
		return obj{"TableName": table, "Item": obj{"pk": s(fmt.Sprint(i)), "v": s(strings.Repeat("x", size))}}
	}
}

// TestBurst spends 300 seconds' capacity at once, then one second's capacity per second.
func TestBurst(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	d.must("CreateTable", provisioned("Tab", 5, 2))
	n, refused := d.until(exceeded, "PutItem", putOf("Tab", 10))
	if n != 600 {
		t.Errorf("%d writes, want the 600 of five minutes", n)
	}
	if got := d.reasons(refused); !slices.Equal(got, []string{"TableWriteProvisionedThroughputExceeded arn:aws:dynamodb:us-east-1:000000000000:table/Tab"}) {
		t.Errorf("reasons %v", got)
	}
	const message = "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API."
	if refused.status != 400 || refused.message != message {
		t.Errorf("answer %v", refused)
	}
	clock.Advance(10 * time.Second)
	if n, _ = d.until(exceeded, "PutItem", putOf("Tab", 10)); n != 20 {
		t.Errorf("%d writes after ten seconds, want 20", n)
	}
	// A request larger than the remaining capacity is served and leaves a debt.
	clock.Advance(time.Second)
	large := func(i int) any {
		return obj{"TableName": "Tab", "Item": obj{"pk": s(fmt.Sprint("large", i)), "v": s(strings.Repeat("x", 9*1024))}}
	}
	if n, _ = d.until(exceeded, "PutItem", large); n != 1 {
		t.Errorf("%d large writes, want 1", n)
	}
	clock.Advance(3 * time.Second)
	if n, _ = d.until(exceeded, "PutItem", putOf("Tab", 10)); n != 0 {
		t.Errorf("%d writes while in debt", n)
	}
	// Unused capacity accumulates for at most five minutes.
	clock.Advance(time.Hour)
	if n, _ = d.until(exceeded, "PutItem", putOf("Tab", 10)); n != 600 {
		t.Errorf("%d writes after an hour, want 600", n)
	}
	// Reads have a capacity of their own; eventually consistent ones consume half.
	get := func(int) any { return obj{"TableName": "Tab", "Key": obj{"pk": s("0")}} }
	if n, _ = d.until(exceeded, "GetItem", get); n != 3000 {
		t.Errorf("%d reads, want 3000", n)
	}
}

// TestThrottledIndex exhausts a GSI. Writes of the table that change the GSI are throttled, others are not.
func TestThrottledIndex(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	table := provisioned("Tab", 5, 1000)
	table["AttributeDefinitions"] = []obj{attr("pk", "S"), attr("g", "S")}
	table["GlobalSecondaryIndexes"] = []obj{{
		"IndexName": "cold", "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "ALL"}, "ProvisionedThroughput": throughput(1, 1),
	}}
	d.must("CreateTable", table)
	put := func(i int) any {
		return obj{"TableName": "Tab", "Item": obj{"pk": s(fmt.Sprint(i)), "g": s("a")}}
	}
	n, refused := d.until(exceeded, "PutItem", put)
	if n != 300 {
		t.Errorf("%d writes, want 300", n)
	}
	if got := d.reasons(refused); !slices.Equal(got, []string{"IndexWriteProvisionedThroughputExceeded arn:aws:dynamodb:us-east-1:000000000000:table/Tab/index/cold"}) {
		t.Errorf("reasons %v", got)
	}
	if !strings.Contains(refused.message, "one or more global secondary indexes of the table was exceeded") {
		t.Errorf("message %q", refused.message)
	}
	if got := d.must("GetItem", obj{"TableName": "Tab", "Key": obj{"pk": s(fmt.Sprint(n))}}); got["Item"] != nil {
		t.Error("the refused write was executed")
	}
	d.must("PutItem", obj{"TableName": "Tab", "Item": obj{"pk": s("no g")}})
	_, err := d.call("TransactWriteItems", obj{"TransactItems": []obj{
		{"Put": obj{"TableName": "Tab", "Item": obj{"pk": s("a")}}},
		{"Put": obj{"TableName": "Tab", "Item": obj{"pk": s("b"), "g": s("b")}}},
	}})
	var e *apiError
	if !errors.As(err, &e) || e.kind != "TransactionCanceledException" || !strings.Contains(e.message, "[None, ProvisionedThroughputExceeded]") {
		t.Errorf("transaction: %v", err)
	}
	out := d.must("BatchWriteItem", obj{"RequestItems": obj{"Tab": []obj{
		{"PutRequest": obj{"Item": obj{"pk": s("c")}}},
		{"PutRequest": obj{"Item": obj{"pk": s("d"), "g": s("d")}}},
	}}})
	left, _ := out["UnprocessedItems"].(obj)["Tab"].([]any)
	if len(left) != 1 || left[0].(obj)["PutRequest"].(obj)["Item"].(obj)["pk"].(obj)["S"] != "d" {
		t.Errorf("unprocessed: %v", out)
	}
	if _, err := d.call("BatchWriteItem", obj{"RequestItems": obj{"Tab": []obj{{"PutRequest": obj{"Item": obj{"pk": s("d"), "g": s("d")}}}}}}); !errors.As(err, &e) || e.kind != exceeded {
		t.Errorf("a batch of which nothing is written: %v", err)
	}
	batch := d.must("BatchExecuteStatement", obj{"Statements": []obj{{"Statement": "INSERT INTO Tab VALUE {'pk': 'e', 'g': 'e'}"}}})
	if code := batch["Responses"].([]any)[0].(obj)["Error"].(obj)["Code"]; code != "ProvisionedThroughputExceeded" {
		t.Errorf("statement: %v", batch)
	}
}

// TestHotKey throttles a single key although the table has capacity, then two hot keys of one partition until the partition is
// split.
func TestHotKey(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	d.must("CreateTable", provisioned("Tab", 10, 5000))
	large := strings.Repeat("x", 100*1024-20)
	hot := func(keys ...string) func(i int) any {
		return func(i int) any {
			return obj{"TableName": "Tab", "Item": obj{"pk": s(keys[i%len(keys)]), "v": s(large)}}
		}
	}
	n, refused := d.until(exceeded, "PutItem", hot("one"))
	if n != 10 {
		t.Errorf("%d writes of 100 units to one key, want 10", n)
	}
	if got := d.reasons(refused); !slices.Equal(got, []string{"TableWriteKeyRangeThroughputExceeded arn:aws:dynamodb:us-east-1:000000000000:table/Tab"}) {
		t.Errorf("reasons %v", got)
	}
	// Find two keys in the same partition.
	second := ""
	for i := 0; second == ""; i++ {
		if _, err := d.call("PutItem", obj{"TableName": "Tab", "Item": obj{"pk": s(fmt.Sprint("k", i))}}); err != nil {
			second = fmt.Sprint("k", i)
		}
	}
	clock.Advance(time.Second)
	if n, _ = d.until(exceeded, "PutItem", hot("one", second)); n != 10 {
		t.Errorf("%d writes to two keys of one partition, want 10", n)
	}
	// A single hot key can't be split.
	second, other := "one", second
	for range 600 {
		clock.Advance(time.Second)
		d.until(exceeded, "PutItem", hot(second))
	}
	if n, _ = d.until(exceeded, "PutItem", hot("one")); n != 0 {
		t.Errorf("%d writes", n)
	}
	for range 600 {
		clock.Advance(time.Second)
		n, _ = d.until(exceeded, "PutItem", hot("one", other))
	}
	if n < 19 {
		t.Errorf("%d writes a second to two keys after ten minutes, want 20: the partition was not split", n)
	}
	// The split is durable.
	if err := d.items.Catalog.KeepPartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	for table := range d.items.Catalog.Tables() {
		if len(table.Splits) != 1 {
			t.Errorf("splits %v", table.Splits)
		}
	}
}

// TestOnDemandMaximum throttles an on-demand table at its OnDemandThroughput, and only if that is set.
func TestOnDemandMaximum(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	d.must("CreateTable", obj{
		"TableName": "Tab", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST",
		"OnDemandThroughput": obj{"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 20},
	})
	n, refused := d.until("ThrottlingException", "PutItem", putOf("Tab", 10))
	if n != 20 || refused.message != "Throughput exceeds the maximum OnDemandThroughput configured on table or index" {
		t.Errorf("%d writes, then %v", n, refused)
	}
	if got := d.reasons(refused); !slices.Equal(got, []string{"TableWriteMaxOnDemandThroughputExceeded arn:aws:dynamodb:us-east-1:000000000000:table/Tab"}) {
		t.Errorf("reasons %v", got)
	}
	d.must("UpdateTable", obj{"TableName": "Tab", "OnDemandThroughput": obj{"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1}})
	for i := range 100 {
		d.must("PutItem", putOf("Tab", 10)(i))
	}
}

// TestOnDemandAWS limits an on-demand table as AWS does: 4,000 writes per second at first, later twice its peak.
func TestOnDemandAWS(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, OnDemandLimits: OnDemandAWS})
	d.must("CreateTable", obj{
		"TableName": "Tab", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST",
	})
	large := strings.Repeat("x", 50*1024-20)
	second := func() (units int) {
		refusals := 0
		for i := range 300 {
			if _, err := d.call("PutItem", obj{"TableName": "Tab", "Item": obj{"pk": s(fmt.Sprint(i)), "v": s(large)}}); err == nil {
				units += 50
			} else if refusals++; refusals == 1 && !strings.HasPrefix(d.reasons(err.(*apiError))[0], "TableWriteKeyRangeThroughputExceeded ") {
				t.Errorf("reasons: %v", err)
			}
		}
		clock.Advance(time.Second)
		return units
	}
	if units := second(); units < 4000 || units > 4200 {
		t.Errorf("%d units in the first second, want 4000", units)
	}
	for range 70 {
		second()
	}
	if units := second(); units > 4200 {
		t.Errorf("%d units before the peak counts", units)
	}
	clock.Advance(31 * time.Minute)
	second()
	clock.Advance(time.Second)
	if units := second(); units < 7500 {
		t.Errorf("%d units after a peak of 4000, want twice as much", units)
	}
}

// TestWarmThroughput checks that warm throughput is available at once, up to a table's quota.
func TestWarmThroughput(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, OnDemandLimits: OnDemandAWS, NoChangeLimits: true})
	d.must("CreateTable", obj{
		"TableName": "Tab", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST",
		"WarmThroughput": obj{"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 60000},
	})
	large := strings.Repeat("x", 400*1024-100)
	served := 0
	var refused *apiError
	for i := range 300 {
		if _, err := d.call("PutItem", obj{"TableName": "Tab", "Item": obj{"pk": s(fmt.Sprint(i)), "v": s(large)}}); err == nil {
			served += 400
		} else if e := err.(*apiError); e.kind == "RequestLimitExceeded" {
			refused = e
		}
	}
	if served < 38000 || served > 40400 {
		t.Errorf("%d units in a second, want the 40,000 of a table", served)
	}
	if refused == nil || !slices.Equal(d.reasons(refused), []string{"TableWriteAccountLimitExceeded arn:aws:dynamodb:us-east-1:000000000000:table/Tab"}) {
		t.Errorf("refused: %v", refused)
	}
}

// TestThrottlingOff checks that nothing is throttled.
func TestThrottlingOff(t *testing.T) {
	d := open(t, Options{Throttling: ThrottlingOff})
	d.must("CreateTable", provisioned("Tab", 1, 1))
	for i := range 400 {
		d.must("PutItem", putOf("Tab", 10)(i))
	}
}
