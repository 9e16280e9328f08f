// Package client tests Stator with the AWS SDK for Go v2, against the server at STATOR_ENDPOINT. It is a module of its own, so that Stator
// doesn't depend on the SDK.
package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/expression"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

var ctx = context.Background()

func client(endpoint, key, secret string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(key, secret, ""),
	})
}

func endpoint(t *testing.T) string {
	t.Helper()
	e := os.Getenv("STATOR_ENDPOINT")
	if e == "" {
		t.Fatal("STATOR_ENDPOINT is not set")
	}
	return e
}

type order struct {
	Customer string   `dynamodbav:"customer"`
	Number   int      `dynamodbav:"number"`
	Total    float64  `dynamodbav:"total"`
	Status   string   `dynamodbav:"status,omitempty"`
	Lines    []string `dynamodbav:"lines"`
}

func TestSDK(t *testing.T) {
	db := client(endpoint(t), "test", "test")
	table := aws.String("go-" + strconv.FormatInt(time.Now().UnixNano(), 36))
	_, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:   table,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("customer"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("number"), AttributeType: types.ScalarAttributeTypeN},
			{AttributeName: aws.String("status"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("customer"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("number"), KeyType: types.KeyTypeRange},
		},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName:  aws.String("by-status"),
			KeySchema:  []types.KeySchemaElement{{AttributeName: aws.String("status"), KeyType: types.KeyTypeHash}},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dynamodb.NewTableExistsWaiter(db).Wait(ctx, &dynamodb.DescribeTableInput{TableName: table}, time.Minute); err != nil {
		t.Fatal(err)
	}

	put := func(o order) {
		t.Helper()
		item, err := attributevalue.MarshalMap(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		put(order{"ada", i, float64(i) * 1.5, []string{"open", "paid"}[i%2], []string{"a", "b"}})
	}
	key := map[string]types.AttributeValue{"customer": &types.AttributeValueMemberS{Value: "ada"}, "number": &types.AttributeValueMemberN{Value: "3"}}
	got, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	var o order
	if err := attributevalue.UnmarshalMap(got.Item, &o); err != nil || o.Total != 4.5 || o.Status != "paid" {
		t.Fatalf("%+v, %v", o, err)
	}

	t.Run("Query", func(t *testing.T) {
		e, err := expression.NewBuilder().
			WithKeyCondition(expression.Key("customer").Equal(expression.Value("ada")).And(expression.Key("number").GreaterThan(expression.Value(2)))).
			WithFilter(expression.Name("status").Equal(expression.Value("open"))).Build()
		if err != nil {
			t.Fatal(err)
		}
		p := dynamodb.NewQueryPaginator(db, &dynamodb.QueryInput{TableName: table, KeyConditionExpression: e.KeyCondition(), FilterExpression: e.Filter(),
			ExpressionAttributeNames: e.Names(), ExpressionAttributeValues: e.Values(), Limit: aws.Int32(2)})
		n := 0
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n += int(page.Count)
		}
		if n != 3 {
			t.Fatalf("%d items, want 3", n)
		}
		index, err := db.Query(ctx, &dynamodb.QueryInput{TableName: table, IndexName: aws.String("by-status"), KeyConditionExpression: aws.String("#s = :s"),
			ExpressionAttributeNames: map[string]string{"#s": "status"}, ExpressionAttributeValues: map[string]types.AttributeValue{":s": &types.AttributeValueMemberS{Value: "paid"}}})
		if err != nil || index.Count != 5 {
			t.Fatalf("%v, %v", index, err)
		}
	})
	t.Run("Scan", func(t *testing.T) {
		p := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: table, Limit: aws.Int32(3)})
		n := 0
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n += len(page.Items)
		}
		if n != 10 {
			t.Fatalf("%d items", n)
		}
	})
	t.Run("UpdateAndDelete", func(t *testing.T) {
		out, err := db.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: table, Key: key, UpdateExpression: aws.String("SET #t = #t + :x"), ExpressionAttributeNames: map[string]string{"#t": "total"},
			ExpressionAttributeValues: map[string]types.AttributeValue{":x": &types.AttributeValueMemberN{Value: "0.5"}}, ReturnValues: types.ReturnValueAllNew})
		if err != nil || out.Attributes["total"].(*types.AttributeValueMemberN).Value != "5" {
			t.Fatalf("%v, %v", out, err)
		}
		if _, err := db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: table, Key: key}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("Batch", func(t *testing.T) {
		var writes []types.WriteRequest
		var keys []map[string]types.AttributeValue
		for i := range 25 {
			k := map[string]types.AttributeValue{"customer": &types.AttributeValueMemberS{Value: "bob"}, "number": &types.AttributeValueMemberN{Value: fmt.Sprint(i)}}
			writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: k}})
			keys = append(keys, k)
		}
		if out, err := db.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*table: writes}}); err != nil || len(out.UnprocessedItems) > 0 {
			t.Fatalf("%v, %v", out, err)
		}
		out, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{*table: {Keys: keys}}})
		if err != nil || len(out.Responses[*table]) != 25 {
			t.Fatalf("%v, %v", out, err)
		}
	})
	t.Run("Transactions", func(t *testing.T) {
		k := map[string]types.AttributeValue{"customer": &types.AttributeValueMemberS{Value: "eve"}, "number": &types.AttributeValueMemberN{Value: "1"}}
		items := []types.TransactWriteItem{{Put: &types.Put{TableName: table, Item: k, ConditionExpression: aws.String("attribute_not_exists(customer)")}}}
		if _, err := db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items}); err != nil {
			t.Fatal(err)
		}
		_, err := db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items})
		var canceled *types.TransactionCanceledException
		if !errors.As(err, &canceled) || *canceled.CancellationReasons[0].Code != "ConditionalCheckFailed" {
			t.Fatal(err)
		}
		out, err := db.TransactGetItems(ctx, &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{{Get: &types.Get{TableName: table, Key: k}}}})
		if err != nil || len(out.Responses[0].Item) != 2 {
			t.Fatalf("%v, %v", out, err)
		}
	})
	t.Run("Errors", func(t *testing.T) {
		_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: key, ConditionExpression: aws.String("attribute_exists(nothing)")})
		var failed *types.ConditionalCheckFailedException
		if !errors.As(err, &failed) {
			t.Error(err)
		}
		_, err = db.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("no-such-table"), Key: key})
		var missing *types.ResourceNotFoundException
		if !errors.As(err, &missing) {
			t.Error(err)
		}
	})
	t.Run("LiveTable", func(t *testing.T) { liveTable(t, db, table) })
	if _, err := db.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: table}); err != nil {
		t.Fatal(err)
	}
	if err := dynamodb.NewTableNotExistsWaiter(db).Wait(ctx, &dynamodb.DescribeTableInput{TableName: table}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 300 {
		if holds() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s: did not happen", what)
}

// liveTable adds an index, TTL and a stream to a table in use, and sends PartiQL to it.
func liveTable(t *testing.T, db *dynamodb.Client, table *string) {
	statement := func(text string, params ...types.AttributeValue) []map[string]types.AttributeValue {
		t.Helper()
		out, err := db.ExecuteStatement(ctx, &dynamodb.ExecuteStatementInput{Statement: aws.String(fmt.Sprintf(text, *table)), Parameters: params})
		if err != nil {
			t.Fatal(err)
		}
		return out.Items
	}
	statement(`INSERT INTO "%s" VALUE {'customer': 'live', 'number': 1, 'city': 'Oslo'}`)
	if _, err := db.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName:            table,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("city"), AttributeType: types.ScalarAttributeTypeS}},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: aws.String("by-city"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
			KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("city"), KeyType: types.KeyTypeHash}},
		}}},
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "the index", func() bool {
		out, err := db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: table})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range out.Table.GlobalSecondaryIndexes {
			if *x.IndexName == "by-city" {
				return x.IndexStatus == types.IndexStatusActive
			}
		}
		return false
	})
	if got := statement(`SELECT * FROM "%s"."by-city" WHERE city = ?`, &types.AttributeValueMemberS{Value: "Oslo"}); len(got) != 1 {
		t.Fatalf("%v", got)
	}
	out, err := db.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: table, StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{TableName: table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("until"), Enabled: aws.Bool(true)}}); err != nil {
		t.Fatal(err)
	}
	until(t, "TTL", func() bool {
		d, err := db.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: table})
		return err == nil && d.TimeToLiveDescription.TimeToLiveStatus == types.TimeToLiveStatusEnabled
	})
	statement(`INSERT INTO "%s" VALUE {'customer': 'gone', 'number': 1, 'until': ?}`, &types.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Unix()-1, 10)})
	streams := dynamodbstreams.New(dynamodbstreams.Options{Region: "us-east-1", BaseEndpoint: aws.String(endpoint(t)), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	arn := out.TableDescription.LatestStreamArn
	described, err := streams.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	it, err := streams.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{StreamArn: arn, ShardId: described.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	next := it.ShardIterator
	var seen []streamtypes.OperationType
	until(t, "the expired item's removal", func() bool {
		page, err := streams.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next})
		if err != nil {
			t.Fatal(err)
		}
		next = page.NextShardIterator
		for _, r := range page.Records {
			seen = append(seen, r.EventName)
		}
		return len(seen) == 2
	})
	if seen[0] != streamtypes.OperationTypeInsert || seen[1] != streamtypes.OperationTypeRemove {
		t.Fatalf("%v", seen)
	}
	_, err = db.ExecuteStatement(ctx, &dynamodb.ExecuteStatementInput{Statement: aws.String(fmt.Sprintf(`INSERT INTO "%s" VALUE {'customer': 'live', 'number': 1}`, *table))})
	var twice *types.DuplicateItemException
	if !errors.As(err, &twice) {
		t.Fatal(err)
	}
}

// TestSignatures uses the server at STATOR_AUTH_ENDPOINT, which knows one access key.
func TestSignatures(t *testing.T) {
	e := os.Getenv("STATOR_AUTH_ENDPOINT")
	if e == "" {
		t.Fatal("STATOR_AUTH_ENDPOINT is not set")
	}
	for _, c := range []struct{ key, secret, want string }{
		{"AKIDKNOWN", "known-secret", ""},
		{"AKIDKNOWN", "wrong-secret", "InvalidSignatureException"},
		{"AKIDNOBODY", "known-secret", "UnrecognizedClientException"},
	} {
		_, err := client(e, c.key, c.secret).ListTables(ctx, &dynamodb.ListTablesInput{})
		var api interface{ ErrorCode() string }
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v: %v", c, err)
		case c.want != "" && (!errors.As(err, &api) || api.ErrorCode() != c.want):
			t.Errorf("%v: %v", c, err)
		}
	}
}
