package cloudwatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/metric"
)

// spare is how many additional older periods an alarm looks at when some of its own have no data ("Configuring how CloudWatch alarms
// treat missing data").
const spare = 2

// sample is a value that an alarm evaluates.
type sample struct {
	at        int64 // seconds since 1970
	value     float64
	breaching bool
}

// evaluate brings all alarms into the states that they have at a time, the beginning of a minute.
func (s *Service) evaluate(ctx context.Context, at time.Time) error {
	var failed error
	for _, a := range s.alarms.All() {
		failed = errors.Join(failed, s.evaluateOne(ctx, a, at))
	}
	return failed
}

// evaluateOne evaluates an alarm. If that panics, the alarm is marked as broken and skipped until it is replaced: it must not stop the
// others, nor panic every minute.
func (s *Service) evaluateOne(ctx context.Context, a *Alarm, at time.Time) error {
	if a.Broken {
		return nil
	}
	err := guard.Run(nil, "evaluating an alarm", func() error { return s.evaluateAlarm(ctx, a, at) })
	p, panicked := errors.AsType[*guard.PanicError](err)
	if !panicked {
		return err
	}
	guard.Log(s.Logger, "evaluating an alarm panicked; it is skipped until it is replaced: "+a.ARN(), err)
	return s.turn(ctx, a, verdict{state: StateInsufficientData, reason: "The alarm is not evaluated until it is changed: " + p.Error(), problem: true, broken: true}, at)
}

// maxWindow bounds the evaluation periods of an alarm together, in seconds ("PutMetricAlarm").
const maxWindow = 7 * 24 * 60 * 60

// evaluateAlarm evaluates an alarm and stores a change of its state.
func (s *Service) evaluateAlarm(ctx context.Context, a *Alarm, at time.Time) error {
	v, err := s.verdict(ctx, a, at)
	if problem, ok := errors.AsType[*mathError](err); ok {
		// Such an alarm was stored by an older version, or it asks for too much data.
		reason := "Error in expression: " + problem.message
		if q, ok := errors.AsType[*queryError](err); ok {
			reason = "Error in expression '" + q.id + "': " + problem.message
		}
		v, err = verdict{state: StateInsufficientData, reason: reason, problem: true}, nil
	}
	if err != nil || v.state == "" || v.state == a.State && v.problem == a.Problem && (!v.problem || v.reason == a.Reason) {
		return err
	}
	return s.turn(ctx, a, v, at)
}

// verdict computes an alarm's state at a time. Its state is empty if the alarm keeps the one that it has.
func (s *Service) verdict(ctx context.Context, a *Alarm, at time.Time) (verdict, error) {
	if a.Period <= 0 || a.Periods > maxWindow/a.Period {
		return verdict{}, wrong("Metrics cannot be checked across more than %d seconds", maxWindow)
	}
	n := a.Periods
	if !a.Strict {
		n += spare
	}
	end := at.Unix()
	start := end - n*a.Period
	queries, shown := a.Queries, 0
	// A single metric is the simplest expression: one query that is shown.
	if a.Metric != nil {
		queries = []Query{{ID: "m", Metric: a.Metric, Stat: a.Stat, Unit: a.Unit, Period: a.Period}}
	}
	for i, q := range queries {
		if !q.Hidden {
			shown = i
		}
	}
	p, err := newPlan(queries)
	if err != nil || len(queries) == 0 {
		return verdict{}, err
	}
	e := s.evaluation(ctx, nil, p, start, end)
	v, err := e.result(shown)
	if err != nil {
		return verdict{}, err
	}
	list, err := e.list(shown, v)
	if err != nil {
		return verdict{}, err
	}
	var samples []sample // the latest first
	if len(list) > 0 {
		points := list[0].points
		for i := len(points) - 1; i >= 0 && int64(len(samples)) < a.Periods; i-- {
			samples = append(samples, sample{points[i].at, points[i].v, comparisons[a.Comparison](points[i].v, a.Threshold)})
		}
	}
	state, ok := a.judge(samples)
	if !ok {
		return verdict{}, nil
	}
	return verdict{state: state, reason: a.reason(state, samples), data: a.reasonData(samples, start, at)}, nil
}

// judge returns the state for the latest values. ok is false if the alarm keeps the state that it has.
func (a *Alarm) judge(samples []sample) (state string, ok bool) {
	breaching := int64(0)
	for _, v := range samples {
		if v.breaching {
			breaching++
		}
	}
	have := int64(len(samples))
	needed := a.Datapoints
	switch a.Missing {
	case "breaching":
		breaching += a.Periods - have
	case "notBreaching":
	case "ignore":
		if breaching < needed && have-breaching < a.Periods-needed+1 {
			return "", false
		}
	default:
		if have == 0 {
			return StateInsufficientData, true
		}
		if !a.Strict {
			needed = min(needed, have)
		}
	}
	if breaching >= needed {
		return StateAlarm, true
	}
	return StateOK, true
}

// sentences name the comparisons in reasons.
var sentences = map[string]string{
	"GreaterThanThreshold":          "greater than the threshold",
	"GreaterThanOrEqualToThreshold": "greater than or equal to the threshold",
	"LessThanThreshold":             "less than the threshold",
	"LessThanOrEqualToThreshold":    "less than or equal to the threshold",
}

// double prints a number like Java's Double.toString, as AWS does in reasons.
func double(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// plural returns the form of a word that goes with n.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// reason returns AWS's explanation of a state.
func (a *Alarm) reason(state string, samples []sample) string {
	missing := int(a.Periods) - len(samples)
	if state == StateInsufficientData {
		return fmt.Sprintf("Insufficient Data: %d %s unknown.", missing, plural(missing, "datapoint was", "datapoints were"))
	}
	if len(samples) == 0 {
		treated := map[string]string{"breaching": "Breaching", "notBreaching": "NonBreaching"}[a.Missing]
		return fmt.Sprintf("Threshold Crossed: no datapoints were received for %d %s and %d missing %s treated as [%s].",
			a.Periods, plural(int(a.Periods), "period", "periods"), missing, plural(missing, "datapoint was", "datapoints were"), treated)
	}
	var values []string
	for _, v := range samples {
		if v.breaching == (state == StateAlarm) {
			values = append(values, fmt.Sprintf("%s (%s)", double(v.value), time.Unix(v.at, 0).UTC().Format("02/01/06 15:04:05")))
		}
	}
	not, from, needed := "", StateOK, int(a.Datapoints)
	if state == StateOK {
		not, from, needed = "not ", StateAlarm, int(a.Periods-a.Datapoints+1)
	}
	return fmt.Sprintf("Threshold Crossed: %d out of the last %d datapoints [%s] %s %s%s (%s) (minimum %d %s for %s -> %s transition).",
		len(values), len(samples), strings.Join(values, ", "), plural(len(values), "was", "were"), not, sentences[a.Comparison], double(a.Threshold),
		needed, plural(needed, "datapoint", "datapoints"), from, state)
}

// reasonData returns the explanation of a state as JSON.
func (a *Alarm) reasonData(samples []sample, start int64, at time.Time) string {
	const layout = "2006-01-02T15:04:05.000-0700"
	recent := []float64{}
	evaluated := []map[string]any{}
	for i := len(samples) - 1; i >= 0; i-- {
		recent = append(recent, samples[i].value)
	}
	for _, v := range samples {
		evaluated = append(evaluated, map[string]any{"timestamp": time.Unix(v.at, 0).UTC().Format(layout), "value": v.value})
	}
	raw, err := json.Marshal(map[string]any{
		"version": "1.0", "queryDate": at.UTC().Format(layout), "startDate": time.Unix(start, 0).UTC().Format(layout),
		"statistic": a.Stat, "period": a.Period, "recentDatapoints": recent, "threshold": a.Threshold, "evaluatedDatapoints": evaluated,
	})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return string(raw)
}

// WithAction returns the alarms that execute the action on entering the state ALARM.
func (s *Service) WithAction(account, region, action string) []*Alarm {
	return slices.DeleteFunc(s.alarms.List(account, region), func(a *Alarm) bool {
		return a.ActionsDisabled || !slices.Contains(a.AlarmActions, action)
	})
}

// Values returns a metric's statistic for each period of [from, to) that has data. period is in seconds.
func (s *Service) Values(ctx context.Context, id *metric.ID, stat string, from, to time.Time, period int64) ([]float64, error) {
	p, err := newPlan([]Query{{ID: "m", Metric: id, Stat: stat, Period: period}})
	if err != nil {
		return nil, err
	}
	v, err := s.evaluation(ctx, nil, p, from.Unix(), to.Unix()).result(0)
	if err != nil {
		return nil, err
	}
	var out []float64
	for _, point := range v.series.points {
		out = append(out, point.v)
	}
	return out, nil
}
