// Package stage measures where the time of requests goes inside the server, for operators: which stage a slow request waited in.
// The histograms are of the whole process.
package stage

import (
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// bounds are the upper bounds of the histograms' buckets: 16 µs to 0.5 s, each twice the one before.
var bounds = prometheus.ExponentialBuckets(16e-6, 2, 16)

var seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name: "stator_stage_seconds", Help: "Time that requests spent in a stage", Buckets: bounds,
}, []string{"stage"})

// The stages, in the order in which a request meets them. Observe takes seconds.
var (
	// Turn is the wait of a long request for its turn on a processor.
	Turn = seconds.WithLabelValues("turn")
	// Lock is the wait for a key that another request holds. Requests that find it free are not observed.
	Lock = seconds.WithLabelValues("lock")
	// Read is a read of the embedded engine beyond the row cache.
	Read = seconds.WithLabelValues("read")
	// Apply is the embedded engine's work on a commit, until it is visible.
	Apply = seconds.WithLabelValues("apply")
	// Durable is the wait, by a write or by a read of what is being written, until a commit is on disk.
	Durable = seconds.WithLabelValues("durable")
	// Sync is one sync of the embedded engine's log, which many commits share.
	Sync = seconds.WithLabelValues("sync")
)

var registry = prometheus.NewRegistry()

func init() {
	registry.MustRegister(seconds, collectors.NewGoCollector(
		collectors.WithGoCollectorMemStatsMetricsDisabled(),
		collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{
			// How long goroutines that could run waited for a P, and how long the collector stopped all of them.
			Matcher: regexp.MustCompile(`^/sched/(latencies|pauses/total/gc):seconds$`),
		}),
	))
}

// Gather returns the histograms of all stages, of Go's scheduler and of its collector.
func Gather() ([]*dto.MetricFamily, error) { return registry.Gather() }
