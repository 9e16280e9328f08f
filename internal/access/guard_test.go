package access

import (
	"context"
	"testing"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/smithy"
)

// TestGuard calls operations of a user who may tag the alarm A, delete it, and list metrics. The input of an operation is what it asks.
func TestGuard(t *testing.T) {
	const a, b = "arn:aws:cloudwatch:us-east-1:" + here + ":alarm:A", "arn:aws:cloudwatch:us-east-1:" + here + ":alarm:B"
	text := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"cloudwatch:DeleteAlarms","Resource":"` + a + `"},
		{"Effect":"Allow","Action":"cloudwatch:TagResource","Resource":"*","Condition":{
			"StringEquals":{"aws:RequestTag/Team":"shop","aws:ResourceTag/Level":"low"},"ForAllValues:StringEquals":{"aws:TagKeys":["Team"]},
			"DateLessThan":{"aws:CurrentTime":"2026-12-02T00:00:00Z"}}},
		{"Effect":"Allow","Action":"cloudwatch:ListMetrics","Resource":"*"}]}`
	low := func(tags ...string) Keys {
		k := Keys{}
		k.ResourceTags(map[string]string{"level": "low"})
		for _, tag := range tags {
			k.RequestTag(tag, "shop")
		}
		return k
	}
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, operation string
		asked           []Question
		at              time.Time
		allowed         bool
	}{
		{"no question", "ListMetrics", nil, now, true},
		{"no question, another operation", "DescribeAlarms", nil, now, false},
		{"the alarm", "DeleteAlarms", []Question{{Resource: a}}, now, true},
		{"two alarms", "DeleteAlarms", []Question{{Resource: a}, {Resource: b}}, now, false},
		{"an action of its own", "PutMetricAlarm", []Question{{Resource: a, Action: "cloudwatch:DeleteAlarms"}}, now, true},
		{"the tag", "TagResource", []Question{{Resource: b, Keys: low("Team")}}, now, true},
		{"the tag, later", "TagResource", []Question{{Resource: b, Keys: low("Team")}}, now.Add(24 * time.Hour), false},
		{"a further tag", "TagResource", []Question{{Resource: b, Keys: low("Team", "Other")}}, now, false},
		{"another tag", "TagResource", []Question{{Resource: b, Keys: low("Other")}}, now, false},
		{"without the resource's tag", "TagResource", []Question{{Resource: b, Keys: Keys{}}}, now, false},
	} {
		ran := false
		handlers := Guard([]smithy.Handler{{
			Target: "Service." + c.operation,
			Run: func(context.Context, *smithy.Call, any) (smithy.Renderer, error) {
				ran = true
				return nil, nil
			},
		}}, "cloudwatch:", func() time.Time { return c.at }, func(_ *smithy.Call, in any) []Question { return in.([]Question) })
		call := &smithy.Call{Caller: smithy.Caller{Account: here, Verified: true, Identity: user(here, parsed(t, policy.OfIdentity, text))}}
		_, err := handlers[0].Run(context.Background(), call, c.asked)
		if (err == nil) != c.allowed || ran != c.allowed || !call.Time.Equal(c.at) {
			t.Errorf("%s: %v, ran %v, at %s", c.name, err, ran, call.Time)
		}
	}
}
