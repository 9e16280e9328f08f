package autoscaling

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/metric"
)

// Parameters of target tracking's alarms ("Managing throughput capacity automatically with DynamoDB auto scaling"): consumption above the
// target for two minutes, or well below it for fifteen. Periods without a unit are minutes.
const (
	highPeriods = 2
	lowPeriods  = 15
	// lowMargin is how far below the target, in percentage points, consumption must be to count as low.
	lowMargin = 20
	// provisionedPeriod, in seconds, and provisionedPeriods belong to the alarms that detect changes by others.
	provisionedPeriod  = 300
	provisionedPeriods = 3
	// retryRefused is how long nothing is scaled in after DynamoDB has refused a change.
	retryRefused = 15 * time.Minute
)

// metric returns the ID of one of the resource's metrics.
func (r *Resource) metric(name string) metric.ID {
	table, index := r.Table()
	id := metric.ID{Account: r.Account, Region: r.Region, Namespace: "AWS/DynamoDB", Name: name}
	if index != "" {
		id.Dimensions = append(id.Dimensions, metric.Dimension{Name: "GlobalSecondaryIndexName", Value: index})
	}
	id.Dimensions = append(id.Dimensions, metric.Dimension{Name: "TableName", Value: table})
	return id
}

// putAlarms creates or replaces a target tracking policy's alarms. It returns the current capacity, for which their thresholds are.
// s.mu is held.
func (s *Service) putAlarms(ctx context.Context, p *policy) (units int64, err error) {
	t := p.Tracking
	units, _ = s.Tables.Capacity(&p.Resource)
	consumed, provisioned := p.metric("Consumed"+p.kind()+"CapacityUnits"), p.metric("Provisioned"+p.kind()+"CapacityUnits")
	perMinute := float64(units) * 60 / 100
	alarms := [4]AlarmInfo{
		alarmHigh:            {Metric: consumed, Stat: "Sum", Period: 60, Periods: highPeriods, Threshold: perMinute * t.Target},
		alarmLow:             {Metric: consumed, Stat: "Sum", Period: 60, Periods: lowPeriods, Threshold: perMinute * max(0, t.Target-lowMargin), Less: true},
		alarmProvisionedHigh: {Metric: provisioned, Stat: "Average", Period: provisionedPeriod, Periods: provisionedPeriods, Threshold: float64(units)},
		alarmProvisionedLow:  {Metric: provisioned, Stat: "Average", Period: provisionedPeriod, Periods: provisionedPeriods, Threshold: float64(units), Less: true},
	}
	if t.Metric != nil {
		alarms[alarmHigh] = AlarmInfo{Metric: *t.Metric, Stat: t.Stat, Period: 60, Periods: 3, Threshold: t.Target}
		alarms[alarmLow] = AlarmInfo{Metric: *t.Metric, Stat: t.Stat, Period: 60, Periods: lowPeriods, Threshold: t.Target * 0.9, Less: true}
	}
	for kind := range alarms {
		if !p.hasAlarm(kind) {
			continue
		}
		a := &alarms[kind]
		a.Name, a.Strict, a.Action = p.alarmName(kind), true, p.arn()
		a.Description = "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy " + p.arn() + "."
		if err := s.Watch.PutAlarm(ctx, p.Account, p.Region, a); err != nil {
			return units, err
		}
	}
	return units, nil
}

// renewAlarms recomputes the alarms of a target tracking policy for the current capacity. s.mu is held.
func (s *Service) renewAlarms(ctx context.Context, p *policy) error {
	units, err := s.putAlarms(ctx, p)
	if err != nil {
		return err
	}
	_, err = s.policies.Change(ctx, p.record(p.Name), func(p *policy) error {
		if p.Tracking != nil {
			p.Tracking.Units = units
		}
		return nil
	})
	return err
}

// OnAlarm reports whether an alarm's action is a policy. The policy acts at the next Step.
func (s *Service) OnAlarm(action string) bool {
	return slices.ContainsFunc(s.policies.All(), func(p *policy) bool { return p.arn() == action })
}

// Step does what is due at a time, the beginning of a minute: first scheduled actions, then what the policies' alarms ask for.
func (s *Service) Step(ctx context.Context, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed error
	for _, t := range s.targets.All() {
		failed = errors.Join(failed, guard.Run(s.Logger, "checking a scalable target", func() error {
			if _, exists := s.Tables.Capacity(&t.Resource); !exists {
				return s.forget(ctx, t.Resource) // the table was deleted
			}
			return nil
		}))
	}
	for _, a := range s.dueActions(at) {
		failed = errors.Join(failed, s.step(ctx, &a.Resource, "scheduled action "+a.Name, at, func() error { return s.runAction(ctx, a, at) }, func(why string) error {
			_, err := s.actions.Change(ctx, a.record(a.Name), func(a *scheduled) error { a.Broken = why; return nil })
			return err
		}))
	}
	measured := map[Resource]int64{} // the capacity under which the metrics were measured, before any policy changes it
	for _, p := range s.policies.All() {
		// An earlier policy of the resource may have changed this one.
		if p = s.policies.Get(p.record(p.Name)); p == nil || p.Broken != "" {
			continue
		}
		follow := func() error {
			if _, known := measured[p.Resource]; !known {
				measured[p.Resource], _ = s.Tables.Capacity(&p.Resource)
			}
			return s.follow(ctx, p, measured[p.Resource], at)
		}
		failed = errors.Join(failed, s.step(ctx, &p.Resource, "policy "+p.Name, at, follow, func(why string) error {
			_, err := s.policies.Change(ctx, p.record(p.Name), func(p *policy) error { p.Broken = why; return nil })
			return err
		}))
	}
	return errors.Join(failed, s.trim(ctx, at))
}

// step runs a policy or scheduled action. If that panics, step records a failed activity and calls aside, which marks it as broken until it
// is replaced: it must neither stop the others nor panic every minute. s.mu is held.
func (s *Service) step(ctx context.Context, r *Resource, what string, at time.Time, do func() error, aside func(why string) error) error {
	err := guard.Run(nil, what, do)
	p, panicked := errors.AsType[*guard.PanicError](err)
	if !panicked {
		return err
	}
	guard.Log(s.Logger, what+" of "+r.ID+" panicked; it is skipped until it is replaced", err)
	a := newActivity(r, at)
	a.Description, a.Cause = "Attempting to scale by "+what, what+" was evaluated"
	a.Status, a.Message = "Failed", "Failed to evaluate "+what+". It is not evaluated until it is changed. Reason: "+p.Error()
	return errors.Join(aside(p.Error()), s.note(ctx, a))
}

// follow does what a policy's alarms ask for. units is the capacity under which the metrics were measured. s.mu is held.
func (s *Service) follow(ctx context.Context, p *policy, units int64, at time.Time) error {
	switch {
	case units == 0:
		return nil // an on-demand table
	case p.Tracking != nil:
		return s.track(ctx, p, units, at)
	}
	return s.stepOne(ctx, p, units, at)
}

// track does what a target tracking policy's alarms ask for.
func (s *Service) track(ctx context.Context, p *policy, units int64, at time.Time) error {
	if now, _ := s.Tables.Capacity(&p.Resource); p.Tracking.Units != now { // a user or another policy has changed the capacity
		if err := s.renewAlarms(ctx, p); err != nil {
			return err
		}
	}
	high := s.Watch.Alarm(p.Account, p.Region, p.alarmName(alarmHigh))
	low := s.Watch.Alarm(p.Account, p.Region, p.alarmName(alarmLow))
	switch {
	case high != nil && high.Ringing:
		wanted, ok, err := s.wanted(ctx, p, units, at, 1)
		if err != nil || !ok {
			return err
		}
		return s.scaleOut(ctx, p, max(wanted, units), at, high.Name, p.Tracking.OutCooldown)
	case low != nil && low.Ringing && !p.Tracking.DisableScaleIn:
		wanted, ok, err := s.agreed(ctx, &p.Resource, units, at)
		if err != nil || !ok {
			return err
		}
		return s.scaleIn(ctx, p, min(wanted, units), at, low.Name, p.Tracking.InCooldown)
	}
	return nil
}

// agreed returns the lowest capacity that suits all target tracking policies of a resource that may scale it in. It returns false unless
// the low alarms of all of them have gone off: several policies scale in only together ("Target tracking scaling policies").
func (s *Service) agreed(ctx context.Context, r *Resource, units int64, at time.Time) (wanted int64, ok bool, err error) {
	for _, p := range s.policies.All() {
		if p.Resource != *r || p.Tracking == nil || p.Tracking.DisableScaleIn || p.Broken != "" {
			continue
		}
		if low := s.Watch.Alarm(p.Account, p.Region, p.alarmName(alarmLow)); low == nil || !low.Ringing {
			return 0, false, nil
		}
		// Keep enough for the busiest minute of the whole period.
		n, found, err := s.wanted(ctx, p, units, at, lowPeriods)
		if err != nil || !found {
			return 0, false, err
		}
		wanted = max(wanted, n)
	}
	return wanted, true, nil
}

// wanted returns the capacity at which the metric would have been at its target throughout the last minutes. It returns false if there are
// no data.
func (s *Service) wanted(ctx context.Context, p *policy, units int64, at time.Time, minutes int) (int64, bool, error) {
	id, stat := p.metric("Consumed"+p.kind()+"CapacityUnits"), "Sum"
	if p.Tracking.Metric != nil {
		id, stat = *p.Tracking.Metric, p.Tracking.Stat
	}
	values, err := s.Watch.Read(ctx, &id, stat, at.Add(-time.Duration(minutes)*time.Minute), at, 60)
	if err != nil || len(values) == 0 {
		return 0, false, err
	}
	most := slices.Max(values)
	if p.Tracking.Metric != nil {
		return int64(math.Ceil(float64(units)*most/p.Tracking.Target - 1e-9)), true, nil
	}
	return int64(math.Ceil(most/60/p.Tracking.Target*100 - 1e-9)), true, nil
}

// scaleOut increases the capacity, unless that is suspended or in cooldown.
func (s *Service) scaleOut(ctx context.Context, p *policy, wanted int64, at time.Time, alarm string, cooldown int64) error {
	t := s.targets.Get(p.record(""))
	if t == nil || t.Suspended.Out || at.UnixMilli() < t.LastOut+cooldown*1000 {
		return nil
	}
	return s.scale(ctx, t, wanted, at, cause(alarm, p.Name), true)
}

// scaleIn decreases the capacity, unless that is suspended, in cooldown, or was refused recently.
func (s *Service) scaleIn(ctx context.Context, p *policy, wanted int64, at time.Time, alarm string, cooldown int64) error {
	t := s.targets.Get(p.record(""))
	if t == nil || t.Suspended.In || at.UnixMilli() < max(t.LastIn, t.LastOut)+cooldown*1000 || at.UnixMilli() < t.Refused+retryRefused.Milliseconds() {
		return nil
	}
	return s.scale(ctx, t, wanted, at, cause(alarm, p.Name), false)
}

// cause returns AWS's sentence about the cause of an activity.
func cause(alarm, policy string) string {
	return "monitor alarm " + alarm + " in state ALARM triggered policy " + policy
}

// stepOne does what a step scaling policy's alarms ask for.
func (s *Service) stepOne(ctx context.Context, p *policy, units int64, at time.Time) error {
	for _, a := range s.Watch.WithAction(p.Account, p.Region, p.arn()) {
		if !a.Ringing {
			continue
		}
		values, err := s.Watch.Read(ctx, &a.Metric, a.Stat, at.Add(-time.Duration(a.Period)*time.Second), at, a.Period)
		if err != nil || len(values) == 0 {
			return err
		}
		wanted, ok := p.Step.apply(units, values[len(values)-1]-a.Threshold)
		if !ok || wanted == units {
			continue
		}
		if wanted > units {
			return s.scaleOut(ctx, p, wanted, at, a.Name, p.Step.Cooldown)
		}
		return s.scaleIn(ctx, p, wanted, at, a.Name, p.Step.Cooldown)
	}
	return nil
}

// apply returns the capacity for a metric whose distance from its threshold is breach, negative if it is below. ok is false if no step
// covers that distance.
func (s *stepping) apply(units int64, breach float64) (wanted int64, ok bool) {
	for i := range s.Steps {
		step := &s.Steps[i]
		// A step includes its bound next to the threshold, and excludes its other bound.
		in := breach >= step.low() && breach < step.high()
		if breach < 0 {
			in = breach > step.low() && breach <= step.high()
		}
		if !in {
			continue
		}
		switch s.Adjustment {
		case "ExactCapacity":
			return step.By, true
		case "PercentChangeInCapacity":
			by := float64(units) * float64(step.By) / 100
			// Changes between 0 and 1 become 1; larger ones are rounded towards 0.
			switch {
			case by > 0 && by < 1:
				by = 1
			case by < 0 && by > -1:
				by = -1
			}
			by = math.Trunc(by)
			if math.Abs(by) < float64(s.Magnitude) && by != 0 {
				by = math.Copysign(float64(s.Magnitude), by)
			}
			return units + int64(by), true
		}
		return units + step.By, true
	}
	return 0, false
}

// enforceBounds scales a target whose capacity is outside its minimum and maximum. s.mu is held.
func (s *Service) enforceBounds(ctx context.Context, r Resource) error {
	t := s.targets.Get(r.record(""))
	units, _ := s.Tables.Capacity(&r)
	switch {
	case units == 0 || t == nil:
		return nil // the table is on-demand, or another server has removed the target
	case units < t.Min:
		return s.scale(ctx, t, t.Min, s.Now(), fmt.Sprintf("minimum capacity was set to %d", t.Min), true)
	case units > t.Max:
		return s.scale(ctx, t, t.Max, s.Now(), fmt.Sprintf("maximum capacity was set to %d", t.Max), false)
	}
	return nil
}

// scale sets a target's capacity to wanted, limited to its bounds, and records an activity. It never changes capacity in the opposite
// direction of out. s.mu is held.
func (s *Service) scale(ctx context.Context, t *target, wanted int64, at time.Time, cause string, out bool) error {
	units, _ := s.Tables.Capacity(&t.Resource)
	bounded := min(max(wanted, t.Min), t.Max)
	// Record why nothing changes, for DescribeScalingActivities.
	if bounded == units {
		reason := ""
		switch {
		case out && units >= t.Max && wanted > units:
			reason = "AlreadyAtMaxCapacity"
		case !out && units <= t.Min:
			reason = "AlreadyAtMinCapacity"
		}
		return s.notScaled(ctx, t, units, reason, cause, at)
	}
	// The bounds would change the capacity in the direction opposite to the alarm's.
	if out != (bounded > units) {
		return nil
	}
	what := strings.ToLower(t.kind()) + " capacity units"
	a := newActivity(&t.Resource, at)
	a.Description, a.Cause = fmt.Sprintf("Setting %s to %d.", what, bounded), cause
	refused := s.Tables.SetCapacity(ctx, &t.Resource, bounded)
	if refused != nil {
		a.Status, a.Message = "Failed", fmt.Sprintf("Failed to set %s to %d. Reason: %s", what, bounded, refused)
	} else {
		a.Status, a.Message = "Successful", fmt.Sprintf("Successfully set %s to %d. Change successfully fulfilled by dynamodb.", what, bounded)
	}
	if err := s.note(ctx, a); err != nil {
		return err
	}
	_, err := s.targets.Change(ctx, t.record(""), func(t *target) error {
		switch {
		case refused != nil:
			t.Refused = at.UnixMilli()
		case out:
			t.LastOut = at.UnixMilli()
		default:
			t.LastIn = at.UnixMilli()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range s.policies.Under(t.record("")) {
		if p.Tracking == nil {
			continue
		}
		if err := s.renewAlarms(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
