package cloudwatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/turns"
)

const (
	maxQueries      = 500     // in one GetMetricData
	maxReturnedData = 100_800 // values in one answer of it
	defaultPeriod   = 60      // in seconds, for expressions without a metric

	// maxRecentData and maxOldData bound the datapoints that a call may ask for, by its StartTime. In AWS an account may ask for as
	// many per second ("CloudWatch service quotas", GetMetricData). As there, the number is estimated from time range and period.
	maxRecentData = 180_000 // for a StartTime at most recentData ago
	maxOldData    = 396_000
	recentData    = 3 * time.Hour
)

// queryID matches the ids that the API allows.
var queryID = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]*$`)

// Query is one query of a GetMetricData or of an alarm: either a Metric with its statistic, or an Expression.
type Query struct {
	ID         string
	Expression string
	Metric     *metric.ID
	Stat, Unit string
	Period     int64 // in seconds; 0 if it is not given
	Label      string
	Hidden     bool // the result serves other expressions only
}

// queries decodes and checks a request's queries. Their expressions may have up to longest bytes.
func (s *Service) queries(call *smithy.Call, in []api.MetricDataQuery, longest int) ([]Query, error) {
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
		case len(q.Expression.Value) > longest:
			return nil, awserr.ValidationError(fmt.Sprintf("The parameter %s.Expression must not have more than %d characters.", where, longest))
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

// plan is queries whose expressions are parsed, type-checked, and ordered by dependency.
type plan struct {
	queries []Query
	trees   []*node // parsed expressions; nil for metrics
	// index finds a query by id.
	index map[string]int
	needs [][]int // the queries on which each expression depends
}

// newPlan parses expressions and checks their syntax, functions and types, and that none depends on itself. Its error is a *queryError.
func newPlan(queries []Query) (*plan, error) {
	p := &plan{queries: queries, trees: make([]*node, len(queries)), index: map[string]int{}, needs: make([][]int, len(queries))}
	for i, q := range queries {
		p.index[q.ID] = i
	}
	for i, q := range queries {
		if q.Metric != nil {
			continue
		}
		var err error
		if p.trees[i], err = parseMath(q.Expression); err == nil {
			err = p.link(i)
		}
		if err != nil {
			return nil, &queryError{q.ID, err}
		}
	}
	kinds := make([]kind, len(queries))
	return p, p.each(func(i int) (err error) {
		if p.trees[i] == nil {
			kinds[i] = aSeries
			return nil
		}
		kinds[i], err = p.trees[i].check(func(id string) (kind, error) { return kinds[p.index[id]], nil })
		if err == nil && kinds[i] == aText {
			err = wrong("The expression is a string")
		}
		return err
	})
}

// link finds the queries on which an expression depends.
func (p *plan) link(i int) (err error) {
	seen := map[string]bool{"": true} // METRICS() depends on metrics only
	p.trees[i].names(func(id string) {
		at, known := p.index[id]
		switch {
		case seen[id]:
		case !known:
			err = errors.Join(err, wrong("Unknown metric or expression id '%s'", id))
		default:
			p.needs[i] = append(p.needs[i], at)
		}
		seen[id] = true
	})
	return err
}

// each visits every query, after those on which it depends.
func (p *plan) each(visit func(i int) error) error {
	done := make([]bool, len(p.queries))
	for i := range p.queries {
		if err := p.visit(i, done, visit); err != nil {
			return err
		}
	}
	return nil
}

// visit visits a query after the queries on which it depends, each of them once. It keeps an explicit stack instead of recursing, because
// chains of dependencies may be long.
func (p *plan) visit(i int, done []bool, visit func(i int) error) error {
	open := map[int]bool{}
	for stack := []int{i}; len(stack) > 0; {
		at := stack[len(stack)-1]
		if done[at] {
			stack = stack[:len(stack)-1]
			continue
		}
		waiting := len(stack)
		for _, need := range p.needs[at] {
			if open[need] && !done[need] {
				return &queryError{p.queries[at].ID, wrong("Circular dependency on '%s'", p.queries[need].ID)}
			}
			if !done[need] {
				stack = append(stack, need)
			}
		}
		if open[at] = true; len(stack) > waiting {
			continue
		}
		if err := visit(at); err != nil {
			return &queryError{p.queries[at].ID, err}
		}
		done[at] = true
	}
	return nil
}

// queryError is an error in one query.
type queryError struct {
	id  string
	err error
}

func (e *queryError) Error() string { return "Error in expression '" + e.id + "': " + e.err.Error() }

func (e *queryError) Unwrap() error { return e.err }

// clientError returns AWS's answer to an error: a faulty expression is the client's mistake.
func clientError(err error) error {
	if problem, ok := errors.AsType[*mathError](err); ok {
		if q, ok := errors.AsType[*queryError](err); ok {
			return awserr.ValidationError("Error in expression '" + q.id + "': " + problem.message)
		}
		return awserr.ValidationError(problem.message)
	}
	return err
}

// evaluation is the state of computing queries over a time range.
type evaluation struct {
	*plan
	s      *Service
	ctx    context.Context // for reading metrics
	budget *budget
	scope  scope
	done   []bool
	values []value
}

// evaluation prepares a plan for [start, end), in seconds since 1970.
func (s *Service) evaluation(ctx context.Context, turn *turns.Turn, p *plan, start, end int64) *evaluation {
	e := &evaluation{plan: p, s: s, ctx: ctx, budget: &budget{ctx: ctx, turn: turn}, done: make([]bool, len(p.queries)), values: make([]value, len(p.queries))}
	e.scope = scope{
		lookup: func(id string) (value, error) { return e.values[e.index[id]], nil },
		all:    e.metrics, start: start, end: end, budget: e.budget,
	}
	return e
}

// result returns the value of a query, computing it and its dependencies if need be.
func (e *evaluation) result(i int) (value, error) {
	err := e.visit(i, e.done, func(i int) (err error) {
		if e.values[i], err = e.compute(i); err != nil {
			return err
		}
		return e.budget.turn.Yield(e.ctx)
	})
	return e.values[i], err
}

// compute computes a query whose dependencies are done.
func (e *evaluation) compute(i int) (value, error) {
	if e.queries[i].Metric != nil {
		return e.read(&e.queries[i])
	}
	e.scope.period = cmp.Or(e.queries[i].Period, e.period())
	return e.trees[i].eval(&e.scope)
}

// metrics returns the series of all queries that are metrics.
func (e *evaluation) metrics() (out []*timeSeries, err error) {
	for i := range e.queries {
		if e.queries[i].Metric == nil {
			continue
		}
		v, err := e.result(i) // a metric has no dependencies, so this can't recurse into a query in progress
		if err != nil {
			return nil, err
		}
		out = append(out, v.series)
	}
	return out, e.budget.visit(len(out))
}

// period returns the longest period of all metrics, in seconds. Expressions without one of their own use it.
func (e *evaluation) period() int64 {
	out := int64(0)
	for i := range e.queries {
		if e.queries[i].Metric != nil {
			out = max(out, e.queries[i].Period)
		}
	}
	return cmp.Or(out, defaultPeriod)
}

// read returns a metric's statistic over the time range.
func (e *evaluation) read(q *Query) (value, error) {
	f, ok := parseStatistic(q.Stat)
	if !ok {
		return value{}, wrong("The statistic %q is not supported", q.Stat)
	}
	out := &timeSeries{id: q.ID, label: q.Metric.Name, period: q.Period}
	units, err := e.s.metrics.units(e.ctx, q.Metric, q.Unit)
	if err != nil {
		return value{}, err
	}
	byTime := map[int64]float64{} // for a metric in several units: one value per time
	for _, m := range units {
		points, err := e.s.metrics.read(e.ctx, m.id, e.scope.start, e.scope.end, q.Period, e.budget)
		if err != nil {
			return value{}, err
		}
		for i := range points {
			v, ok := f(&points[i].Set)
			switch {
			case !ok:
			case len(units) == 1:
				out.add(points[i].at, v)
			default:
				byTime[points[i].at] = v
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(byTime)) {
		out.add(at, byTime[at])
	}
	return value{kind: aSeries, series: out}, nil
}

// list returns the time series of a query's answer. A number becomes a series with that value in every period.
func (e *evaluation) list(i int, v value) ([]*timeSeries, error) {
	switch v.kind {
	case aList:
		return v.list, nil
	case aNumber:
		sc := e.scope
		sc.period = cmp.Or(e.queries[i].Period, e.period())
		t, err := sc.constant(v.number)
		if err != nil {
			return nil, &queryError{e.queries[i].ID, err}
		}
		return []*timeSeries{t.series}, nil
	}
	return []*timeSeries{v.series}, nil
}

// place is where an answer of GetMetricData ended: the query, which of its series, and how many of the series' values were returned.
type place struct{ query, series, value int }

func (p place) token() string {
	return smithy.EncodeToken(fmt.Sprintf("%d.%d.%d", p.query, p.series, p.value))
}

// readPlace decodes a NextToken.
func readPlace(given smithy.Opt[string]) (p place, err error) {
	if !given.Set {
		return p, nil
	}
	text, err := readToken(given)
	if err != nil {
		return p, err
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return p, errToken
	}
	for i, dst := range []*int{&p.query, &p.series, &p.value} {
		if *dst, err = strconv.Atoi(parts[i]); err != nil || *dst < 0 {
			return p, errToken
		}
	}
	return p, nil
}

// getMetricData computes and returns one page. The token says where the page ended, so a page computes only the queries that it returns and
// those on which they depend.
func (s *Service) getMetricData(ctx context.Context, call *smithy.Call, in *api.GetMetricDataInput) (*api.GetMetricDataOutput, error) {
	queries, err := s.queries(call, in.MetricDataQueries, maxExpression)
	if err != nil {
		return nil, err
	}
	from, to := timeOf(in.StartTime.Value), timeOf(in.EndTime.Value)
	if !from.Before(to) {
		return nil, awserr.ValidationError("The parameter StartTime must be less than the parameter EndTime.")
	}
	page, err := newDataPage(in)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(queries)
	if err != nil {
		return nil, clientError(err)
	}
	start, end := window(s.Now(), from, to, finestPeriod(queries))
	// Refuse before the expensive parts: Collect and the evaluation.
	if err := s.checkRate(queries, start, end); err != nil {
		return nil, err
	}
	if err := s.Collect(ctx); err != nil {
		return nil, err
	}
	e := s.evaluation(ctx, call.Turn, p, start, end)
	defer call.Turn.Leave()
	if err := page.fill(e); err != nil {
		return nil, clientError(err)
	}
	return page.out, nil
}

// finestPeriod returns the period by which the start of a time range is rounded: one range serves all queries.
func finestPeriod(queries []Query) int64 {
	finest := int64(60)
	for _, q := range queries {
		if q.Metric != nil {
			finest = min(finest, q.Period)
		}
	}
	return finest
}

// checkRate refuses a call for more datapoints than an account may request per second.
func (s *Service) checkRate(queries []Query, start, end int64) error {
	most := int64(maxOldData)
	if s.Now().Sub(time.Unix(start, 0)) <= recentData {
		most = maxRecentData
	}
	for _, q := range queries {
		if q.Metric == nil {
			continue
		}
		if most -= (end-start)/q.Period + 1; most < 0 {
			return errThrottled
		}
	}
	return nil
}

// dataPage is an answer of GetMetricData under construction.
type dataPage struct {
	out       *api.GetMetricDataOutput
	at        place
	left      int // how many values still fit
	ascending bool
}

// newDataPage begins the page that a request asks for.
func newDataPage(in *api.GetMetricDataInput) (*dataPage, error) {
	left := in.MaxDatapoints.Or(maxReturnedData)
	if left < 1 || left > maxReturnedData {
		return nil, awserr.ValidationError(fmt.Sprintf("The parameter MaxDatapoints must be between 1 and %d.", maxReturnedData))
	}
	at, err := readPlace(in.NextToken)
	if err != nil {
		return nil, err
	}
	return &dataPage{
		out: &api.GetMetricDataOutput{MetricDataResults: []api.MetricDataResult{}, Messages: []api.MessageData{}},
		at:  at, left: int(left), ascending: in.ScanBy.Value == api.ScanByTimestampascending,
	}, nil
}

// fill adds queries from the page's place on until the page is full, and the token if queries are left.
func (p *dataPage) fill(e *evaluation) error {
	for ; p.at.query < len(e.queries); p.at = (place{query: p.at.query + 1}) {
		if e.queries[p.at.query].Hidden {
			continue
		}
		ended := false
		if p.left > 0 {
			var err error
			if ended, err = p.add(e); err != nil {
				return err
			}
		}
		if !ended {
			p.out.NextToken = smithy.Some(p.at.token())
			return nil
		}
	}
	return nil
}

// add adds values of the query at the page's place, and advances the place. ended says that the query has no more values.
func (p *dataPage) add(e *evaluation) (ended bool, err error) {
	i := p.at.query
	v, err := e.result(i)
	if err != nil {
		return false, err
	}
	list, err := e.list(i, v)
	if err != nil {
		return false, err
	}
	// Continue in the series, and at the value, where the previous page ended.
	for ; p.at.series < len(list) && p.left > 0; p.at.series, p.at.value = p.at.series+1, 0 {
		t := list[p.at.series]
		r := p.values(t)
		r.Id, r.Label = smithy.Some(e.queries[i].ID), smithy.Some(e.queries[i].label(v, t, p.at.series))
		more := p.at.value < len(t.points)
		if more {
			r.StatusCode = smithy.Some("PartialData")
		}
		p.out.MetricDataResults = append(p.out.MetricDataResults, r)
		if more {
			return false, nil
		}
	}
	return p.at.series >= len(list), nil
}

// values returns as many of a series' values, from the page's place on, as fit into the page, and advances the place.
func (p *dataPage) values(t *timeSeries) api.MetricDataResult {
	r := api.MetricDataResult{Timestamps: []float64{}, Values: []float64{}, StatusCode: smithy.Some("Complete")}
	n := min(max(len(t.points)-p.at.value, 0), p.left)
	for i := p.at.value; i < p.at.value+n; i++ {
		point := t.points[i]
		if !p.ascending {
			point = t.points[len(t.points)-1-i]
		}
		r.Timestamps, r.Values = append(r.Timestamps, float64(point.at)), append(r.Values, point.v)
	}
	p.left -= n
	p.at.value += n
	return r
}

// label returns the label of the query's result t, which is number i of the series of v.
func (q *Query) label(v value, t *timeSeries, i int) string {
	switch {
	case q.Label != "":
		return q.Label
	case q.Metric == nil && v.kind != aList:
		return q.ID
	case t.label == "":
		return fmt.Sprint(q.ID, " ", i)
	}
	return t.label
}
