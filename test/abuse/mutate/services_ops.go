package mutate

import (
	"fmt"
	"strings"
	"time"
)

// now is the second in which the world began. The server's clock starts there.
var now = time.Now().Unix() / 60 * 60

func (g *gen) metricName() string {
	return pick(g.Source, "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "SuccessfulRequestLatency", "ThrottledRequests", "own", "own-2")
}

// metric returns a metric of DynamoDB or of a client.
func (g *gen) metric() obj {
	name := g.metricName()
	if strings.HasPrefix(name, "own") {
		return obj{"Namespace": "own", "MetricName": name, "Dimensions": []any{obj{"Name": "d", "Value": fmt.Sprint(g.n(3))}}}
	}
	return obj{"Namespace": "AWS/DynamoDB", "MetricName": name, "Dimensions": []any{obj{"Name": "TableName", "Value": g.table().name}}}
}

func (g *gen) statistic() string {
	return pick(g.Source, "Sum", "Average", "Maximum", "Minimum", "SampleCount")
}

func (g *gen) extended() string {
	return pick(g.Source, "p99", "p50", "p0", "p100", "p99.9", "tm90", "tc90", "ts90", "wm90", "iqm", "TM(10%:90%)", "PR(1:5)", "tm(:50%)")
}

func (g *gen) putMetricData() obj {
	data := []any{}
	for range 1 + g.n(5) {
		d := obj{"MetricName": pick(g.Source, "own", "own-2"), "Dimensions": []any{obj{"Name": "d", "Value": fmt.Sprint(g.n(3))}}}
		switch g.n(3) {
		case 0:
			d["Value"] = pick[any](g.Source, 0, 1, -1, 1e300, -1e300, 0.5, 1e-300)
		case 1:
			d["Values"], d["Counts"] = []any{1, 2, 2.5}, []any{1, 3, 2}
		default:
			d["StatisticValues"] = obj{"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 5}
		}
		g.maybe(d, 2, "Timestamp", func() any { return now - int64(g.n(7200)) })
		g.maybe(d, 3, "Unit", func() any { return pick(g.Source, "Count", "Seconds", "None", "Bytes/Second") })
		g.maybe(d, 4, "StorageResolution", func() any { return pick(g.Source, 1, 60) })
		data = append(data, d)
	}
	return obj{"Namespace": "own", "MetricData": data}
}

// math returns an expression of m1 and m2.
func (g *gen) math(depth int) string {
	if depth > 3 {
		return pick(g.Source, "m1", "m2", "1", "0", "-2.5", "PERIOD(m1)")
	}
	sub := func() string { return g.math(depth + 1) }
	series := func() string {
		return pick(g.Source, "m1", "m2", "TIME_SERIES(2)", "ABS(m1)", "FILL(m1,0)", "RATE(m2)", "DIFF(m1)", "(m1+m2)", "IF(m1>1,m1,m2)", "RUNNING_SUM(m1)", "SUM([m1,m2])")
	}
	switch g.n(14) {
	case 0:
		return "(" + sub() + pick(g.Source, "+", "-", "*", "/", "^") + sub() + ")"
	case 1:
		return pick(g.Source, "ABS", "CEIL", "FLOOR", "DIFF", "DIFF_TIME", "RATE", "RUNNING_SUM", "LOG", "LOG10", "REMOVE_EMPTY") + "(" + series() + ")"
	case 2:
		return pick(g.Source, "SUM", "AVG", "MAX", "MIN", "STDDEV") + "(" + pick(g.Source, "METRICS()", "[m1,m2]", "METRICS(\"m\")", "m1") + ")"
	case 3:
		return "IF(" + sub() + pick(g.Source, ">", "<", "==", "!=", ">=") + sub() + "," + sub() + "," + sub() + ")"
	case 4:
		return "FILL(" + series() + "," + pick(g.Source, "0", "REPEAT", "LINEAR", "1.5") + ")"
	case 5:
		return pick(g.Source, "FIRST", "LAST") + "(METRICS())"
	case 6:
		return "SORT(METRICS()," + pick(g.Source, "SUM", "AVG", "MAX", "MIN", "STDDEV") + "," + pick(g.Source, "ASC", "DESC") + pick(g.Source, "", ",1", ",2") + ")"
	case 7:
		return "SLICE(METRICS()," + pick(g.Source, "0", "1", "0,1", "0,2") + ")"
	case 8:
		return pick(g.Source, "MINUTE", "HOUR", "DAY", "DATE", "MONTH", "YEAR", "EPOCH", "PERIOD", "DATAPOINT_COUNT") + "(" + series() + ")"
	case 9:
		return "TIME_SERIES(" + pick(g.Source, "0", "1", "5.5") + ")"
	case 10:
		return "(" + sub() + pick(g.Source, " AND ", " OR ", " && ", " || ") + sub() + ")"
	case 11:
		return "-" + sub()
	}
	return series()
}

// queries returns queries for metrics m1 and m2 and an expression of them. Only the expression's result is returned.
func (g *gen) queries(one bool) []any {
	out := []any{}
	for _, id := range []string{"m1", "m2"} {
		stat := g.statistic()
		if g.one(4) {
			stat = g.extended()
		}
		q := obj{"Id": id, "MetricStat": obj{"Metric": g.metric(), "Period": 60, "Stat": stat}}
		if one || g.one(3) {
			q["ReturnData"] = false
		}
		out = append(out, q)
	}
	e := obj{"Id": "e1", "Expression": g.math(0)}
	g.maybe(e, 2, "Label", func() any { return pick(g.Source, "x", "${PROP('Period')}", "[max: ${MAX}]", "") })
	return append(out, e)
}

func (g *gen) span(in obj) obj {
	start := now - 60*int64(1+g.n(600))
	in["StartTime"], in["EndTime"] = start, start+60*int64(1+g.n(600))
	return in
}

func (g *gen) getMetricData() obj {
	in := g.span(obj{"MetricDataQueries": g.queries(false)})
	g.maybe(in, 3, "ScanBy", func() any { return pick(g.Source, "TimestampAscending", "TimestampDescending") })
	g.maybe(in, 3, "MaxDatapoints", func() any { return 1 + g.n(100) })
	g.maybe(in, 5, "LabelOptions", func() any { return obj{"Timezone": pick(g.Source, "+0000", "-0330")} })
	return in
}

func (g *gen) getMetricStatistics() obj {
	in := g.span(g.metric())
	in["Period"] = 60 * (1 + g.n(60))
	if g.one(3) {
		in["ExtendedStatistics"] = []any{g.extended()}
	} else {
		in["Statistics"] = []any{g.statistic()}
	}
	return in
}

func (g *gen) listMetrics() obj {
	in := obj{}
	g.maybe(in, 2, "Namespace", func() any { return pick(g.Source, "own", "AWS/DynamoDB", "AWS/DAX") })
	g.maybe(in, 2, "MetricName", func() any { return g.metricName() })
	g.maybe(in, 3, "Dimensions", func() any { return []any{obj{"Name": pick(g.Source, "TableName", "d")}} })
	g.maybe(in, 4, "RecentlyActive", func() any { return "PT3H" })
	return in
}

func (g *gen) alarmName() string { return fmt.Sprint("alarm-", g.n(4)) }

func (g *gen) putMetricAlarm() obj {
	in := obj{"AlarmName": g.alarmName(), "EvaluationPeriods": 1 + g.n(4), "Threshold": g.n(10), "ComparisonOperator": pick(g.Source, "GreaterThanThreshold", "LessThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanOrEqualToThreshold")}
	if g.one(2) {
		in["Metrics"] = g.queries(true)
	} else {
		for name, v := range g.metric() {
			in[name] = v
		}
		in["Period"] = pick(g.Source, 60, 300, 10, 3600)
		if g.one(4) {
			in["ExtendedStatistic"] = g.extended()
			g.maybe(in, 2, "EvaluateLowSampleCountPercentile", func() any { return pick(g.Source, "evaluate", "ignore") })
		} else {
			in["Statistic"] = g.statistic()
		}
	}
	g.maybe(in, 3, "TreatMissingData", func() any { return pick(g.Source, "breaching", "notBreaching", "ignore", "missing") })
	g.maybe(in, 3, "DatapointsToAlarm", func() any { return 1 })
	g.maybe(in, 4, "AlarmActions", func() any { return []any{"arn:aws:sns:us-east-1:000000000000:topic"} })
	g.maybe(in, 5, "Tags", func() any { return g.tags() })
	return in
}

func (g *gen) describeAlarms() obj {
	in := g.page(obj{}, "MaxRecords", 100)
	switch g.n(4) {
	case 0:
		in["AlarmNames"] = []any{g.alarmName()}
	case 1:
		in["AlarmNamePrefix"] = "alarm"
	case 2:
		in["StateValue"] = pick(g.Source, "OK", "ALARM", "INSUFFICIENT_DATA")
	}
	return in
}

func (g *gen) describeAlarmsForMetric() obj {
	in := g.metric()
	g.maybe(in, 2, "Statistic", func() any { return g.statistic() })
	return in
}

func (g *gen) insightReport() obj {
	in := g.span(obj{"RuleName": g.known("RuleName"), "Period": 60})
	g.maybe(in, 2, "Metrics", func() any {
		return []any{"Sum", "UniqueContributors", "MaxContributorValue", "SampleCount"}
	})
	g.maybe(in, 2, "MaxContributorCount", func() any { return 1 + g.n(100) })
	return in
}

// scalable returns the members that name a scalable target.
func (g *gen) scalable() obj {
	dimension := pick(g.Source, "dynamodb:table:ReadCapacityUnits", "dynamodb:table:WriteCapacityUnits", "dynamodb:index:ReadCapacityUnits", "dynamodb:index:WriteCapacityUnits")
	id := "table/prov"
	if strings.Contains(dimension, "index") {
		id = "table/prov/index/by-n"
	}
	return obj{"ServiceNamespace": "dynamodb", "ResourceId": id, "ScalableDimension": dimension}
}

func (g *gen) registerTarget() obj {
	in := g.scalable()
	in["MinCapacity"], in["MaxCapacity"] = 1+g.n(5), 5+g.n(95)
	g.maybe(in, 4, "SuspendedState", func() any { return obj{"DynamicScalingInSuspended": g.one(2), "ScheduledScalingSuspended": g.one(2)} })
	return in
}

func (g *gen) describeScaling() obj {
	return g.page(obj{"ServiceNamespace": "dynamodb"}, "MaxResults", 50)
}

func (g *gen) putScalingPolicy() obj {
	in := with(g.scalable(), "PolicyName", pick(g.Source, "policy", "p-2"))
	kind := "DynamoDBReadCapacityUtilization"
	if strings.Contains(in["ScalableDimension"].(string), "Write") {
		kind = "DynamoDBWriteCapacityUtilization"
	}
	config := obj{"TargetValue": 20 + g.n(70), "PredefinedMetricSpecification": obj{"PredefinedMetricType": kind}}
	g.maybe(config, 2, "ScaleInCooldown", func() any { return g.n(120) })
	g.maybe(config, 4, "DisableScaleIn", func() any { return true })
	in["PolicyType"], in["TargetTrackingScalingPolicyConfiguration"] = "TargetTrackingScaling", config
	return in
}

func (g *gen) putScheduledAction() obj {
	in := with(g.scalable(), "ScheduledActionName", "action")
	in["Schedule"] = pick(g.Source, "rate(5 minutes)", "rate(1 hour)", "cron(0/5 * * * ? *)", "cron(0 10 ? * MON-FRI *)", "cron(15 12 L * ? 2030)", "at(2030-01-01T00:00:00)")
	in["ScalableTargetAction"] = obj{"MinCapacity": 2, "MaxCapacity": 10 + g.n(20)}
	g.maybe(in, 3, "Timezone", func() any { return pick(g.Source, "Europe/Berlin", "America/New_York", "UTC") })
	return in
}

func (g *gen) clusterName() string { return fmt.Sprint("cluster-", g.n(2)) }

func (g *gen) createCluster() obj {
	return obj{"ClusterName": fmt.Sprint("cluster-", g.n(4)), "NodeType": "dax.r5.large", "ReplicationFactor": 1 + g.n(3), "IamRoleArn": "arn:aws:iam::000000000000:role/dax", "Tags": g.tags()}
}

func (g *gen) updateParameterGroup() obj {
	return obj{"ParameterGroupName": "group", "ParameterNameValues": []any{obj{"ParameterName": pick(g.Source, "record-ttl-millis", "query-ttl-millis"), "ParameterValue": fmt.Sprint(g.n(100000))}}}
}
