package cloudwatch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

// clone copies a string that must outlive the request: strings of inputs are views of its body.
func clone(s string) string { return strings.Clone(s) }

// sortDimensions brings dimensions into the order in which they identify a metric.
func sortDimensions(list []metric.Dimension) {
	slices.SortFunc(list, func(a, b metric.Dimension) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
}

const (
	maxData       = 1000 // metrics in one PutMetricData
	maxValues     = 150  // values of one of its metrics
	unitNone      = "None"
	maxDatapoints = 1440 // in one answer of GetMetricStatistics
	listPage      = 500  // metrics in one answer of ListMetrics
)

// putMetricData checks all of a request's data before it stores any.
func (s *Service) putMetricData(ctx context.Context, call *smithy.Call, in *api.PutMetricDataInput) (*api.NoOutput, error) {
	if strings.HasPrefix(in.Namespace.Value, "AWS/") {
		return nil, invalid("The value AWS/ for parameter Namespace is invalid.")
	}
	if in.EntityMetricData != nil {
		return nil, invalid("The parameter EntityMetricData is not supported by this endpoint")
	}
	if in.MetricData == nil {
		return nil, awserr.New(missingParameter, "The parameter MetricData is required.")
	}
	if len(in.MetricData) > maxData {
		return nil, invalid("The collection MetricData must not have a size greater than " + strconv.Itoa(maxData) + ".")
	}
	now := s.Now()
	data := make([]metric.Datum, 0, len(in.MetricData))
	for i := range in.MetricData {
		m := &in.MetricData[i]
		if err := checkNames(in.Namespace.Value, m); err != nil {
			return nil, err
		}
		set, err := setOf(m, "MetricData.member."+strconv.Itoa(i+1))
		if err != nil {
			return nil, err
		}
		at := now
		if m.Timestamp.Set {
			at = timeOf(m.Timestamp.Value)
		}
		if at.Before(now.Add(-14*24*time.Hour)) || at.After(now.Add(2*time.Hour)) {
			return nil, invalid("The parameter MetricData.member." + strconv.Itoa(i+1) + ".Timestamp must be between two weeks in the past and two hours in the future.")
		}
		if r := m.StorageResolution.Or(60); r != 1 && r != 60 {
			return nil, invalid("The parameter MetricData.member." + strconv.Itoa(i+1) + ".StorageResolution must be 1 or 60.")
		}
		data = append(data, metric.Datum{
			ID:   s.metricID(call, in.Namespace.Value, m.MetricName.Value, m.Dimensions),
			Time: at, Unit: clone(m.Unit.Or(unitNone)), Set: set, Fine: m.StorageResolution.Value == 1,
		})
	}
	_, err := s.metrics.add(ctx, data)
	return &api.NoOutput{}, err
}

// checkNames refuses control characters, which keys use as separators. AWS doesn't support them either ("Dimension").
func checkNames(namespace string, m *api.MetricDatum) error {
	control := func(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }
	for _, d := range m.Dimensions {
		if control(d.Name.Value) || control(d.Value.Value) {
			return invalid("The names and values of dimensions must not have control characters.")
		}
	}
	if control(namespace) || control(m.MetricName.Value) {
		return invalid("Namespaces and the names of metrics must not have control characters.")
	}
	return nil
}

// setOf returns the values of a datum, given in one of three forms. where names it in errors.
func setOf(m *api.MetricDatum, where string) (metric.Set, error) {
	var out metric.Set
	kinds := 0
	for _, given := range []bool{m.Value.Set, m.StatisticValues != nil, m.Values != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return out, awserr.New(missingParameter, "At least one of the parameters "+where+".Value, "+where+".Values or "+where+".StatisticValues must be specified.")
	case kinds > 1:
		return out, awserr.New(invalidCombination, "The parameters "+where+".Value, "+where+".Values and "+where+".StatisticValues are mutually exclusive and you have specified more than one.")
	case m.StatisticValues != nil:
		v := m.StatisticValues
		out = metric.Set{Count: v.SampleCount.Value, Sum: v.Sum.Value, Min: v.Minimum.Value, Max: v.Maximum.Value}
		if out.Count <= 0 || out.Min > out.Max {
			return out, invalid("The parameter " + where + ".StatisticValues is invalid.")
		}
	case m.Value.Set:
		out = metric.Of(m.Value.Value, 1)
	default:
		if m.Counts != nil && len(m.Counts) != len(m.Values) {
			return out, invalid("The parameters " + where + ".Values and " + where + ".Counts must be of the same size.")
		}
		if len(m.Values) > maxValues {
			return out, invalid("The collection " + where + ".Values must not have a size greater than " + strconv.Itoa(maxValues) + ".")
		}
		for i, v := range m.Values {
			n := 1.0
			if m.Counts != nil {
				n = m.Counts[i]
			}
			if !(n > 0) || math.IsInf(n, 0) {
				return out, invalid("The value for parameter " + where + ".Counts must be greater than 0.")
			}
			one := metric.Of(v, n)
			out.Add(&one)
		}
	}
	// Sums can overflow even if each value is finite.
	for _, v := range []float64{out.Count, out.Sum, out.Min, out.Max} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return out, invalid("The value for parameter " + where + ".Value must be a number.")
		}
	}
	return out, nil
}

// renderDimensions returns dimensions in the API's form.
func renderDimensions(list []metric.Dimension) []api.Dimension {
	out := make([]api.Dimension, len(list))
	for i, d := range list {
		out[i] = api.Dimension{Name: smithy.Some(d.Name), Value: smithy.Some(d.Value)}
	}
	return out
}

// listMetrics lists recently active metrics. The token is a key of the index; it must belong to the caller's account.
func (s *Service) listMetrics(ctx context.Context, call *smithy.Call, in *api.ListMetricsInput) (*api.ListMetricsOutput, error) {
	after, err := readToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	account, region := s.Namespace(call.Caller)
	if in.NextToken.Set && !strings.HasPrefix(after, string(keyspace.MetricIndex(account, region))) {
		return nil, errToken
	}
	if err := s.Collect(ctx); err != nil {
		return nil, err
	}
	prefix := []string{account, region}
	if in.Namespace.Set {
		if prefix = append(prefix, in.Namespace.Value); in.MetricName.Set {
			prefix = append(prefix, in.MetricName.Value)
		}
	}
	active := 14 * 24 * time.Hour
	if in.RecentlyActive.Set {
		active = 3 * time.Hour
	}
	if err := call.Turn.Take(ctx); err != nil {
		return nil, err
	}
	defer call.Turn.Leave()
	found, last, err := s.metrics.list(ctx, keyspace.MetricIndex(prefix...), []byte(after), listPage, s.Now().Add(-active).Unix(), func(m *series) bool {
		if in.MetricName.Set && m.Name != in.MetricName.Value {
			return false
		}
		for _, d := range in.Dimensions {
			i := slices.IndexFunc(m.Dimensions, func(have metric.Dimension) bool { return have.Name == d.Name.Value })
			if i < 0 || d.Value.Set && m.Dimensions[i].Value != d.Value.Value {
				return false
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListMetricsOutput{Metrics: []api.Metric{}}
	for _, m := range found {
		out.Metrics = append(out.Metrics, api.Metric{
			Namespace: smithy.Some(m.Namespace), MetricName: smithy.Some(m.Name), Dimensions: renderDimensions(m.Dimensions),
		})
	}
	if last != nil {
		out.NextToken = smithy.Some(smithy.EncodeToken(string(last)))
	}
	return out, nil
}

// readToken decodes a NextToken; "" if the request has no token.
func readToken(given smithy.Opt[string]) (string, error) {
	after, err := smithy.DecodeToken(given.Value)
	if err != nil {
		return "", errToken
	}
	return after, nil
}

// window rounds a request's times as CloudWatch does: the start down to the resolution in which points of that age are kept, or to a
// period below a minute ("GetMetricStatistics"). The result is in seconds since 1970.
func window(now, from, to time.Time, period int64) (start, end int64) {
	step := int64(60)
	switch age := now.Sub(from); {
	case period < 60:
		step = period
	case age > retention[2].keep:
		step = 3600
	case age > retention[1].keep:
		step = 300
	}
	start = from.Unix() / step * step
	end = to.Unix()
	if to.Nanosecond() > 0 {
		end++
	}
	return start, end
}

// validPeriod reports whether a period, in seconds, is one that AWS accepts.
func validPeriod(period int64) bool {
	return period == 1 || period == 5 || period == 10 || period == 20 || period == 30 || period > 0 && period%60 == 0
}

// getMetricStatistics returns the datapoints of each unit of the metric, or of the requested unit.
func (s *Service) getMetricStatistics(ctx context.Context, call *smithy.Call, in *api.GetMetricStatisticsInput) (*api.GetMetricStatisticsOutput, error) {
	period := in.Period.Value
	if !validPeriod(period) {
		return nil, invalid("The parameter Period must be a multiple of 60 or one of 1, 5, 10, 20 and 30.")
	}
	from, to := timeOf(in.StartTime.Value), timeOf(in.EndTime.Value)
	if !from.Before(to) {
		return nil, awserr.New(invalidCombination, "The parameter StartTime must be less than the parameter EndTime.")
	}
	if in.Statistics == nil && in.ExtendedStatistics == nil {
		return nil, awserr.New(invalidCombination, "At least one of the parameters Statistics or ExtendedStatistics must be specified.")
	}
	start, end := window(s.Now(), from, to, period)
	if n := (end - start + period - 1) / period; n > maxDatapoints {
		return nil, awserr.New(invalidCombination, fmt.Sprintf("You have requested up to %s datapoints, which exceeds the limit of 1,440. You may reduce the datapoints requested by increasing Period, or decreasing the time range.", thousands(n)))
	}
	extended := make([]statistic, len(in.ExtendedStatistics))
	for i, text := range in.ExtendedStatistics {
		var ok bool
		if extended[i], ok = parseStatistic(text); !ok {
			return nil, invalid("The value " + text + " for parameter ExtendedStatistics is not supported.")
		}
	}
	if err := s.Collect(ctx); err != nil {
		return nil, err
	}
	id := s.metricID(call, in.Namespace.Value, in.MetricName.Value, in.Dimensions)
	out := &api.GetMetricStatisticsOutput{Label: smithy.Some(id.Name), Datapoints: []api.Datapoint{}}
	units, err := s.metrics.units(ctx, &id, in.Unit.Value)
	if err != nil {
		return nil, err
	}
	for _, m := range units {
		points, err := s.metrics.read(ctx, m.id, start, end, period, nil)
		if err != nil {
			return nil, err
		}
		for i := range points {
			if d, ok := datapoint(&points[i], m.Unit, in, extended); ok {
				out.Datapoints = append(out.Datapoints, d)
			}
		}
	}
	return out, nil
}

// datapoint returns the requested statistics of a period. ok is false if it has none of them.
func datapoint(p *point, unit string, in *api.GetMetricStatisticsInput, extended []statistic) (d api.Datapoint, ok bool) {
	d = api.Datapoint{Timestamp: smithy.Some(float64(p.at)), Unit: smithy.Some(unit)}
	members := map[string]*smithy.Opt[float64]{
		"SampleCount": &d.SampleCount, "Average": &d.Average, "Sum": &d.Sum, "Minimum": &d.Minimum, "Maximum": &d.Maximum,
	}
	for _, name := range in.Statistics {
		v, _ := basic[name](&p.Set)
		*members[name] = smithy.Some(v)
		ok = true
	}
	for i, f := range extended {
		if v, has := f(&p.Set); has {
			d.ExtendedStatistics.Put(in.ExtendedStatistics[i], v)
			ok = true
		}
	}
	return d, ok
}

// thousands formats a number as 44,640.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
