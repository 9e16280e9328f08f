package server

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// scaled creates a table whose reads are scaled to 70 % utilization between least and most, and an item that takes 100 units to
// read.
func (d *db) scaled(name string, least, most int) {
	d.t.Helper()
	d.must("CreateTable", provisioned(name, least, 1000))
	d.must("PutItem", obj{"TableName": name, "Item": obj{"pk": s("large"), "v": s(strings.Repeat("x", 409_000))}})
	target := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/" + name, "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
	d.must("AnyScaleFrontendService.RegisterScalableTarget", with(target, obj{"MinCapacity": least, "MaxCapacity": most}))
	d.must("AnyScaleFrontendService.PutScalingPolicy", with(target, obj{
		"PolicyName": "follow", "PolicyType": "TargetTrackingScaling",
		"TargetTrackingScalingPolicyConfiguration": obj{
			"TargetValue": 70, "PredefinedMetricSpecification": obj{"PredefinedMetricType": "DynamoDBReadCapacityUtilization"},
		},
	}))
}

// with returns an object with the members of both.
func with(a, b obj) obj {
	out := obj{}
	for _, o := range []obj{a, b} {
		for k, v := range o {
			out[k] = v
		}
	}
	return out
}

// minute is a minute of simulated traffic.
type minute struct {
	wanted, served, provisioned float64 // read units per second
	throttled                   int
}

// run reads the table at load units per second for each minute and returns what happened.
func (d *db) run(clock *movedClock, table string, minutes int, load func(minute int) float64) []minute {
	d.t.Helper()
	out := make([]minute, minutes)
	owed := 0.0
	for i := range out {
		m := &out[i]
		m.wanted = load(i)
		for range 60 {
			for owed += m.wanted; owed >= 100; owed -= 100 {
				_, err := d.call("GetItem", obj{"TableName": table, "Key": obj{"pk": s("large")}, "ConsistentRead": true, "ProjectionExpression": "pk"})
				if err == nil {
					m.served += 100.0 / 60
				} else {
					m.throttled++
				}
			}
			clock.Advance(time.Second)
		}
		if err := d.tick(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
		m.provisioned = d.must("DescribeTable", obj{"TableName": table})["Table"].(obj)["ProvisionedThroughput"].(obj)["ReadCapacityUnits"].(float64)
	}
	return out
}

// TestDay scales a table through a day's traffic: 12 units per second at night, 60 in the afternoon.
func TestDay(t *testing.T) {
	clock := newMovedClock()
	clock.ms.Store(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC).UnixMilli())
	d := open(t, Options{Now: clock.Now})
	d.scaled("Day", 10, 400)
	load := func(minute int) float64 { return 36 - 24*math.Cos(2*math.Pi*float64(minute)/(24*60)) }
	day := d.run(clock, "Day", 24*60, load)
	throttled, changes := 0, 0
	for i, m := range day {
		throttled += m.throttled
		if i > 0 && m.provisioned != day[i-1].provisioned {
			changes++
		}
		if i < 30 {
			continue
		}
		// Two minutes above 70 % scale out, so utilization stays near the target. Fifteen minutes below it scale in: four times a
		// day at once, then once an hour.
		if use := m.wanted / m.provisioned; use > 0.76 {
			t.Errorf("minute %d: %.0f units of %.0f provisioned are used", i, m.wanted, m.provisioned)
		}
	}
	if throttled > 0 {
		t.Errorf("%d requests were throttled", throttled)
	}
	noon, end := day[12*60].provisioned, day[len(day)-1].provisioned
	if noon < 80 || noon > 95 {
		t.Errorf("%v units are provisioned at noon, want 60/0.7", noon)
	}
	if end > 35 {
		t.Errorf("%v units are provisioned at the end of the day, when 12 are used", end)
	}
	if changes < 5 || changes > 200 {
		t.Errorf("%d changes", changes)
	}
	acts := d.must("AnyScaleFrontendService.DescribeScalingActivities", obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/Day"})["ScalingActivities"].([]any)
	last := acts[0].(obj)
	if last["StatusCode"] != "Successful" || !strings.HasPrefix(last["Cause"].(string), "monitor alarm TargetTracking-table/Day-AlarmLow-") ||
		!strings.HasSuffix(last["Cause"].(string), " in state ALARM triggered policy follow") || last["Description"] != fmt.Sprintf("Setting read capacity units to %v.", end) {
		t.Errorf("the last activity: %v", last)
	}
	sums := d.must("GraniteServiceVersion20100801.GetMetricStatistics", obj{
		"Namespace": "AWS/DynamoDB", "MetricName": "ConsumedReadCapacityUnits", "Dimensions": []obj{{"Name": "TableName", "Value": "Day"}},
		"StartTime": clock.Now().Add(-24 * time.Hour).Unix(), "EndTime": clock.Now().Unix(), "Period": 3600, "Statistics": []string{"Sum"},
	})["Datapoints"].([]any)
	total := 0.0
	for _, p := range sums {
		total += p.(obj)["Sum"].(float64)
	}
	served := 0.0
	for _, m := range day {
		served += m.served * 60
	}
	if len(sums) != 24 || math.Abs(total-served) > 0.5 {
		t.Errorf("%d hours with %v units, want 24 with %v", len(sums), total, served)
	}
}

// TestScaling checks that alarms fire like AWS's: two minutes above the target scale out, fifteen below scale in.
func TestScaling(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	d.scaled("Tab", 100, 400)
	steady := func(units float64) func(int) float64 { return func(int) float64 { return units } }
	for i, m := range d.run(clock, "Tab", 10, steady(60)) {
		if m.provisioned != 100 {
			t.Fatalf("minute %d: scaled to %v although nothing is near the target", i, m.provisioned)
		}
	}
	high := d.run(clock, "Tab", 3, steady(90))
	if high[0].provisioned != 100 || high[1].provisioned != 129 {
		t.Errorf("after one and two minutes at 90: %v and %v, want 100 and 129", high[0].provisioned, high[1].provisioned)
	}
	low := d.run(clock, "Tab", 16, steady(50))
	for i, m := range low {
		want := 129.0
		if i >= 14 {
			want = 100
		}
		if m.provisioned != want {
			t.Errorf("minute %d at 50: %v, want %v", i+1, m.provisioned, want)
		}
	}
	alarms := d.must("GraniteServiceVersion20100801.DescribeAlarms", obj{"AlarmNamePrefix": "TargetTracking-table/Tab-"})["MetricAlarms"].([]any)
	if len(alarms) != 4 {
		t.Fatalf("%d alarms, want four", len(alarms))
	}
	for _, a := range alarms {
		a := a.(obj)
		name := a["AlarmName"].(string)
		want := map[string][3]any{
			"AlarmHigh": {"ConsumedReadCapacityUnits", 2.0, 100 * 0.7 * 60}, "AlarmLow": {"ConsumedReadCapacityUnits", 15.0, 100 * 0.5 * 60.0},
			"ProvisionedCapacityHigh": {"ProvisionedReadCapacityUnits", 3.0, 100.0}, "ProvisionedCapacityLow": {"ProvisionedReadCapacityUnits", 3.0, 100.0},
		}[strings.Split(name, "-")[2]]
		if got := [3]any{a["MetricName"], a["EvaluationPeriods"], math.Round(a["Threshold"].(float64))}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	// Without traffic nothing is scaled in, as in AWS.
	d.run(clock, "Tab", 3, steady(150))
	idle := d.run(clock, "Tab", 40, steady(0))
	if last := idle[len(idle)-1]; last.provisioned < 200 {
		t.Errorf("scaled in to %v without any traffic", last.provisioned)
	}
	history := d.must("GraniteServiceVersion20100801.DescribeAlarmHistory", obj{"HistoryItemType": "StateUpdate"})["AlarmHistoryItems"].([]any)
	if len(history) == 0 {
		t.Error("the alarms have no history")
	}
}

// TestScalingLimits suspends scaling, forbids scale-in, reaches the maximum, and survives a restart.
func TestScalingLimits(t *testing.T) {
	clock := newMovedClock()
	dir := t.TempDir()
	d := open(t, Options{Now: clock.Now, DataDir: dir})
	d.scaled("Tab", 100, 150)
	steady := func(units float64) func(int) float64 { return func(int) float64 { return units } }
	target := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/Tab", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
	d.must("AnyScaleFrontendService.RegisterScalableTarget", with(target, obj{"SuspendedState": obj{"DynamicScalingOutSuspended": true}}))
	if m := d.run(clock, "Tab", 5, steady(95)); m[4].provisioned != 100 {
		t.Errorf("scaled to %v while suspended", m[4].provisioned)
	}
	d.must("AnyScaleFrontendService.RegisterScalableTarget", with(target, obj{"SuspendedState": obj{"DynamicScalingOutSuspended": false}}))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, Options{Now: clock.Now, DataDir: dir})
	if m := d.run(clock, "Tab", 8, steady(140)); m[7].provisioned != 150 {
		t.Errorf("scaled to %v, want the maximum", m[7].provisioned)
	}
	acts := d.must("AnyScaleFrontendService.DescribeScalingActivities", with(target, obj{"IncludeNotScaledActivities": true}))["ScalingActivities"].([]any)
	if reasons, _ := acts[0].(obj)["NotScaledReasons"].([]any); len(reasons) != 1 || reasons[0].(obj)["Code"] != "AlreadyAtMaxCapacity" {
		t.Errorf("the last activity: %v", acts[0])
	}
	d.must("AnyScaleFrontendService.PutScalingPolicy", with(target, obj{
		"PolicyName": "follow", "PolicyType": "TargetTrackingScaling",
		"TargetTrackingScalingPolicyConfiguration": obj{
			"TargetValue": 70, "DisableScaleIn": true, "PredefinedMetricSpecification": obj{"PredefinedMetricType": "DynamoDBReadCapacityUtilization"},
		},
	}))
	if m := d.run(clock, "Tab", 30, steady(20)); m[29].provisioned != 150 {
		t.Errorf("scaled in to %v although that is disabled", m[29].provisioned)
	}
	d.must("AnyScaleFrontendService.DeregisterScalableTarget", target)
	if got := d.must("GraniteServiceVersion20100801.DescribeAlarms", obj{})["MetricAlarms"].([]any); len(got) != 0 {
		t.Errorf("%d alarms are left", len(got))
	}
}

// TestScheduledActions changes a table's bounds on a schedule in Berlin's time zone, and runs step scaling from an alarm.
func TestScheduledActions(t *testing.T) {
	clock := newMovedClock()
	clock.ms.Store(time.Date(2026, 10, 23, 6, 50, 0, 0, time.UTC).UnixMilli()) // a Friday; 8:50 in Berlin (summer time)
	d := open(t, Options{Now: clock.Now})
	d.scaled("Tab", 10, 400)
	target := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/Tab", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
	put := func(name, schedule string, bounds obj) {
		d.must("AnyScaleFrontendService.PutScheduledAction", with(target, obj{
			"ScheduledActionName": name, "Schedule": schedule, "Timezone": "Europe/Berlin", "ScalableTargetAction": bounds,
		}))
	}
	put("morning", "cron(0 9 ? * MON-FRI *)", obj{"MinCapacity": 50})
	put("evening", "cron(0 18 ? * 2-6 *)", obj{"MinCapacity": 10, "MaxCapacity": 20})
	at := func(want time.Time, units float64) {
		t.Helper()
		for clock.Now().Before(want) {
			clock.Advance(time.Minute)
			if err := d.tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := d.must("DescribeTable", obj{"TableName": "Tab"})["Table"].(obj)["ProvisionedThroughput"].(obj)["ReadCapacityUnits"].(float64)
		if got != units {
			t.Errorf("%v: %v units, want %v", want, got, units)
		}
	}
	berlin := func(day, hour, minute int) time.Time {
		zone, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 10, day, hour, minute, 0, 0, zone)
	}
	at(berlin(23, 8, 59), 10)
	at(berlin(23, 9, 0), 50)
	at(berlin(23, 17, 59), 50)
	at(berlin(23, 18, 0), 20)
	at(berlin(25, 12, 0), 20) // a Sunday; summer time has ended
	at(berlin(26, 8, 59), 20)
	d.must("AnyScaleFrontendService.RegisterScalableTarget", with(target, obj{"MaxCapacity": 400}))
	at(berlin(26, 9, 0), 50)
	acts := d.must("AnyScaleFrontendService.DescribeScalingActivities", target)["ScalingActivities"].([]any)
	if len(acts) != 6 || acts[0].(obj)["Cause"] != "minimum capacity was set to 50" || acts[1].(obj)["Cause"] != "scheduled action name morning was triggered" ||
		acts[1].(obj)["Description"] != "Setting min capacity to 50" {
		t.Errorf("activities: %v", acts)
	}
	for _, bad := range []string{"cron(0 9 * * *)", "cron(61 9 * * ? *)", "cron(0 9 1 * 2 *)", "at(2020-01-01T00:00:00)", "at(tomorrow)", "rate(0 hours)", "every day"} {
		d.refused("ValidationException", "", "AnyScaleFrontendService.PutScheduledAction", with(target, obj{
			"ScheduledActionName": "bad", "Schedule": bad, "ScalableTargetAction": obj{"MinCapacity": 50},
		}))
	}
}

// TestScheduleMissed lets a scheduled action become due while no server runs. It runs once, at the next start.
func TestScheduleMissed(t *testing.T) {
	clock := newMovedClock()
	clock.ms.Store(time.Date(2026, 10, 23, 6, 50, 0, 0, time.UTC).UnixMilli())
	opt := Options{Now: clock.Now, DataDir: t.TempDir()}
	d := open(t, opt)
	d.scaled("Tab", 10, 400)
	d.must("AnyScaleFrontendService.PutScheduledAction", obj{
		"ServiceNamespace": "dynamodb", "ResourceId": "table/Tab", "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
		"ScheduledActionName": "morning", "Schedule": "cron(0 7 ? * * *)", "ScalableTargetAction": obj{"MinCapacity": 50},
	})
	activities := func() int {
		return len(d.must("AnyScaleFrontendService.DescribeScalingActivities", obj{"ServiceNamespace": "dynamodb"})["ScalingActivities"].([]any))
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Hour)
		d = open(t, opt)
		if err := d.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := activities(); n != 2 { // one for the bounds, one for the capacity
			t.Fatalf("%d activities", n)
		}
	}
}
