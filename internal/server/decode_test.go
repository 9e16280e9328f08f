package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

// many returns n parts joined by commas.
func many(n int, part func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = part(i)
	}
	return strings.Join(parts, ",")
}

// TestManyElements fills every list and map that operations traverse with many elements, and checks the answers and that
// allocations stay proportional to the request's size.
func TestManyElements(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", smallTable("many"))
	d.must("PutItem", obj{"TableName": "many", "Item": obj{"id": s("a"), "n1": n(1)}})
	const key = `"TableName":"many","Key":{"id":{"S":"a"}}`
	tooMany := func(path string, bound int) string {
		return fmt.Sprintf("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", path, bound)
	}
	entry := func(format string) func(int) string {
		return func(i int) string { return fmt.Sprintf(format, i) }
	}
	// Expressions of nearly 4 KB: one with many paths, one with many parentheses.
	paths, parentheses := "id", strings.Repeat("(", 4000)
	for i := 0; len(paths) < 4000; i++ {
		paths += fmt.Sprintf(",x%d", i)
	}
	for _, c := range []struct {
		operation, body, want string // want is the beginning of a ValidationException; "" means success
	}{
		{"GetItem", `{` + key + `,"ProjectionExpression":"#a1","ExpressionAttributeNames":{` + many(80000, entry(`"#a%d":"a"`)) + `}}`, tooMany("expressionAttributeNames", 10000)},
		{"GetItem", `{` + key + `,"ProjectionExpression":"#a1","ExpressionAttributeNames":{` + many(9999, entry(`"#a%d":"a"`)) + `}}`,
			"Value provided in ExpressionAttributeNames unused in expressions: keys: {#a0, #a2, #a3"},
		{"GetItem", `{` + key + `,"ProjectionExpression":"#a1","ExpressionAttributeNames":{` + many(80000, func(int) string { return `"#a1":"a"` }) + `}}`, ""},
		{"GetItem", `{` + key + `,"AttributesToGet":[` + many(9999, entry(`"n%d"`)) + `]}`, ""},
		{"GetItem", `{` + key + `,"AttributesToGet":[` + many(9999, entry(`"n%d"`)) + `,"n7"]}`, "One or more parameter values were invalid: Duplicate value in attribute name: n7"},
		{"GetItem", `{` + key + `,"ProjectionExpression":"` + paths + `"}`, ""},
		{"TransactGetItems", `{"TransactItems":[` + many(100, func(i int) string {
			return fmt.Sprintf(`{"Get":{"TableName":"many","Key":{"id":{"S":"a%d"}},"ProjectionExpression":"%s"}}`, i, paths)
		}) + `]}`, ""},
		{"TransactWriteItems", `{"TransactItems":[` + many(100, func(i int) string {
			return fmt.Sprintf(`{"Delete":{"TableName":"many","Key":{"id":{"S":"a%d"}},"ConditionExpression":"%s"}}`, i, parentheses)
		}) + `]}`, `Invalid ConditionExpression: Syntax error; token: "<EOF>", near: "("`},
		{"TransactWriteItems", `{"TransactItems":[` + many(40000, func(int) string { return `{"Delete":{}}` }) + `]}`, "10 validation errors detected: Value '[TransactWriteItem(conditionCheck=null, put=null, delete=Delete("},
		{"BatchGetItem", `{"RequestItems":{` + many(40000, entry(`"t%d":{}`)) + `}}`, "10 validation errors detected: Value '{\"t0\":{},"},
		{"BatchWriteItem", `{"RequestItems":{` + many(40000, entry(`"t%d":[{}]`)) + `}}`, "1 validation error detected: Value '{t4=[WriteRequest("},
		{"PutItem", `{"TableName":"many","Item":{"id":{"S":"a"}},"Expected":{` + many(40000, entry(`"x%d":{"Exists":false}`)) + `}}`, tooMany("expected", 10000)},
		{"PutItem", `{"TableName":"many","Item":{"id":{"S":"a"}},"Expected":{` + many(9999, entry(`"x%d":{"Exists":false}`)) + `}}`, ""},
		{"UpdateItem", `{` + key + `,"AttributeUpdates":{` + many(9999, entry(`"x%d":{"Value":{"N":"1"}}`)) + `}}`, ""},
		{"Query", `{"TableName":"many","KeyConditions":{` + many(40000, entry(`"x%d":{"ComparisonOperator":"EQ"}`)) + `}}`, tooMany("keyConditions", 10000)},
		{"Query", `{"TableName":"many","KeyConditions":{` + many(9999, entry(`"x%d":{"ComparisonOperator":"EQ"}`)) + `}}`, "Conditions can be of length 1 or 2 only"},
		{"Scan", `{"TableName":"many","ScanFilter":{` + many(9999, entry(`"x%d":{"ComparisonOperator":"NULL"}`)) + `}}`, ""},
		{"CreateTable", `{"TableName":"wide","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"a","KeyType":"HASH"}],"AttributeDefinitions":[` +
			many(10000, entry(`{"AttributeName":"a%d","AttributeType":"S"}`)) + `]}`, tooMany("attributeDefinitions", 1000)},
		{"TagResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/many","Tags":[` + many(10000, entry(`{"Key":"k%d","Value":""}`)) + `]}`, "Number of Tags exceed the current limit for the provided ResourceArn"},
		{"ExecuteStatement", `{"Statement":"SELECT ` + strings.TrimSuffix(strings.Repeat(`\"#a\",`, 1100), ",") + ` FROM many"}`, "Duplicate identifiers in select clause: #a"},
		{"ExecuteStatement", `{"Statement":"SELECT ` + many(1000, entry(`\"#%d\"`)) + ` FROM many"}`, ""},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM many WHERE ` + many(1, func(int) string { return "id IN ['a'" + strings.Repeat(",'a'", 99) + "]" }) + `"}`, "Overlapping conditions with range keys are not supported in where clause"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM many WHERE id='0'` + strings.ReplaceAll(many(500, entry(` OR id='%d'`)), ",", "") + `"}`, "The expression contains too many operators; operator count: 301"},
		{"ExecuteStatement", `{"Statement":"` + strings.Repeat("x", 1<<20) + `"}`, "1 validation error detected: Value 'xxxx"},
		{"GraniteServiceVersion20100801.PutMetricData", `{"Namespace":"n","MetricData":[` + many(400000, func(int) string { return "{}" }) + `]}`, tooMany("metricData", 2000)},
		{"GraniteServiceVersion20100801.PutMetricData", `{"Namespace":"n","MetricData":[` + many(1001, func(int) string { return `{"MetricName":"m","Value":1}` }) + `]}`,
			"The collection MetricData must not have a size greater than 1000."},
	} {
		t.Run(c.operation, func(t *testing.T) {
			var err error
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err = d.runJSON(c.operation, []byte(c.body))
			runtime.ReadMemStats(&after)
			var refused *awserr.Error
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%.80s…: %.200v", c.body, err)
			case c.want != "" && (!errors.As(err, &refused) || !strings.HasPrefix(refused.Message, c.want)):
				t.Errorf("%.80s…: %.200v, want %s", c.body, err, c.want)
			}
			// Trees of conditions and paths take up to a hundred times their text, which has at most 4 KB for each of 100 items.
			if got, bound := after.TotalAlloc-before.TotalAlloc, uint64(40<<20+16*len(c.body)); got > bound {
				t.Errorf("%.80s…: %d bytes allocate %d", c.body, len(c.body), got)
			}
		})
	}
}

// runJSON decodes and runs an operation without the network.
func (d *db) runJSON(operation string, body []byte) error {
	if !strings.Contains(operation, ".") {
		operation = "DynamoDB_20120810." + operation
	}
	i := slices.IndexFunc(d.handlers, func(h smithy.Handler) bool { return h.Target == operation })
	call := &smithy.Call{Caller: smithy.Caller{Account: "000000000000", Region: "us-east-1"}, Time: time.Now()}
	defer call.Release()
	in, bad := d.handlers[i].Decode(call, body)
	if bad != nil {
		return bad
	}
	_, err := d.handlers[i].Run(context.Background(), call, in)
	return err
}
