package server

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestInject injects random faults and checks that the same seed gives the same faults.
func TestInject(t *testing.T) {
	run := func(seed uint64) (kinds map[string]int) {
		d := open(t, Options{InjectSeed: seed, Inject: []string{"PutItem:throttle=0.2,conflict=0.2,error=0.2", "PutItem/Quiet:throttle=0,conflict=0,error=0", "BatchWriteItem:unprocessed=0.5"}})
		kinds = map[string]int{}
		for _, table := range []string{"Loud", "Quiet"} {
			d.must("CreateTable", obj{
				"TableName": table, "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST",
			})
			for i := range 200 {
				_, err := d.call("PutItem", putOf(table, 1)(i))
				var e *apiError
				switch {
				case err == nil:
					kinds[table]++
				case errors.As(err, &e):
					kinds[table+" "+e.kind]++
				default:
					t.Fatal(err)
				}
			}
		}
		left := 0
		for range 20 {
			var puts []obj
			for i := range 10 {
				puts = append(puts, obj{"PutRequest": obj{"Item": obj{"pk": s(fmt.Sprint(i))}}})
			}
			list, _ := d.must("BatchWriteItem", obj{"RequestItems": obj{"Loud": puts}})["UnprocessedItems"].(obj)["Loud"].([]any)
			left += len(list)
		}
		kinds["unprocessed"] = left
		return kinds
	}
	got := run(1)
	if got["Quiet"] != 200 {
		t.Errorf("a table without rules: %v", got)
	}
	for kind, least := range map[string]int{"Loud": 60, "Loud ThrottlingException": 15, "Loud TransactionConflictException": 15, "Loud InternalServerError": 20, "unprocessed": 60} {
		if got[kind] < least {
			t.Errorf("%s: %d, want at least %d", kind, got[kind], least)
		}
	}
	if again := run(1); fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("the same seed gave\n%v, then\n%v", got, again)
	}
	if other := run(2); fmt.Sprint(other) == fmt.Sprint(got) {
		t.Error("another seed gave the same")
	}
	if _, err := Open(Options{Listen: "127.0.0.1:0", InMemory: true, Inject: []string{"PutItem:throttle=2"}}); err == nil {
		t.Error("a rate of 2 is taken")
	}
}

// TestStaleReads checks that eventually consistent reads return older data, and consistent ones do not.
func TestStaleReads(t *testing.T) {
	d := open(t, Options{Inject: []string{"stale=10m"}})
	d.must("CreateTable", obj{
		"TableName": "Tab", "AttributeDefinitions": []obj{attr("pk", "S"), attr("g", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST",
		"GlobalSecondaryIndexes": []obj{{"IndexName": "gsi", "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "ALL"}}},
	})
	d.must("PutItem", obj{"TableName": "Tab", "Item": obj{"pk": s("a"), "g": s("g")}})
	get := func(consistent bool) any {
		return d.must("GetItem", obj{"TableName": "Tab", "Key": obj{"pk": s("a")}, "ConsistentRead": consistent})["Item"]
	}
	if get(true) == nil {
		t.Error("a consistent read does not see the item")
	}
	if get(false) != nil {
		t.Error("an eventually consistent read sees the item at once")
	}
	if got := d.must("Scan", obj{"TableName": "Tab", "IndexName": "gsi"}); got["Count"] != 0.0 {
		t.Errorf("the index has the entry at once: %v", got)
	}
	if got := d.must("BatchGetItem", obj{"RequestItems": obj{"Tab": obj{"Keys": []obj{{"pk": s("a")}}}}}); len(got["Responses"].(obj)["Tab"].([]any)) != 0 {
		t.Errorf("a batch sees the item at once: %v", got)
	}
	quick := open(t, Options{Inject: []string{"stale=20ms"}})
	quick.must("CreateTable", provisioned("Tab", 5, 5))
	quick.must("PutItem", putOf("Tab", 1)(0))
	for deadline := time.Now().Add(20 * time.Second); ; {
		if quick.must("GetItem", obj{"TableName": "Tab", "Key": obj{"pk": s("0")}})["Item"] != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a stale read never sees the item")
		}
	}
}

// TestInjectedLatency checks that answers are delayed.
func TestInjectedLatency(t *testing.T) {
	d := open(t, Options{Inject: []string{"GetItem:latency=30ms"}})
	d.must("CreateTable", provisioned("Tab", 5, 5))
	began := time.Now()
	d.must("GetItem", obj{"TableName": "Tab", "Key": obj{"pk": s("0")}})
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}
