package cloudwatch

import (
	"math"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/metric"
)

// statistic computes a number from a set. ok is false if the set doesn't allow that.
type statistic func(s *metric.Set) (v float64, ok bool)

// basic are the statistics without parameters ("CloudWatch statistics definitions").
var basic = map[string]statistic{
	"SampleCount": func(s *metric.Set) (float64, bool) { return s.Count, true },
	"Sum":         func(s *metric.Set) (float64, bool) { return s.Sum, true },
	"Average":     func(s *metric.Set) (float64, bool) { return s.Average(), true },
	"Minimum":     func(s *metric.Set) (float64, bool) { return s.Min, true },
	"Maximum":     func(s *metric.Set) (float64, bool) { return s.Max, true },
	"IQM":         trimmed(25, 75, (*metric.Set).Average),
}

// parseStatistic parses a statistic: a basic one, a percentile such as p99.9, or one over a part of the values, such as tm90 or
// TM(10%:90%).
func parseStatistic(text string) (statistic, bool) {
	if s, ok := basic[text]; ok {
		return s, true
	}
	if name, bounds, ok := strings.Cut(strings.TrimSuffix(text, ")"), "("); ok && strings.HasSuffix(text, ")") {
		return parseBounded(strings.ToUpper(name), bounds)
	}
	i := strings.IndexAny(text, "0123456789")
	if i < 1 {
		return nil, false
	}
	p, err := strconv.ParseFloat(text[i:], 64)
	if err != nil || p < 0 || p > 100 {
		return nil, false
	}
	if text[:i] == "p" {
		return func(s *metric.Set) (float64, bool) { return s.Percentile(p) }, true
	}
	return between(strings.ToUpper(text[:i]), 0, p)
}

// parseBounded parses a statistic with bounds: both percentages, or both values. A missing bound is open.
func parseBounded(name, text string) (statistic, bool) {
	low, high, ok := strings.Cut(text, ":")
	if !ok || low == "" && high == "" {
		return nil, false
	}
	percent := strings.HasSuffix(low, "%") || strings.HasSuffix(high, "%")
	from, to := math.Inf(-1), math.Inf(1)
	// A single percent sign decides for both bounds; the other bound must then have one, too, or be open.
	if percent {
		from, to = 0, 100
	}
	for _, b := range []struct {
		text string
		dst  *float64
	}{{low, &from}, {high, &to}} {
		if b.text == "" {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSuffix(b.text, "%"), 64)
		if err != nil || percent != strings.HasSuffix(b.text, "%") || percent && (v < 0 || v > 100) {
			return nil, false
		}
		*b.dst = v
	}
	if from >= to {
		return nil, false
	}
	if percent {
		return between(name, from, to)
	}
	of := func(f func(*metric.Set) float64) statistic {
		return func(s *metric.Set) (float64, bool) {
			in, ok := s.Within(from, to)
			return f(&in), ok && in.Count > 0
		}
	}
	switch name {
	case "TM":
		return of((*metric.Set).Average), true
	case "TC":
		return of(func(s *metric.Set) float64 { return s.Count }), true
	case "TS":
		return of(func(s *metric.Set) float64 { return s.Sum }), true
	case "PR":
		return func(s *metric.Set) (float64, bool) {
			in, ok := s.Within(from, to)
			return 100 * in.Count / s.Count, ok
		}, true
	}
	return nil, false
}

// between returns a statistic over the values between two percentiles.
func between(name string, from, to float64) (statistic, bool) {
	switch name {
	case "TM":
		return trimmed(from, to, (*metric.Set).Average), true
	case "TC":
		return trimmed(from, to, func(s *metric.Set) float64 { return s.Count }), true
	case "TS":
		return trimmed(from, to, func(s *metric.Set) float64 { return s.Sum }), true
	case "WM": // values beyond the bounds count as the bounds
		return func(s *metric.Set) (float64, bool) {
			in, ok := s.Between(from, to)
			low, lowOK := s.Percentile(from)
			high, highOK := s.Percentile(to)
			if !ok || !lowOK || !highOK {
				return 0, false
			}
			return (in.Sum + low*s.Count*from/100 + high*s.Count*(100-to)/100) / s.Count, true
		}, true
	}
	return nil, false
}

// trimmed returns f of the values between two percentiles.
func trimmed(from, to float64, f func(*metric.Set) float64) statistic {
	return func(s *metric.Set) (float64, bool) {
		in, ok := s.Between(from, to)
		if !ok || in.Count == 0 {
			return 0, false
		}
		return f(&in), true
	}
}
