package autoscaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

type obj = map[string]any

// fakeTables are tables of five units. Those whose name is in broken panic.
type fakeTables struct {
	broken string
	looked int
}

func (f *fakeTables) Capacity(r *Resource) (int64, bool) { return 5, true }

func (f *fakeTables) SetCapacity(context.Context, *Resource, int64) error { return nil }

// fakeWatch has no alarms. It panics for policies whose ARN contains the broken name.
type fakeWatch struct{ *fakeTables }

func (fakeWatch) PutAlarm(context.Context, string, string, *AlarmInfo) error   { return nil }
func (fakeWatch) RemoveAlarms(context.Context, string, string, []string) error { return nil }
func (fakeWatch) Alarm(string, string, string) *AlarmInfo                      { return nil }
func (fakeWatch) Read(context.Context, *metric.ID, string, time.Time, time.Time, int64) ([]float64, error) {
	return nil, nil
}

func (w fakeWatch) WithAction(_, _, action string) []*AlarmInfo {
	w.looked++
	if w.broken != "" && strings.HasSuffix(action, w.broken) {
		panic("broken alarm")
	}
	return nil
}

type testService struct {
	*Service
	t      *testing.T
	tables *fakeTables
	now    time.Time
}

func newService(t *testing.T) *testService {
	t.Helper()
	s := &testService{t: t, tables: new(fakeTables), now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	now := func() time.Time { return s.now }
	db, err := pebblekv.Open(pebblekv.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Service, err = New(t.Context(), Options{
		KV: db, Coordinator: cluster.NewSolo(t.Context(), nil), Now: now, Tables: s.tables, Watch: fakeWatch{s.tables}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Namespace: func(c smithy.Caller) (string, string) { return c.Account, "us-east-1" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *testService) reopen() {
	s.t.Helper()
	var err error
	if s.Service, err = New(s.t.Context(), s.Options); err != nil {
		s.t.Fatal(err)
	}
}

// do calls an operation on a table's reads, with an input in JSON.
func (s *testService) do(operation string, more obj, out any) error {
	s.t.Helper()
	in := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/Tab", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
	for k, v := range more {
		in[k] = v
	}
	return smithytest.Do(s.t.Context(), s.Operations(), smithy.Caller{Account: "a"}, operation, in, out)
}

func (s *testService) must(operation string, more obj, out any) {
	s.t.Helper()
	if err := s.do(operation, more, out); err != nil {
		s.t.Fatalf("%s: %v", operation, err)
	}
}

func (s *testService) refused(code awserr.Code, text, operation string, more obj) {
	s.t.Helper()
	e, ok := errors.AsType[*awserr.Error](s.do(operation, more, nil))
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		s.t.Errorf("%s: %v, want %s: %s", operation, e, code, text)
	}
}

func stepPolicy(name string) obj {
	return obj{"PolicyName": name, "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": obj{
		"AdjustmentType": "ChangeInCapacity", "StepAdjustments": []obj{{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}},
	}}
}

func action(name string) obj {
	return obj{"ScheduledActionName": name, "Schedule": "rate(1 minute)", "ScalableTargetAction": obj{"MinCapacity": 5}}
}

// TestPolicyThatPanics: a panic is recorded as a failed activity and marks the policy as broken until it is replaced, through a restart;
// other policies are still followed.
func TestPolicyThatPanics(t *testing.T) {
	s := newService(t)
	s.must("RegisterScalableTarget", obj{"MinCapacity": 5, "MaxCapacity": 50}, nil)
	s.must("PutScalingPolicy", stepPolicy("bad"), nil)
	s.must("PutScalingPolicy", stepPolicy("good"), nil)
	s.tables.broken, s.tables.looked = "policyName/bad", 0
	step := func() {
		t.Helper()
		s.now = s.now.Add(time.Minute)
		if err := s.Step(t.Context(), s.now); err != nil {
			t.Error(err)
		}
	}
	step()
	step()
	s.reopen()
	step()
	if s.tables.looked != 1+3 {
		t.Errorf("policies were evaluated %d times, want once and 3 times", s.tables.looked)
	}
	var out struct {
		ScalingActivities []struct{ StatusCode, StatusMessage, Cause string }
	}
	s.must("DescribeScalingActivities", nil, &out)
	if len(out.ScalingActivities) != 1 || out.ScalingActivities[0].StatusCode != "Failed" ||
		out.ScalingActivities[0].StatusMessage != "Failed to evaluate policy bad. It is not evaluated until it is changed. Reason: internal error: broken alarm" {
		t.Errorf("activities: %v", out.ScalingActivities)
	}
	s.tables.broken, s.tables.looked = "", 0
	s.must("PutScalingPolicy", stepPolicy("bad"), nil)
	before := s.tables.looked
	step()
	if s.tables.looked-before != 2 {
		t.Errorf("after a change policies were evaluated %d times, want twice", s.tables.looked-before)
	}
	// A scheduled action that panics.
	s.must("PutScheduledAction", action("s"), nil)
	ran := 0
	broken := *s.actions[policyID{s.resourceOf("Tab"), "s"}]
	err := s.step(t.Context(), &broken.Resource, "scheduled action s", s.now, func() error { ran++; panic("broken action") }, func(why string) error {
		broken.Broken = why
		return s.keepAction(t.Context(), &broken)
	})
	if err != nil || len(s.dueActions(s.now.Add(time.Minute))) != 0 {
		t.Errorf("the action is still due: %v", err)
	}
	s.must("PutScheduledAction", action("s"), nil)
	if len(s.dueActions(s.now.Add(time.Minute))) != 1 {
		t.Error("a changed action is not due")
	}
}

func (s *testService) resourceOf(table string) Resource {
	return Resource{Account: "a", Region: "us-east-1", ID: "table/" + table, Dimension: "dynamodb:table:ReadCapacityUnits"}
}

// TestMaxResults accepts the same numbers as AWS.
func TestMaxResults(t *testing.T) {
	s := newService(t)
	for operation, most := range map[string]int{"DescribeScalableTargets": 50, "DescribeScalingActivities": 50, "DescribeScalingPolicies": 10, "DescribeScheduledActions": 50} {
		in := func(n any) obj { return obj{"MaxResults": n, "ResourceIds": []string{"table/Tab"}} }
		s.refused(awserr.Validation, "1 validation error detected: Value '-1' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1", operation, in(-1))
		s.refused(awserr.Validation, "'0' at 'maxResults'", operation, in(0))
		s.refused(awserr.Validation, fmt.Sprint("Member must have value less than or equal to ", most), operation, in(most+1))
		s.must(operation, in(most), nil)
		s.refused(invalidToken, "", operation, obj{"NextToken": "x", "ResourceIds": []string{"table/Tab"}})
	}
}

// TestQuotas enforces AWS's quotas, and keeps only the latest activities.
func TestQuotas(t *testing.T) {
	s := newService(t)
	const limit = "A per-account resource limit is exceeded."
	s.must("RegisterScalableTarget", obj{"MinCapacity": 5, "MaxCapacity": 50}, nil)
	for i := range maxTargets - 1 {
		r := s.resourceOf(fmt.Sprint(i))
		s.targets[r] = &target{Resource: r}
	}
	s.refused(awserr.LimitExceeded, limit, "RegisterScalableTarget", obj{"ResourceId": "table/More", "MinCapacity": 1, "MaxCapacity": 2})
	s.must("RegisterScalableTarget", obj{"MinCapacity": 5, "MaxCapacity": 51}, nil)
	for i := range maxPolicies {
		s.must("PutScalingPolicy", stepPolicy(fmt.Sprint(i)), nil)
	}
	s.refused(awserr.LimitExceeded, limit, "PutScalingPolicy", stepPolicy("more"))
	s.must("PutScalingPolicy", stepPolicy("1"), nil)
	for i := range maxActions {
		s.must("PutScheduledAction", action(fmt.Sprint(i)), nil)
	}
	s.refused(awserr.LimitExceeded, limit, "PutScheduledAction", action("more"))
	s.must("PutScheduledAction", action("1"), nil)
	long := stepPolicy("1")
	var steps []obj
	for i := range maxSteps + 1 {
		steps = append(steps, obj{"MetricIntervalLowerBound": i, "MetricIntervalUpperBound": i + 1, "ScalingAdjustment": 1})
	}
	long["StepScalingPolicyConfiguration"].(obj)["StepAdjustments"] = steps
	s.refused(awserr.LimitExceeded, limit, "PutScalingPolicy", long)
	r := s.resourceOf("Tab")
	for i := range maxActivities + 10 {
		a := newActivity(&r, s.now.Add(time.Duration(i)*time.Second))
		a.Description = fmt.Sprint(i)
		if err := s.note(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	s.reopen()
	if list := s.activities[r]; len(list) != maxActivities || list[0].Description != "10" {
		t.Errorf("%d activities, the first one %s", len(list), list[0].Description)
	}
	for i := range maxTargets + 5 {
		r := s.resourceOf(fmt.Sprint("gone", i))
		s.activities[r] = []*activity{newActivity(&r, s.now.Add(time.Duration(i)*time.Second))}
	}
	if err := s.trim(t.Context(), s.now); err != nil {
		t.Fatal(err)
	}
	if _, there := s.activities[s.resourceOf("gone0")]; there || len(s.activities) != maxTargets {
		t.Errorf("activities of %d resources, the oldest ones among them: %t", len(s.activities), there)
	}
}
