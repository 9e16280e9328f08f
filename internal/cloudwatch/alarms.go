package cloudwatch

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

// States of alarms.
const (
	StateOK               = api.StateValueOk
	StateAlarm            = api.StateValueAlarm
	StateInsufficientData = api.StateValueInsufficientData
)

// alarmID identifies an alarm.
type alarmID struct{ account, region, name string }

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
	// evaluated again until someone replaces it.
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

func (a *Alarm) id() alarmID { return alarmID{a.Account, a.Region, a.Name} }

// loadAlarms reads all alarms from the store.
func (s *Service) loadAlarms(ctx context.Context) error {
	snap, err := s.KV.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.Close()
	return kv.Each(ctx, snap, under(keyspace.Alarms()), func(key, val []byte) error {
		a := new(Alarm)
		if err := json.Unmarshal(val, a); err != nil {
			return fmt.Errorf("alarm %q: %w", key, err)
		}
		a.size = len(val)
		s.alarms[a.id()] = a
		return nil
	})
}

// keep stores alarms and history items in one transaction. s.mu is held.
func (s *Service) keep(ctx context.Context, alarms []*Alarm, history ...historyItem) error {
	err := kv.Update(ctx, s.KV, kv.TxnOpt{}, func(txn kv.Txn) error {
		for _, a := range alarms {
			raw, err := json.Marshal(a)
			if err != nil {
				return err
			}
			a.size = len(raw)
			if err := txn.Put(keyspace.Alarm(a.Account, a.Region, a.Name), raw); err != nil {
				return err
			}
		}
		return s.putHistory(txn, history)
	})
	if err != nil {
		return err
	}
	for _, a := range alarms {
		s.alarms[a.id()] = a
	}
	return nil
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
	for id, other := range s.alarms {
		if id.account == a.Account && id.region == a.Region && id != a.id() && !other.Strict {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now().UnixMilli()
	a.Updated = now
	old := s.alarms[a.id()]
	summary := "Alarm \"" + a.Name + "\" created"
	if !a.Strict {
		if err := s.room(a); err != nil {
			return err
		}
	}
	switch {
	case old == nil || old.Problem:
		a.State, a.Reason, a.StateUpdated, a.Transitioned = StateInsufficientData, "Unchecked: Initial alarm creation", now, now
	default:
		a.State, a.Reason, a.ReasonData, a.StateUpdated, a.Transitioned = old.State, old.Reason, old.ReasonData, old.StateUpdated, old.Transitioned
	}
	if old != nil {
		if a.Tags == nil {
			a.Tags = old.Tags
		}
		summary = "Alarm \"" + a.Name + "\" updated"
	}
	return s.keep(ctx, []*Alarm{a}, a.history(now, "ConfigurationUpdate", summary, map[string]any{"version": "1.0", "type": map[bool]string{true: "Create", false: "Update"}[old == nil]}))
}

// RemoveAlarms deletes alarms. It ignores names without an alarm.
func (s *Service) RemoveAlarms(ctx context.Context, account, region string, names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now().UnixMilli()
	var gone []*Alarm
	for _, name := range names {
		if a := s.alarms[alarmID{account, region, name}]; a != nil {
			gone = append(gone, a)
		}
	}
	err := kv.Update(ctx, s.KV, kv.TxnOpt{}, func(txn kv.Txn) error {
		var items []historyItem
		for _, a := range gone {
			if err := txn.Delete(keyspace.Alarm(a.Account, a.Region, a.Name), 0); err != nil {
				return err
			}
			items = append(items, a.history(now, "ConfigurationUpdate", "Alarm \""+a.Name+"\" deleted", map[string]any{"version": "1.0", "type": "Delete"}))
		}
		return s.putHistory(txn, items)
	})
	if err != nil {
		return err
	}
	for _, a := range gone {
		delete(s.alarms, a.id())
	}
	return nil
}

// Alarm returns the alarm with a name, or nil.
func (s *Service) Alarm(account, region, name string) *Alarm {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alarms[alarmID{account, region, name}]
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

// cloneAll copies strings that must outlive the request.
func cloneAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clone(s)
	}
	return out
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
		Account: clone(account), Region: clone(region), Name: clone(in.AlarmName.Value), Description: clone(in.AlarmDescription.Value),
		ActionsDisabled: in.ActionsEnabled.Set && !in.ActionsEnabled.Value,
		OKActions:       cloneAll(in.OKActions), AlarmActions: cloneAll(in.AlarmActions), NoDataActions: cloneAll(in.InsufficientDataActions),
		Periods: in.EvaluationPeriods.Value, Datapoints: in.DatapointsToAlarm.Or(in.EvaluationPeriods.Value),
		Threshold: in.Threshold.Value, Comparison: clone(in.ComparisonOperator.Value),
		Missing: clone(in.TreatMissingData.Value), LowSamples: clone(in.EvaluateLowSampleCountPercentile.Value),
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
	a.Metric, a.Stat, a.Unit, a.Period = &id, clone(in.Statistic.Or(in.ExtendedStatistic.Value)), clone(in.Unit.Value), in.Period.Value
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

// sorted returns the caller's alarms that keep accepts, by name.
func (s *Service) sorted(call *smithy.Call, keep func(*Alarm) bool) []*Alarm {
	account, region := s.Namespace(call.Caller)
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Alarm
	for _, a := range s.alarms {
		if a.Account == account && a.Region == region && keep(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *Alarm) int { return strings.Compare(a.Name, b.Name) })
	return out
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
	found := s.sorted(call, func(a *Alarm) bool {
		hasAction := func(arn string) bool { return strings.HasPrefix(arn, in.ActionPrefix.Value) }
		return a.Name > after && strings.HasPrefix(a.Name, in.AlarmNamePrefix.Value) &&
			(in.AlarmNames == nil || slices.Contains(in.AlarmNames, a.Name)) &&
			(!in.StateValue.Set || a.State == in.StateValue.Value) &&
			(!in.ActionPrefix.Set || slices.ContainsFunc(slices.Concat(a.AlarmActions, a.OKActions, a.NoDataActions), hasAction))
	})
	limit := int(in.MaxRecords.Or(50))
	for i, a := range found {
		if i == limit {
			out.NextToken = smithy.Some(token(found[i-1].Name))
			break
		}
		out.MetricAlarms = append(out.MetricAlarms, a.render())
	}
	return out, nil
}

func (s *Service) describeAlarmsForMetric(_ context.Context, call *smithy.Call, in *api.DescribeAlarmsForMetricInput) (*api.DescribeAlarmsForMetricOutput, error) {
	id := s.metricID(call, in.Namespace.Value, in.MetricName.Value, in.Dimensions)
	out := &api.DescribeAlarmsForMetricOutput{MetricAlarms: []api.MetricAlarm{}}
	for _, a := range s.sorted(call, func(a *Alarm) bool {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	var changed []*Alarm
	for _, name := range names {
		if a := s.alarms[alarmID{account, region, name}]; a != nil {
			next := *a
			next.ActionsDisabled = disabled
			changed = append(changed, &next)
		}
	}
	return s.keep(ctx, changed)
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
	v := verdict{state: clone(in.StateValue.Value), reason: clone(in.StateReason.Value), data: clone(in.StateReasonData.Value), broken: a.Broken}
	return &api.NoOutput{}, s.turn(ctx, a, v, s.Now())
}

// verdict is the outcome of an evaluation: an alarm's next state.
type verdict struct {
	state, reason, data string
	problem, broken     bool // like Problem and Broken of Alarm
}

// turn gives an alarm a state and, if the state is new, executes its actions.
func (s *Service) turn(ctx context.Context, a *Alarm, v verdict, at time.Time) error {
	next, turned, err := s.change(ctx, a, v, at)
	if err != nil || !turned || next.ActionsDisabled {
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

// change stores an alarm's state; turned says that the state is new. next is nil, and nothing is stored, if the alarm was deleted
// meanwhile, or if v marks it as broken and it was replaced meanwhile.
func (s *Service) change(ctx context.Context, a *Alarm, v verdict, at time.Time) (next *Alarm, turned bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.alarms[a.id()]
	if was == nil || v.broken && was.Updated != a.Updated { // the broken alarm was replaced
		return nil, false, nil
	}
	now := *was
	now.State, now.Reason, now.ReasonData, now.StateUpdated, now.Problem, now.Broken = v.state, v.reason, v.data, at.UnixMilli(), v.problem, v.broken
	var items []historyItem
	if was.State != v.state {
		now.Transitioned = at.UnixMilli()
		items = append(items, now.history(at.UnixMilli(), "StateUpdate", "Alarm updated from "+stateName(was.State)+" to "+stateName(v.state), map[string]any{
			"version":  "1.0",
			"oldState": map[string]any{"stateValue": was.State, "stateReason": was.Reason},
			"newState": map[string]any{"stateValue": v.state, "stateReason": v.reason},
		}))
	}
	return &now, was.State != v.state, s.keep(ctx, []*Alarm{&now}, items...)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keep(ctx, nil, a.history(at.UnixMilli(), "Action", summary, data))
}

// all returns a copy of the list of alarms, in a fixed order.
func (s *Service) all() []*Alarm {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.alarms), func(a, b *Alarm) int { return strings.Compare(a.ARN(), b.ARN()) })
}
