package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/test/request"
)

// account is a caller with an access key of its own.
type account struct {
	t           *testing.T
	server      *Server
	key, secret string
	id          string // twelve digits
	credentials string // path of the server's credentials file
}

const (
	accountA = "111111111111"
	accountB = "222222222222"
	secretA  = "SECRET-KEY-OF-A"
	secretB  = "SECRET-KEY-OF-B"
)

// credentials writes a credentials file with one key of account A and two of account B. B's second key is an operator's.
func credentials(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "credentials.json")
	text := `[{"accessKeyId":"A","secretAccessKey":"` + secretA + `","account":"` + accountA + `"},
		{"accessKeyId":"B","secretAccessKey":"` + secretB + `","account":"` + accountB + `"},
		{"accessKeyId":"OPERATOR","secretAccessKey":"` + secretB + `","account":"` + accountB + `","operator":true}]`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// strangers opens a server that knows two accounts.
func strangers(t *testing.T, opt Options) (a, b account) {
	t.Helper()
	opt.CredentialsFile = credentials(t)
	d := open(t, opt)
	return account{t, d.Server, "A", secretA, accountA, opt.CredentialsFile}, account{t, d.Server, "B", secretB, accountB, opt.CredentialsFile}
}

// signingNames maps the target prefixes of APIs to the service names that signatures cover.
var signingNames = map[string]string{
	"DynamoDB_20120810": "dynamodb", "DynamoDBStreams_20120810": "dynamodb", "Stator_20261101": "dynamodb",
	"GraniteServiceVersion20100801": "monitoring", "AnyScaleFrontendService": "application-autoscaling", "AmazonDAXV3": "dax", "IAM": "iam", "STS": "sts",
}

// request returns a request signed by the account.
func (a account) request(target string, in any) *http.Request {
	a.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		a.t.Fatal(err)
	}
	req, err := http.NewRequest("POST", a.server.URL()+"/", bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	prefix, _, _ := strings.Cut(target, ".")
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	if err := request.Sign(req, body, a.key, a.secret, signingNames[prefix]); err != nil {
		a.t.Fatal(err)
	}
	return req
}

// send returns the answer to a request, or the name and message of the exception.
func (a account) send(req *http.Request) (answer string, code, message string) {
	a.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if res.StatusCode >= 500 {
		a.t.Errorf("%s answers %d: %s", req.Header.Get("X-Amz-Target"), res.StatusCode, raw)
	}
	if res.StatusCode == 200 {
		return cmp.Or(string(raw), "{}"), "", "" // TagResource has no output
	}
	var e struct {
		Type    string `json:"__type"`
		Message string
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		a.t.Fatalf("%s: %v", raw, err)
	}
	return string(raw), e.Type[strings.LastIndexByte(e.Type, '#')+1:], e.Message
}

// targetOf completes the name of a DynamoDB operation to a target.
func targetOf(operation string) string {
	switch {
	case strings.Contains(operation, "."):
		return operation
	case slices.Contains([]string{"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}, operation):
		return "DynamoDBStreams_20120810." + operation
	}
	return "DynamoDB_20120810." + operation
}

func (a account) must(operation string, in any) obj {
	a.t.Helper()
	answer, code, message := a.send(a.request(targetOf(operation), in))
	if code != "" {
		a.t.Fatalf("%s: %s: %s", operation, code, message)
	}
	var out obj
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		a.t.Fatal(err)
	}
	return out
}

const (
	denied = "AccessDeniedException"
	own    = "" // the request can't name resources of others, so whatever it returns is the caller's own
)

// attempt is a request by account B that names resources of account A, and the exception that must answer it.
type attempt struct {
	in   any
	want string
}

// owned holds the names of account A's resources.
type owned struct {
	table, stream, iterator, backup, export, imported, bulk string
	alarm, target, cluster                                  string
}

const (
	cloudWatch   = "GraniteServiceVersion20100801."
	scaling      = "AnyScaleFrontendService."
	acceleration = "AmazonDAXV3."
	streams      = "DynamoDBStreams_20120810."
	dynamo       = "DynamoDB_20120810."
	private      = "Stator_20261101."
)

var scalable = obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/shared", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}

// owner creates resources of every kind. Whatever other accounts must not read contains the word "classified".
func owner(a account, buckets string) (o owned) {
	name := obj{"TableName": "shared"}
	a.must("CreateTable", obj{
		"TableName": "shared", "AttributeDefinitions": []obj{attr("pk", "S"), attr("g", "S")}, "KeySchema": keys("pk"),
		"ProvisionedThroughput":  obj{"ReadCapacityUnits": 100, "WriteCapacityUnits": 100},
		"GlobalSecondaryIndexes": []obj{{"IndexName": "by-g", "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "ALL"}, "ProvisionedThroughput": obj{"ReadCapacityUnits": 10, "WriteCapacityUnits": 10}}},
		"StreamSpecification":    obj{"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
		"Tags":                   []obj{{"Key": "classified", "Value": "classified"}},
	})
	o.table = "arn:aws:dynamodb:us-east-1:" + a.id + ":table/shared"
	a.must("UpdateContinuousBackups", with(name, obj{"PointInTimeRecoverySpecification": obj{"PointInTimeRecoveryEnabled": true}}))
	a.must("PutItem", with(name, obj{"Item": obj{"pk": s("k"), "g": s("g"), "v": s("classified")}}))
	a.must("PutResourcePolicy", obj{"ResourceArn": o.table, "Policy": `{"Statement":{"Sid":"classified","Effect":"Deny","Principal":"*","Action":"dynamodb:Scan","Resource":"*"}}`})
	o.stream = list(a.must("ListStreams", name)["Streams"])[0]["StreamArn"].(string)
	shard := list(a.must("DescribeStream", obj{"StreamArn": o.stream})["StreamDescription"].(obj)["Shards"])[0]["ShardId"]
	o.iterator = a.must("GetShardIterator", obj{"StreamArn": o.stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"})["ShardIterator"].(string)
	o.backup = field(a.must("CreateBackup", with(name, obj{"BackupName": "classified"})), "BackupDetails.BackupArn").(string)
	o.export = field(a.must("ExportTableToPointInTime", obj{"TableArn": o.table, "S3Bucket": "bucket", "S3Prefix": "classified", "ClientToken": "token"}), "ExportDescription.ExportArn").(string)
	eventually(a.t, "the export to end", func() bool {
		return field(a.must("DescribeExport", obj{"ExportArn": o.export}), "ExportDescription.ExportStatus") == "COMPLETED"
	})
	o.imported = field(a.must("ImportTable", obj{
		"S3BucketSource": obj{"S3Bucket": "bucket", "S3KeyPrefix": "classified/"}, "InputFormat": "DYNAMODB_JSON", "InputCompressionType": "GZIP", "ClientToken": "token",
		"TableCreationParameters": obj{"TableName": "imported", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST"},
	}), "ImportTableDescription.ImportArn").(string)
	o.bulk = field(a.must("StartBulkPutItems", with(name, obj{
		"InputS3Configuration":  obj{"S3Bucket": "bucket", "S3KeyPrefix": "nothing", "InputFormat": "DYNAMODB_JSON"},
		"OutputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "classified", "OutputType": []string{"ERROR"}}, "ClientToken": "token",
	})), "BulkOperationDescription.BulkOperationArn").(string)
	a.must("UpdateContributorInsights", with(name, obj{"ContributorInsightsAction": "ENABLE"}))
	a.must(cloudWatch+"PutMetricAlarm", obj{"AlarmName": "alarm", "AlarmDescription": "classified", "Namespace": "N", "MetricName": "of-a", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"})
	a.must(cloudWatch+"PutMetricData", obj{"Namespace": "N", "MetricData": []obj{{"MetricName": "of-a", "Value": 424242}}})
	o.alarm = "arn:aws:cloudwatch:us-east-1:" + a.id + ":alarm:alarm"
	o.target = a.must(scaling+"RegisterScalableTarget", with(scalable, obj{"MinCapacity": 100, "MaxCapacity": 200}))["ScalableTargetARN"].(string)
	a.must(scaling+"PutScalingPolicy", with(scalable, obj{
		"PolicyName": "policy", "PolicyType": "StepScaling",
		"StepScalingPolicyConfiguration": obj{"AdjustmentType": "ChangeInCapacity", "StepAdjustments": []obj{{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}}},
	}))
	a.must(scaling+"PutScheduledAction", with(scalable, obj{"ScheduledActionName": "action", "Schedule": "rate(100 days)", "ScalableTargetAction": obj{"MinCapacity": 150}}))
	a.must(acceleration+"CreateParameterGroup", obj{"ParameterGroupName": "group", "Description": "classified"})
	a.must(acceleration+"CreateSubnetGroup", obj{"SubnetGroupName": "net", "Description": "classified", "SubnetIds": []string{"subnet-1"}})
	a.must(acceleration+"CreateCluster", obj{"ClusterName": "cluster", "Description": "classified", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": daxRole})
	o.cluster = "arn:aws:dax:us-east-1:" + a.id + ":cache/cluster"
	iamOwner(a)
	return o
}

// state returns everything that account A can see of its own resources.
func (o *owned) state(a account) string {
	name := obj{"TableName": "shared"}
	var out strings.Builder
	for _, read := range []struct {
		operation string
		in        any
	}{
		{"ListTables", obj{}}, {"DescribeTable", name}, {"DescribeTimeToLive", name}, {"DescribeContributorInsights", name}, {"Scan", name}, {"ListTagsOfResource", obj{"ResourceArn": o.table}},
		{"GetResourcePolicy", obj{"ResourceArn": o.table}}, {"ListStreams", obj{}}, {"ListBackups", obj{}}, {"ListExports", obj{}}, {"ListImports", obj{}}, {"ListBulkOperations", obj{}},
		{cloudWatch + "DescribeAlarms", obj{}}, {cloudWatch + "ListTagsForResource", obj{"ResourceARN": o.alarm}}, {scaling + "DescribeScalableTargets", obj{"ServiceNamespace": "dynamodb"}},
		{scaling + "DescribeScalingPolicies", obj{"ServiceNamespace": "dynamodb"}}, {scaling + "DescribeScheduledActions", obj{"ServiceNamespace": "dynamodb"}},
		{acceleration + "DescribeClusters", obj{}}, {acceleration + "DescribeParameterGroups", obj{}}, {acceleration + "DescribeSubnetGroups", obj{}}, {acceleration + "ListTags", obj{"ResourceName": o.cluster}},
		{identity + "GetAccountAuthorizationDetails", obj{}}, {identity + "ListUserTags", obj{"UserName": "shared"}}, {identity + "ListInstanceProfiles", obj{}},
	} {
		answer, code, message := a.send(a.request(targetOf(read.operation), read.in))
		fmt.Fprintln(&out, read.operation, answer, code, message)
	}
	recovery := a.must("DescribeContinuousBackups", name)
	fmt.Fprintln(&out, field(recovery, "ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus"))
	return out.String()
}

// attempts returns what account B tries, by operation.
func (o *owned) attempts() map[string][]attempt {
	key := obj{"pk": s("k")}
	on := func(more obj) obj { return with(obj{"TableName": o.table}, more) }
	bucket := obj{"S3Bucket": "bucket", "S3KeyPrefix": "x", "InputFormat": "DYNAMODB_JSON"}
	newTable := obj{"AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST"}
	statement := func(format string) obj { return obj{"Statement": fmt.Sprintf(format, o.table)} }
	statements := []obj{
		statement(`SELECT * FROM "%s" WHERE pk='k'`), statement(`UPDATE "%s" SET v='x' WHERE pk='k'`), statement(`DELETE FROM "%s" WHERE pk='k'`), statement(`INSERT INTO "%s" VALUE {'pk':'new'}`),
	}
	policy := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"dynamodb:*","Resource":"*"}}`
	one := func(in any) []attempt { return []attempt{{in, denied}} }
	anything := func(ins ...any) (out []attempt) {
		for _, in := range ins {
			out = append(out, attempt{in, own})
		}
		return out
	}
	var executed, transacted []attempt
	for _, st := range statements {
		executed = append(executed, attempt{st, denied})
		transacted = append(transacted, attempt{obj{"TransactStatements": []obj{st}}, denied})
	}
	executed = append(executed, attempt{statement(`SELECT * FROM "%s"."by-g" WHERE g='g'`), denied}, attempt{statement(`SELECT * FROM "%s"`), denied})
	alarmed := obj{"AlarmNames": []string{"alarm"}}
	scaled := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/shared"}
	cluster, tags := obj{"ClusterName": "cluster"}, []obj{{"Key": "k", "Value": "v"}}
	metric := obj{"Namespace": "N", "MetricName": "of-a"}
	window := obj{"StartTime": time.Now().Add(-time.Hour).Unix(), "EndTime": time.Now().Add(time.Hour).Unix()}
	period := with(metric, with(window, obj{"Period": 60, "Statistics": []string{"Sum"}}))
	out := map[string][]attempt{
		dynamo + "BatchExecuteStatement":       {{obj{"Statements": statements[:1]}, "AccessDenied"}, {obj{"Statements": statements[1:]}, "AccessDenied"}},
		dynamo + "BatchGetItem":                one(obj{"RequestItems": obj{o.table: obj{"Keys": []obj{key}}}}),
		dynamo + "BatchWriteItem":              one(obj{"RequestItems": obj{o.table: []obj{{"DeleteRequest": obj{"Key": key}}}}}),
		dynamo + "CancelBulkOperation":         one(obj{"BulkOperationArn": o.bulk}),
		dynamo + "CreateBackup":                one(on(obj{"BackupName": "stolen"})),
		dynamo + "CreateTable":                 {{with(newTable, obj{"TableName": strings.Replace(o.table, "shared", "new", 1)}), denied}, {with(newTable, obj{"TableName": o.table}), denied}},
		dynamo + "DeleteBackup":                one(obj{"BackupArn": o.backup}),
		dynamo + "DeleteItem":                  one(on(obj{"Key": key})),
		dynamo + "DeleteResourcePolicy":        {{obj{"ResourceArn": o.table}, denied}, {obj{"ResourceArn": o.stream}, denied}},
		dynamo + "DeleteTable":                 {{on(nil), denied}, {obj{"TableName": strings.Replace(o.table, "shared", "none", 1)}, denied}},
		dynamo + "DescribeBackup":              one(obj{"BackupArn": o.backup}),
		dynamo + "DescribeBulkOperation":       one(obj{"BulkOperationArn": o.bulk}),
		dynamo + "DescribeContinuousBackups":   one(on(nil)),
		dynamo + "DescribeContributorInsights": {{on(nil), denied}, {on(obj{"IndexName": "by-g"}), denied}},
		dynamo + "DescribeEndpoints":           anything(obj{}),
		dynamo + "DescribeExport":              one(obj{"ExportArn": o.export}),
		dynamo + "DescribeImport":              one(obj{"ImportArn": o.imported}),
		dynamo + "DescribeLimits":              anything(obj{}),
		dynamo + "DescribeTable":               {{on(nil), denied}, {obj{"TableName": strings.Replace(o.table, "shared", "none", 1)}, denied}, {obj{"TableName": "shared"}, "ResourceNotFoundException"}},
		dynamo + "DescribeTimeToLive":          one(on(nil)),
		dynamo + "ExecuteStatement":            executed,
		dynamo + "ExecuteTransaction":          transacted,
		dynamo + "ExportTableToPointInTime":    one(obj{"TableArn": o.table, "S3Bucket": "bucket", "ClientToken": "token"}),
		dynamo + "GetItem":                     {{on(obj{"Key": key}), denied}, {obj{"TableName": "shared", "Key": key}, "ResourceNotFoundException"}},
		dynamo + "GetResourcePolicy":           {{obj{"ResourceArn": o.table}, denied}, {obj{"ResourceArn": o.stream}, denied}},
		dynamo + "ImportTable":                 {{obj{"S3BucketSource": bucket, "InputFormat": "DYNAMODB_JSON", "TableCreationParameters": with(newTable, obj{"TableName": o.table})}, "ValidationException"}},
		dynamo + "ListBackups":                 {{obj{}, own}, {obj{"TableName": o.table}, denied}, {obj{"ExclusiveStartBackupArn": o.backup}, denied}, {obj{"TableName": "shared"}, own}},
		dynamo + "ListBulkOperations":          anything(obj{}),
		dynamo + "ListContributorInsights":     {{obj{}, own}, {on(nil), denied}},
		dynamo + "ListExports":                 {{obj{}, own}, {obj{"TableArn": o.table}, denied}},
		dynamo + "ListImports":                 {{obj{}, own}, {obj{"TableArn": o.table}, denied}},
		dynamo + "ListTables":                  anything(obj{}, obj{"ExclusiveStartTableName": "shared"}),
		dynamo + "ListTagsOfResource":          one(obj{"ResourceArn": o.table}),
		dynamo + "PutItem":                     one(on(obj{"Item": key})),
		dynamo + "PutResourcePolicy":           {{obj{"ResourceArn": o.table, "Policy": policy}, denied}, {obj{"ResourceArn": o.stream, "Policy": policy}, denied}},
		dynamo + "Query": {
			{on(obj{"KeyConditionExpression": "pk=:k", "ExpressionAttributeValues": obj{":k": s("k")}}), denied},
			{on(obj{"IndexName": "by-g", "KeyConditionExpression": "g=:k", "ExpressionAttributeValues": obj{":k": s("g")}}), denied},
		},
		dynamo + "RestoreTableFromBackup": {{obj{"BackupArn": o.backup, "TargetTableName": "stolen"}, denied}, {obj{"BackupArn": o.backup, "TargetTableName": o.table}, "ValidationException"}},
		dynamo + "RestoreTableToPointInTime": {
			{obj{"SourceTableArn": o.table, "TargetTableName": "stolen", "UseLatestRestorableTime": true}, denied},
			{obj{"SourceTableName": "shared", "TargetTableName": "stolen", "UseLatestRestorableTime": true}, "TableNotFoundException"},
		},
		dynamo + "Scan":              {{on(nil), denied}, {on(obj{"IndexName": "by-g"}), denied}},
		dynamo + "StartBulkPutItems": one(on(obj{"InputS3Configuration": bucket, "OutputS3Configuration": obj{"S3Bucket": "bucket", "OutputType": []string{"ERROR"}}, "ClientToken": "token"})),
		dynamo + "TagResource":       one(obj{"ResourceArn": o.table, "Tags": tags}),
		dynamo + "TransactGetItems":  one(obj{"TransactItems": []obj{{"Get": on(obj{"Key": key})}}}),
		dynamo + "TransactWriteItems": {
			{obj{"TransactItems": []obj{{"Put": on(obj{"Item": key})}}}, denied}, {obj{"TransactItems": []obj{{"Delete": on(obj{"Key": key})}}}, denied},
			{obj{"TransactItems": []obj{{"Update": on(obj{"Key": key, "UpdateExpression": "REMOVE v"})}}}, denied},
			{obj{"TransactItems": []obj{{"ConditionCheck": on(obj{"Key": key, "ConditionExpression": "attribute_exists(pk)"})}}}, denied},
		},
		dynamo + "UntagResource":             one(obj{"ResourceArn": o.table, "TagKeys": []string{"classified"}}),
		dynamo + "UpdateContinuousBackups":   one(on(obj{"PointInTimeRecoverySpecification": obj{"PointInTimeRecoveryEnabled": false}})),
		dynamo + "UpdateContributorInsights": {{on(obj{"ContributorInsightsAction": "DISABLE"}), denied}, {on(obj{"IndexName": "by-g", "ContributorInsightsAction": "ENABLE"}), denied}},
		dynamo + "UpdateItem":                one(on(obj{"Key": key, "UpdateExpression": "REMOVE v"})),
		dynamo + "UpdateTable":               one(on(obj{"DeletionProtectionEnabled": true})),
		dynamo + "UpdateTimeToLive":          one(on(obj{"TimeToLiveSpecification": obj{"AttributeName": "v", "Enabled": true}})),
		streams + "DescribeStream":           one(obj{"StreamArn": o.stream}),
		streams + "GetRecords":               one(obj{"ShardIterator": o.iterator}),
		streams + "GetShardIterator":         one(obj{"StreamArn": o.stream, "ShardId": "shardId-00000000000000000000-00000000", "ShardIteratorType": "LATEST"}),
		streams + "ListStreams":              {{obj{}, own}, {obj{"TableName": "shared"}, own}, {obj{"ExclusiveStartStreamArn": o.stream}, denied}},
		private + "CreateCheckpoint":         one(obj{}),
		private + "DescribeHotKeys":          one(on(nil)),

		cloudWatch + "DeleteAlarms":            anything(alarmed),
		cloudWatch + "DescribeAlarmHistory":    anything(obj{}, obj{"AlarmName": "alarm"}),
		cloudWatch + "DescribeAlarms":          anything(obj{}, alarmed),
		cloudWatch + "DescribeAlarmsForMetric": anything(metric),
		cloudWatch + "DescribeInsightRules":    anything(obj{}),
		cloudWatch + "DisableAlarmActions":     anything(alarmed),
		cloudWatch + "EnableAlarmActions":      anything(alarmed),
		cloudWatch + "GetInsightRuleReport":    anything(with(window, obj{"RuleName": "DynamoDBContributorInsights-PKC-shared-1", "Period": 60})),
		cloudWatch + "GetMetricData":           anything(with(window, obj{"MetricDataQueries": []obj{{"Id": "m", "Label": "l", "MetricStat": obj{"Metric": metric, "Period": 60, "Stat": "Sum"}}}})),
		cloudWatch + "GetMetricStatistics":     anything(period),
		cloudWatch + "ListMetrics":             anything(obj{}),
		cloudWatch + "ListTagsForResource":     one(obj{"ResourceARN": o.alarm}),
		cloudWatch + "PutMetricAlarm":          anything(obj{"AlarmName": "alarm", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}),
		cloudWatch + "PutMetricData":           anything(obj{"Namespace": "N", "MetricData": []obj{{"MetricName": "m", "Value": 1000}}}),
		cloudWatch + "SetAlarmState":           anything(obj{"AlarmName": "alarm", "StateValue": "ALARM", "StateReason": "x"}),
		cloudWatch + "TagResource":             one(obj{"ResourceARN": o.alarm, "Tags": tags}),
		cloudWatch + "UntagResource":           one(obj{"ResourceARN": o.alarm, "TagKeys": []string{"k"}}),

		scaling + "DeleteScalingPolicy":       anything(with(scalable, obj{"PolicyName": "policy"})),
		scaling + "DeleteScheduledAction":     anything(with(scalable, obj{"ScheduledActionName": "action"})),
		scaling + "DeregisterScalableTarget":  anything(scalable),
		scaling + "DescribeScalableTargets":   anything(obj{"ServiceNamespace": "dynamodb"}, obj{"ServiceNamespace": "dynamodb", "ResourceIds": []string{"table/shared"}}),
		scaling + "DescribeScalingActivities": anything(obj{"ServiceNamespace": "dynamodb"}, scaled),
		scaling + "DescribeScalingPolicies":   anything(obj{"ServiceNamespace": "dynamodb"}, scaled),
		scaling + "DescribeScheduledActions":  anything(obj{"ServiceNamespace": "dynamodb"}, scaled),
		scaling + "ListTagsForResource":       one(obj{"ResourceARN": o.target}),
		scaling + "PutScalingPolicy":          anything(with(scalable, obj{"PolicyName": "policy"})),
		scaling + "PutScheduledAction":        anything(with(scalable, obj{"ScheduledActionName": "action", "Schedule": "rate(1 hour)", "ScalableTargetAction": obj{"MinCapacity": 1}})),
		scaling + "RegisterScalableTarget":    anything(with(scalable, obj{"MinCapacity": 1, "MaxCapacity": 1})),
		scaling + "TagResource":               one(obj{"ResourceARN": o.target, "Tags": obj{"k": "v"}}),
		scaling + "UntagResource":             one(obj{"ResourceARN": o.target, "TagKeys": []string{"k"}}),

		acceleration + "CreateCluster":             anything(obj{"ClusterName": "cluster", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": daxRole, "ParameterGroupName": "group"}),
		acceleration + "CreateParameterGroup":      anything(obj{"ParameterGroupName": "mine"}),
		acceleration + "CreateSubnetGroup":         anything(obj{"SubnetGroupName": "mine", "SubnetIds": []string{"subnet-1"}}),
		acceleration + "DecreaseReplicationFactor": anything(with(cluster, obj{"NewReplicationFactor": 1})),
		acceleration + "DeleteCluster":             anything(cluster),
		acceleration + "DeleteParameterGroup":      anything(obj{"ParameterGroupName": "group"}),
		acceleration + "DeleteSubnetGroup":         anything(obj{"SubnetGroupName": "net"}),
		acceleration + "DescribeClusters":          anything(obj{}, obj{"ClusterNames": []string{"cluster"}}),
		acceleration + "DescribeDefaultParameters": anything(obj{}),
		acceleration + "DescribeEvents":            anything(obj{}, obj{"SourceName": "cluster", "SourceType": "CLUSTER"}),
		acceleration + "DescribeParameterGroups":   anything(obj{}, obj{"ParameterGroupNames": []string{"group"}}),
		acceleration + "DescribeParameters":        anything(obj{"ParameterGroupName": "group"}),
		acceleration + "DescribeSubnetGroups":      anything(obj{}, obj{"SubnetGroupNames": []string{"net"}}),
		acceleration + "IncreaseReplicationFactor": anything(with(cluster, obj{"NewReplicationFactor": 3})),
		acceleration + "ListTags":                  one(obj{"ResourceName": o.cluster}),
		acceleration + "RebootNode":                anything(with(cluster, obj{"NodeId": "cluster-a"})),
		acceleration + "TagResource":               one(obj{"ResourceName": o.cluster, "Tags": tags}),
		acceleration + "UntagResource":             one(obj{"ResourceName": o.cluster, "TagKeys": []string{"k"}}),
		acceleration + "UpdateCluster":             anything(with(cluster, obj{"Description": "mine"})),
		acceleration + "UpdateParameterGroup":      anything(obj{"ParameterGroupName": "group", "ParameterNameValues": []obj{{"ParameterName": "record-ttl-millis", "ParameterValue": "1"}}}),
		acceleration + "UpdateSubnetGroup":         anything(obj{"SubnetGroupName": "net", "Description": "mine"}),
	}
	for target, in := range iamInputs() {
		out[target] = anything(in)
		switch {
		case in["PolicyArn"] != nil || in["PermissionsBoundary"] != nil:
			out[target] = []attempt{{in, "NoSuchEntity"}}
		case in["PolicySourceArn"] != nil:
			out[target] = []attempt{{in, "InvalidInput"}}
		}
	}
	out[tokens+"AssumeRole"] = []attempt{{iamInputs()[tokens+"AssumeRole"], denied}}
	return out
}

// TestStrangers has account B try every operation of every service on account A's resources. Nothing of A's may be read or
// changed.
func TestStrangers(t *testing.T) {
	buckets := t.TempDir()
	a, b := strangers(t, Options{DataDir: t.TempDir(), S3Dir: buckets, DAX: DAXOptions{Listen: "127.0.0.1:0"}, SecretsKey: testSecrets})
	o := owner(a, buckets)
	for _, list := range []string{"ListImports", "ListBulkOperations"} {
		eventually(t, list+" to be over", func() bool { return !strings.Contains(fmt.Sprint(a.must(list, obj{})), "IN_PROGRESS") })
	}
	before := o.state(a)
	for _, word := range []string{"classified", accountA, "policy", "action", "cluster"} {
		if !strings.Contains(before, word) {
			t.Fatalf("account A has no %s: %s", word, before)
		}
	}
	attempts := o.attempts()
	for _, h := range a.server.handlers {
		if attempts[h.Target] == nil {
			t.Errorf("%s has no case in this test", h.Target)
		}
		for _, c := range attempts[h.Target] {
			answer, code, message := b.send(b.request(h.Target, c.in))
			switch {
			case c.want == "AccessDenied":
				var out struct {
					Responses []struct{ Error struct{ Code string } }
				}
				if err := json.Unmarshal([]byte(answer), &out); err != nil || code != "" {
					t.Errorf("%s: %s", h.Target, answer)
				}
				for _, r := range out.Responses {
					if r.Error.Code != c.want {
						t.Errorf("%s: %s", h.Target, answer)
					}
				}
			case code == "ValidationException" && strings.HasSuffix(h.Target, "ResourcePolicy") && message == "This action is only supported by accounts that match the resource owner’s account.":
			case code == denied && strings.HasSuffix(h.Target, "Resource") && message == "Access is denied":
			case c.want != own && code != c.want:
				t.Errorf("%s %v: %s, not %s", h.Target, c.in, answer, c.want)
			case code == denied && h.Target != private+"CreateCheckpoint" && h.Target != tokens+"AssumeRole" && !strings.HasPrefix(message, "User: arn:aws:iam::"+accountB+":root is not authorized to perform: "):
				t.Errorf("%s: %s", h.Target, message)
			}
			if c.want == own && (strings.Contains(answer, accountA) || strings.Contains(answer, "classified") || strings.Contains(answer, "424242")) {
				t.Errorf("%s %v tells of what is another's: %s", h.Target, c.in, answer)
			}
			if strings.Contains(answer, "classified") && code == "" {
				t.Errorf("%s reads what is another's: %s", h.Target, answer)
			}
		}
		delete(attempts, h.Target)
	}
	for target := range attempts {
		t.Errorf("the server has no %s", target)
	}
	if after := o.state(a); after != before {
		t.Errorf("account A had\n%s\nand has\n%s", before, after)
	}
}

// TestStrangersActions checks which action and resource AccessDenied messages name.
func TestStrangersActions(t *testing.T) {
	a, b := strangers(t, Options{})
	table := "arn:aws:dynamodb:us-east-1:" + a.id + ":table/nowhere"
	for _, c := range []struct {
		operation        string
		in               obj
		action, resource string
	}{
		{"GetItem", obj{"TableName": table, "Key": obj{"pk": s("k")}}, "dynamodb:GetItem", table},
		{"Scan", obj{"TableName": table, "IndexName": "by-g"}, "dynamodb:Scan", table + "/index/by-g"},
		{"TransactWriteItems", obj{"TransactItems": []obj{{"ConditionCheck": obj{"TableName": table, "Key": obj{"pk": s("k")}, "ConditionExpression": "attribute_exists(pk)"}}}}, "dynamodb:ConditionCheckItem", table},
		{"TransactGetItems", obj{"TransactItems": []obj{{"Get": obj{"TableName": table, "Key": obj{"pk": s("k")}}}}}, "dynamodb:GetItem", table},
		{"ExecuteStatement", obj{"Statement": `DELETE FROM "` + table + `" WHERE pk='k'`}, "dynamodb:PartiQLDelete", table},
		{"ExecuteStatement", obj{"Statement": `SELECT * FROM "` + table + `"."by-g"`}, "dynamodb:PartiQLSelect", table + "/index/by-g"},
		{"RestoreTableFromBackup", obj{"BackupArn": table + "/backup/01", "TargetTableName": "new"}, "dynamodb:RestoreTableFromBackup", table + "/backup/01"},
	} {
		_, code, message := b.send(b.request(targetOf(c.operation), c.in))
		want := "User: arn:aws:iam::" + accountB + ":root is not authorized to perform: " + c.action + " on resource: " + c.resource + " because no resource-based policy allows the " + c.action + " action"
		if code != denied || message != want {
			t.Errorf("%s: %s: %s\nwant %s", c.operation, code, message, want)
		}
	}
}

// TestStrangersLists checks that lists contain only the account's own resources while another account has equal ones.
func TestStrangersLists(t *testing.T) {
	a, b := strangers(t, Options{})
	for _, c := range []account{a, b} {
		c.must("CreateTable", streamedTable("shared", "KEYS_ONLY"))
		c.must("CreateTable", streamedTable("of-"+strings.ToLower(c.key), "KEYS_ONLY"))
		c.must("CreateBackup", obj{"TableName": "shared", "BackupName": "of-" + c.key})
		c.must(cloudWatch+"PutMetricAlarm", obj{"AlarmName": "of-" + c.key, "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"})
		c.must(cloudWatch+"PutMetricData", obj{"Namespace": "N", "MetricData": []obj{{"MetricName": "of-" + c.key, "Value": 1}}})
	}
	for _, c := range []account{a, b} {
		if got := fmt.Sprint(c.must("ListTables", obj{})["TableNames"]); got != "[of-"+strings.ToLower(c.key)+" shared]" {
			t.Errorf("%s has the tables %s", c.key, got)
		}
		other := map[string]account{"A": b, "B": a}[c.key]
		for operation, n := range map[string]int{"ListStreams": 2, "ListBackups": 1, cloudWatch + "DescribeAlarms": 1, cloudWatch + "ListMetrics": 1} {
			answer, code, _ := c.send(c.request(targetOf(operation), obj{"Namespace": "N"}))
			if operation == cloudWatch+"DescribeAlarms" {
				answer, code, _ = c.send(c.request(operation, obj{}))
			}
			if code != "" || strings.Contains(answer, other.id) || strings.Contains(answer, "of-"+other.key) || strings.Count(answer, "Arn\"")+strings.Count(answer, "\"MetricName\"") == 0 {
				t.Errorf("%s: %s (%d wanted): %s", c.key, operation, n, answer)
			}
		}
	}
	// Idempotency tokens of different accounts are independent.
	for i, c := range []account{a, b} {
		c.must("TransactWriteItems", obj{"ClientRequestToken": "token", "TransactItems": []obj{{"Put": obj{"TableName": "shared", "Item": obj{"pk": s("k"), "sk": n(i)}}}}})
		if got := c.must("Scan", obj{"TableName": "shared"})["Count"]; got != 1.0 {
			t.Errorf("%s has %v items", c.key, got)
		}
	}
}

// TestStrangersShareNamespace checks that accounts share all tables under --shared-namespace, by ARN too.
func TestStrangersShareNamespace(t *testing.T) {
	a, b := strangers(t, Options{SharedNamespace: true})
	a.must("CreateTable", streamedTable("shared", "KEYS_ONLY"))
	d := b.must("DescribeTable", obj{"TableName": "shared"})["Table"].(obj)
	for _, name := range []any{"shared", d["TableArn"], "arn:aws:dynamodb:eu-west-1:" + accountA + ":table/shared"} {
		b.must("PutItem", obj{"TableName": name, "Item": obj{"pk": s("k"), "sk": n(1)}})
	}
	b.must("DescribeStream", obj{"StreamArn": d["LatestStreamArn"]})
	b.must("TagResource", obj{"ResourceArn": d["TableArn"], "Tags": []obj{{"Key": "k", "Value": "v"}}})
	b.must(cloudWatch+"PutMetricAlarm", obj{"AlarmName": "alarm", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"})
	arn := list(a.must(cloudWatch+"DescribeAlarms", obj{})["MetricAlarms"])[0]["AlarmArn"]
	a.must(cloudWatch+"TagResource", obj{"ResourceARN": arn, "Tags": []obj{{"Key": "k", "Value": "v"}}})
}

// TestStrangersDAX checks that a DAX connection only reaches its account's tables.
func TestStrangersDAX(t *testing.T) {
	a, b := strangers(t, Options{DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	a.must("CreateTable", streamedTable("shared", "KEYS_ONLY"))
	table := "arn:aws:dynamodb:us-east-1:" + a.id + ":table/shared"
	for _, c := range []account{a, b} {
		conn := dialDAX(t, c.server.DAXURLs()[0], 0)
		conn.write(daxAuthorization(c.key, c.secret, "dax.amazonaws.com", time.Now()))
		answer := conn.call("defineKeySchema", text(table))
		if (answer.codes == nil) != (c.key == "A") || answer.codes != nil && !strings.Contains(answer.message, "is not authorized to perform: dynamodb:DescribeTable on resource: "+table) {
			t.Errorf("%s: %v %s", c.key, answer.codes, answer.message)
		}
	}
}

// TestReplay resends a signed request with another target. The signature must cover the target, so it is refused.
func TestReplay(t *testing.T) {
	a, _ := strangers(t, Options{})
	a.must("CreateTable", streamedTable("shared", "KEYS_ONLY"))
	a.must("PutItem", obj{"TableName": "shared", "Item": obj{"pk": s("k"), "sk": n(1)}})
	key := obj{"TableName": "shared", "Key": obj{"pk": s("k"), "sk": n(1)}}
	for name, change := range map[string]func(h http.Header){
		"another target": func(h http.Header) { h.Set("X-Amz-Target", dynamo+"DeleteItem") },
		"two targets":    func(h http.Header) { h["X-Amz-Target"] = []string{dynamo + "DeleteItem", dynamo + "GetItem"} },
		"a target that is not signed": func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), ";x-amz-target", "", 1))
			h.Set("X-Amz-Target", dynamo+"DeleteItem")
		},
	} {
		req := a.request(dynamo+"GetItem", key)
		change(req.Header)
		if answer, code, _ := a.send(req); code != "InvalidSignatureException" {
			t.Errorf("%s: %s", name, answer)
		}
	}
	if a.must("GetItem", key)["Item"] == nil {
		t.Error("the item was deleted")
	}
	// A signature for CloudWatch is not valid for DynamoDB.
	req := a.request(cloudWatch+"ListMetrics", obj{})
	if answer, code, _ := a.send(req); code != "" {
		t.Errorf("ListMetrics: %s", answer)
	}
	signingNames["GraniteServiceVersion20100801"] = "dynamodb"
	defer func() { signingNames["GraniteServiceVersion20100801"] = "monitoring" }()
	if answer, _, message := a.send(a.request(cloudWatch+"ListMetrics", obj{})); message != "Credential should be scoped to correct service: 'monitoring'. " {
		t.Errorf("ListMetrics signed for DynamoDB: %s", answer)
	}
}

// TestCredentialsAgain changes the credentials file of a running server.
func TestCredentialsAgain(t *testing.T) {
	var out lockedBuffer
	opt := Options{Listen: "127.0.0.1:0", InMemory: true, CredentialsFile: credentials(t), Logger: slog.New(slog.NewTextHandler(&out, nil))}
	server, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	a := account{t, server, "A", secretA, accountA, opt.CredentialsFile}
	added := account{t, server, "C", "another", accountA, opt.CredentialsFile}
	status := func(c account) string {
		_, code, _ := c.send(c.request(dynamo+"ListTables", obj{}))
		return code
	}
	if status(a) != "" || status(added) != "UnrecognizedClientException" {
		t.Errorf("A gets %q, C %q", status(a), status(added))
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(opt.CredentialsFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`[`)
	if err := server.ReloadCredentials(); err == nil || status(a) != "" {
		t.Errorf("a broken file: %v, and A gets %q", err, status(a))
	}
	write(`[{"accessKeyId":"C","secretAccessKey":"another","account":"` + accountA + `"}]`)
	if err := server.ReloadCredentials(); err != nil || status(a) != "UnrecognizedClientException" || status(added) != "" {
		t.Errorf("another file: %v, A gets %q, C %q", err, status(a), status(added))
	}
	// This time no client triggers the reload.
	write(`[{"accessKeyId":"A","secretAccessKey":"` + secretA + `","account":"` + accountA + `"}]`)
	eventually(t, "the file to be read", func() bool { return status(a) == "" && status(added) != "" })
	if log := out.String(); !strings.Contains(log, "the current access keys stay in force") || !strings.Contains(log, "reloaded the credentials file") {
		t.Errorf("the log: %s", log)
	}
}

// TestClockWithCredentials checks that a clock that clients can move is refused where signatures depend on the time.
func TestClockWithCredentials(t *testing.T) {
	if s, err := Open(Options{Listen: "127.0.0.1:0", InMemory: true, CredentialsFile: credentials(t), TestClock: true}); err != ErrTestClock {
		t.Error(err)
		if err == nil {
			s.Close()
		}
	}
}

// TestMetricsListen checks what the separate metrics address serves without a signature.
func TestMetricsListen(t *testing.T) {
	a, _ := strangers(t, Options{MetricsListen: "127.0.0.1:0"})
	at := strings.TrimSuffix(a.server.MetricsURL(), "/metrics")
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/": 404, "/_stator/clock": 404} {
		res, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET %s: %d", path, res.StatusCode)
		}
	}
	req := a.request(dynamo+"ListTables", obj{})
	req.URL.Host = strings.TrimPrefix(at, "http://")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return // the server does not even read the request
	}
	defer res.Body.Close()
	if res.StatusCode == 200 {
		t.Error("operations are served where metrics are")
	}
}

// lockedBuffer is a log buffer for concurrent use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// closing is a store that records when it is closed.
type closing struct {
	kv.Store
	close func()
}

func (s closing) Close() error {
	s.close()
	return s.Store.Close()
}

// TestMetricsEndBeforeStore checks that MetricsListen serves nothing any more when the store closes, because metrics read it.
func TestMetricsEndBeforeStore(t *testing.T) {
	var d *db
	var dialed error
	d = open(t, Options{MetricsListen: "127.0.0.1:0", wrap: func(s kv.Store) kv.Store {
		return closing{s, func() {
			var c net.Conn
			if c, dialed = net.Dial("tcp", d.atMetrics.Addr().String()); dialed == nil {
				c.Close()
			}
		}}
	}})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if dialed == nil {
		t.Error("the store was closed while metrics were served")
	}
}
