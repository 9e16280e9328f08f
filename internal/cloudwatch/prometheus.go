package cloudwatch

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"unicode"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/stage"
)

// ContentTypePrometheus is the content type of Prometheus's answer.
const ContentTypePrometheus = string(expfmt.FmtText)

// panicsTotal counts the panics that package guard has recovered, for all servers in the process.
const panicsTotal = "stator_background_panics_total"

// latencyBounds are the upper bounds of the histogram buckets, in seconds.
var latencyBounds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Prometheus returns everything that the Source has measured since the start, in Prometheus's text format: sums as counters, levels as
// gauges, durations as histograms.
func (s *Service) Prometheus(ctx context.Context) ([]byte, error) {
	families := map[string]*dto.MetricFamily{}
	err := s.Totals(ctx, func(t *Total) {
		kind, name := exposition(t)
		f := families[name]
		if f == nil {
			f = &dto.MetricFamily{Name: proto.String(name), Type: kind.Enum(), Help: proto.String(t.Namespace + " " + t.Name)}
			families[name] = f
		}
		m := &dto.Metric{Label: labels(t)}
		switch kind {
		case dto.MetricType_GAUGE:
			m.Gauge = &dto.Gauge{Value: proto.Float64(t.Last)}
		case dto.MetricType_HISTOGRAM:
			m.Histogram = histogram(&t.Set)
		default:
			m.Counter = &dto.Counter{Value: proto.Float64(t.Set.Sum)}
		}
		f.Metric = append(f.Metric, m)
	})
	if err != nil {
		return nil, err
	}
	families[panicsTotal] = &dto.MetricFamily{
		Name: proto.String(panicsTotal), Type: dto.MetricType_COUNTER.Enum(), Help: proto.String("Panics of background work that were recovered"),
		Metric: []*dto.Metric{{Counter: &dto.Counter{Value: proto.Float64(float64(guard.Panics()))}}},
	}
	for _, gather := range []func() ([]*dto.MetricFamily, error){stage.Gather, s.Gather} {
		if gather == nil {
			continue
		}
		more, err := gather()
		if err != nil {
			return nil, err
		}
		for _, f := range more {
			families[f.GetName()] = f
		}
	}
	var out bytes.Buffer
	names := make([]string, 0, len(families))
	for name := range families {
		names = append(names, name)
	}
	slices.Sort(names) // a stable order makes scrapes comparable
	for _, name := range names {
		f := families[name]
		slices.SortFunc(f.Metric, func(a, b *dto.Metric) int { return strings.Compare(labelText(a), labelText(b)) })
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// labelText returns a sort key for a metric's labels.
func labelText(m *dto.Metric) string {
	var b strings.Builder
	for _, l := range m.Label {
		b.WriteString(l.GetName() + "\x00" + l.GetValue() + "\x00")
	}
	return b.String()
}

// levelNames are the prefixes of the names of gauges: metrics that are levels, not sums.
var levelNames = []string{"Provisioned", "AccountMax", "AccountProvisioned", "MaxProvisioned", "OnDemandMax", "OnlineIndexPercentage", "CacheMemory", "EstimatedDbSize", "ClientConnections"}

// exposition returns a metric's type and name in Prometheus.
func exposition(t *Total) (dto.MetricType, string) {
	name := "stator_" + snake(t.Name)
	switch {
	case t.Unit == "Milliseconds":
		return dto.MetricType_HISTOGRAM, name + "_seconds"
	case slices.ContainsFunc(levelNames, func(p string) bool { return strings.HasPrefix(t.Name, p) }):
		return dto.MetricType_GAUGE, name
	}
	return dto.MetricType_COUNTER, name + "_total"
}

// snake converts ConsumedReadCapacityUnits to consumed_read_capacity_units.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// labels returns account, region and dimensions as labels.
func labels(t *Total) []*dto.LabelPair {
	out := []*dto.LabelPair{
		{Name: proto.String("account"), Value: proto.String(t.Account)}, {Name: proto.String("region"), Value: proto.String(t.Region)},
	}
	for _, d := range t.Dimensions {
		out = append(out, &dto.LabelPair{Name: proto.String(snake(d.Name)), Value: proto.String(d.Value)})
	}
	return out
}

// histogram converts durations in milliseconds to a histogram in seconds.
func histogram(set *metric.Set) *dto.Histogram {
	out := &dto.Histogram{SampleCount: proto.Uint64(uint64(set.Count)), SampleSum: proto.Float64(set.Sum / 1000)}
	for _, bound := range latencyBounds {
		below, _ := set.Within(math.Inf(-1), bound*1000)
		out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: proto.Float64(bound), CumulativeCount: proto.Uint64(uint64(below.Count))})
	}
	return out
}
