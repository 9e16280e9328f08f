package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// sum returns the sum of a DynamoDB metric over the last hour. dims are alternating names and values.
func (d *db) sum(clock *movedClock, metric string, dims ...string) (sum float64) {
	d.t.Helper()
	dimensions := []obj{}
	for i := 0; i < len(dims); i += 2 {
		dimensions = append(dimensions, obj{"Name": dims[i], "Value": dims[i+1]})
	}
	out := d.must("GraniteServiceVersion20100801.GetMetricStatistics", obj{
		"Namespace": "AWS/DynamoDB", "MetricName": metric, "Dimensions": dimensions, "Period": 60, "Statistics": []string{"Sum"},
		"StartTime": clock.Now().Add(-time.Hour).Unix(), "EndTime": clock.Now().Add(time.Minute).Unix(),
	})
	for _, p := range out["Datapoints"].([]any) {
		sum += p.(obj)["Sum"].(float64)
	}
	return sum
}

// TestMetrics causes everything that DynamoDB has a metric for and checks the counts, after a restart too.
func TestMetrics(t *testing.T) {
	clock := newMovedClock()
	dir := t.TempDir()
	opt := Options{Now: clock.Now, DataDir: dir, TTLInterval: time.Hour, Inject: []string{"DeleteItem:error=1"}}
	d := open(t, opt)
	table := indexedTable("Tab")
	table["BillingMode"], table["ProvisionedThroughput"] = "PROVISIONED", throughput(100, 100)
	for _, x := range table["GlobalSecondaryIndexes"].([]obj) {
		x["ProvisionedThroughput"] = throughput(10, 10)
	}
	table["StreamSpecification"] = obj{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}
	arn := d.must("CreateTable", table)["TableDescription"].(obj)["LatestStreamArn"].(string)
	item := func(i int) obj {
		return obj{"pk": s(fmt.Sprint("p", i)), "sk": n(i), "g": s("g"), "h": n(i), "l": n(i), "v": s(strings.Repeat("x", 1500))}
	}
	key := func(i int) obj { return obj{"pk": s(fmt.Sprint("p", i)), "sk": n(i)} }
	for i := range 4 {
		d.must("PutItem", obj{"TableName": "Tab", "Item": item(i)})
	}
	d.must("Query", obj{"TableName": "Tab", "IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": obj{":g": s("g")}})
	d.must("Scan", obj{"TableName": "Tab"})
	d.must("GetItem", obj{"TableName": "Tab", "Key": key(1), "ConsistentRead": true})
	if _, err := d.call("PutItem", obj{"TableName": "Tab", "Item": item(1), "ConditionExpression": "attribute_not_exists(pk)"}); err == nil {
		t.Error("the condition was met")
	}
	if _, err := d.call("DeleteItem", obj{"TableName": "Tab", "Key": key(1)}); err == nil {
		t.Error("no error was injected")
	}
	if _, err := d.call("GetItem", obj{"TableName": "Tab", "Key": obj{"pk": s("a")}}); err == nil {
		t.Error("half a key was taken")
	}
	d.must("UpdateTimeToLive", obj{"TableName": "Tab", "TimeToLiveSpecification": obj{"Enabled": true, "AttributeName": "t"}})
	for state := ""; state != "ENABLED"; {
		state = d.must("DescribeTimeToLive", obj{"TableName": "Tab"})["TimeToLiveDescription"].(obj)["TimeToLiveStatus"].(string)
	}
	old := item(9)
	old["t"] = n(int(clock.Now().Unix()) - 10)
	d.must("PutItem", obj{"TableName": "Tab", "Item": old})
	if _, err := d.items.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	shard := d.must("DynamoDBStreams_20120810.DescribeStream", obj{"StreamArn": arn})["StreamDescription"].(obj)["Shards"].([]any)[0].(obj)["ShardId"]
	it := d.must("DynamoDBStreams_20120810.GetShardIterator", obj{"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"})["ShardIterator"]
	d.must("DynamoDBStreams_20120810.GetRecords", obj{"ShardIterator": it})
	d.must("UpdateTable", obj{
		"TableName": "Tab", "AttributeDefinitions": []obj{attr("pk", "S")},
		"GlobalSecondaryIndexUpdates": []obj{{"Create": obj{"IndexName": "late", "KeySchema": keys("pk"), "Projection": obj{"ProjectionType": "KEYS_ONLY"}, "ProvisionedThroughput": throughput(5, 5)}}},
	})
	_, refused := d.until(exceeded, "GetItem", func(int) any { return obj{"TableName": "Tab", "Key": key(1)} })
	if refused == nil {
		t.Fatal("never throttled")
	}
	check := func(d *db) {
		t.Helper()
		write := 4*(2.0+2) + 2 + (2 + 2) // puts to the table and its LSI, the failed one, and the expiry
		for name, want := range map[string]float64{
			"ConsumedWriteCapacityUnits":           write,
			"ConditionalCheckFailedRequests":       1,
			"TimeToLiveDeletedItemCount":           1,
			"ReadThrottleEvents":                   1,
			"ReadKeyRangeThroughputThrottleEvents": 1, // all of them at one instant and in one partition
		} {
			if got := d.sum(clock, name, "TableName", "Tab"); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if got := d.sum(clock, "UserErrors"); got != 1 {
			t.Errorf("UserErrors is %v, want 1", got)
		}
		for operation, want := range map[string]map[string]float64{
			"Scan": {"ReturnedItemCount": 4}, "Query": {"ReturnedItemCount": 4}, "DeleteItem": {"SystemErrors": 1}, "GetItem": {"ThrottledRequests": 1},
		} {
			for name, want := range want {
				if got := d.sum(clock, name, "TableName", "Tab", "Operation", operation); got != want {
					t.Errorf("%s of %s is %v, want %v", name, operation, got, want)
				}
			}
		}
		label := arn[strings.LastIndex(arn, "/")+1:]
		if got := d.sum(clock, "ReturnedRecordsCount", "TableName", "Tab", "Operation", "GetRecords", "StreamLabel", label); got != 6 {
			t.Errorf("ReturnedRecordsCount is %v, want 6", got)
		}
		if got := d.sum(clock, "ConsumedWriteCapacityUnits", "TableName", "Tab", "GlobalSecondaryIndexName", "by-g"); got != 5 {
			t.Errorf("the GSI consumed %v write units, want 5", got)
		}
		if got := d.sum(clock, "ConsumedReadCapacityUnits", "TableName", "Tab", "GlobalSecondaryIndexName", "by-g"); got != 0.5 {
			t.Errorf("the GSI consumed %v read units, want 0.5", got)
		}
		if got := d.sum(clock, "OnlineIndexConsumedWriteCapacity", "TableName", "Tab", "GlobalSecondaryIndexName", "late"); got != 4 {
			t.Errorf("building an index consumed %v, want 4", got)
		}
	}
	for d.must("DescribeTable", obj{"TableName": "Tab"})["Table"].(obj)["GlobalSecondaryIndexes"].([]any)[2].(obj)["IndexStatus"] != "ACTIVE" {
		time.Sleep(time.Millisecond)
	}
	check(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, opt)
	check(d)
	clock.Advance(59 * time.Minute)
	check(d)
	// A deleted table's metrics stay.
	d.must("DeleteTable", obj{"TableName": "Tab"})
	check(d)
}

// TestConflictMetric counts conflicts between transactions.
func TestConflictMetric(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, Inject: []string{"UpdateItem:conflict=1", "TransactWriteItems:conflict=1"}})
	d.must("CreateTable", provisioned("Tab", 5, 5))
	d.refused("TransactionConflictException", "Transaction is ongoing for the item", "UpdateItem", obj{"TableName": "Tab", "Key": obj{"pk": s("a")}})
	_, err := d.call("TransactWriteItems", obj{"TransactItems": []obj{{"Put": obj{"TableName": "Tab", "Item": obj{"pk": s("a")}}}}})
	var e *apiError
	if !errors.As(err, &e) || !strings.Contains(e.message, "[TransactionConflict]") {
		t.Errorf("transaction: %v", err)
	}
	if got := d.sum(clock, "TransactionConflict", "TableName", "Tab"); got != 2 {
		t.Errorf("TransactionConflict is %v, want 2", got)
	}
}

// TestScaledIndex scales a GSI's writes by a step scaling policy that an alarm triggers.
func TestScaledIndex(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	table := provisioned("Tab", 5, 1000)
	table["AttributeDefinitions"] = []obj{attr("pk", "S"), attr("g", "S")}
	table["GlobalSecondaryIndexes"] = []obj{{
		"IndexName": "by-g", "KeySchema": keys("g"), "Projection": obj{"ProjectionType": "ALL"}, "ProvisionedThroughput": throughput(5, 10),
	}}
	d.must("CreateTable", table)
	target := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/Tab/index/by-g", "ScalableDimension": "dynamodb:index:WriteCapacityUnits"}
	d.must("AnyScaleFrontendService.RegisterScalableTarget", with(target, obj{"MinCapacity": 10, "MaxCapacity": 100}))
	arn := d.must("AnyScaleFrontendService.PutScalingPolicy", with(target, obj{
		"PolicyName": "steps", "PolicyType": "StepScaling",
		"StepScalingPolicyConfiguration": obj{"AdjustmentType": "PercentChangeInCapacity", "Cooldown": 60, "StepAdjustments": []obj{
			{"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 600, "ScalingAdjustment": 10},
			{"MetricIntervalLowerBound": 600, "ScalingAdjustment": 100},
		}},
	}))["PolicyARN"].(string)
	d.must("GraniteServiceVersion20100801.PutMetricAlarm", obj{
		"AlarmName": "busy", "Namespace": "AWS/DynamoDB", "MetricName": "ConsumedWriteCapacityUnits",
		"Dimensions": []obj{{"Name": "TableName", "Value": "Tab"}, {"Name": "GlobalSecondaryIndexName", "Value": "by-g"}},
		"Statistic":  "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 300, "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": []string{arn},
	})
	minute := func(writes int, want float64) {
		t.Helper()
		for i := range writes {
			d.must("PutItem", obj{"TableName": "Tab", "Item": obj{"pk": s(fmt.Sprint(clock.Now().Unix(), i)), "g": s("a")}})
		}
		clock.Advance(time.Minute)
		if err := d.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		x := d.must("DescribeTable", obj{"TableName": "Tab"})["Table"].(obj)["GlobalSecondaryIndexes"].([]any)[0].(obj)
		if got := x["ProvisionedThroughput"].(obj)["WriteCapacityUnits"]; got != want {
			t.Errorf("after %d writes: %v units, want %v", writes, got, want)
		}
	}
	minute(200, 10)
	minute(400, 11)  // 100 above the threshold: +10 %
	minute(1000, 22) // 700 above the threshold: +100 %
	minute(100, 22)
	policies := d.must("AnyScaleFrontendService.DescribeScalingPolicies", obj{"ServiceNamespace": "dynamodb"})["ScalingPolicies"].([]any)
	if alarms := policies[0].(obj)["Alarms"].([]any); len(alarms) != 1 || alarms[0].(obj)["AlarmName"] != "busy" {
		t.Errorf("the policy's alarms: %v", alarms)
	}
	history := d.must("GraniteServiceVersion20100801.DescribeAlarmHistory", obj{"AlarmName": "busy", "HistoryItemType": "Action"})["AlarmHistoryItems"].([]any)
	if len(history) == 0 || history[0].(obj)["HistorySummary"] != "Successfully executed action "+arn {
		t.Errorf("the alarm's actions: %v", history)
	}
}

// TestInsightsThroughChanges counts keys, of a GSI too, in a minute in which the table changes and the server restarts.
func TestInsightsThroughChanges(t *testing.T) {
	clock := newMovedClock()
	opt := Options{Now: clock.Now, DataDir: t.TempDir(), NoChangeLimits: true}
	d := open(t, opt)
	d.must("CreateTable", indexedTable("Tab"))
	for _, on := range []obj{{}, {"IndexName": "by-g"}} {
		d.must("UpdateContributorInsights", with(on, obj{"TableName": "Tab", "ContributorInsightsAction": "ENABLE"}))
	}
	rules := func(on obj) []any {
		list, _ := d.must("DescribeContributorInsights", with(on, obj{"TableName": "Tab"}))["ContributorInsightsRuleList"].([]any)
		return list
	}
	if n, m := len(rules(obj{})), len(rules(obj{"IndexName": "by-g"})); n != 4 || m != 4 {
		t.Fatalf("%d and %d rules, want four each", n, m)
	}
	put := func(i int) {
		d.must("PutItem", obj{"TableName": "Tab", "Item": obj{"pk": s("a"), "sk": n(i), "g": s("x"), "h": n(i)}})
	}
	put(1)
	d.must("UpdateTable", obj{"TableName": "Tab", "DeletionProtectionEnabled": true})
	put(2)
	d.must("UpdateTable", obj{"TableName": "Tab", "DeletionProtectionEnabled": false})
	put(3)
	report := func(rule any) string {
		r := d.watch("GetInsightRuleReport", obj{
			"RuleName": rule, "Period": 60, "StartTime": clock.Now().Add(-time.Hour).Unix(), "EndTime": clock.Now().Add(time.Minute).Unix(),
		})
		out := fmt.Sprint(r["AggregateValue"])
		for _, c := range r["Contributors"].([]any) {
			out += fmt.Sprint(" ", c.(obj)["Keys"], "=", c.(obj)["ApproximateAggregateValue"])
		}
		return out
	}
	check := func(n int) {
		t.Helper()
		items, entries := fmt.Sprint(n), fmt.Sprint(n)
		for i := 1; i <= n; i++ {
			items += fmt.Sprintf(" [a %d]=1", i)
			entries += fmt.Sprintf(" [x %d]=1", i)
		}
		onTable, onIndex := rules(obj{}), rules(obj{"IndexName": "by-g"})
		for rule, want := range map[any]string{
			onTable[0]: fmt.Sprintf("%d [a]=%d", n, n), onTable[1]: items, onIndex[0]: fmt.Sprintf("%d [x]=%d", n, n), onIndex[1]: entries,
		} {
			if got := report(rule); got != want {
				t.Errorf("%v: %s, want %s", rule, got, want)
			}
		}
	}
	check(3)
	for i, later := range []time.Duration{0, 0, 2 * time.Minute} { // the second one within the same minute
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		clock.Advance(later)
		d = open(t, opt)
		check(3 + i)
		put(4 + i)
		check(4 + i)
	}
	d.must("UpdateContributorInsights", obj{"TableName": "Tab", "ContributorInsightsAction": "DISABLE"})
	if n := len(rules(obj{})); n != 0 {
		t.Errorf("%d rules are left", n)
	}
}
