// Package tenant bounds what an account may use of a server, so that one account can't starve another.
package tenant

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/time/rate"
)

// Limits bound what an account may use. Zero means no limit.
type Limits struct {
	// Tables is the number of tables in all regions together.
	Tables int `json:"tables"`
	// Bytes is the size of all tables with their indexes. It is measured at intervals, so writes may exceed it by what they add meanwhile.
	Bytes int64 `json:"bytes"`
	// RequestsPerSecond is the rate of requests to one server. A second's worth may come at once.
	RequestsPerSecond int `json:"requestsPerSecond"`
	// ConcurrentRequests is the number of requests that one server executes at once.
	ConcurrentRequests int `json:"concurrentRequests"`
}

// Negative reports whether a limit is negative, which means nothing.
func (l *Limits) Negative() bool {
	return l.Tables < 0 || l.Bytes < 0 || l.RequestsPerSecond < 0 || l.ConcurrentRequests < 0
}

// Limit is the name of a limit, as metrics and errors use it.
type Limit string

// The limits.
const (
	Tables             Limit = "tables"
	Bytes              Limit = "bytes"
	RequestsPerSecond  Limit = "requestsPerSecond"
	ConcurrentRequests Limit = "concurrentRequests"
)

// Tenants knows the limits of accounts, and what they use. A nil *Tenants limits nothing. It is safe for concurrent use.
type Tenants struct {
	now      func() time.Time
	accounts atomic.Pointer[map[string]*account] // those with limits; replaced as a whole
	set      sync.Mutex

	registry *prometheus.Registry
	refused  *prometheus.CounterVec
}

// account is what an account with limits uses.
type account struct {
	limits   Limits
	running  *atomic.Int64 // requests
	bytes    *atomic.Int64 // of its tables, when they were measured last
	requests *rate.Limiter // nil without a limit
}

// New returns Tenants without limits.
func New(now func() time.Time) *Tenants {
	t := &Tenants{now: now, registry: prometheus.NewRegistry(), refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stator_account_refused_total", Help: "Requests refused because the account had reached one of its limits",
	}, []string{"account", "limit"})}
	t.accounts.Store(&map[string]*account{})
	t.registry.MustRegister(t.refused, collector{t})
	return t
}

// Set replaces the limits of all accounts. What accounts use at the moment stays counted.
func (t *Tenants) Set(limits map[string]Limits) {
	t.set.Lock()
	defer t.set.Unlock()
	old, next := *t.accounts.Load(), map[string]*account{}
	for name, l := range limits {
		a := &account{limits: l, running: new(atomic.Int64), bytes: new(atomic.Int64)}
		if before := old[name]; before != nil {
			*a = *before
			a.limits = l
		}
		switch {
		case l.RequestsPerSecond == 0:
			a.requests = nil
		case a.requests == nil:
			a.requests = rate.NewLimiter(rate.Limit(l.RequestsPerSecond), l.RequestsPerSecond)
		default:
			a.requests.SetLimitAt(t.now(), rate.Limit(l.RequestsPerSecond))
			a.requests.SetBurstAt(t.now(), l.RequestsPerSecond)
		}
		next[name] = a
	}
	t.accounts.Store(&next)
}

// of returns an account with limits, or nil.
func (t *Tenants) of(name string) *account {
	if t == nil {
		return nil
	}
	return (*t.accounts.Load())[name]
}

// Visit is a request that counts. Its zero value counts nothing.
type Visit struct{ running *atomic.Int64 }

// Leave ends the visit.
func (v Visit) Leave() {
	if v.running != nil {
		v.running.Add(-1)
	}
}

// Enter counts a request of an account. If the account has reached a limit, Enter returns that, and the request must be refused; else the
// caller must call Leave when the request ends.
func (t *Tenants) Enter(name string) (v Visit, reached Limit) {
	a := t.of(name)
	if a == nil {
		return v, ""
	}
	if n := a.running.Add(1); a.limits.ConcurrentRequests > 0 && n > int64(a.limits.ConcurrentRequests) {
		reached = ConcurrentRequests
	} else if a.requests != nil && !a.requests.AllowN(t.now(), 1) {
		reached = RequestsPerSecond
	}
	if reached != "" {
		a.running.Add(-1)
		t.refuse(name, reached)
		return v, reached
	}
	return Visit{a.running}, ""
}

// MaxTables returns the largest number of tables of an account; 0 for no limit.
func (t *Tenants) MaxTables(name string) int {
	if a := t.of(name); a != nil {
		return a.limits.Tables
	}
	return 0
}

// Limited reports whether an account has a limit of bytes.
func (t *Tenants) Limited(name string) bool {
	a := t.of(name)
	return a != nil && a.limits.Bytes > 0
}

// Full reports whether an account's tables have reached their limit of bytes, so that a request that would store more must be refused.
func (t *Tenants) Full(name string) bool {
	a := t.of(name)
	if !t.Limited(name) || a.bytes.Load() < a.limits.Bytes {
		return false
	}
	t.refuse(name, Bytes)
	return true
}

// Measures reports whether any account has a limit of bytes.
func (t *Tenants) Measures() bool {
	for _, a := range *t.accounts.Load() {
		if a.limits.Bytes > 0 {
			return true
		}
	}
	return false
}

// Measured sets the sizes of all accounts' tables in bytes.
func (t *Tenants) Measured(bytes map[string]int64) {
	for name, a := range *t.accounts.Load() {
		a.bytes.Store(bytes[name])
	}
}

func (t *Tenants) refuse(name string, reached Limit) {
	t.refused.WithLabelValues(name, string(reached)).Inc()
}

// Gather returns the metrics of accounts with limits.
func (t *Tenants) Gather() ([]*dto.MetricFamily, error) { return t.registry.Gather() }

var (
	runningDesc = prometheus.NewDesc("stator_account_requests_running", "Requests that are executed for the account", []string{"account"}, nil)
	bytesDesc   = prometheus.NewDesc("stator_account_bytes", "Size of the account's tables and indexes, if it is limited", []string{"account"}, nil)
)

// collector implements prometheus.Collector.
type collector struct{ *Tenants }

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for name, a := range *c.accounts.Load() {
		to <- prometheus.MustNewConstMetric(runningDesc, prometheus.GaugeValue, float64(a.running.Load()), name)
		if a.limits.Bytes > 0 {
			to <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(a.bytes.Load()), name)
		}
	}
}
