package server

import (
	"strings"
	"testing"
	"time"
)

// watch calls an operation of CloudWatch.
func (d *db) watch(operation string, in any) obj {
	d.t.Helper()
	return d.must("GraniteServiceVersion20100801."+operation, in)
}

// TestAlarms follows alarms through their states: on a metric, on an expression, with missing data, through a restart.
func TestAlarms(t *testing.T) {
	clock := newMovedClock()
	opt := Options{Now: clock.Now, DataDir: t.TempDir()}
	d := open(t, opt)
	alarm := func(name string, more obj) {
		d.watch("PutMetricAlarm", with(obj{
			"AlarmName": name, "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "Threshold": 10, "ComparisonOperator": "GreaterThanOrEqualToThreshold",
		}, more))
	}
	simple := obj{"Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60}
	alarm("simple", simple)
	alarm("quiet", with(simple, obj{"TreatMissingData": "notBreaching"}))
	alarm("loud", with(simple, obj{"TreatMissingData": "breaching", "AlarmActions": []string{"arn:aws:sns:us-east-1:000000000000:topic"}}))
	alarm("p90", obj{"Namespace": "N", "MetricName": "m", "ExtendedStatistic": "p90", "Period": 60})
	alarm("ratio", obj{"Metrics": []obj{
		{"Id": "a", "MetricStat": obj{"Metric": obj{"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}, "ReturnData": false},
		{"Id": "b", "MetricStat": obj{"Metric": obj{"Namespace": "N", "MetricName": "n"}, "Period": 60, "Stat": "Sum"}, "ReturnData": false},
		{"Id": "e", "Expression": "a / b * 10"},
	}})
	states := func() string {
		t.Helper()
		var out []string
		for _, a := range d.watch("DescribeAlarms", obj{})["MetricAlarms"].([]any) {
			out = append(out, a.(obj)["AlarmName"].(string)+" "+a.(obj)["StateValue"].(string))
		}
		return strings.ReplaceAll(strings.Join(out, ", "), "INSUFFICIENT_DATA", "-")
	}
	minute := func(want string, values ...float64) {
		t.Helper()
		for i, v := range values {
			d.watch("PutMetricData", obj{"Namespace": "N", "MetricData": []obj{{"MetricName": []string{"m", "n"}[i], "Value": v}}})
		}
		clock.Advance(time.Minute)
		if err := d.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := states(); got != want {
			t.Errorf("%v: %s\nwant %s", values, got, want)
		}
	}
	if got := states(); got != "loud -, p90 -, quiet -, ratio -, simple -" {
		t.Error(got)
	}
	minute("loud ALARM, p90 -, quiet OK, ratio -, simple -")
	minute("loud ALARM, p90 OK, quiet OK, ratio OK, simple OK", 5, 20)
	minute("loud ALARM, p90 OK, quiet OK, ratio OK, simple OK", 12, 20)
	minute("loud ALARM, p90 ALARM, quiet ALARM, ratio OK, simple ALARM", 12, 20)
	minute("loud ALARM, p90 ALARM, quiet ALARM, ratio OK, simple ALARM", 12, 6)
	minute("loud ALARM, p90 ALARM, quiet ALARM, ratio ALARM, simple ALARM", 12, 6)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, opt)
	minute("loud ALARM, p90 ALARM, quiet ALARM, ratio ALARM, simple ALARM", 1, 6)
	minute("loud OK, p90 OK, quiet OK, ratio OK, simple OK", 1, 6)
	for range 6 {
		clock.Advance(time.Minute)
		if err := d.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := states(); got != "loud ALARM, p90 -, quiet OK, ratio -, simple -" {
		t.Errorf("without data: %s", got)
	}
	reason := d.watch("DescribeAlarms", obj{"AlarmNames": []string{"loud"}})["MetricAlarms"].([]any)[0].(obj)["StateReason"]
	if want := "Threshold Crossed: "; !strings.HasPrefix(reason.(string), want) {
		t.Errorf("reason %q", reason)
	}
	acts := d.watch("DescribeAlarmHistory", obj{"AlarmName": "loud", "HistoryItemType": "Action"})["AlarmHistoryItems"].([]any)
	if len(acts) != 2 || !strings.HasPrefix(acts[0].(obj)["HistorySummary"].(string), "Failed to execute action arn:aws:sns:") {
		t.Errorf("actions: %v", acts)
	}
	page := d.watch("DescribeAlarmHistory", obj{"MaxRecords": 3, "ScanBy": "TimestampAscending"})
	if next := d.watch("DescribeAlarmHistory", obj{"MaxRecords": 3, "ScanBy": "TimestampAscending", "NextToken": page["NextToken"]}); len(next["AlarmHistoryItems"].([]any)) != 3 ||
		next["AlarmHistoryItems"].([]any)[0].(obj)["AlarmName"] != "p90" {
		t.Errorf("the second page of the history: %v", next)
	}
	for _, bad := range []obj{
		{"AlarmName": "bad"}, with(simple, obj{"AlarmName": "bad", "EvaluationPeriods": 1}), with(simple, obj{"AlarmName": "bad", "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "LessThanLowerThreshold"}),
		with(simple, obj{"AlarmName": "bad", "EvaluationPeriods": 2000, "Threshold": 1, "ComparisonOperator": "LessThanThreshold"}),
		with(simple, obj{"AlarmName": "bad", "EvaluationPeriods": 1, "DatapointsToAlarm": 2, "Threshold": 1, "ComparisonOperator": "LessThanThreshold"}),
		{"AlarmName": "bad", "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "LessThanThreshold", "Metrics": []obj{{"Id": "E", "Expression": "1"}}},
	} {
		d.refused("ValidationException", "", "GraniteServiceVersion20100801.PutMetricAlarm", bad)
	}
}

// TestHighResolution stores metrics per second, and reads them in periods shorter than a minute.
func TestHighResolution(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	for i := range 60 {
		d.watch("PutMetricData", obj{"Namespace": "N", "MetricData": []obj{{
			"MetricName": "m", "Value": 1, "StorageResolution": 1, "Timestamp": clock.Now().Add(time.Duration(i) * time.Second).Unix(),
		}}})
	}
	for period, want := range map[int]int{1: 60, 5: 12, 10: 6, 30: 2, 60: 1} {
		points := d.watch("GetMetricStatistics", obj{
			"Namespace": "N", "MetricName": "m", "Period": period, "Statistics": []string{"Sum", "SampleCount"},
			"StartTime": clock.Now().Unix(), "EndTime": clock.Now().Add(time.Minute).Unix(),
		})["Datapoints"].([]any)
		if len(points) != want || points[0].(obj)["Sum"] != float64(60/want) {
			t.Errorf("periods of %d s: %v", period, points)
		}
	}
}
