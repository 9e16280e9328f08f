package abuse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var accountAttacks = []Attack{
	{Point: 9, Once: true, Name: "every operation with the ARNs of another account", Needs: Needs{Credentials: true}, Work: 10 * time.Second, Run: otherAccount},
	{Point: 9, Once: true, Name: "every operation with the names of another account", Needs: Needs{Credentials: true}, Run: otherNames},
	{Point: 9, Once: true, Name: "the buckets of another account", Needs: Needs{Credentials: true}, Run: otherBuckets},
	{Point: 9, Once: true, Name: "DAX with the tables of another account", Needs: Needs{Credentials: true, DAX: true}, Run: otherDAX},
}

// victim creates what Alice owns and Mallory wants. It returns the ARNs by name.
func victim(ctx context.Context, t *Target) (map[string]string, error) {
	arn := map[string]string{"TABLE": "arn:aws:dynamodb:us-east-1:111111111111:table/victim", "ALARM": "arn:aws:cloudwatch:us-east-1:111111111111:alarm:victim", "CLUSTER": "arn:aws:dax:us-east-1:111111111111:cache/victim"}
	var failed error
	must := func(operation, body string) string {
		for name, value := range arn {
			body = strings.ReplaceAll(body, "$"+name, value)
		}
		r := t.Call(ctx, Alice, operation, body)
		failed = errors.Join(failed, r.Is(operation, "ok"))
		return string(r.Body)
	}
	found := func(answer, member string) string {
		_, rest, _ := strings.Cut(answer, `"`+member+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	table := must("CreateTable", `{"TableName":"victim","BillingMode":"PAY_PER_REQUEST","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"},"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],
		"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"GlobalSecondaryIndexes":[{"IndexName":"idx","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`)
	arn["STREAM"] = found(table, "LatestStreamArn")
	must("PutItem", `{"TableName":"victim","Item":{"pk":{"S":"secret"},"v":{"S":"treasure"}}}`)
	must("UpdateContinuousBackups", `{"TableName":"victim","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`)
	arn["BACKUP"] = found(must("CreateBackup", `{"TableName":"victim","BackupName":"b-of-victim"}`), "BackupArn")
	export := t.Call(ctx, Alice, "ExportTableToPointInTime", `{"TableArn":"`+arn["TABLE"]+`","S3Bucket":"alices"}`)
	failed = errors.Join(failed, export.Is("ExportTableToPointInTime", "ok"), job(ctx, t, export, "ExportDescription", "Export"))
	arn["EXPORT"] = found(string(export.Body), "ExportArn")
	shard := must(streams+"DescribeStream", `{"StreamArn":"$STREAM"}`)
	arn["SHARD"] = found(shard, "ShardId")
	arn["ITERATOR"] = found(must(streams+"GetShardIterator", `{"StreamArn":"$STREAM","ShardId":"$SHARD","ShardIteratorType":"TRIM_HORIZON"}`), "ShardIterator")
	bulk := t.Call(ctx, Alice, "StartBulkPutItems", `{"TableName":"victim","InputS3Configuration":{"S3Bucket":"alices","S3KeyPrefix":"none","InputFormat":"DYNAMODB_JSON"},"OutputS3Configuration":{"OutputType":["ERROR"]}}`)
	failed = errors.Join(failed, bulk.Is("StartBulkPutItems", "ok"))
	arn["BULK"] = found(string(bulk.Body), "BulkOperationArn")
	imported := t.Call(ctx, Alice, "ImportTable", `{"S3BucketSource":{"S3Bucket":"alices","S3KeyPrefix":"none"},"InputFormat":"CSV","TableCreationParameters":{"TableName":"imported","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]}}`)
	failed = errors.Join(failed, imported.Is("ImportTable", "ok"))
	arn["IMPORT"] = found(string(imported.Body), "ImportArn")
	must(cloudWatch+"PutMetricAlarm", `{"AlarmName":"victim","Namespace":"n","MetricName":"m","Statistic":"Sum","Period":60,"EvaluationPeriods":1,"Threshold":1,"ComparisonOperator":"GreaterThanThreshold"}`)
	must(autoScaling+"RegisterScalableTarget", `{"ServiceNamespace":"dynamodb","ResourceId":"table/victim","ScalableDimension":"dynamodb:table:ReadCapacityUnits","MinCapacity":1,"MaxCapacity":5}`)
	return arn, failed
}

const key = `"Key":{"pk":{"S":"secret"}}`

// byARN are requests that name another account's resource by its ARN.
var byARN = []struct{ operation, body string }{
	{"GetItem", `{"TableName":"$TABLE",` + key + `}`}, {"PutItem", `{"TableName":"$TABLE","Item":{"pk":{"S":"evil"}}}`}, {"DeleteItem", `{"TableName":"$TABLE",` + key + `}`},
	{"UpdateItem", `{"TableName":"$TABLE",` + key + `,"UpdateExpression":"REMOVE v"}`}, {"Query", `{"TableName":"$TABLE","KeyConditionExpression":"pk=:a","ExpressionAttributeValues":{":a":{"S":"secret"}}}`},
	{"Query", `{"TableName":"$TABLE","IndexName":"idx","KeyConditionExpression":"pk=:a","ExpressionAttributeValues":{":a":{"S":"secret"}}}`}, {"Scan", `{"TableName":"$TABLE"}`}, {"Scan", `{"TableName":"$TABLE","IndexName":"idx"}`},
	{"BatchGetItem", `{"RequestItems":{"$TABLE":{"Keys":[{"pk":{"S":"secret"}}]}}}`}, {"BatchWriteItem", `{"RequestItems":{"$TABLE":[{"PutRequest":{"Item":{"pk":{"S":"evil"}}}}]}}`},
	{"TransactGetItems", `{"TransactItems":[{"Get":{"TableName":"$TABLE",` + key + `}}]}`}, {"TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"$TABLE","Item":{"pk":{"S":"evil"}}}}]}`},
	{"TransactWriteItems", `{"TransactItems":[{"ConditionCheck":{"TableName":"$TABLE",` + key + `,"ConditionExpression":"attribute_exists(pk)"}}]}`},
	{"ExecuteStatement", `{"Statement":"SELECT * FROM \"$TABLE\""}`}, {"ExecuteStatement", `{"Statement":"SELECT * FROM \"$TABLE\".\"idx\""}`}, {"ExecuteStatement", `{"Statement":"INSERT INTO \"$TABLE\" VALUE {'pk':'evil'}"}`},
	{"ExecuteStatement", `{"Statement":"DELETE FROM \"$TABLE\" WHERE pk='secret'"}`}, {"ExecuteTransaction", `{"TransactStatements":[{"Statement":"SELECT * FROM \"$TABLE\" WHERE pk='secret'"}]}`},
	{"DescribeTable", `{"TableName":"$TABLE"}`}, {"UpdateTable", `{"TableName":"$TABLE","DeletionProtectionEnabled":false}`}, {"UpdateTable", `{"TableName":"$TABLE","StreamSpecification":{"StreamEnabled":false}}`}, {"DeleteTable", `{"TableName":"$TABLE"}`},
	{"DescribeTimeToLive", `{"TableName":"$TABLE"}`}, {"UpdateTimeToLive", `{"TableName":"$TABLE","TimeToLiveSpecification":{"AttributeName":"v","Enabled":true}}`}, {"DescribeContinuousBackups", `{"TableName":"$TABLE"}`},
	{"UpdateContinuousBackups", `{"TableName":"$TABLE","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":false}}`}, {"CreateBackup", `{"TableName":"$TABLE","BackupName":"evil"}`}, {"DescribeBackup", `{"BackupArn":"$BACKUP"}`},
	{"DeleteBackup", `{"BackupArn":"$BACKUP"}`}, {"RestoreTableFromBackup", `{"BackupArn":"$BACKUP","TargetTableName":"stolen-1"}`}, {"RestoreTableToPointInTime", `{"SourceTableArn":"$TABLE","TargetTableName":"stolen-2","UseLatestRestorableTime":true}`},
	{"ExportTableToPointInTime", `{"TableArn":"$TABLE","S3Bucket":"mallorys"}`}, {"DescribeExport", `{"ExportArn":"$EXPORT"}`}, {"DescribeImport", `{"ImportArn":"$IMPORT"}`}, {"DescribeBulkOperation", `{"BulkOperationArn":"$BULK"}`},
	{"CancelBulkOperation", `{"BulkOperationArn":"$BULK"}`}, {"StartBulkPutItems", `{"TableName":"$TABLE","InputS3Configuration":{"S3Bucket":"mallorys","S3KeyPrefix":"x","InputFormat":"DYNAMODB_JSON"},"OutputS3Configuration":{"OutputType":["ERROR"]}}`},
	{"TagResource", `{"ResourceArn":"$TABLE","Tags":[{"Key":"a","Value":"b"}]}`}, {"UntagResource", `{"ResourceArn":"$TABLE","TagKeys":["a"]}`}, {"ListTagsOfResource", `{"ResourceArn":"$TABLE"}`},
	{"GetResourcePolicy", `{"ResourceArn":"$TABLE"}`}, {"PutResourcePolicy", `{"ResourceArn":"$TABLE","Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"dynamodb:*\",\"Resource\":\"*\"}]}"}`},
	{"DeleteResourcePolicy", `{"ResourceArn":"$TABLE"}`}, {"GetResourcePolicy", `{"ResourceArn":"$STREAM"}`}, {"DescribeContributorInsights", `{"TableName":"$TABLE"}`}, {"UpdateContributorInsights", `{"TableName":"$TABLE","ContributorInsightsAction":"ENABLE"}`},
	{"ListBackups", `{"TableName":"$TABLE"}`}, {"ListExports", `{"TableArn":"$TABLE"}`}, {"ListImports", `{"TableArn":"$TABLE"}`}, {"ListContributorInsights", `{"TableName":"$TABLE"}`}, {"Stator_20261101.DescribeHotKeys", `{"TableName":"$TABLE"}`},
	{streams + "DescribeStream", `{"StreamArn":"$STREAM"}`}, {streams + "GetShardIterator", `{"StreamArn":"$STREAM","ShardId":"$SHARD","ShardIteratorType":"TRIM_HORIZON"}`}, {streams + "GetRecords", `{"ShardIterator":"$ITERATOR"}`},
	{cloudWatch + "TagResource", `{"ResourceARN":"$ALARM","Tags":[{"Key":"a","Value":"b"}]}`}, {cloudWatch + "ListTagsForResource", `{"ResourceARN":"$ALARM"}`}, {cloudWatch + "UntagResource", `{"ResourceARN":"$ALARM","TagKeys":["a"]}`},
	{daxControl + "ListTags", `{"ResourceName":"$CLUSTER"}`}, {daxControl + "TagResource", `{"ResourceName":"$CLUSTER","Tags":[{"Key":"a","Value":"b"}]}`},
}

// otherAccount sends Mallory's requests for Alice's resources. All must be denied, or return nothing of hers, and must change nothing.
func otherAccount(ctx context.Context, t *Target) error {
	arn, failed := victim(ctx, t)
	if failed != nil {
		return failed
	}
	for _, c := range byARN {
		body := c.body
		for name, value := range arn {
			body = strings.ReplaceAll(body, "$"+name, value)
		}
		r := t.Call(ctx, Mallory, c.operation, body)
		what := "Mallory's " + c.operation + " " + c.body
		codes := []string{"AccessDeniedException", "AccessDenied"}
		if c.operation == "BatchGetItem" || strings.HasPrefix(c.operation, "Transact") || c.operation == "ExecuteTransaction" {
			codes = append(codes, "TransactionCanceledException") // AccessDenied is among its reasons
		}
		if strings.HasSuffix(c.operation, "ResourcePolicy") {
			codes = append(codes, "ValidationException") // This action is only supported by accounts that match the resource owner’s account.
		}
		failed = errors.Join(failed, r.Is(what, codes...))
		if strings.Contains(string(r.Body), "treasure") {
			failed = errors.Join(failed, fmt.Errorf("%s: she has it: %.200s", what, r.Body))
		}
	}
	return errors.Join(failed, unharmed(ctx, t))
}

// unharmed checks that Alice's table is as she left it.
func unharmed(ctx context.Context, t *Target) error {
	r := t.Call(ctx, Alice, "Scan", `{"TableName":"victim"}`)
	failed := r.Is("Alice's Scan", "ok")
	var page struct{ Items []json.RawMessage }
	if err := json.Unmarshal(r.Body, &page); err != nil || len(page.Items) != 1 || !strings.Contains(string(page.Items[0]), "treasure") {
		failed = errors.Join(failed, fmt.Errorf("the items of Alice's table are %.300s", r.Body))
	}
	return failed
}

// otherNames sends Mallory's requests with plain names, which mean tables in her own account.
func otherNames(ctx context.Context, t *Target) error {
	if _, err := victim(ctx, t); err != nil {
		return err
	}
	var failed error
	for _, c := range byARN {
		if !strings.Contains(c.body, "$TABLE") || strings.Contains(c.body, "Arn") {
			continue
		}
		r := t.Call(ctx, Mallory, c.operation, strings.ReplaceAll(c.body, "$TABLE", "victim"))
		failed = errors.Join(failed, r.Taken(c.operation))
		if strings.Contains(string(r.Body), "treasure") || strings.Contains(string(r.Body), Alice.Account) {
			failed = errors.Join(failed, fmt.Errorf("%s: %.200s", c.operation, r.Body))
		}
	}
	for _, c := range []struct{ operation, body string }{
		{"ListTables", "{}"}, {"ListBackups", "{}"}, {"ListExports", "{}"}, {"ListImports", "{}"}, {"ListBulkOperations", "{}"}, {"ListContributorInsights", "{}"}, {streams + "ListStreams", "{}"}, {cloudWatch + "DescribeAlarms", "{}"},
		{cloudWatch + "DescribeAlarmHistory", "{}"}, {cloudWatch + "ListMetrics", "{}"}, {autoScaling + "DescribeScalableTargets", `{"ServiceNamespace":"dynamodb"}`}, {autoScaling + "DescribeScalingActivities", `{"ServiceNamespace":"dynamodb"}`}, {daxControl + "DescribeClusters", "{}"},
	} {
		r := t.Call(ctx, Mallory, c.operation, c.body)
		failed = errors.Join(failed, r.Is(c.operation, "ok"))
		if strings.Contains(string(r.Body), "victim") {
			failed = errors.Join(failed, fmt.Errorf("%s shows Alice's: %.300s", c.operation, r.Body))
		}
	}
	return errors.Join(failed, unharmed(ctx, t))
}

// otherBuckets has Mallory read and write Alice's bucket, and folders outside of any bucket.
func otherBuckets(ctx context.Context, t *Target) error {
	if _, err := victim(ctx, t); err != nil {
		return err
	}
	schema := `"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]`
	r := t.Call(ctx, Mallory, "CreateTable", `{"TableName":"hers",`+schema+`}`)
	failed := r.Is("CreateTable", "ok")
	r = t.Call(ctx, Mallory, "UpdateContinuousBackups", `{"TableName":"hers","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`)
	failed = errors.Join(failed, r.Is("UpdateContinuousBackups", "ok"))
	for i, bucket := range []string{"alices", "../s3/alices", "alices/..", "..", "."} {
		source := fmt.Sprintf(`"S3Bucket":%q,"S3KeyPrefix":""`, bucket)
		for _, c := range []struct{ operation, body, description, kind string }{
			{"ImportTable", fmt.Sprintf(`{"S3BucketSource":{%s},"InputFormat":"DYNAMODB_JSON","InputCompressionType":"GZIP","TableCreationParameters":{"TableName":"stolen-%d",%s}}`, source, i, schema), "ImportTableDescription", "Import"},
			{"StartBulkPutItems", `{"TableName":"hers","InputS3Configuration":{` + source + `,"InputFormat":"DYNAMODB_JSON","InputCompressionType":"GZIP"},"OutputS3Configuration":{"OutputType":["ERROR"]}}`, "BulkOperationDescription", "BulkOperation"},
			{"ExportTableToPointInTime", fmt.Sprintf(`{"TableArn":"arn:aws:dynamodb:us-east-1:222222222222:table/hers","S3Bucket":%q,"S3Prefix":"evil"}`, bucket), "ExportDescription", "Export"},
		} {
			r := t.Call(ctx, Mallory, c.operation, c.body)
			failed = errors.Join(failed, r.Taken(c.operation+" "+bucket))
			if r.Status == 200 && strings.Contains(string(r.Body), "COMPLETED") {
				failed = errors.Join(failed, fmt.Errorf("%s of %s: %.200s", c.operation, bucket, r.Body))
			}
		}
	}
	if err := t.Idle(); err != nil {
		return errors.Join(failed, err)
	}
	for _, table := range []string{"hers", "stolen-0"} {
		if r := t.Call(ctx, Mallory, "Scan", `{"TableName":"`+table+`"}`); strings.Contains(string(r.Body), "treasure") {
			failed = errors.Join(failed, fmt.Errorf("%s has Alice's items", table))
		}
	}
	if _, err := os.Stat(filepath.Join(t.Dir, "s3", "alices", "evil")); err == nil {
		failed = errors.Join(failed, errors.New("the bucket of Alice has files of Mallory"))
	}
	return failed
}

// otherDAX has Mallory ask DAX for the key schema of Alice's table, by name and by ARN.
func otherDAX(ctx context.Context, t *Target) error {
	if _, err := victim(ctx, t); err != nil {
		return err
	}
	failed := daxClient(ctx, t, Mallory)
	for _, table := range []string{"victim", "arn:aws:dynamodb:us-east-1:111111111111:table/victim"} {
		failed = errors.Join(failed, daxKeySchema(ctx, t, Mallory, table))
	}
	return failed
}
