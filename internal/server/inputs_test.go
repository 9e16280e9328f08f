package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/smithy"
)

// baseInputs are the requests that TestInputs starts from, one per operation. Some fail because the resource that they name
// does not exist.
func baseInputs() map[string]obj {
	const arn = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:simple"
	metric := obj{"Namespace": "N", "MetricName": "m", "Dimensions": []obj{{"Name": "d", "Value": "v"}}}
	dimension := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/Tab", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
	listing := obj{"ServiceNamespace": "dynamodb"}
	names := obj{"AlarmNames": []string{"simple"}}
	tags := []obj{{"Key": "k", "Value": "v"}}
	span := obj{"StartTime": 1_788_000_000, "EndTime": 1_788_000_600}
	stat := obj{"Metric": metric, "Period": 60, "Stat": "Sum", "Unit": "Count"}
	cloudwatch := map[string]obj{
		"DeleteAlarms":            {"AlarmNames": []string{"gone", "gone too"}},
		"DescribeAlarmHistory":    {"AlarmName": "simple"},
		"DescribeAlarms":          {},
		"DescribeAlarmsForMetric": metric,
		"DescribeInsightRules":    {},
		"DisableAlarmActions":     names,
		"EnableAlarmActions":      names,
		"GetInsightRuleReport":    with(span, obj{"RuleName": "DynamoDBContributorInsights-PKC-Tab-1", "Period": 60}),
		"GetMetricData": with(span, obj{"MetricDataQueries": []obj{{"Id": "a", "MetricStat": stat}, {"Id": "b", "Expression": "SUM(METRICS()) + FILL(a, 0)", "Period": 60},
			{"Id": "c", "Expression": "TIME_SERIES(1)", "Period": 60}}}),
		"GetMetricStatistics": with(with(span, metric), obj{"Period": 60, "Statistics": []string{"Sum"}}),
		"ListMetrics":         metric,
		"ListTagsForResource": {"ResourceARN": arn},
		"PutMetricAlarm":      with(metric, obj{"AlarmName": "simple", "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "Statistic": "Sum", "Period": 60}),
		"PutMetricData":       {"Namespace": "N", "MetricData": []obj{{"MetricName": "m", "Dimensions": metric["Dimensions"], "Value": 1}}},
		"SetAlarmState":       {"AlarmName": "simple", "StateValue": "OK", "StateReason": "why"},
		"TagResource":         {"ResourceARN": arn, "Tags": tags},
		"UntagResource":       {"ResourceARN": arn, "TagKeys": []string{"k"}},
	}
	targetARN := "arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/x"
	scaling := map[string]obj{
		"DeleteScalingPolicy":       with(dimension, obj{"PolicyName": "gone"}),
		"DeleteScheduledAction":     with(dimension, obj{"ScheduledActionName": "gone"}),
		"DeregisterScalableTarget":  with(dimension, obj{"ResourceId": "table/Other"}),
		"DescribeScalableTargets":   listing,
		"DescribeScalingActivities": listing,
		"DescribeScalingPolicies":   listing,
		"DescribeScheduledActions":  listing,
		"ListTagsForResource":       {"ResourceARN": targetARN},
		"PutScalingPolicy": with(dimension, obj{"PolicyName": "p", "PolicyType": "StepScaling",
			"StepScalingPolicyConfiguration": obj{"AdjustmentType": "ChangeInCapacity", "StepAdjustments": []obj{{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}}}}),
		"PutScheduledAction":     with(dimension, obj{"ScheduledActionName": "s", "Schedule": "rate(1 minute)", "ScalableTargetAction": obj{"MinCapacity": 5}}),
		"RegisterScalableTarget": with(dimension, obj{"MinCapacity": 5, "MaxCapacity": 50}),
		"TagResource":            {"ResourceARN": targetARN, "Tags": obj{"k": "v"}},
		"UntagResource":          {"ResourceARN": targetARN, "TagKeys": []string{"k"}},
	}
	clusterARN := "arn:aws:dax:us-east-1:000000000000:cache/one"
	accelerator := map[string]obj{
		"CreateCluster":             {"ClusterName": "one", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": daxRole},
		"CreateParameterGroup":      {"ParameterGroupName": "group"},
		"CreateSubnetGroup":         {"SubnetGroupName": "group", "SubnetIds": []string{"subnet-1"}},
		"DecreaseReplicationFactor": {"ClusterName": "one", "NewReplicationFactor": 1},
		"DeleteCluster":             {"ClusterName": "gone"},
		"DeleteParameterGroup":      {"ParameterGroupName": "gone"},
		"DeleteSubnetGroup":         {"SubnetGroupName": "gone"},
		"DescribeClusters":          {},
		"DescribeDefaultParameters": {},
		"DescribeEvents":            {},
		"DescribeParameterGroups":   {},
		"DescribeParameters":        {"ParameterGroupName": "group"},
		"DescribeSubnetGroups":      {},
		"IncreaseReplicationFactor": {"ClusterName": "one", "NewReplicationFactor": 2},
		"ListTags":                  {"ResourceName": clusterARN},
		"RebootNode":                {"ClusterName": "one", "NodeId": "one-a"},
		"TagResource":               {"ResourceName": clusterARN, "Tags": tags},
		"UntagResource":             {"ResourceName": clusterARN, "TagKeys": []string{"k"}},
		"UpdateCluster":             {"ClusterName": "one", "Description": "x"},
		"UpdateParameterGroup":      {"ParameterGroupName": "group", "ParameterNameValues": []obj{{"ParameterName": "query-ttl-millis", "ParameterValue": "1000"}}},
		"UpdateSubnetGroup":         {"SubnetGroupName": "group", "SubnetIds": []string{"subnet-1"}},
	}
	out := map[string]obj{}
	for prefix, list := range map[string]map[string]obj{"GraniteServiceVersion20100801.": cloudwatch, "AnyScaleFrontendService.": scaling, "AmazonDAXV3.": accelerator} {
		for name, in := range list {
			out[prefix+name] = in
		}
	}
	return out
}

// member is a member of an input: its path and Go type. Lists and maps are represented by their first element.
type member struct {
	path []string // "0" is a list's element, "key" a map's value
	kind reflect.Type
}

// membersOf finds all members of a type, which may be recursive.
func membersOf(t reflect.Type, path []string, out []member) []member {
	if len(path) > 8 {
		return out
	}
	down := func(name string) []string { return append(path[:len(path):len(path)], name) }
	switch {
	case t.Kind() == reflect.Pointer:
		return membersOf(t.Elem(), path, out)
	case t.Kind() == reflect.Slice && strings.HasPrefix(t.Name(), "Map["):
		value, _ := t.Elem().FieldByName("Value")
		return membersOf(value.Type, down("key"), append(out, member{path, t}))
	case t.Kind() == reflect.Slice:
		return membersOf(t.Elem(), down("0"), append(out, member{path, t}))
	case t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Opt["):
		value, _ := t.FieldByName("Value")
		return append(out, member{path, value.Type})
	case t.Kind() != reflect.Struct:
		return append(out, member{path, t})
	}
	if len(path) > 0 {
		out = append(out, member{path, t})
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			out = membersOf(f.Type, down(f.Name), out)
		}
	}
	return out
}

// put returns a copy of a JSON value with v at the path.
func put(in any, path []string, v any) any {
	if len(path) == 0 {
		return v
	}
	if path[0] == "0" {
		list, _ := in.([]any)
		if len(list) == 0 {
			list = []any{nil}
		}
		list = append([]any(nil), list...)
		list[0] = put(list[0], path[1:], v)
		return list
	}
	out := map[string]any{}
	if m, ok := in.(map[string]any); ok {
		out = maps.Clone(m)
	}
	out[path[0]] = put(out[path[0]], path[1:], v)
	return out
}

// badValues returns values of the right type and of wrong ones.
func badValues(t reflect.Type, tokens []string) []any {
	number := func(text string) any { return json.RawMessage(text) }
	numbers := []any{0, -1, 1, 7, 61, 1 << 31, number("9223372036854775807"), number("-9223372036854775808"), number("1e300"), number("-1e999"), number("0.5")}
	switch t.Kind() {
	case reflect.String:
		out := []any{"", " ", "x", "a\x00b", "\xff", "é\U0001F600", "-1", "0", "..//..", "%s%n", "*", strings.Repeat("x", 1<<20), strings.Repeat("(", 2000), nil, 5, []any{}, obj{}}
		for _, token := range tokens {
			out = append(out, token)
		}
		return out
	case reflect.Slice:
		return []any{[]any{}, []any{nil}, []any{obj{}}, make([]any, 3000), obj{}, obj{"": nil}, "x", nil}
	case reflect.Struct:
		return []any{obj{}, nil, []any{}, "x"}
	case reflect.Bool:
		return []any{true, false, "true", nil, 1}
	}
	return append(numbers, "x", "1", nil, []any{}, true)
}

// inputTokens returns page tokens that no answer contained: garbage, and tokens that belong to other operations.
func inputTokens() (out []string) {
	for _, text := range []string{
		"", "a", "-1", "99999999999999999999", "0.0.0", "0.0.-1", "999999999.5.5", "2.9.9", "\x00", string(keyspace.AlarmHistoryItem("111111111111", "us-east-1", 1, 1)), string(keyspace.AlarmHistory("000000000000", "us-east-1")),
		string(keyspace.MetricIndex("111111111111", "us-east-1")), string(keyspace.MetricIndex("000000000000", "us-east-1")), string(keyspace.MetricIndex("000000000000", "us-east-1", "N", "m")), "\xff\xff\xff",
	} {
		out = append(out, base64.StdEncoding.EncodeToString([]byte(text)))
	}
	return out
}

// TestInputs gives bad values to every member of all operations outside DynamoDB. No answer is a 500, and nothing stored panics
// when it is evaluated later.
func TestInputs(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	d.must("CreateTable", provisioned("Tab", 5, 5))
	bases, tokens, panics, sent := baseInputs(), inputTokens(), guard.Panics(), 0
	maps.Copy(bases, iamInputs())
	send := func(target string, in any) (status int, answer []byte) {
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var c fasthttp.RequestCtx
		h := &c.Request.Header
		h.SetMethod("POST")
		h.Set("X-Amz-Date", clock.Now().UTC().Format("20060102T150405Z"))
		h.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/"+clock.Now().UTC().Format("20060102")+"/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00")
		h.Set("X-Amz-Target", target)
		h.Set("Host", "127.0.0.1")
		c.Request.SetBody(body)
		d.http.Handle(&c)
		sent++
		return c.Response.StatusCode(), c.Response.Body()
	}
	for _, first := range []string{"AnyScaleFrontendService.RegisterScalableTarget", "AnyScaleFrontendService.PutScalingPolicy", "AmazonDAXV3.CreateCluster", "AmazonDAXV3.CreateParameterGroup", "AmazonDAXV3.CreateSubnetGroup",
		"GraniteServiceVersion20100801.PutMetricData", "GraniteServiceVersion20100801.PutMetricAlarm"} {
		if status, answer := send(first, bases[first]); status != 200 {
			t.Errorf("%s: %d %s", first, status, answer)
		}
	}
	for _, h := range d.handlers {
		if h.Service == "" {
			continue
		}
		base, known := bases[h.Target]
		if !known {
			t.Errorf("%s has no request in baseInputs", h.Target)
			continue
		}
		delete(bases, h.Target)
		raw, err := json.Marshal(base)
		if err != nil {
			t.Fatal(err)
		}
		var in any
		if err := json.Unmarshal(raw, &in); err != nil {
			t.Fatal(err)
		}
		var call smithy.Call
		input, refused := h.Decode(&call, raw)
		if refused != nil {
			t.Errorf("%s: the base is not decoded: %v", h.Target, refused)
			continue
		}
		for _, m := range membersOf(reflect.TypeOf(input), nil, nil) {
			for _, v := range badValues(m.kind, tokens) {
				if status, answer := send(h.Target, put(in, m.path, v)); status >= 500 {
					t.Errorf("%s with %s = %.60v: %d %s", h.Target, strings.Join(m.path, "."), v, status, bytes.TrimSpace(answer))
				}
			}
		}
		for range 2 {
			clock.Advance(time.Minute)
			if err := d.tick(t.Context()); err != nil {
				t.Errorf("after %s: %v", h.Target, err)
			}
		}
	}
	for target := range bases {
		t.Errorf("%s is no operation", target)
	}
	if n := guard.Panics() - panics; n != 0 {
		t.Errorf("%d panics in the background", n)
	}
	t.Log(fmt.Sprint(sent, " requests"))
}
