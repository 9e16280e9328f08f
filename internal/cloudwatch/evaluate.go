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

	"github.com/statordb/stator/internal/metric"
)

// spare is how many periods before its own an alarm looks for values if some are missing ("Configuring how CloudWatch alarms
// treat missing data").
const spare = 2

// sample is a value of what an alarm is on.
type sample struct {
	at        int64 // seconds since 1970
	value     float64
	breaching bool
}

// evaluate gives all alarms the states that they have at the time, which is a minute's beginning.
func (s *Service) evaluate(ctx context.Context, at time.Time) error {
	var failed error
	for _, a := range s.all() {
		failed = errors.Join(failed, s.evaluateOne(ctx, a, at))
	}
	return failed
}

func (s *Service) evaluateOne(ctx context.Context, a *Alarm, at time.Time) error {
	n := a.Periods
	if !a.Strict {
		n += spare
	}
	end := at.Unix()
	start := end - n*a.Period
	query := Query{ID: "m", Metric: a.Metric, Stat: a.Stat, Unit: a.Unit, Period: a.Period}
	queries := []Query{query}
	if a.Metric == nil {
		queries = a.Queries
		for _, q := range queries {
			if !q.Hidden {
				query = q
			}
		}
	}
	e := s.evaluation(ctx, queries, start, end)
	v, err := e.result(query.ID)
	var problem *mathError
	if errors.As(err, &problem) {
		return nil // an expression that is wrong has no values
	}
	if err != nil {
		return err
	}
	var samples []sample // the latest first
	if list := v.asList(e, &query); len(list) > 0 {
		times := list[0].times()
		for i := len(times) - 1; i >= 0 && int64(len(samples)) < a.Periods; i-- {
			value := list[0].values[times[i]]
			samples = append(samples, sample{times[i], value, comparisons[a.Comparison](value, a.Threshold)})
		}
	}
	state, ok := a.judge(samples)
	if !ok || state == a.State {
		return nil
	}
	return s.turn(ctx, a, state, a.reason(state, samples), a.reasonData(samples, start, at), at)
}

// judge returns the state for the latest values; ok is false if the alarm keeps the one that it has.
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

// sentences are what reasons say of the comparisons.
var sentences = map[string]string{
	"GreaterThanThreshold":          "greater than the threshold",
	"GreaterThanOrEqualToThreshold": "greater than or equal to the threshold",
	"LessThanThreshold":             "less than the threshold",
	"LessThanOrEqualToThreshold":    "less than or equal to the threshold",
}

// double prints a number as Java does.
func double(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// reason is why the alarm has got the state.
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

// WithAction returns the alarms that have the action for state ALARM.
func (s *Service) WithAction(account, region, action string) []*Alarm {
	return slices.DeleteFunc(s.all(), func(a *Alarm) bool {
		return a.Account != account || a.Region != region || a.ActionsDisabled || !slices.Contains(a.AlarmActions, action)
	})
}

// Values returns a metric's statistic in each period of [from, to) that has it.
func (s *Service) Values(ctx context.Context, id *metric.ID, stat string, from, to time.Time, period int64) ([]float64, error) {
	q := Query{ID: "m", Metric: id, Stat: stat, Period: period}
	v, err := s.evaluation(ctx, []Query{q}, from.Unix(), to.Unix()).result(q.ID)
	if err != nil {
		return nil, err
	}
	var out []float64
	for _, at := range v.series.times() {
		out = append(out, v.series.values[at])
	}
	return out, nil
}
