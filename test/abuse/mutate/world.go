package mutate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// world is what the requests so far have created and learned.
type world struct {
	// pool has the latest values of members in requests and answers, by member name.
	pool map[string][]any
	last map[string]obj // LastEvaluatedKey by table and index
}

// maxPool is how many values of a member are kept.
const maxPool = 12

// aliases are other names under which values of a member are used.
var aliases = map[string]string{
	"LatestStreamArn": "StreamArn", "NextShardIterator": "ShardIterator", "BackupArn": "BackupArn", "SourceBackupArn": "BackupArn", "TableArn": "ResourceArn",
	"LastEvaluatedTableName": "ExclusiveStartTableName", "LastEvaluatedStreamArn": "ExclusiveStartStreamArn", "LastEvaluatedBackupArn": "ExclusiveStartBackupArn", "LastEvaluatedShardId": "ExclusiveStartShardId",
	"LastEvaluatedKey": "ExclusiveStartKey", "StartingSequenceNumber": "SequenceNumber", "InsightRuleName": "RuleName", "Name": "RuleName", "AlarmArn": "ResourceARN",
}

// learn records the members of a request or answer.
func (w *world) learn(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			member := v[name]
			if len(name) > 40 || len(v) > 40 {
				continue
			}
			w.keep(name, member)
			w.learn(member)
		}
	case []any:
		for _, e := range v[:min(len(v), 5)] {
			w.learn(e)
		}
	}
}

func (w *world) keep(name string, v any) {
	if s, ok := v.(string); ok && len(s) > 2000 || v == nil {
		return
	}
	for _, n := range []string{name, aliases[name]} {
		if n == "" {
			continue
		}
		list := append(w.pool[n], v)
		w.pool[n] = list[max(0, len(list)-maxPool):]
	}
}

// lastKey returns where the last page of a table or index ended, or nil.
func (w *world) lastKey(table, index string) obj { return w.last[table+" "+index] }

// learnPage records where a page of Query or Scan ended.
func (w *world) learnPage(in, answer obj) {
	if key, ok := answer["LastEvaluatedKey"].(obj); ok {
		name := fmt.Sprint(in["TableName"])
		w.last[name[strings.LastIndex(name, "/")+1:]+" "+fmt.Sprint(in["IndexName"])] = key
	}
}

// beginnings returns the requests that create a world.
func beginnings() (out []request) {
	add := func(target string, body obj) { out = append(out, request{target: target, body: body}) }
	dynamo := func(operation string, body obj) { add("DynamoDB_20120810."+operation, body) }
	for _, t := range tables {
		types := map[string]bool{t.pk: true}
		keySchema := func(pk, sk string) []any {
			types[pk] = true
			s := []any{obj{"AttributeName": pk, "KeyType": "HASH"}}
			if sk != "" {
				types[sk] = true
				s = append(s, obj{"AttributeName": sk, "KeyType": "RANGE"})
			}
			return s
		}
		in := obj{"TableName": t.name, "KeySchema": keySchema(t.pk, t.sk), "BillingMode": "PAY_PER_REQUEST"}
		throughput := obj{"ReadCapacityUnits": 50, "WriteCapacityUnits": 50}
		if t.name == "prov" {
			in["BillingMode"], in["ProvisionedThroughput"] = "PROVISIONED", throughput
		}
		if t.name == "hash" || t.name == "range" {
			in["StreamSpecification"] = obj{"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"}
		}
		var global, local []any
		for _, i := range t.indexes {
			x := obj{"IndexName": i.name, "KeySchema": keySchema(i.pk, i.sk), "Projection": obj{"ProjectionType": "ALL"}}
			if i.name == "local" {
				x["Projection"] = obj{"ProjectionType": "INCLUDE", "NonKeyAttributes": []any{"s", "x"}}
				local = append(local, x)
				continue
			}
			if t.name == "prov" {
				x["ProvisionedThroughput"] = throughput
			}
			global = append(global, x)
		}
		if global != nil {
			in["GlobalSecondaryIndexes"] = global
		}
		if local != nil {
			in["LocalSecondaryIndexes"] = local
		}
		defs := []any{}
		for _, name := range sorted(types) {
			defs = append(defs, obj{"AttributeName": name, "AttributeType": keyTypes[name]})
		}
		in["AttributeDefinitions"] = defs
		dynamo("CreateTable", in)
	}
	dynamo("UpdateTimeToLive", obj{"TableName": "hash", "TimeToLiveSpecification": obj{"AttributeName": "exp", "Enabled": true}})
	dynamo("UpdateContinuousBackups", obj{"TableName": "range", "PointInTimeRecoverySpecification": obj{"PointInTimeRecoveryEnabled": true}})
	dynamo("UpdateContributorInsights", obj{"TableName": "range", "ContributorInsightsAction": "ENABLE"})
	g := &gen{Source: Seed(1, 1), w: newWorld()}
	for range 60 {
		t := g.table()
		dynamo("PutItem", obj{"TableName": t.name, "Item": g.item(t)})
	}
	dynamo("CreateBackup", obj{"TableName": "range", "BackupName": "backup"})
	dynamo("ListBackups", obj{})
	dynamo("ExportTableToPointInTime", obj{"TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/range", "S3Bucket": "bucket"})
	dynamo("ImportTable", obj{"S3BucketSource": obj{"S3Bucket": "bucket", "S3KeyPrefix": "items.json"}, "InputFormat": "DYNAMODB_JSON", "TableCreationParameters": obj{"TableName": "imported",
		"BillingMode": "PAY_PER_REQUEST", "KeySchema": []any{obj{"AttributeName": "pk", "KeyType": "HASH"}}, "AttributeDefinitions": []any{obj{"AttributeName": "pk", "AttributeType": "S"}}}})
	dynamo("StartBulkPutItems", obj{"TableName": "range", "InputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "items.json", "InputFormat": "DYNAMODB_JSON"}, "OutputS3Configuration": obj{"OutputType": []any{"ERROR"}}})
	add("DynamoDBStreams_20120810.ListStreams", obj{})
	add("GraniteServiceVersion20100801.PutMetricData", obj{"Namespace": "own", "MetricData": []any{obj{"MetricName": "own", "Value": 1, "Dimensions": []any{obj{"Name": "d", "Value": "0"}}}}})
	add("GraniteServiceVersion20100801.PutMetricAlarm", obj{"AlarmName": "alarm-0", "Namespace": "own", "MetricName": "own", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"})
	add("GraniteServiceVersion20100801.DescribeAlarms", obj{})
	add("GraniteServiceVersion20100801.DescribeInsightRules", obj{})
	for _, d := range []string{"dynamodb:table:ReadCapacityUnits", "dynamodb:table:WriteCapacityUnits"} {
		add("AnyScaleFrontendService.RegisterScalableTarget", obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/prov", "ScalableDimension": d, "MinCapacity": 1, "MaxCapacity": 50})
	}
	add("AnyScaleFrontendService.DescribeScalableTargets", obj{"ServiceNamespace": "dynamodb"})
	add("AmazonDAXV3.CreateParameterGroup", obj{"ParameterGroupName": "group"})
	add("AmazonDAXV3.CreateSubnetGroup", obj{"SubnetGroupName": "subnets", "SubnetIds": []any{"subnet-1"}})
	for i := range 2 {
		add("AmazonDAXV3.CreateCluster", obj{"ClusterName": fmt.Sprint("cluster-", i), "NodeType": "dax.r5.large", "ReplicationFactor": 2, "IamRoleArn": "arn:aws:iam::000000000000:role/dax"})
	}
	return out
}

func newWorld() *world { return &world{pool: map[string][]any{}, last: map[string]obj{}} }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func copied(m obj) obj { return maps.Clone(m) }

// render returns a value in JSON, with sorted members.
func render(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // values consist of JSON types
	}
	return string(b)
}

// mentions reports whether an expression contains the attribute, directly or by a placeholder.
func mentions(expression string, names obj, attribute string) bool {
	for p, n := range names {
		if n == attribute && strings.Contains(expression+" ", p) {
			return true
		}
	}
	return strings.Contains(expression, attribute)
}
