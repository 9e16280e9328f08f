package cloudwatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// States of alarms.
const (
	StateOK               = api.StateValueOk
	StateAlarm            = api.StateValueAlarm
	StateInsufficientData = api.StateValueInsufficientData
)

// Alarm is an alarm on a metric or on an expression. Alarms are immutable: a change replaces the whole value. The JSON form is the
// stored one.
type Alarm struct {
	Account, Region, Name string
	Description           string `json:",omitempty"`
	Updated               int64  // milliseconds since 1970, like the other times
	ActionsDisabled       bool   `json:",omitempty"`
	OKActions             []string
	AlarmActions          []string
	NoDataActions         []string

	Metric     *metric.ID `json:",omitempty"` // nil if there are Queries
	Stat, Unit string     `json:",omitempty"`
	Period     int64      // seconds
	Queries    []Query    `json:",omitempty"`

	// Datapoints of Periods periods must be breaching ("M out of N").
	Periods, Datapoints int64
	Threshold           float64
	Comparison          string
	Missing             string `json:",omitempty"` // TreatMissingData; empty is missing
	LowSamples          string `json:",omitempty"` // EvaluateLowSampleCountPercentile
	// Strict alarms go off only if all their datapoints are there. Target tracking uses them.
	Strict bool `json:",omitempty"`

	State  string
	Reason string
	// Problem says that the alarm can't be evaluated, and Reason why. Broken says that the evaluation has panicked: the alarm is not
	// evaluated again until it is replaced.
	Problem bool `json:",omitempty"`
	Broken  bool `json:",omitempty"`

	ReasonData string `json:",omitempty"`
	// StateUpdated is when the state was last set, Transitioned when it last became a different one.
	StateUpdated int64
	Transitioned int64
	Tags         map[string]string `json:",omitempty"`

	size int // bytes in the store
}

// ARN returns the alarm's Amazon Resource Name.
func (a *Alarm) ARN() string {
	return "arn:aws:cloudwatch:" + a.Region + ":" + a.Account + ":alarm:" + a.Name
}

func (a *Alarm) id() registry.ID {
	return registry.ID{Account: a.Account, Region: a.Region, Name: a.Name}
}

// UnmarshalJSON implements json.Unmarshaler. It also notes the alarm's size.
func (a *Alarm) UnmarshalJSON(raw []byte) error {
	type plain Alarm
	a.size = len(raw)
	return json.Unmarshal(raw, (*plain)(a))
}

// update changes alarms and their history in one transaction. Updates run one at a time, so that a quota that do has checked holds until
// the commit.
func (s *Service) update(ctx context.Context, do func(*registry.Txn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return registry.Update(ctx, s.KV, kv.TxnOpt{}, do)
}

const (
	// maxAlarms bounds an account's alarms in a region, without those of target tracking ("CloudWatch service quotas").
	maxAlarms = 5000
	// maxAlarmBytes bounds their stored size: an alarm with long dimensions takes up to 400 KB.
	maxAlarmBytes = 32 << 20
)

// room returns an error if the alarm would exceed the quota of its account. s.mu is held.
func (s *Service) room(a *Alarm) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	n, size := 1, len(raw)
	for _, other := range s.alarms.List(a.Account, a.Region) {
		if other.Name != a.Name && !other.Strict {
			n, size = n+1, size+other.size
		}
	}
	if n > maxAlarms || size > maxAlarmBytes {
		return awserr.New(limitExceeded, "The quota for alarms for this customer has already been reached.")
	}
	return nil
}

// PutAlarm creates or replaces an alarm. A replaced alarm keeps its state, unless that state says that it couldn't be evaluated.
func (s *Service) PutAlarm(ctx context.Context, a *Alarm) error {
	return s.update(ctx, func(txn *registry.Txn) error {
		if !a.Strict {
			if err := s.room(a); err != nil {
				return err
			}
		}
		now := s.Now().UnixMilli()
		a.Updated = now
		old := s.alarms.Get(a.id())
		if old == nil || old.Problem {
			a.State, a.Reason, a.StateUpdated, a.Transitioned = StateInsufficientData, "Unchecked: Initial alarm creation", now, now
		} else {
			a.State, a.Reason, a.ReasonData, a.StateUpdated, a.Transitioned = old.State, old.Reason, old.ReasonData, old.StateUpdated, old.Transitioned
		}
		summary, kind := "created", "Create"
		if old != nil {
			summary, kind = "updated", "Update"
			if a.Tags == nil {
				a.Tags = old.Tags
			}
		}
		return errors.Join(s.alarms.PutIn(txn, a.id(), a), s.putHistory(txn, a.configured(now, summary, kind)))
	})
}

// configured returns the history's entry for a change of the alarm by a user.
func (a *Alarm) configured(ms int64, summary, kind string) historyItem {
	return a.history(ms, "ConfigurationUpdate", "Alarm \""+a.Name+"\" "+summary, map[string]any{"version": "1.0", "type": kind})
}

// RemoveAlarms deletes alarms. It ignores names without an alarm.
func (s *Service) RemoveAlarms(ctx context.Context, account, region string, names []string) error {
	return s.update(ctx, func(txn *registry.Txn) error {
		for _, name := range names {
			a := s.Alarm(account, region, name)
			if a == nil {
				continue
			}
			if err := errors.Join(s.alarms.RemoveIn(txn, a.id()), s.putHistory(txn, a.configured(s.Now().UnixMilli(), "deleted", "Delete"))); err != nil {
				return err
			}
		}
		return nil
	})
}

// Alarm returns the alarm with a name, or nil.
func (s *Service) Alarm(account, region, name string) *Alarm {
	return s.alarms.Get(registry.ID{Account: account, Region: region, Name: name})
}

// OnAction sets the function that executes an alarm's actions when its state changes.
func (s *Service) OnAction(act func(ctx context.Context, a *Alarm, action string, at time.Time) error) {
	s.act = act
}

// comparisons are the supported operators. Those for anomaly detection are missing.
var comparisons = map[string]func(v, threshold float64) bool{
	api.ComparisonOperatorGreaterthanthreshold:          func(v, t float64) bool { return v > t },
	api.ComparisonOperatorGreaterthanorequaltothreshold: func(v, t float64) bool { return v >= t },
	api.ComparisonOperatorLessthanthreshold:             func(v, t float64) bool { return v < t },
	api.ComparisonOperatorLessthanorequaltothreshold:    func(v, t float64) bool { return v <= t },
}

// maxEvaluation bounds the evaluation periods of an alarm together, in seconds, if each is shorter than an hour ("PutMetricAlarm").
// Longer periods are bounded by maxWindow.
const maxEvaluation = 24 * 60 * 60

// putMetricAlarm refuses parameters of features that are missing here: an alarm that ignored them would seem to work.
func (s *Service) putMetricAlarm(ctx context.Context, call *smithy.Call, in *api.PutMetricAlarmInput) (*api.NoOutput, error) {
	for name, given := range map[string]bool{
		"ThresholdMetricId": in.ThresholdMetricId.Set, "EvaluationWindow": in.EvaluationWindow != nil, "WarmUpConfiguration": in.WarmUpConfiguration != nil,
		"EvaluationCriteria": in.EvaluationCriteria != nil, "EvaluationInterval": in.EvaluationInterval.Set, "ActionConfiguration": in.ActionConfiguration != nil,
	} {
		if given {
			return nil, awserr.ValidationError("The parameter " + name + " is not supported by this endpoint")
		}
	}
	account, region := s.Namespace(call.Caller)
	a := &Alarm{
		Account: account, Region: region, Name: in.AlarmName.Value, Description: in.AlarmDescription.Value,
		ActionsDisabled: in.ActionsEnabled.Set && !in.ActionsEnabled.Value,
		OKActions:       in.OKActions, AlarmActions: in.AlarmActions, NoDataActions: in.InsufficientDataActions,
		Periods: in.EvaluationPeriods.Value, Datapoints: in.DatapointsToAlarm.Or(in.EvaluationPeriods.Value),
		Threshold: in.Threshold.Value, Comparison: in.ComparisonOperator.Value,
		Missing: in.TreatMissingData.Value, LowSamples: in.EvaluateLowSampleCountPercentile.Value,
	}
	switch {
	case !in.ComparisonOperator.Set:
		return nil, awserr.ValidationError("The parameter ComparisonOperator is required.")
	case comparisons[a.Comparison] == nil:
		return nil, awserr.ValidationError("The comparison operator " + a.Comparison + " is not supported by this endpoint")
	case !in.Threshold.Set:
		return nil, awserr.ValidationError("The parameter Threshold is required.")
	case math.IsInf(a.Threshold, 0) || math.IsNaN(a.Threshold):
		return nil, awserr.ValidationError("The parameter Threshold must be a number.")
	case !in.EvaluationPeriods.Set:
		return nil, awserr.ValidationError("The parameter EvaluationPeriods is required.")
	case a.Datapoints > a.Periods:
		return nil, awserr.ValidationError("The parameter DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
	case !slices.Contains([]string{"", "missing", "notBreaching", "breaching", "ignore"}, a.Missing):
		return nil, awserr.ValidationError("The value '" + a.Missing + "' for parameter TreatMissingData is not supported.")
	case a.LowSamples != "" && a.LowSamples != "evaluate" && a.LowSamples != "ignore":
		return nil, awserr.ValidationError("Option " + a.LowSamples + " is not supported for EvaluateLowSampleCountPercentile. Supported options for EvaluateLowSampleCountPercentile are evaluate and ignore.")
	}
	var err error
	if in.Metrics != nil {
		err = s.alarmQueries(call, a, in)
	} else {
		err = s.alarmMetric(call, a, in)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case a.Periods > maxWindow/a.Period: // divided, because the product may overflow
		return nil, awserr.ValidationError("Metrics cannot be checked across more than seven days (EvaluationPeriods * Period must be <= 604800).")
	case a.Period < 3600 && a.Periods > maxEvaluation/a.Period:
		return nil, awserr.ValidationError("Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).")
	}
	if a.Tags, err = addTags(nil, in.Tags); err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.PutAlarm(ctx, a)
}

// alarmMetric completes an alarm on a single metric.
func (s *Service) alarmMetric(call *smithy.Call, a *Alarm, in *api.PutMetricAlarmInput) error {
	switch {
	case !in.MetricName.Set:
		return awserr.ValidationError("The parameter MetricName is required.")
	case !in.Namespace.Set:
		return awserr.ValidationError("The parameter Namespace is required.")
	case !in.Period.Set:
		return awserr.ValidationError("The parameter Period is required.")
	case in.Statistic.Set && in.ExtendedStatistic.Set:
		return awserr.New(invalidCombination, "The parameters Statistic and ExtendedStatistic are mutually exclusive and you have specified both.")
	case !in.Statistic.Set && !in.ExtendedStatistic.Set:
		return awserr.New(invalidCombination, "At least one of the parameters Statistic or ExtendedStatistic must be specified.")
	}
	id := s.metricID(call, in.Namespace.Value, in.MetricName.Value, in.Dimensions)
	a.Metric, a.Stat, a.Unit, a.Period = &id, in.Statistic.Or(in.ExtendedStatistic.Value), in.Unit.Value, in.Period.Value
	if _, ok := parseStatistic(a.Stat); !ok {
		return awserr.ValidationError("The value '" + a.Stat + "' for parameter ExtendedStatistic is not supported.")
	}
	if a.Period != 10 && a.Period != 30 && a.Period != 20 && a.Period%60 != 0 {
		return awserr.ValidationError("The parameter Period must be 10, 20, 30 or a multiple of 60.")
	}
	return nil
}

const (
	maxAlarmMetrics     = 10 // in an alarm's expressions ("CloudWatch service quotas")
	maxAlarmExpressions = 20 // AWS documents no bound except that of a request
)

// alarmQueries completes an alarm on an expression.
func (s *Service) alarmQueries(call *smithy.Call, a *Alarm, in *api.PutMetricAlarmInput) (err error) {
	if in.MetricName.Set || in.Namespace.Set || in.Statistic.Set || in.ExtendedStatistic.Set || in.Period.Set || in.Dimensions != nil {
		return awserr.New(invalidCombination, "The parameters MetricName, Namespace, Dimensions, Period, Unit, Statistic and ExtendedStatistic must not be specified with Metrics.")
	}
	if a.Queries, err = s.queries(call, in.Metrics, maxAlarmExpression); err != nil {
		return err
	}
	p, err := newPlan(a.Queries)
	if err != nil {
		return clientError(err)
	}
	shown, metrics := 0, 0
	for i, q := range a.Queries {
		if q.Metric != nil {
			metrics++
		}
		if t := p.trees[i]; !q.Hidden && t != nil && t.kind == aList {
			return awserr.ValidationError("The expression '" + q.ID + "' of an alarm must return a single time series.")
		}
		a.Period = max(a.Period, q.Period)
		if !q.Hidden {
			shown++
		}
	}
	switch {
	case metrics > maxAlarmMetrics:
		return awserr.ValidationError(fmt.Sprintf("An alarm based on a metric math expression can have up to %d metrics.", maxAlarmMetrics))
	case len(a.Queries)-metrics > maxAlarmExpressions:
		return awserr.ValidationError(fmt.Sprintf("An alarm can have up to %d expressions.", maxAlarmExpressions))
	}
	if shown != 1 {
		return awserr.ValidationError("Exactly one element of the metrics list should return data.")
	}
	if a.Period == 0 {
		return awserr.ValidationError("Period must not be null")
	}
	return nil
}

// deleteAlarms fails for an unknown name only if it is the only one.
func (s *Service) deleteAlarms(ctx context.Context, call *smithy.Call, in *api.DeleteAlarmsInput) (*api.NoOutput, error) {
	account, region := s.Namespace(call.Caller)
	for _, name := range in.AlarmNames {
		if s.Alarm(account, region, name) == nil && len(in.AlarmNames) == 1 {
			return nil, awserr.New(notFound, "Alarm does not exist: "+name)
		}
	}
	return &api.NoOutput{}, s.RemoveAlarms(ctx, account, region, in.AlarmNames)
}

// find returns the caller's alarms that keep accepts, by name.
func (s *Service) find(call *smithy.Call, keep func(*Alarm) bool) []*Alarm {
	return slices.DeleteFunc(s.alarms.List(s.Namespace(call.Caller)), func(a *Alarm) bool { return !keep(a) })
}

// describeAlarms returns metric alarms by name. The token of a page is the last name on it.
func (s *Service) describeAlarms(_ context.Context, call *smithy.Call, in *api.DescribeAlarmsInput) (*api.DescribeAlarmsOutput, error) {
	if in.AlarmNames != nil && in.AlarmNamePrefix.Set {
		return nil, awserr.New(invalidCombination, "The parameters AlarmNames and AlarmNamePrefix are mutually exclusive and you have specified both.")
	}
	after, err := readToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeAlarmsOutput{MetricAlarms: []api.MetricAlarm{}, CompositeAlarms: []api.CompositeAlarm{}}
	if in.AlarmTypes != nil && !slices.Contains(in.AlarmTypes, api.AlarmTypeMetricalarm) || in.ChildrenOfAlarmName.Set || in.ParentsOfAlarmName.Set {
		return out, nil // there are no composite alarms
	}
	found := s.find(call, func(a *Alarm) bool {
		hasAction := func(arn string) bool { return strings.HasPrefix(arn, in.ActionPrefix.Value) }
		return a.Name > after && strings.HasPrefix(a.Name, in.AlarmNamePrefix.Value) &&
			(in.AlarmNames == nil || slices.Contains(in.AlarmNames, a.Name)) &&
			(!in.StateValue.Set || a.State == in.StateValue.Value) &&
			(!in.ActionPrefix.Set || slices.ContainsFunc(slices.Concat(a.AlarmActions, a.OKActions, a.NoDataActions), hasAction))
	})
	limit := int(in.MaxRecords.Or(50))
	for i, a := range found {
		if i == limit {
			out.NextToken = smithy.Some(smithy.EncodeToken(found[i-1].Name))
			break
		}
		out.MetricAlarms = append(out.MetricAlarms, a.render())
	}
	return out, nil
}

func (s *Service) describeAlarmsForMetric(_ context.Context, call *smithy.Call, in *api.DescribeAlarmsForMetricInput) (*api.DescribeAlarmsForMetricOutput, error) {
	id := s.metricID(call, in.Namespace.Value, in.MetricName.Value, in.Dimensions)
	out := &api.DescribeAlarmsForMetricOutput{MetricAlarms: []api.MetricAlarm{}}
	for _, a := range s.find(call, func(a *Alarm) bool {
		return a.Metric != nil && a.Metric.Key() == id.Key() && (!in.Period.Set || a.Period == in.Period.Value) && (!in.Unit.Set || a.Unit == in.Unit.Value) &&
			(!in.Statistic.Set || a.Stat == in.Statistic.Value) && (!in.ExtendedStatistic.Set || a.Stat == in.ExtendedStatistic.Value)
	}) {
		out.MetricAlarms = append(out.MetricAlarms, a.render())
	}
	return out, nil
}

// optional returns a member that is set unless it is empty.
func optional(text string) smithy.Opt[string] {
	return smithy.Opt[string]{Value: text, Set: text != ""}
}

// render returns the alarm in the API's form.
func (a *Alarm) render() api.MetricAlarm {
	out := api.MetricAlarm{
		AlarmName: smithy.Some(a.Name), AlarmArn: smithy.Some(a.ARN()), AlarmDescription: optional(a.Description),
		AlarmConfigurationUpdatedTimestamp: smithy.Some(float64(a.Updated) / 1000), ActionsEnabled: smithy.Some(!a.ActionsDisabled),
		OKActions: a.OKActions, AlarmActions: a.AlarmActions, InsufficientDataActions: a.NoDataActions,
		StateValue: smithy.Some(a.State), StateReason: smithy.Some(a.Reason), StateReasonData: optional(a.ReasonData),
		StateUpdatedTimestamp: smithy.Some(float64(a.StateUpdated) / 1000), StateTransitionedTimestamp: smithy.Some(float64(a.Transitioned) / 1000),
		EvaluationPeriods: smithy.Some(a.Periods), Threshold: smithy.Some(a.Threshold), ComparisonOperator: smithy.Some(a.Comparison),
		TreatMissingData: optional(a.Missing), EvaluateLowSampleCountPercentile: optional(a.LowSamples),
	}
	if a.Problem {
		out.EvaluationState = smithy.Some(api.EvaluationStateEvaluationError)
	}
	for _, list := range []*[]string{&out.OKActions, &out.AlarmActions, &out.InsufficientDataActions} {
		if *list == nil {
			*list = []string{}
		}
	}
	if a.Datapoints != a.Periods {
		out.DatapointsToAlarm = smithy.Some(a.Datapoints)
	}
	if a.Metric != nil {
		out.Namespace, out.MetricName, out.Dimensions = smithy.Some(a.Metric.Namespace), smithy.Some(a.Metric.Name), renderDimensions(a.Metric.Dimensions)
		out.Period, out.Unit = smithy.Some(a.Period), optional(a.Unit)
		if _, ok := basic[a.Stat]; ok {
			out.Statistic = smithy.Some(a.Stat)
		} else {
			out.ExtendedStatistic = smithy.Some(a.Stat)
		}
	}
	for _, q := range a.Queries {
		m := api.MetricDataQuery{Id: smithy.Some(q.ID), Expression: optional(q.Expression), Label: optional(q.Label), ReturnData: smithy.Some(!q.Hidden)}
		if q.Metric != nil {
			m.MetricStat = &api.MetricStat{
				Metric: &api.Metric{Namespace: smithy.Some(q.Metric.Namespace), MetricName: smithy.Some(q.Metric.Name), Dimensions: renderDimensions(q.Metric.Dimensions)},
				Period: smithy.Some(q.Period), Stat: smithy.Some(q.Stat), Unit: optional(q.Unit),
			}
		} else if q.Period != 0 {
			m.Period = smithy.Some(q.Period)
		}
		out.Metrics = append(out.Metrics, m)
	}
	return out
}

func (s *Service) enableAlarmActions(ctx context.Context, call *smithy.Call, in *api.EnableAlarmActionsInput) (*api.NoOutput, error) {
	return &api.NoOutput{}, s.setActions(ctx, call, in.AlarmNames, false)
}

func (s *Service) disableAlarmActions(ctx context.Context, call *smithy.Call, in *api.DisableAlarmActionsInput) (*api.NoOutput, error) {
	return &api.NoOutput{}, s.setActions(ctx, call, in.AlarmNames, true)
}

// setActions enables or disables the actions of alarms. It ignores names without an alarm.
func (s *Service) setActions(ctx context.Context, call *smithy.Call, names []string, disabled bool) error {
	account, region := s.Namespace(call.Caller)
	return s.update(ctx, func(txn *registry.Txn) error {
		for _, name := range names {
			id := registry.ID{Account: account, Region: region, Name: name}
			if _, err := s.alarms.ChangeIn(txn, id, func(a *Alarm) error { a.ActionsDisabled = disabled; return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

// setAlarmState sets a state until the next evaluation, and executes the actions for it, so that users can test those.
func (s *Service) setAlarmState(ctx context.Context, call *smithy.Call, in *api.SetAlarmStateInput) (*api.NoOutput, error) {
	account, region := s.Namespace(call.Caller)
	if d := in.StateReasonData; d.Set && !json.Valid([]byte(d.Value)) {
		return nil, awserr.New("InvalidFormatFault", "StateReasonData is not JSON")
	}
	a := s.Alarm(account, region, in.AlarmName.Value)
	if a == nil {
		return nil, awserr.New(notFound, "Alarm does not exist: "+in.AlarmName.Value)
	}
	v := verdict{state: in.StateValue.Value, reason: in.StateReason.Value, data: in.StateReasonData.Value, broken: a.Broken}
	return &api.NoOutput{}, s.turn(ctx, a, v, s.Now())
}

// verdict is the outcome of an evaluation: an alarm's next state.
type verdict struct {
	state, reason, data string
	problem, broken     bool // like Problem and Broken of Alarm
}

// errReplaced means that an alarm was replaced while it was evaluated.
var errReplaced = errors.New("the alarm was replaced")

// turn gives an alarm a state and, if the state is new, executes its actions. It does nothing if the alarm was deleted meanwhile, or if v
// marks it as broken and it was replaced meanwhile.
func (s *Service) turn(ctx context.Context, a *Alarm, v verdict, at time.Time) error {
	turned := false
	var next *Alarm
	err := s.update(ctx, func(txn *registry.Txn) (err error) {
		next, err = s.alarms.ChangeIn(txn, a.id(), func(now *Alarm) error {
			if v.broken && now.Updated != a.Updated {
				return errReplaced
			}
			oldState, oldReason := now.State, now.Reason
			now.State, now.Reason, now.ReasonData, now.StateUpdated, now.Problem, now.Broken = v.state, v.reason, v.data, at.UnixMilli(), v.problem, v.broken
			if turned = oldState != v.state; !turned {
				return nil
			}
			now.Transitioned = at.UnixMilli()
			return s.putHistory(txn, now.history(at.UnixMilli(), "StateUpdate", "Alarm updated from "+stateName(oldState)+" to "+stateName(v.state), map[string]any{
				"version":  "1.0",
				"oldState": map[string]any{"stateValue": oldState, "stateReason": oldReason},
				"newState": map[string]any{"stateValue": v.state, "stateReason": v.reason},
			}))
		})
		return err
	})
	if errors.Is(err, errReplaced) {
		return nil
	}
	if err != nil || next == nil || !turned || next.ActionsDisabled {
		return err
	}
	actions := map[string][]string{StateOK: next.OKActions, StateAlarm: next.AlarmActions, StateInsufficientData: next.NoDataActions}[v.state]
	for _, action := range actions {
		if err := s.execute(ctx, next, action, at); err != nil {
			return err
		}
	}
	return nil
}

// stateName returns a state in the spelling of the history.
func stateName(state string) string {
	if state == StateInsufficientData {
		return "INSUFFICIENT_DATA"
	}
	return state
}

// execute executes an alarm's action and records the result in the history.
func (s *Service) execute(ctx context.Context, a *Alarm, action string, at time.Time) error {
	err := fmt.Errorf("actions of this kind are not supported by this endpoint")
	if s.act != nil {
		err = s.act(ctx, a, action, at)
	}
	summary, data := "Successfully executed action "+action, map[string]any{"actionState": "Succeeded", "stateUpdateTimestamp": a.StateUpdated, "notificationResource": action}
	if err != nil {
		summary = "Failed to execute action " + action + ". Received error: \"" + err.Error() + "\""
		data["actionState"], data["error"] = "Failed", err.Error()
	}
	return s.update(ctx, func(txn *registry.Txn) error {
		return s.putHistory(txn, a.history(at.UnixMilli(), "Action", summary, data))
	})
}
