package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-dax-go-v2/dax"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// daxClient returns a DAX client for the endpoint in an environment variable.
func daxClient(t *testing.T, variable, key, secret string) *dax.Dax {
	t.Helper()
	e := os.Getenv(variable)
	if e == "" {
		t.Fatal(variable + " is not set")
	}
	cfg := dax.DefaultConfig()
	cfg.HostPorts = []string{e}
	cfg.Region = "us-east-1"
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key, secret, "")
	cfg.RequestTimeout = 20 * time.Second
	c, err := dax.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// daxTables creates two identical tables, one for each client, with a numeric sort key, a GSI and an LSI.
func daxTables(t *testing.T, db *dynamodb.Client) (viaSDK, viaDAX string) {
	t.Helper()
	base := "dax-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for _, name := range []string{base + "-sdk", base + "-dax"} {
		_, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName:   aws.String(name),
			BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeN},
				{AttributeName: aws.String("g"), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String("l"), AttributeType: types.ScalarAttributeTypeB},
			},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
			},
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
				IndexName: aws.String("by-g"), KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("g"), KeyType: types.KeyTypeHash}},
				Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
			}},
			LocalSecondaryIndexes: []types.LocalSecondaryIndex{{
				IndexName: aws.String("by-l"), KeySchema: []types.KeySchemaElement{
					{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("l"), KeyType: types.KeyTypeRange},
				},
				Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := dynamodb.NewTableExistsWaiter(db).Wait(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(name)}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	return base + "-sdk", base + "-dax"
}

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func bin(s string) types.AttributeValue { return &types.AttributeValueMemberB{Value: []byte(s)} }

func keyOf(pk, sk string) item { return item{"pk": str(pk), "sk": num(sk)} }

func with(it item, more item) item {
	out := maps.Clone(it)
	maps.Copy(out, more)
	return out
}

// everything has a value of each type.
var everything = item{
	"s": str("text ä €"), "empty": str(""), "n": num("42"), "neg": num("-7"), "dec": num("3.25"), "big": num("12345678901234567890123456789012345678"),
	"tiny": num("1E-100"), "huge": num("1E100"), "b": bin("\x00\xff"), "t": &types.AttributeValueMemberBOOL{Value: true}, "f": &types.AttributeValueMemberBOOL{Value: false},
	"null": &types.AttributeValueMemberNULL{Value: true}, "ss": &types.AttributeValueMemberSS{Value: []string{"a", "b"}},
	"ns": &types.AttributeValueMemberNS{Value: []string{"1", "2.5"}}, "bs": &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}},
	"l1":    &types.AttributeValueMemberL{Value: []types.AttributeValue{num("1"), str("x"), &types.AttributeValueMemberM{Value: item{"q": num("2")}}}},
	"m":     &types.AttributeValueMemberM{Value: item{"k": str("v"), "deep": &types.AttributeValueMemberM{Value: item{"er": num("3")}}}},
	"count": num("1"), "a.b": str("a dot"),
}

// canonical makes answers of the two clients comparable: numbers become numbers, sets are sorted, and empty values become nil.
func canonical(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	var walk func(name string, v any) any
	walk = func(name string, v any) any {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "ResultMetadata")
			for k, e := range v {
				if v[k] = walk(k, e); v[k] == nil {
					delete(v, k)
				}
			}
			if len(v) == 0 {
				return nil
			}
		case []any:
			texts := true
			for i := range v {
				v[i] = walk("", v[i])
				_, isText := v[i].(string)
				texts = texts && isText
			}
			if texts {
				slices.SortFunc(v, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			}
			if len(v) == 0 {
				return nil
			}
		case string:
			if r, ok := new(big.Rat).SetString(v); ok && v != "" {
				return r.String()
			}
		}
		return v
	}
	return walk("", out)
}

// fault returns the code and message of an error, or "".
func fault(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		message := api.ErrorMessage()
		// The DAX client includes the error itself in its message.
		message = strings.TrimPrefix(message, "api error "+api.ErrorCode()+": ")
		return api.ErrorCode() + ": " + message
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// answer is the result of a call.
type answer struct {
	out any
	err error
}

func of[T any](out *T, err error) answer {
	if err != nil {
		return answer{nil, err}
	}
	return answer{*out, nil}
}

// TestDAX sends the same requests through the SDK and through DAX, to identical tables, and compares the results. It leaves out requests
// that the DAX client itself refuses, in its own words.
func TestDAX(t *testing.T) {
	sdk := client(endpoint(t), "test", "test")
	accelerated := daxClient(t, "STATOR_DAX_ENDPOINT", "test", "test")
	viaSDK, viaDAX := daxTables(t, sdk)
	var cached dax.DynamoDBAPI = accelerated
	missing := "there-is-no-such-table"

	compare := func(name string, call func(db dax.DynamoDBAPI, table *string) answer) {
		t.Helper()
		want, got := call(sdk, aws.String(viaSDK)), call(cached, aws.String(viaDAX))
		for range 2 { // the second time from the caches: only reads are repeatable, and only they are cached
			if !strings.HasPrefix(name, "read:") {
				break
			}
			again := call(cached, aws.String(viaDAX))
			if fmt.Sprint(canonical(t, again.out)) != fmt.Sprint(canonical(t, got.out)) && !strings.Contains(name, "capacity") {
				t.Errorf("%s: the cache returns %v, not %v", name, canonical(t, again.out), canonical(t, got.out))
			}
		}
		// Only the names of the tables may differ.
		rename := func(v any) string { return strings.ReplaceAll(fmt.Sprint(v), viaSDK, viaDAX) }
		if w, g := rename(fault(want.err)), fault(got.err); w != g {
			t.Errorf("%s: error\n got %s\nwant %s", name, g, w)
		}
		if w, g := rename(canonical(t, want.out)), rename(canonical(t, got.out)); w != g {
			t.Errorf("%s:\n got %s\nwant %s", name, g, w)
		}
	}

	// Writes and their return values.
	numbers := []string{"0", "1", "-1", "5", "12", "100", "1234", "-0.5", "0.5", "3.14", "99.99", "111122223333444445555.66667777", "1E20", "-123456789", "1E-60"}
	for _, n := range numbers {
		compare("put "+n, func(db dax.DynamoDBAPI, table *string) answer {
			return of(db.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: with(keyOf("numbers", n), item{"g": str("g1"), "l": bin("l" + n)})}))
		})
	}
	put := func(name string, in dynamodb.PutItemInput) {
		compare("put "+name, func(db dax.DynamoDBAPI, table *string) answer {
			in := in
			in.TableName = table
			return of(db.PutItem(ctx, &in))
		})
	}
	put("everything", dynamodb.PutItemInput{Item: with(keyOf("a", "1"), everything)})
	put("only a key", dynamodb.PutItemInput{Item: keyOf("a", "2")})
	put("old", dynamodb.PutItemInput{Item: with(keyOf("a", "2"), item{"x": num("1")}), ReturnValues: types.ReturnValueAllOld})
	put("older", dynamodb.PutItemInput{Item: with(keyOf("a", "2"), everything), ReturnValues: types.ReturnValueAllOld, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes, ReturnItemCollectionMetrics: types.ReturnItemCollectionMetricsSize})
	put("bad return values", dynamodb.PutItemInput{Item: keyOf("a", "2"), ReturnValues: types.ReturnValueAllNew})
	put("a condition that holds", dynamodb.PutItemInput{
		Item: with(keyOf("a", "3"), item{"x": num("1")}), ConditionExpression: aws.String("attribute_not_exists(pk) AND NOT (#x = :v OR size(s) > :v)"),
		ExpressionAttributeNames: map[string]string{"#x": "x"}, ExpressionAttributeValues: item{":v": num("3")},
	})
	put("a condition that fails", dynamodb.PutItemInput{
		Item: keyOf("a", "3"), ConditionExpression: aws.String("x IN (:a, :b) OR x BETWEEN :b AND :c OR begins_with(s, :s) OR contains(ss, :s) OR attribute_type(n, :t) OR x <> :d"),
		ExpressionAttributeValues: item{":a": num("2"), ":b": num("3"), ":c": num("4"), ":d": num("1"), ":s": str("q"), ":t": str("S")},
	})
	put("an empty index key", dynamodb.PutItemInput{Item: with(keyOf("a", "4"), item{"g": str("")})})
	put("a wrong index key", dynamodb.PutItemInput{Item: with(keyOf("a", "4"), item{"g": num("1")})})
	put("too large", dynamodb.PutItemInput{Item: with(keyOf("a", "4"), item{"x": str(strings.Repeat("x", 400<<10))})})
	put("an empty set", dynamodb.PutItemInput{Item: with(keyOf("a", "4"), item{"x": &types.AttributeValueMemberSS{Value: []string{"a", "a"}}})})
	put("a large one", dynamodb.PutItemInput{Item: with(keyOf("large", "1"), item{"x": str(strings.Repeat("x", 390<<10))})})
	compare("put nowhere", func(db dax.DynamoDBAPI, _ *string) answer {
		return of(db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &missing, Item: keyOf("a", "1")}))
	})

	// Reads of single items.
	get := func(name string, in dynamodb.GetItemInput) {
		compare("read: get "+name, func(db dax.DynamoDBAPI, table *string) answer {
			in := in
			in.TableName = table
			return of(db.GetItem(ctx, &in))
		})
	}
	for _, n := range numbers {
		get(n, dynamodb.GetItemInput{Key: keyOf("numbers", n)})
	}
	get("everything", dynamodb.GetItemInput{Key: keyOf("a", "1")})
	get("equal numbers", dynamodb.GetItemInput{Key: keyOf("a", "1.0")})
	get("consistent", dynamodb.GetItemInput{Key: keyOf("a", "1"), ConsistentRead: aws.Bool(true)})
	get("nothing", dynamodb.GetItemInput{Key: keyOf("nothing", "1")})
	get("nothing consistently, capacity", dynamodb.GetItemInput{Key: keyOf("nothing", "1"), ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	get("capacity of a miss", dynamodb.GetItemInput{Key: keyOf("nothing", "9"), ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes})
	get("projected", dynamodb.GetItemInput{Key: keyOf("a", "1"), ProjectionExpression: aws.String("s, m.deep.er, l1[2].q, #d, nope"), ExpressionAttributeNames: map[string]string{"#d": "a.b"}})
	get("projected, lists", dynamodb.GetItemInput{Key: keyOf("a", "1"), ProjectionExpression: aws.String("l1[1], l1[0], pk")})
	get("projected to nothing", dynamodb.GetItemInput{Key: keyOf("a", "1"), ProjectionExpression: aws.String("nope")})
	get("projected consistently", dynamodb.GetItemInput{Key: keyOf("a", "1"), ProjectionExpression: aws.String("m"), ConsistentRead: aws.Bool(true)})
	get("overlapping paths", dynamodb.GetItemInput{Key: keyOf("a", "1"), ProjectionExpression: aws.String("m, m.k")})
	get("an empty key", dynamodb.GetItemInput{Key: item{"pk": str(""), "sk": num("1")}})
	get("the large one", dynamodb.GetItemInput{Key: keyOf("large", "1")})
	compare("get from nowhere", func(db dax.DynamoDBAPI, _ *string) answer {
		return of(db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &missing, Key: keyOf("a", "1")}))
	})

	// Updates.
	update := func(name string, in dynamodb.UpdateItemInput) {
		compare("update "+name, func(db dax.DynamoDBAPI, table *string) answer {
			in := in
			in.TableName = table
			return of(db.UpdateItem(ctx, &in))
		})
	}
	for _, rv := range types.ReturnValue("").Values() {
		update("returning "+string(rv), dynamodb.UpdateItemInput{
			Key:              keyOf("a", "1"),
			UpdateExpression: aws.String("SET l1[0] = if_not_exists(nope, :w), #c = #c + :w, m.k = :s, l1 = list_append(l1, :l) REMOVE neg, l1[2] ADD n :w, ss :ss DELETE ns :ns"),
			// A path and a part of it can't be set together.
			ExpressionAttributeNames:  map[string]string{"#c": "count"},
			ExpressionAttributeValues: item{":w": num("3"), ":s": str("new"), ":l": &types.AttributeValueMemberL{Value: []types.AttributeValue{num("9")}}, ":ss": &types.AttributeValueMemberSS{Value: []string{"c"}}, ":ns": &types.AttributeValueMemberNS{Value: []string{"1"}}},
			ReturnValues:              rv,
		})
		update("returning of its own "+string(rv), dynamodb.UpdateItemInput{
			Key:                       keyOf("a", "1"),
			UpdateExpression:          aws.String("SET l1[0] = if_not_exists(nope, :w), #c = #c - :w, m.k = :s REMOVE neg, l1[2] ADD n :w, ss :ss DELETE ns :ns"),
			ExpressionAttributeNames:  map[string]string{"#c": "count"},
			ExpressionAttributeValues: item{":w": num("3"), ":s": str("new" + string(rv)), ":ss": &types.AttributeValueMemberSS{Value: []string{"c"}}, ":ns": &types.AttributeValueMemberNS{Value: []string{"1"}}},
			ReturnValues:              rv,
		})
		get("after it "+string(rv), dynamodb.GetItemInput{Key: keyOf("a", "1")})
	}
	update("making one", dynamodb.UpdateItemInput{
		Key: keyOf("new", "1"), UpdateExpression: aws.String("SET x = :x"), ExpressionAttributeValues: item{":x": num("1.50")}, ReturnValues: types.ReturnValueUpdatedNew,
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal, ReturnItemCollectionMetrics: types.ReturnItemCollectionMetricsSize,
	})
	update("without an expression", dynamodb.UpdateItemInput{Key: keyOf("new", "2"), ReturnValues: types.ReturnValueAllNew})
	update("with a condition that fails", dynamodb.UpdateItemInput{Key: keyOf("new", "1"), UpdateExpression: aws.String("SET x = :x"), ConditionExpression: aws.String("x = :x"), ExpressionAttributeValues: item{":x": num("7")}})
	update("of a key", dynamodb.UpdateItemInput{Key: keyOf("new", "1"), UpdateExpression: aws.String("SET sk = :x"), ExpressionAttributeValues: item{":x": num("7")}})
	update("of a wrong type", dynamodb.UpdateItemInput{Key: keyOf("a", "1"), UpdateExpression: aws.String("SET s = s + :x"), ExpressionAttributeValues: item{":x": num("7")}})

	// Deletes.
	remove := func(name string, in dynamodb.DeleteItemInput) {
		compare("delete "+name, func(db dax.DynamoDBAPI, table *string) answer {
			in := in
			in.TableName = table
			return of(db.DeleteItem(ctx, &in))
		})
	}
	remove("with a condition that fails", dynamodb.DeleteItemInput{Key: keyOf("new", "1"), ConditionExpression: aws.String("attribute_exists(nope)")})
	remove("returning the old one", dynamodb.DeleteItemInput{Key: keyOf("new", "1"), ReturnValues: types.ReturnValueAllOld, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes, ReturnItemCollectionMetrics: types.ReturnItemCollectionMetricsSize})
	remove("again", dynamodb.DeleteItemInput{Key: keyOf("new", "1"), ReturnValues: types.ReturnValueAllOld})
	get("what is deleted", dynamodb.GetItemInput{Key: keyOf("new", "1")})

	// Queries and scans.
	query := func(name string, in dynamodb.QueryInput) {
		compare("read: query "+name, func(db dax.DynamoDBAPI, table *string) answer {
			in := in
			in.TableName = table
			return of(db.Query(ctx, &in))
		})
	}
	ofNumbers := item{":p": str("numbers")}
	query("a partition", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ofNumbers})
	query("backwards", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ofNumbers, ScanIndexForward: aws.Bool(false)})
	query("between", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p AND sk BETWEEN :a AND :b"), ExpressionAttributeValues: with(ofNumbers, item{":a": num("0"), ":b": num("12")})})
	query("less", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p AND sk < :a"), ExpressionAttributeValues: with(ofNumbers, item{":a": num("0")})})
	query("filtered", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), FilterExpression: aws.String("l > :l"), ExpressionAttributeValues: with(ofNumbers, item{":l": bin("l2")})})
	query("counted", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ofNumbers, Select: types.SelectCount})
	query("projected", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: item{":p": str("a")}, ProjectionExpression: aws.String("sk, m.k, l1[0]")})
	query("all attributes", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ofNumbers, Select: types.SelectAllAttributes})
	query("an index", dynamodb.QueryInput{IndexName: aws.String("by-g"), KeyConditionExpression: aws.String("g = :g"), ExpressionAttributeValues: item{":g": str("g1")}})
	query("a local index", dynamodb.QueryInput{IndexName: aws.String("by-l"), KeyConditionExpression: aws.String("pk = :p AND begins_with(l, :l)"), ExpressionAttributeValues: with(ofNumbers, item{":l": bin("l1")})})
	query("a local index, projected", dynamodb.QueryInput{IndexName: aws.String("by-l"), KeyConditionExpression: aws.String("pk = :p"), ProjectionExpression: aws.String("g, l"), ExpressionAttributeValues: ofNumbers})
	query("an index, projected", dynamodb.QueryInput{IndexName: aws.String("by-l"), KeyConditionExpression: aws.String("pk = :p"), Select: types.SelectAllProjectedAttributes, ExpressionAttributeValues: ofNumbers})
	query("consistently", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ofNumbers, ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes})
	query("capacity", dynamodb.QueryInput{IndexName: aws.String("by-g"), Limit: aws.Int32(7), KeyConditionExpression: aws.String("g = :g"), ExpressionAttributeValues: item{":g": str("g1")}, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes})
	query("no such index", dynamodb.QueryInput{IndexName: aws.String("nope"), KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ofNumbers})
	query("a bad condition", dynamodb.QueryInput{KeyConditionExpression: aws.String("sk = :p"), ExpressionAttributeValues: item{":p": num("1")}})
	query("a filter on the key", dynamodb.QueryInput{KeyConditionExpression: aws.String("pk = :p"), FilterExpression: aws.String("sk = :p"), ExpressionAttributeValues: ofNumbers})
	pages := func(name string, query func(db dax.DynamoDBAPI, table *string, start item) (items []item, last item, err error)) {
		compare("read: pages of "+name, func(db dax.DynamoDBAPI, table *string) answer {
			var all []item
			for start := item(nil); ; {
				items, last, err := query(db, table, start)
				if err != nil {
					return answer{nil, err}
				}
				all = append(all, items...)
				if last == nil {
					return answer{all, nil}
				}
				start = last
			}
		})
	}
	for _, index := range []*string{nil, aws.String("by-l")} {
		pages("a query "+aws.ToString(index), func(db dax.DynamoDBAPI, table *string, start item) ([]item, item, error) {
			out, err := db.Query(ctx, &dynamodb.QueryInput{TableName: table, IndexName: index, Limit: aws.Int32(2), ExclusiveStartKey: start, KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: ofNumbers})
			if err != nil {
				return nil, nil, err
			}
			return out.Items, out.LastEvaluatedKey, nil
		})
	}
	for _, index := range []*string{nil, aws.String("by-g")} {
		pages("a scan "+aws.ToString(index), func(db dax.DynamoDBAPI, table *string, start item) ([]item, item, error) {
			out, err := db.Scan(ctx, &dynamodb.ScanInput{TableName: table, IndexName: index, Limit: aws.Int32(4), ExclusiveStartKey: start, ProjectionExpression: aws.String("pk, sk, g")})
			if err != nil {
				return nil, nil, err
			}
			return out.Items, out.LastEvaluatedKey, nil
		})
	}
	scan := func(name string, in dynamodb.ScanInput) {
		compare("read: scan "+name, func(db dax.DynamoDBAPI, table *string) answer {
			in := in
			in.TableName = table
			return of(db.Scan(ctx, &in))
		})
	}
	scan("all", dynamodb.ScanInput{})
	scan("a segment", dynamodb.ScanInput{Segment: aws.Int32(1), TotalSegments: aws.Int32(3)})
	scan("a bad segment", dynamodb.ScanInput{Segment: aws.Int32(3), TotalSegments: aws.Int32(3)})
	scan("filtered and counted", dynamodb.ScanInput{FilterExpression: aws.String("attribute_exists(g)"), Select: types.SelectCount})
	scan("consistently", dynamodb.ScanInput{ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	compare("scan nothing", func(db dax.DynamoDBAPI, _ *string) answer {
		return of(db.Scan(ctx, &dynamodb.ScanInput{TableName: &missing}))
	})

	// Batches.
	batch := func(name string, asked types.KeysAndAttributes, capacity types.ReturnConsumedCapacity) {
		compare("read: batch get "+name, func(db dax.DynamoDBAPI, table *string) answer {
			out, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{*table: asked}, ReturnConsumedCapacity: capacity})
			if err == nil { // the order is undefined
				for _, items := range out.Responses {
					slices.SortFunc(items, func(a, b item) int {
						return strings.Compare(fmt.Sprint(canonical(t, a)), fmt.Sprint(canonical(t, b)))
					})
				}
			}
			return of(out, err)
		})
	}
	keys := []item{keyOf("a", "1"), keyOf("a", "2"), keyOf("numbers", "100"), keyOf("nothing", "1"), keyOf("nothing", "2")}
	batch("", types.KeysAndAttributes{Keys: keys}, "")
	batch("consistently", types.KeysAndAttributes{Keys: keys, ConsistentRead: aws.Bool(true)}, types.ReturnConsumedCapacityTotal)
	batch("projected", types.KeysAndAttributes{Keys: keys, ProjectionExpression: aws.String("m.k, pk, #g"), ExpressionAttributeNames: map[string]string{"#g": "g"}}, "")
	var tooMany []item
	for i := range 101 {
		tooMany = append(tooMany, keyOf("many", strconv.Itoa(i)))
	}
	batch("too many", types.KeysAndAttributes{Keys: tooMany}, "")
	compare("batch write", func(db dax.DynamoDBAPI, table *string) answer {
		return of(db.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
			RequestItems: map[string][]types.WriteRequest{*table: {
				{PutRequest: &types.PutRequest{Item: with(keyOf("batch", "1"), everything)}},
				{PutRequest: &types.PutRequest{Item: keyOf("batch", "2")}},
				{DeleteRequest: &types.DeleteRequest{Key: keyOf("numbers", "12")}},
			}},
			ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal, ReturnItemCollectionMetrics: types.ReturnItemCollectionMetricsSize,
		}))
	})
	batch("after it", types.KeysAndAttributes{Keys: []item{keyOf("batch", "1"), keyOf("batch", "2"), keyOf("numbers", "12")}}, "")
	// Transactions.
	compare("transaction", func(db dax.DynamoDBAPI, table *string) answer {
		return of(db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
			TransactItems: []types.TransactWriteItem{
				{Put: &types.Put{TableName: table, Item: with(keyOf("t", "1"), everything)}},
				{Update: &types.Update{TableName: table, Key: keyOf("t", "2"), UpdateExpression: aws.String("SET x = :x"), ExpressionAttributeValues: item{":x": num("5")}}},
				{Delete: &types.Delete{TableName: table, Key: keyOf("batch", "2"), ConditionExpression: aws.String("attribute_exists(pk)")}},
				{ConditionCheck: &types.ConditionCheck{TableName: table, Key: keyOf("a", "1"), ConditionExpression: aws.String("s = :s"), ExpressionAttributeValues: item{":s": str("text ä €")}}},
			},
			ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes, ReturnItemCollectionMetrics: types.ReturnItemCollectionMetricsSize,
		}))
	})
	compare("transaction get", func(db dax.DynamoDBAPI, table *string) answer {
		return of(db.TransactGetItems(ctx, &dynamodb.TransactGetItemsInput{
			TransactItems: []types.TransactGetItem{
				{Get: &types.Get{TableName: table, Key: keyOf("t", "1")}},
				{Get: &types.Get{TableName: table, Key: keyOf("t", "2"), ProjectionExpression: aws.String("x")}},
				{Get: &types.Get{TableName: table, Key: keyOf("batch", "2")}},
			},
			ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		}))
	})
	get("after a transaction", dynamodb.GetItemInput{Key: keyOf("t", "2")})
	get("after its delete", dynamodb.GetItemInput{Key: keyOf("batch", "2")})
	compare("cancelled transaction", func(db dax.DynamoDBAPI, table *string) answer {
		_, err := db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
			TransactItems: []types.TransactWriteItem{
				{Put: &types.Put{TableName: table, Item: keyOf("t", "9")}},
				{Update: &types.Update{
					TableName: table, Key: keyOf("t", "2"), UpdateExpression: aws.String("SET x = :x"), ConditionExpression: aws.String("x = :x"),
					ExpressionAttributeValues: item{":x": num("7")}, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
				}},
				{ConditionCheck: &types.ConditionCheck{TableName: table, Key: keyOf("a", "1"), ConditionExpression: aws.String("attribute_not_exists(pk)")}},
			},
		})
		var canceled *types.TransactionCanceledException
		if !errors.As(err, &canceled) {
			t.Errorf("got %v", err)
			return answer{nil, err}
		}
		return answer{canceled.CancellationReasons, nil}
	})
	token := aws.String("a-token-" + viaDAX)
	for _, x := range []string{"1", "1", "2"} {
		compare("transaction with a token "+x, func(db dax.DynamoDBAPI, table *string) answer {
			_, err := db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{ClientRequestToken: aws.String(*token + (*table)[len(*table)-3:]), TransactItems: []types.TransactWriteItem{
				{Put: &types.Put{TableName: table, Item: with(keyOf("t", "8"), item{"x": num(x)})}},
			}})
			return answer{nil, err}
		})
	}
}

// TestDAXCache: which requests are answered from the caches, and which go to the database.
func TestDAXCache(t *testing.T) {
	sdk := client(endpoint(t), "test", "test")
	db := daxClient(t, "STATOR_DAX_ENDPOINT", "test", "test")
	_, table := daxTables(t, sdk)
	around := func(sk, x string) {
		t.Helper()
		if _, err := sdk.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: with(keyOf("c", sk), item{"x": str(x)})}); err != nil {
			t.Fatal(err)
		}
	}
	x := func(sk string, consistent bool) string {
		t.Helper()
		out, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: keyOf("c", sk), ConsistentRead: aws.Bool(consistent)})
		if err != nil {
			t.Fatal(err)
		}
		if out.Item == nil {
			return "nothing"
		}
		return out.Item["x"].(*types.AttributeValueMemberS).Value
	}
	count := func() int32 {
		t.Helper()
		out, err := db.Query(ctx, &dynamodb.QueryInput{TableName: &table, KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: item{":p": str("c")}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Count
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	expect("nothing yet", x("1", false), "nothing")
	around("1", "a")
	expect("a negative entry", x("1", false), "nothing")
	expect("a consistent read passes through", x("1", true), "a")
	expect("and is not cached", x("1", false), "nothing")
	if n := count(); n != 1 {
		t.Errorf("a query finds %d", n)
	}
	if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: with(keyOf("c", "1"), item{"x": str("b")})}); err != nil {
		t.Fatal(err)
	}
	around("1", "around")
	expect("written through", x("1", false), "b")
	if _, err := db.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: &table, Key: keyOf("c", "1"), UpdateExpression: aws.String("SET x = :x"), ExpressionAttributeValues: item{":x": str("updated")}}); err != nil {
		t.Fatal(err)
	}
	around("1", "around again")
	expect("updated through", x("1", false), "updated")
	if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: with(keyOf("c", "2"), item{"x": str("b")})}); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("a repeated query finds %d, not what it found before", n)
	}
	if _, err := db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: keyOf("c", "2")}); err != nil {
		t.Fatal(err)
	}
	around("2", "behind its back")
	expect("deleted through", x("2", false), "nothing")
}

// TestDAXCredentials: with credentials, signatures are verified.
func TestDAXCredentials(t *testing.T) {
	sdk := client(os.Getenv("STATOR_AUTH_ENDPOINT"), "AKIDKNOWN", "known-secret")
	_, table := daxTables(t, sdk)
	good := daxClient(t, "STATOR_AUTH_DAX_ENDPOINT", "AKIDKNOWN", "known-secret")
	if _, err := good.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: keyOf("a", "1")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"AKIDKNOWN", "wrong"}, {"AKIDUNKNOWN", "known-secret"}} {
		bad := daxClient(t, "STATOR_AUTH_DAX_ENDPOINT", c[0], c[1])
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := bad.GetItem(limited, &dynamodb.GetItemInput{TableName: &table, Key: keyOf("a", "1")})
		cancel()
		if err == nil {
			t.Errorf("%v reads", c)
		}
	}
}

// TestDAXManyClients has many goroutines read and write their own items, each with different attributes. The client must know the table and
// the attributes beforehand: otherwise each request holds a connection while it asks for them on another one, and many that begin together
// wait for each other until the client's health check gives up (seen with 1.0.3).
func TestDAXManyClients(t *testing.T) {
	sdk := client(endpoint(t), "test", "test")
	db := daxClient(t, "STATOR_DAX_ENDPOINT", "test", "test")
	_, table := daxTables(t, sdk)
	var all sync.WaitGroup
	var failed atomic.Int64
	nameOf := func(i int) string { return fmt.Sprintf("attribute-%d", i) }
	for i := range 50 {
		if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: with(keyOf("first", "1"), item{nameOf(i): num("1")})}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := range 20 {
				key := keyOf(fmt.Sprint("many", i), strconv.Itoa(j))
				name := nameOf(i)
				if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: with(key, item{name: num(strconv.Itoa(j))})}); err != nil {
					t.Error(err)
					return
				}
				out, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key})
				if err != nil {
					t.Error(err)
					return
				}
				if v, ok := out.Item[name].(*types.AttributeValueMemberN); !ok || v.Value != strconv.Itoa(j) {
					failed.Add(1)
				}
			}
		}()
	}
	all.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d reads found something else", failed.Load())
	}
}
