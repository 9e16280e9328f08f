package server

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestConsumedCapacity compares the consumed capacity that every kind of request returns with AWS's documentation, and with the
// metrics.
func TestConsumedCapacity(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	table := provisioned("Tab", 10000, 10000)
	table["AttributeDefinitions"] = []obj{attr("pk", "S"), attr("sk", "N"), attr("l", "N"), attr("g", "S")}
	table["KeySchema"] = keys("pk", "sk")
	table["LocalSecondaryIndexes"] = []obj{{"IndexName": "lsi", "KeySchema": keys("pk", "l"), "Projection": obj{"ProjectionType": "KEYS_ONLY"}}}
	table["GlobalSecondaryIndexes"] = []obj{{
		"IndexName": "gsi", "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "INCLUDE", "NonKeyAttributes": []string{"p"}},
		"ProvisionedThroughput": throughput(10000, 10000),
	}}
	d.must("CreateTable", table)
	sized := func(sk, bytes int, more obj) obj { // an item of this size without index keys
		return with(obj{"pk": s("a"), "sk": n(sk), "v": s(strings.Repeat("x", bytes-8))}, more)
	}
	key := func(sk int) obj { return obj{"pk": s("a"), "sk": n(sk)} }
	on := func(more obj) obj { return with(obj{"TableName": "Tab", "ReturnConsumedCapacity": "INDEXES"}, more) }
	values := func(v obj) obj { return v }
	type units struct{ total, table, lsi, gsi float64 }
	var read, written, gsiRead, gsiWritten float64
	check := func(what string, out obj, want units, kind string) {
		t.Helper()
		c, ok := out["ConsumedCapacity"].(obj)
		if list, many := out["ConsumedCapacity"].([]any); many {
			c, ok = list[0].(obj), len(list) == 1
		}
		if !ok {
			t.Errorf("%s: no ConsumedCapacity in %v", what, out)
			return
		}
		at := func(path ...string) float64 {
			v := any(c)
			for _, p := range path {
				o, _ := v.(obj)
				v = o[p]
			}
			f, _ := v.(float64)
			return f
		}
		got := units{at("CapacityUnits"), at("Table", "CapacityUnits"), at("LocalSecondaryIndexes", "lsi", "CapacityUnits"), at("GlobalSecondaryIndexes", "gsi", "CapacityUnits")}
		if got != want {
			t.Errorf("%s consumed %+v, want %+v", what, got, want)
		}
		if kind == "read" {
			read, gsiRead = read+want.table+want.lsi, gsiRead+want.gsi
		} else {
			written, gsiWritten = written+want.table+want.lsi, gsiWritten+want.gsi
		}
	}
	write := func(what, operation string, in obj, want units) {
		t.Helper()
		check(what, d.must(operation, on(in)), want, "write")
	}
	reads := func(what, operation string, in obj, want units) {
		t.Helper()
		check(what, d.must(operation, on(in)), want, "read")
	}
	write("a put of 1 KB", "PutItem", obj{"Item": sized(1, 1024, nil)}, units{1, 1, 0, 0})
	write("a put of 1 KB and a byte", "PutItem", obj{"Item": sized(2, 1025, nil)}, units{2, 2, 0, 0})
	write("a smaller item in place of a larger one", "PutItem", obj{"Item": sized(2, 100, nil)}, units{2, 2, 0, 0})
	write("a put with entries in both indexes", "PutItem", obj{"Item": sized(3, 3000, obj{"l": n(1), "g": s("a"), "p": s("p")})}, units{5, 3, 1, 1})
	write("an update of what no index has", "UpdateItem", obj{"Key": key(3), "UpdateExpression": "SET w = :w", "ExpressionAttributeValues": values(obj{":w": n(1)})}, units{3, 3, 0, 0})
	write("an update of a projected attribute", "UpdateItem", obj{"Key": key(3), "UpdateExpression": "SET p = :p", "ExpressionAttributeValues": values(obj{":p": s("q")})}, units{4, 3, 0, 1})
	write("an update of both index keys", "UpdateItem", obj{"Key": key(3), "UpdateExpression": "SET g = :g, l = :l", "ExpressionAttributeValues": values(obj{":g": s("b"), ":l": n(2)})}, units{7, 3, 2, 2})
	write("an update that takes the index keys away", "UpdateItem", obj{"Key": key(3), "UpdateExpression": "REMOVE g, l"}, units{5, 3, 1, 1})
	write("an update that changes nothing", "UpdateItem", obj{"Key": key(1)}, units{1, 1, 0, 0})
	write("a delete", "DeleteItem", obj{"Key": key(3)}, units{3, 3, 0, 0})
	write("a delete of nothing", "DeleteItem", obj{"Key": key(3)}, units{1, 1, 0, 0})
	for i := 10; i < 20; i++ {
		write("items to read", "PutItem", obj{"Item": sized(i, 1000, obj{"g": s("g"), "l": n(i)})}, units{3, 1, 1, 1})
	}
	write("a large item", "PutItem", obj{"Item": sized(20, 10000, nil)}, units{10, 10, 0, 0})
	reads("a read of 10 KB", "GetItem", obj{"Key": key(20)}, units{1.5, 1.5, 0, 0})
	reads("a consistent read of 10 KB", "GetItem", obj{"Key": key(20), "ConsistentRead": true}, units{3, 3, 0, 0})
	reads("a read of one attribute", "GetItem", obj{"Key": key(20), "ProjectionExpression": "pk"}, units{1.5, 1.5, 0, 0})
	reads("a read of nothing", "GetItem", obj{"Key": key(99)}, units{0.5, 0.5, 0, 0})
	query := obj{"KeyConditionExpression": "pk = :p AND sk BETWEEN :a AND :b", "ExpressionAttributeValues": obj{":p": s("a"), ":a": n(10), ":b": n(19)}}
	reads("a query of 10 KB in ten items", "Query", query, units{1.5, 1.5, 0, 0})
	reads("a consistent query", "Query", with(query, obj{"ConsistentRead": true}), units{3, 3, 0, 0})
	reads("a query whose filter drops all", "Query", with(query, obj{"FilterExpression": "attribute_exists(nothing)"}), units{1.5, 1.5, 0, 0})
	reads("a query that counts", "Query", with(query, obj{"Select": "COUNT"}), units{1.5, 1.5, 0, 0})
	reads("a query of nothing", "Query", with(query, obj{"ExpressionAttributeValues": obj{":p": s("z"), ":a": n(1), ":b": n(2)}}), units{0.5, 0.5, 0, 0})
	reads("a query of a GSI", "Query", obj{"IndexName": "gsi", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": obj{":g": s("g")}}, units{0.5, 0, 0, 0.5})
	reads("a query of an LSI", "Query", obj{"IndexName": "lsi", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": obj{":p": s("a")}}, units{0.5, 0, 0.5, 0})
	reads("a query of an LSI that fetches two items", "Query", obj{
		"IndexName": "lsi", "KeyConditionExpression": "pk = :p AND l < :l", "ExpressionAttributeValues": obj{":p": s("a"), ":l": n(12)}, "Select": "ALL_ATTRIBUTES",
	}, units{1.5, 1, 0.5, 0})
	reads("a scan", "Scan", obj{}, units{3, 3, 0, 0}) // 21 KB
	reads("a consistent scan", "Scan", obj{"ConsistentRead": true}, units{6, 6, 0, 0})
	reads("a scan of a GSI", "Scan", obj{"IndexName": "gsi"}, units{0.5, 0, 0, 0.5})
	batch := obj{"ReturnConsumedCapacity": "INDEXES", "RequestItems": obj{"Tab": obj{"Keys": []obj{key(20), key(10), key(99)}}}}
	check("a batch of reads", d.must("BatchGetItem", batch), units{2.5, 2.5, 0, 0}, "read")
	check("a batch of writes", d.must("BatchWriteItem", obj{"ReturnConsumedCapacity": "INDEXES", "RequestItems": obj{"Tab": []obj{
		{"PutRequest": obj{"Item": sized(30, 2000, obj{"g": s("x")})}}, {"DeleteRequest": obj{"Key": key(99)}},
	}}}), units{4, 3, 0, 1}, "write")
	check("a transaction of reads", d.must("TransactGetItems", obj{"ReturnConsumedCapacity": "INDEXES", "TransactItems": []obj{
		{"Get": obj{"TableName": "Tab", "Key": key(20)}}, {"Get": obj{"TableName": "Tab", "Key": key(99)}},
	}}), units{8, 8, 0, 0}, "read")
	check("a transaction of writes", d.must("TransactWriteItems", obj{"ReturnConsumedCapacity": "INDEXES", "TransactItems": []obj{
		{"Put": obj{"TableName": "Tab", "Item": sized(31, 2000, obj{"g": s("x")})}},
		{"ConditionCheck": obj{"TableName": "Tab", "Key": key(20), "ConditionExpression": "attribute_exists(pk)"}},
		{"Delete": obj{"TableName": "Tab", "Key": key(30)}},
	}}), units{30, 28, 0, 2}, "write") // AWS does not double the units of indexes
	statement := func(text string) obj { return obj{"Statement": text, "ReturnConsumedCapacity": "INDEXES"} }
	check("a statement that inserts", d.must("ExecuteStatement", statement("INSERT INTO Tab VALUE {'pk': 'q', 'sk': 1, 'g': 'q'}")), units{2, 1, 0, 1}, "write")
	check("a statement that selects", d.must("ExecuteStatement", statement("SELECT * FROM Tab WHERE pk = 'a' AND sk = 20")), units{1.5, 1.5, 0, 0}, "read")
	check("a transaction of statements", d.must("ExecuteTransaction", obj{"ReturnConsumedCapacity": "INDEXES", "TransactStatements": []obj{
		{"Statement": "DELETE FROM Tab WHERE pk = 'q' AND sk = 1"},
	}}), units{3, 2, 0, 1}, "write")
	// A refused write consumes capacity but does not report it.
	if _, err := d.call("PutItem", on(obj{"Item": sized(20, 100, nil), "ConditionExpression": "attribute_not_exists(pk)"})); err == nil {
		t.Error("the condition was met")
	}
	written += 10
	if out := d.must("GetItem", obj{"TableName": "Tab", "Key": key(99), "ReturnConsumedCapacity": "TOTAL"}); !reflect.DeepEqual(out["ConsumedCapacity"], obj{"TableName": "Tab", "CapacityUnits": 0.5}) {
		t.Errorf("TOTAL is %v", out)
	}
	read += 0.5
	if out := d.must("GetItem", obj{"TableName": "Tab", "Key": key(99)}); out["ConsumedCapacity"] != nil {
		t.Errorf("not asked for: %v", out)
	}
	read += 0.5
	got := []float64{
		d.sum(clock, "ConsumedReadCapacityUnits", "TableName", "Tab"), d.sum(clock, "ConsumedWriteCapacityUnits", "TableName", "Tab"),
		d.sum(clock, "ConsumedReadCapacityUnits", "TableName", "Tab", "GlobalSecondaryIndexName", "gsi"),
		d.sum(clock, "ConsumedWriteCapacityUnits", "TableName", "Tab", "GlobalSecondaryIndexName", "gsi"),
	}
	if want := []float64{read, written, gsiRead, gsiWritten}; !slices.Equal(got, want) {
		t.Errorf("the metrics add up to %v, want %v", got, want)
	}
}

// TestThrottledReads throttles every kind of read.
func TestThrottledReads(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	d.must("CreateTable", provisioned("Tab", 1, 100))
	d.must("PutItem", putOf("Tab", 1)(0))
	other := provisioned("Other", 10, 10)
	d.must("CreateTable", other)
	d.must("PutItem", putOf("Other", 1)(0))
	d.until(exceeded, "GetItem", func(int) any { return obj{"TableName": "Tab", "Key": obj{"pk": s("0")}} })
	key := obj{"pk": s("0")}
	for operation, in := range map[string]obj{
		"Query":            {"TableName": "Tab", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": obj{":p": s("0")}},
		"Scan":             {"TableName": "Tab"},
		"ExecuteStatement": {"Statement": "SELECT * FROM Tab WHERE pk = '0'"},
		"BatchGetItem":     {"RequestItems": obj{"Tab": obj{"Keys": []obj{key}}}},
	} {
		d.refused(exceeded, "The level of configured provisioned throughput for the table was exceeded.", operation, in)
	}
	for operation, in := range map[string]obj{
		"TransactGetItems":   {"TransactItems": []obj{{"Get": obj{"TableName": "Tab", "Key": key}}, {"Get": obj{"TableName": "Other", "Key": key}}}},
		"ExecuteTransaction": {"TransactStatements": []obj{{"Statement": "SELECT * FROM Tab WHERE pk = '0'"}, {"Statement": "SELECT * FROM Other WHERE pk = '0'"}}},
	} {
		d.refused("TransactionCanceledException", "[ProvisionedThroughputExceeded, None]", operation, in)
	}
	out := d.must("BatchGetItem", obj{"RequestItems": obj{"Tab": obj{"Keys": []obj{key}, "ConsistentRead": true}, "Other": obj{"Keys": []obj{key}}}})
	left, found := out["UnprocessedKeys"].(obj), out["Responses"].(obj)
	if want := (obj{"Tab": obj{"Keys": []any{obj{"pk": obj{"S": "0"}}}, "ConsistentRead": true}}); !reflect.DeepEqual(left, want) || len(found["Other"].([]any)) != 1 {
		t.Errorf("a batch of two tables: %v", out)
	}
	batch := d.must("BatchExecuteStatement", obj{"Statements": []obj{{"Statement": "SELECT * FROM Tab WHERE pk = '0'"}}})
	if code := batch["Responses"].([]any)[0].(obj)["Error"].(obj)["Code"]; code != "ProvisionedThroughputExceeded" {
		t.Errorf("a batch of statements: %v", batch)
	}
	clock.Advance(time.Hour)
	if _, err := d.call("Scan", obj{"TableName": "Tab"}); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}
