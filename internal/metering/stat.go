package metering

import (
	"math"
	"sync/atomic"

	"github.com/statordb/stator/internal/metric"
)

// stat is the statistics of non-negative values, in whole units of some scale. It is updated atomically, without a lock. The zero value is
// empty.
type stat struct {
	count, sum atomic.Int64
	min, max   atomic.Int64 // the value plus one; 0 means none
}

func (s *stat) add(v int64) { s.addMany(v, 1) }

// addMany adds a value n times.
func (s *stat) addMany(v, n int64) {
	s.count.Add(n)
	s.sum.Add(v * n)
	v++
	for old := s.min.Load(); old == 0 || v < old; old = s.min.Load() {
		if s.min.CompareAndSwap(old, v) {
			break
		}
	}
	for old := s.max.Load(); v > old; old = s.max.Load() {
		if s.max.CompareAndSwap(old, v) {
			break
		}
	}
}

// take empties the stat and returns its content, in units of 1/scale.
func (s *stat) take(scale float64) (out metric.Set, ok bool) {
	n := s.count.Swap(0)
	if n == 0 {
		return out, false
	}
	sum, low, high := float64(s.sum.Swap(0))/scale, s.min.Swap(0), s.max.Swap(0)
	out = metric.Set{Count: float64(n), Sum: sum, Min: float64(low-1) / scale, Max: float64(high-1) / scale}
	if low == 0 || high == 0 { // an add is in progress
		out.Min, out.Max = sum/float64(n), sum/float64(n)
	}
	return out, true
}

// latencies has the statistics and the distribution of durations, in microseconds.
type latencies struct {
	all     stat
	buckets [latencyBucketCount]atomic.Uint32
}

// firstLatency is the bucket of a microsecond.
var firstLatency = metric.Index(1)

// latencyBucketCount is the number of buckets from one microsecond to 2^30, which is 18 minutes.
const latencyBucketCount = 30 * 32

func (l *latencies) add(micros int64) {
	l.all.add(micros)
	i := metric.Index(float64(max(1, micros))) - firstLatency
	l.buckets[min(int(i), latencyBucketCount-1)].Add(1)
}

// take empties the latencies and returns their content, in milliseconds.
func (l *latencies) take() (metric.Set, bool) {
	out, ok := l.all.take(1000)
	if !ok {
		return out, false
	}
	for i := range l.buckets {
		if n := l.buckets[i].Swap(0); n > 0 {
			// Find the bucket of the same duration in milliseconds by the bucket's middle: the bounds don't coincide.
			low := math.Exp2(float64(i/32)) * (1 + (float64(i%32)+0.5)/32) / 1000
			index := metric.Index(low)
			if last := len(out.Buckets) - 1; last >= 0 && out.Buckets[last].Index == index {
				out.Buckets[last].Count += float64(n)
				continue
			}
			out.Buckets = append(out.Buckets, metric.Bucket{Index: index, Count: float64(n)})
		}
	}
	return out, true
}
