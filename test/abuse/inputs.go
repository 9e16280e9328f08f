package abuse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/statordb/stator/test/abuse/mutate"
)

var inputAttacks = []Attack{
	{Point: 8, Name: "MaxResults -1 in Application Auto Scaling, and relatives", Run: maxResults},
	{Point: 8, Name: "every number of every input at its edges", Work: 15 * time.Second, Run: everyNumber},
	{Point: 8, Name: "every text of every input empty, long, not UTF-8, and with NULs", Work: 30 * time.Second, Run: everyText},
	{Point: 8, Name: "texts in place of tokens, ARNs and iterators", Run: badTokens},
	{Point: 8, Name: "CreateCheckpoint by an ordinary key, 40 times", Needs: Needs{Credentials: true}, Work: 20 * time.Second, Run: checkpoints},
	{Point: 8, Name: "2,501 tables", LongOnly: true, Once: true, Run: manyTables},
}

func maxResults(ctx context.Context, t *Target) error {
	var failed error
	for _, operation := range []string{"DescribeScalableTargets", "DescribeScalingPolicies", "DescribeScalingActivities", "DescribeScheduledActions"} {
		for _, n := range []string{"-1", "0", "51", "-2147483648", "2147483647", "9223372036854775807"} {
			r := t.Call(ctx, Alice, autoScaling+operation, `{"ServiceNamespace":"dynamodb","MaxResults":`+n+`}`)
			failed = errors.Join(failed, r.Taken(operation+" MaxResults "+n))
			if n == "-1" {
				failed = errors.Join(failed, r.Is(operation+" MaxResults -1", "ValidationException"))
			}
		}
	}
	for operation, member := range map[string]string{
		"ListTables": "Limit", "ListBackups": "Limit", "ListExports": "MaxResults", "ListImports": "PageSize", "ListBulkOperations": "MaxResults", "ListContributorInsights": "MaxResults",
		streams + "ListStreams": "Limit", daxControl + "DescribeClusters": "MaxResults", daxControl + "DescribeEvents": "MaxResults", daxControl + "DescribeParameterGroups": "MaxResults",
		daxControl + "DescribeSubnetGroups": "MaxResults", daxControl + "DescribeDefaultParameters": "MaxResults", cloudWatch + "DescribeAlarms": "MaxRecords", cloudWatch + "DescribeAlarmHistory": "MaxRecords",
		cloudWatch + "DescribeInsightRules": "MaxResults",
	} {
		for _, n := range []string{"-1", "0", "2147483647", "9223372036854775807", "1e30", "0.5", `"1"`} {
			r := t.Call(ctx, Alice, operation, `{"`+member+`":`+n+`}`)
			failed = errors.Join(failed, r.Taken(operation+" "+member+" "+n))
		}
	}
	return failed
}

// everyMemberWith sends each of the values in each member of the given kinds, one at a time.
func everyMemberWith(ctx context.Context, t *Target, kinds string, values []string) error {
	var failed error
	for _, m := range mutate.Members() {
		if !strings.Contains(kinds, m.Kind) {
			continue
		}
		for _, v := range values {
			r := t.Call(ctx, Alice, m.Target, m.Before+v+m.After)
			failed = errors.Join(failed, r.Taken(m.Target+" "+m.Before+v[:min(len(v), 50)]))
		}
		if err := t.Alive(); err != nil || ctx.Err() != nil {
			return errors.Join(failed, err)
		}
	}
	return failed
}

func everyNumber(ctx context.Context, t *Target) error {
	return everyMemberWith(ctx, t, "int float", []string{"-1", "0", "-2147483649", "9223372036854775807", "-9223372036854775808", "1e400", "0.5", "-0", "null", `"1"`, "true", "[1]"})
}

func everyText(ctx context.Context, t *Target) error {
	return everyMemberWith(ctx, t, "string", []string{`""`, quote(strings.Repeat("x", 70_000)), "\"\xff\xfe\xc0\x80\"", `"\u0000\ud800"`, `"../../../etc/passwd\n"`, `"%n%s{}' OR ''='"`, "1"})
}

// badTokens sends invalid tokens, and tokens of other operations.
func badTokens(ctx context.Context, t *Target) error {
	var failed error
	tokens := []string{"x", "AAAA", "eyJ9", "-1", "9223372036854775808", "%00", "arn:aws:dynamodb", "arn:aws:dynamodb:us-east-1:000000000000:table/", "arn:aws:dynamodb:us-east-1:000000000000:table/light/index/",
		"arn:aws:dynamodb:us-east-1:000000000000:table/light/stream/", "arn:aws:dynamodb:us-east-1:000000000000:table/light/stream/2026", "arn:aws:dynamodb:us-east-1:000000000000:table/light/backup/01-0", "arn:::::", ":::::::::", strings.Repeat("A", 2000)}
	for _, token := range tokens {
		for _, c := range []struct{ operation, member string }{
			{"ExecuteStatement", `"Statement":"SELECT * FROM light","NextToken"`}, {"ListExports", `"NextToken"`}, {"ListImports", `"NextToken"`}, {"ListBackups", `"ExclusiveStartBackupArn"`},
			{"ListTables", `"ExclusiveStartTableName"`}, {"ListBulkOperations", `"NextToken"`}, {"ListContributorInsights", `"NextToken"`}, {"ListTagsOfResource", `"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/light","NextToken"`},
			{streams + "ListStreams", `"ExclusiveStartStreamArn"`}, {streams + "GetRecords", `"ShardIterator"`}, {streams + "DescribeStream", `"StreamArn"`}, {"DescribeTable", `"TableName"`}, {"DescribeBackup", `"BackupArn"`},
			{"DescribeExport", `"ExportArn"`}, {"DescribeImport", `"ImportArn"`}, {"DescribeBulkOperation", `"BulkOperationArn"`}, {"GetResourcePolicy", `"ResourceArn"`}, {"ListTagsOfResource", `"ResourceArn"`},
			{cloudWatch + "ListMetrics", `"NextToken"`}, {cloudWatch + "DescribeAlarms", `"NextToken"`}, {cloudWatch + "DescribeAlarmHistory", `"NextToken"`}, {cloudWatch + "ListTagsForResource", `"ResourceARN"`},
			{cloudWatch + "GetMetricData", `"StartTime":0,"EndTime":60,"MetricDataQueries":[{"Id":"a","Expression":"TIME_SERIES(1)","Period":60}],"NextToken"`}, {autoScaling + "DescribeScalableTargets", `"ServiceNamespace":"dynamodb","NextToken"`},
			{autoScaling + "DescribeScalingActivities", `"ServiceNamespace":"dynamodb","NextToken"`}, {autoScaling + "ListTagsForResource", `"ResourceARN"`}, {daxControl + "DescribeClusters", `"NextToken"`}, {daxControl + "DescribeEvents", `"NextToken"`}, {daxControl + "ListTags", `"ResourceName"`},
		} {
			r := t.Call(ctx, Alice, c.operation, `{`+c.member+`:`+quote(token)+`}`)
			failed = errors.Join(failed, r.Taken(c.operation+" "+c.member+" "+token[:min(len(token), 80)]))
		}
	}
	return failed
}

// checkpoints are for operators: other callers must learn nothing and leave nothing behind. Unfetched checkpoints must be removed.
func checkpoints(ctx context.Context, t *Target) error {
	const operation = "Stator_20261101.CreateCheckpoint"
	if err := costlyItems(ctx, t); err != nil {
		return err
	}
	before := diskBytes(t.Dir)
	var failed error
	for range 40 {
		r := t.Call(ctx, Mallory, operation, "{}")
		failed = errors.Join(failed, r.Refused("CreateCheckpoint by an ordinary key"))
		if strings.Contains(string(r.Body), filepath.Dir(t.Dir)) {
			failed = errors.Join(failed, fmt.Errorf("a stranger learns the path: %s", r.Body))
		}
	}
	for range 40 {
		r := t.Call(ctx, Operator, operation, "{}")
		failed = errors.Join(failed, r.Is("CreateCheckpoint by an operator", "ok", "LimitExceededException", "ThrottlingException"))
	}
	if more := diskBytes(t.Dir) - before; more > 256<<20 {
		failed = errors.Join(failed, fmt.Errorf("checkpoints leave %d MiB behind", more>>20))
	}
	return failed
}

// diskBytes returns the total size of the files below a directory.
func diskBytes(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil // files come and go
	})
	return n
}

// manyTables creates as many tables as an account may have ("Quotas in Amazon DynamoDB"), and tries another one.
func manyTables(ctx context.Context, t *Target) error {
	const most = 2500
	create := func(i int) Reply {
		return t.Call(ctx, Alice, "CreateTable", fmt.Sprintf(`{"TableName":"many-%d","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]}`, i))
	}
	for i := range most - 1 { // the light client already has one
		if err := create(i).Is(fmt.Sprintf("table %d", i+2), "ok"); err != nil {
			return err
		}
	}
	return create(most).Is("table 2,501", "LimitExceededException")
}
