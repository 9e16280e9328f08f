// Package stage measures where the time of requests goes inside the server, for operators: which stage a slow request waited in.
// The histograms are of the whole process.
package stage

import (
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// bounds are the upper bounds of the histograms' buckets: 16 µs to 0.5 s, each twice the one before.
var bounds = prometheus.ExponentialBuckets(16e-6, 2, 16)

var seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name: "stator_stage_seconds", Help: "Time that requests spent in a stage", Buckets: bounds,
}, []string{"stage"})

// Stage is a stage of requests.
type Stage struct{ histogram prometheus.Observer }

// Since records that a request was in the stage from began until now.
func (s Stage) Since(began time.Time) { s.histogram.Observe(time.Since(began).Seconds()) }

func of(name string) Stage { return Stage{seconds.WithLabelValues(name)} }

// The stages, in the order in which a request meets them.
var (
	// Turn is the wait of a long request for its turn on a processor.
	Turn = of("turn")
	// Lock is the wait for a key that another request holds. Requests that find it free are not observed.
	Lock = of("lock")
	// Read is a read of the embedded engine beyond the row cache.
	Read = of("read")
	// Apply is the embedded engine's work on a commit, until it is visible.
	Apply = of("apply")
	// Durable is the wait, by a write or by a read of what is being written, until a commit is on disk.
	Durable = of("durable")
	// Sync is one sync of the embedded engine's log, which many commits share.
	Sync = of("sync")
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
