package cloudwatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

const (
	maxQueries       = 500     // in a GetMetricData
	maxReturnedData  = 100_800 // values in an answer of it
	defaultPeriod    = 60      // seconds, of expressions without a metric
	maxGridDatapoint = 200_000 // values that an expression may make of one series
)

var queryID = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]*$`)

// Query is one of the queries of a GetMetricData or an alarm.
type Query struct {
	ID         string
	Expression string
	Metric     *metric.ID
	Stat, Unit string
	Period     int64 // seconds; 0 is not given
	Label      string
	Hidden     bool // its result is for expressions alone
}

// queries reads and checks a request's queries.
func (s *Service) queries(call *smithy.Call, in []api.MetricDataQuery) ([]Query, error) {
	if len(in) > maxQueries {
		return nil, awserr.ValidationError("The collection MetricDataQueries must not have a size greater than " + strconv.Itoa(maxQueries) + ".")
	}
	out := make([]Query, len(in))
	seen := map[string]bool{}
	for i := range in {
		q := &in[i]
		where := "MetricDataQueries.member." + strconv.Itoa(i+1)
		id := clone(q.Id.Value)
		switch {
		case !queryID.MatchString(id):
			return nil, awserr.ValidationError("The value '" + id + "' not allowed for parameter Id. Id must start with a lower case letter and contain only letters, numbers and underscores.")
		case seen[id]:
			return nil, awserr.ValidationError("The values for parameter id in MetricDataQueries are not unique.")
		case q.MetricStat != nil && q.Expression.Set:
			return nil, awserr.ValidationError("The parameters " + where + ".Expression and " + where + ".MetricStat are mutually exclusive and you have specified both.")
		case q.MetricStat == nil && !q.Expression.Set:
			return nil, awserr.ValidationError("At least one of the parameters " + where + ".Expression or " + where + ".MetricStat must be specified.")
		}
		seen[id] = true
		out[i] = Query{ID: id, Expression: clone(q.Expression.Value), Label: clone(q.Label.Value), Hidden: q.ReturnData.Set && !q.ReturnData.Value, Period: q.Period.Value}
		if m := q.MetricStat; m != nil {
			id := s.metricID(call, m.Metric.Namespace.Value, m.Metric.MetricName.Value, m.Metric.Dimensions)
			out[i].Metric, out[i].Stat, out[i].Unit, out[i].Period = &id, clone(m.Stat.Value), clone(m.Unit.Value), m.Period.Value
			if _, ok := parseStatistic(out[i].Stat); !ok {
				return nil, awserr.ValidationError("The value '" + out[i].Stat + "' for parameter " + where + ".MetricStat.Stat is not supported.")
			}
		}
		if out[i].Period != 0 && !validPeriod(out[i].Period) {
			return nil, awserr.ValidationError("The parameter " + where + ".Period must be a multiple of 60 or one of 1, 5, 10, 20 and 30.")
		}
	}
	return out, nil
}

// evaluation computes queries over a time.
type evaluation struct {
	s          *Service
	ctx        context.Context
	queries    []Query
	start, end int64
	done       map[string]value
	running    map[string]bool
}

func (s *Service) evaluation(ctx context.Context, queries []Query, start, end int64) *evaluation {
	return &evaluation{s: s, ctx: ctx, queries: queries, start: start, end: end, done: map[string]value{}, running: map[string]bool{}}
}

// result returns what a query is.
func (e *evaluation) result(id string) (value, error) {
	if v, ok := e.done[id]; ok {
		return v, nil
	}
	i := slices.IndexFunc(e.queries, func(q Query) bool { return q.ID == id })
	switch {
	case i < 0:
		return value{}, wrong("Unknown metric or expression id '%s'", id)
	case e.running[id]:
		return value{}, wrong("Circular dependency on '%s'", id)
	}
	e.running[id] = true
	defer delete(e.running, id)
	v, err := e.compute(&e.queries[i])
	if err == nil {
		e.done[id] = v
	}
	return v, err
}

func (e *evaluation) compute(q *Query) (value, error) {
	if q.Metric != nil {
		return e.read(q)
	}
	tree, err := parseMath(q.Expression)
	if err != nil {
		return value{}, err
	}
	period := cmp.Or(q.Period, e.period())
	finest := period
	for i := range e.queries {
		if e.queries[i].Metric != nil {
			finest = min(finest, e.queries[i].Period)
		}
	}
	if (e.end-e.start)/finest > maxGridDatapoint {
		return value{}, wrong("Too many datapoints")
	}
	sc := &scope{lookup: e.result, start: e.start, end: e.end, period: period, all: func() []*timeSeries {
		var out []*timeSeries
		for i := range e.queries {
			if e.queries[i].Metric == nil {
				continue
			}
			if v, err := e.result(e.queries[i].ID); err == nil {
				out = append(out, v.series)
			}
		}
		return out
	}}
	v, err := tree.eval(sc)
	if err == nil && v.text != nil {
		err = wrong("The expression is a string")
	}
	return v, err
}

// period is the longest of the metrics' periods.
func (e *evaluation) period() int64 {
	out := int64(0)
	for i := range e.queries {
		if e.queries[i].Metric != nil {
			out = max(out, e.queries[i].Period)
		}
	}
	return cmp.Or(out, defaultPeriod)
}

// read returns a metric's statistic over the time.
func (e *evaluation) read(q *Query) (value, error) {
	f, _ := parseStatistic(q.Stat)
	out := &timeSeries{id: q.ID, label: q.Metric.Name, period: q.Period, values: map[int64]float64{}}
	for _, m := range e.s.metrics.units(q.Metric, q.Unit) {
		points, err := e.s.metrics.read(e.ctx, m.id, e.start, e.end, q.Period)
		if err != nil {
			return value{}, err
		}
		for i := range points {
			if v, ok := f(&points[i].Set); ok {
				out.values[points[i].at] = v
			}
		}
	}
	return value{series: out}, nil
}

func (s *Service) getMetricData(ctx context.Context, call *smithy.Call, in *api.GetMetricDataInput) (*api.GetMetricDataOutput, error) {
	queries, err := s.queries(call, in.MetricDataQueries)
	if err != nil {
		return nil, err
	}
	from, to := timeOf(in.StartTime.Value), timeOf(in.EndTime.Value)
	if !from.Before(to) {
		return nil, awserr.ValidationError("The parameter StartTime must be less than the parameter EndTime.")
	}
	skip, err := readOffset(in.NextToken)
	if err != nil {
		return nil, err
	}
	if err := s.Collect(ctx); err != nil {
		return nil, err
	}
	finest := int64(60)
	for _, q := range queries {
		if q.Metric != nil {
			finest = min(finest, q.Period)
		}
	}
	start, end := window(s.Now(), from, to, finest)
	e := s.evaluation(ctx, queries, start, end)
	out := &api.GetMetricDataOutput{MetricDataResults: []api.MetricDataResult{}, Messages: []api.MessageData{}}
	left := int(in.MaxDatapoints.Or(maxReturnedData))
	more := false
	for i := range queries {
		q := &queries[i]
		v, err := e.result(q.ID)
		var problem *mathError
		switch {
		case errors.As(err, &problem):
			return nil, awserr.ValidationError("Error in expression '" + q.ID + "': " + problem.message)
		case err != nil:
			return nil, err
		case q.Hidden:
			continue
		}
		for n, t := range v.asList(e, q) {
			label := t.label
			switch {
			case q.Label != "":
				label = q.Label
			case q.Metric == nil && !v.isList:
				label = q.ID
			case label == "":
				label = fmt.Sprint(q.ID, " ", n)
			}
			r := api.MetricDataResult{
				Id: smithy.Some(q.ID), Label: smithy.Some(label), Timestamps: []float64{}, Values: []float64{}, StatusCode: smithy.Some("Complete"),
			}
			times := t.times()
			if in.ScanBy.Value != "TimestampAscending" {
				slices.Reverse(times)
			}
			for _, at := range times {
				if skip > 0 {
					skip--
					continue
				}
				if left == 0 {
					more = true
					r.StatusCode = smithy.Some("PartialData")
					break
				}
				left--
				r.Timestamps = append(r.Timestamps, float64(at))
				r.Values = append(r.Values, t.values[at])
			}
			out.MetricDataResults = append(out.MetricDataResults, r)
		}
	}
	if more {
		offset, err := readOffset(in.NextToken)
		if err != nil {
			return nil, err
		}
		out.NextToken = smithy.Some(token(strconv.Itoa(offset + int(in.MaxDatapoints.Or(maxReturnedData)))))
	}
	return out, nil
}

// readOffset reads how many values earlier answers had.
func readOffset(given smithy.Opt[string]) (int, error) {
	if !given.Set {
		return 0, nil
	}
	text, err := readToken(given)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, awserr.New(invalidToken, "The value for parameter NextToken is invalid.")
	}
	return n, nil
}

// asList returns the time series that a query's answer has; a number is one at every time.
func (v value) asList(e *evaluation, q *Query) []*timeSeries {
	switch {
	case v.isList:
		return v.list
	case v.series != nil:
		return []*timeSeries{v.series}
	case v.number != nil:
		t := &timeSeries{values: map[int64]float64{}, period: cmp.Or(q.Period, e.period())}
		for _, at := range t.grid(&scope{start: e.start, end: e.end, period: t.period}) {
			t.values[at] = *v.number
		}
		return []*timeSeries{t}
	}
	return nil
}
