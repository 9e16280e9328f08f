package autoscaling

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
)

type obj = map[string]any

// put calls an operation about the reads of a table.
func (s *session) put(t *testing.T, operation, table string, in obj) error {
	t.Helper()
	all := obj{"ServiceNamespace": "dynamodb", "ResourceId": "table/" + table, "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
	maps.Copy(all, in)
	return s.do(t, account, operation, all, nil)
}

// update stores n records in one transaction.
func (s *session) update(t *testing.T, n int, put func(txn *registry.Txn, i int) error) {
	t.Helper()
	err := registry.Update(t.Context(), s.Records.KV, kv.TxnOpt{}, func(txn *registry.Txn) (err error) {
		for i := range n {
			err = errors.Join(err, put(txn, i))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuotas enforces AWS's quotas: the last one that is allowed is accepted, one more is not, and a replacement is.
func TestQuotas(t *testing.T) {
	s := newSession(t)
	for _, name := range []string{"music", "more"} {
		s.units[s.resource(name, "ReadCapacityUnits")] = 5
	}
	s.update(t, maxTargets-1, func(txn *registry.Txn, i int) error {
		r := s.resource(fmt.Sprint(i), "ReadCapacityUnits")
		return s.targets.PutIn(txn, r.record(""), &target{Resource: r})
	})
	bounds := func(int) obj { return obj{"MinCapacity": 5, "MaxCapacity": 50} }
	var steps []obj
	for i := range maxSteps + 1 {
		steps = append(steps, obj{"MetricIntervalLowerBound": i, "MetricIntervalUpperBound": i + 1, "ScalingAdjustment": 1})
	}
	policy := func(name, steps any) obj {
		return obj{"PolicyName": fmt.Sprint(name), "StepScalingPolicyConfiguration": obj{"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps}}
	}
	for _, c := range []struct {
		operation string
		quota     int    // of the table music
		beyond    string // table of the input beyond the quota
		input     func(i int) obj
	}{
		{"RegisterScalableTarget", 1, "more", bounds},
		{"PutScalingPolicy", maxPolicies, "music", func(i int) obj { return policy(i, steps[:maxSteps]) }},
		{"PutScheduledAction", maxActions, "music", func(i int) obj {
			return obj{"ScheduledActionName": fmt.Sprint(i), "Schedule": "rate(1 minute)", "ScalableTargetAction": obj{"MinCapacity": 5}}
		}},
	} {
		for i := range c.quota {
			if err := s.put(t, c.operation, "music", c.input(i)); err != nil {
				t.Fatalf("%s %d: %v", c.operation, i, err)
			}
		}
		if err := s.put(t, c.operation, c.beyond, c.input(c.quota)); !errors.Is(err, errLimit) {
			t.Errorf("%s beyond the quota: %v", c.operation, err)
		}
		if err := s.put(t, c.operation, "music", c.input(0)); err != nil {
			t.Errorf("%s again: %v", c.operation, err)
		}
	}
	if err := s.put(t, "PutScalingPolicy", "music", policy("0", steps)); !errors.Is(err, errLimit) {
		t.Errorf("too many steps: %v", err)
	}
}

// TestActivitiesKept keeps a resource's latest activities, and those of the resources that were scaled last.
func TestActivitiesKept(t *testing.T) {
	s := newSession(t)
	r := s.resource("music", "ReadCapacityUnits")
	for i := range maxActivities + 10 {
		a := newActivity(&r, s.clock.Add(time.Duration(i)*time.Second))
		a.Description = fmt.Sprint(i)
		if err := s.note(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	s.open(t)
	if list := s.activitiesOf(&r); len(list) != maxActivities || list[0].Description != "10" {
		t.Errorf("%d activities, the first one %s", len(list), list[0].Description)
	}
	s.clock = s.clock.Add(time.Hour)
	const resources = maxTargets + 5
	s.update(t, resources-1, func(txn *registry.Txn, i int) error {
		r := s.resource(fmt.Sprint(i), "ReadCapacityUnits")
		a := newActivity(&r, s.clock.Add(time.Duration(i)*time.Second))
		return s.activities.PutIn(txn, a.record(a.ActivityID), a)
	})
	if err := s.trim(t.Context(), s.clock); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, a := range s.activities.All() {
		left[a.ID] = true
	}
	if len(left) != maxTargets || left["table/music"] || left["table/3"] || !left["table/4"] {
		t.Errorf("%d resources are left, the oldest ones among them: %t", len(left), left["table/3"])
	}
	// Expired ones go, too.
	if err := s.trim(t.Context(), s.clock.Add(activitiesKept+time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all := s.activities.All(); len(all) != resources-1-3600 {
		t.Errorf("%d activities are left after six weeks and an hour", len(all))
	}
}
