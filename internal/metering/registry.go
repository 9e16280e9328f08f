package metering

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/throttle"
)

// Namespace is the namespace of DynamoDB's metrics.
const Namespace = "AWS/DynamoDB"

// maxOperations bounds the operations that are counted separately.
const maxOperations = 32

// AccountMaxUnits and TableMaxUnits are the quotas on provisioned throughput, in units per second ("Quotas in Amazon DynamoDB").
const (
	AccountMaxUnits = 80000
	TableMaxUnits   = 40000
)

// Registry has the Meters of all tables.
type Registry struct {
	operations []string
	now        func() time.Time

	mu     sync.Mutex
	meters map[uint32]*Meter // by table id
	// users counts the errors that clients caused.
	users        map[userMinute]*stat
	gaugesMinute int64 // last minute for which the accounts' gauges were collected
}

// userMinute is an account and region, and a minute.
type userMinute struct {
	account, region string
	minute          int64
}

// NewRegistry returns a Registry that counts the given operations separately. Outcome.Operation is an index into the list.
func NewRegistry(now func() time.Time, operations ...string) *Registry {
	if len(operations) > maxOperations {
		panic("metering: too many operations")
	}
	return &Registry{operations: operations, now: now, meters: map[uint32]*Meter{}, users: map[userMinute]*stat{}}
}

// Meter returns the table's Meter, after giving it the description.
func (r *Registry) Meter(id uint32, t *Table) *Meter {
	r.mu.Lock()
	m := r.meters[id]
	if m == nil {
		m = &Meter{id: id, registry: r}
		r.meters[id] = m
	}
	r.mu.Unlock()
	m.configure(t, r.now())
	return m
}

// Forget records that a table was deleted. What it has counted is still collected.
func (r *Registry) Forget(id uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.meters[id]; m != nil {
		m.mu.Lock()
		m.gone = true
		m.mu.Unlock()
	}
}

// UserError counts a request that failed by its client's mistake.
func (r *Registry) UserError(account, region string) {
	at := userMinute{account, region, r.now().Unix() / 60}
	r.mu.Lock()
	s := r.users[at]
	if s == nil {
		s = new(stat)
		at.account, at.region = strings.Clone(account), strings.Clone(region) // the arguments are views of the request
		r.users[at] = s
	}
	r.mu.Unlock()
	s.add(1)
}

// reported is the largest number of contributors in a Report.
const reported = 100

// Collect passes everything counted since the last call to emit, and the keys of the current minute, and of minutes that have ended since,
// to report.
func (r *Registry) Collect(emit func(metric.Datum), report func(metric.Report)) {
	r.mu.Lock()
	meters := slices.AppendSeq(make([]*Meter, 0, len(r.meters)), maps.Values(r.meters))
	users := maps.Clone(r.users)
	minute := r.now().Unix() / 60
	for at := range r.users {
		// Requests in flight may still count into the previous minute.
		if at.minute < minute-1 {
			delete(r.users, at)
		}
	}
	accounts := r.gaugesMinute != minute
	r.gaugesMinute = minute
	r.mu.Unlock()
	for at, s := range users {
		if set, ok := s.take(1); ok {
			emit(metric.Datum{
				ID:   metric.ID{Account: at.account, Region: at.region, Namespace: Namespace, Name: "UserErrors"},
				Time: time.Unix(at.minute*60, 0), Unit: "Count", Set: set,
			})
		}
	}
	for _, m := range meters {
		if m.collect(minute, emit, report) {
			r.mu.Lock()
			delete(r.meters, m.id)
			r.mu.Unlock()
		}
	}
	if accounts {
		collectAccounts(meters, minute, emit)
	}
}

// collect does Collect's work for a table. done says that it has nothing more to come.
func (m *Meter) collect(minute int64, emit func(metric.Datum), report func(metric.Report)) (done bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.table.Load()
	current := m.current.Load()
	slots := append(slices.Clone(m.done), current)
	for _, s := range slots {
		m.collectSlot(s, emit)
	}
	m.collectKeys(slots, report)
	// A request replaces the slot of an earlier minute. Without requests it is replaced here, because its counters take memory: 4 KB for
	// each operation, and more for keys.
	if current.minute < minute-1 && current.used() {
		m.begin(current.next(minute))
	}
	// Requests in flight may still count into a recent slot.
	m.done = slices.DeleteFunc(m.done, func(s *slot) bool { return s.minute < minute-1 })
	if !m.gone && m.gaugesMinute != minute {
		m.gaugesMinute = minute
		m.collectGauges(t, minute, emit)
	}
	return m.gone && len(m.done) == 0 && current.minute < minute-1
}

// id returns the ID of one of the table's metrics. Dimensions with an empty value are left out.
func (t *Table) id(name string, dimensions ...metric.Dimension) metric.ID {
	id := metric.ID{Account: t.Account, Region: t.Region, Namespace: Namespace, Name: name}
	for _, d := range dimensions {
		if d.Value != "" {
			id.Dimensions = append(id.Dimensions, d)
		}
	}
	id.Dimensions = append(id.Dimensions, metric.Dimension{Name: "TableName", Value: t.Name})
	slices.SortFunc(id.Dimensions, func(a, b metric.Dimension) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return id
}

// index returns the dimension of a GSI.
func index(name string) metric.Dimension {
	return metric.Dimension{Name: "GlobalSecondaryIndexName", Value: name}
}

// collectSlot emits a slot's counters and resets them.
func (m *Meter) collectSlot(s *slot, emit func(metric.Datum)) {
	c := collector{t: m.table.Load(), at: time.Unix(s.minute*60, 0), emit: emit}
	for i := range s.resources {
		if r := &s.resources[i]; r.Resource != nil {
			c.resource(r)
		}
	}
	c.stat("ConditionalCheckFailedRequests", "Count", &s.table.conditionFailed, 1)
	c.stat("TransactionConflict", "Count", &s.table.conflicts, 1)
	c.stat("TimeToLiveDeletedItemCount", "Count", &s.table.expired, 1)
	for i, name := range m.registry.operations {
		if o := s.ops[i].Load(); o != nil { // nil: no request of this operation so far
			c.operation(name, o)
		}
	}
}

// metricNames are the names of the metrics of a table or GSI, by Direction. Building them on every collection would make garbage for
// each table, even for those that no request uses.
var metricNames = [...]directionMetrics{throttle.Reads: metricsOf("Read"), throttle.Writes: metricsOf("Write")}

// directionMetrics are the names of the metrics in one Direction.
type directionMetrics struct {
	consumed, throttled, provisioned, onDemandMax string
	reasons                                       [len(limitNames)]string // by bit of throttle.Limit
}

func metricsOf(direction string) directionMetrics {
	out := directionMetrics{
		consumed: "Consumed" + direction + "CapacityUnits", throttled: direction + "ThrottleEvents",
		provisioned: "Provisioned" + direction + "CapacityUnits", onDemandMax: "OnDemandMax" + direction + "RequestUnits",
	}
	for bit, reason := range limitNames {
		out.reasons[bit] = direction + reason + "ThrottleEvents"
	}
	return out
}

// collector emits what a table counted in a minute.
type collector struct {
	t    *Table
	at   time.Time
	emit func(metric.Datum)
}

// put emits a metric.
func (c *collector) put(name, unit string, set metric.Set, dimensions ...metric.Dimension) {
	c.emit(metric.Datum{ID: c.t.id(name, dimensions...), Time: c.at, Unit: unit, Set: set})
}

// stat empties a stat in units of 1/scale, and emits it unless it was empty.
func (c *collector) stat(name, unit string, s *stat, scale float64, dimensions ...metric.Dimension) {
	if set, ok := s.take(scale); ok {
		c.put(name, unit, set, dimensions...)
	}
}

// events resets a number of events, and emits it unless there were none.
func (c *collector) events(name string, n *atomic.Int64, dimensions ...metric.Dimension) {
	if n := float64(n.Swap(0)); n > 0 {
		c.put(name, "Count", metric.Set{Count: n, Sum: n, Min: 1, Max: 1}, dimensions...)
	}
}

// resource emits the counters of the table itself or of an index.
func (c *collector) resource(r *resourceSlot) {
	x := index(r.Name)
	for d := range metricNames {
		names := &metricNames[d]
		c.stat(names.consumed, "Count", &r.consumed[d], 2, x) // stored in half units
		c.events(names.throttled, &r.throttled[d], x)
		for bit, name := range names.reasons {
			c.events(name, &r.reasons[d][bit], x)
		}
	}
	c.stat("OnlineIndexConsumedWriteCapacity", "Count", &r.builtUnits, 2, x)
	c.stat("OnlineIndexPercentageProgress", "Count", &r.progress, 1, x)
}

// operation emits the counters of an operation.
func (c *collector) operation(name string, o *opSlot) {
	operation := metric.Dimension{Name: "Operation", Value: name}
	var label metric.Dimension
	if name == "GetRecords" {
		label = metric.Dimension{Name: "StreamLabel", Value: c.t.Stream}
	}
	if set, ok := o.latency.take(); ok {
		c.put("SuccessfulRequestLatency", "Milliseconds", set, operation, label)
	}
	c.stat("ReturnedItemCount", "Count", &o.items, 1, operation, label)
	c.stat("ReturnedBytes", "Bytes", &o.bytes, 1, operation, label)
	c.stat("ReturnedRecordsCount", "Count", &o.records, 1, operation, label)
	c.stat("ThrottledRequests", "Count", &o.throttled, 1, operation, label)
	c.stat("SystemErrors", "Count", &o.fault, 1, operation, label)
}

// collectKeys reports the keys of each minute so far, for the tables and GSIs with Contributor Insights.
func (m *Meter) collectKeys(slots []*slot, report func(metric.Report)) {
	c := keyCollector{t: m.table.Load(), reports: map[keyReport]*metric.Report{}}
	for _, s := range slots {
		for i := range s.resources {
			if r := &s.resources[i]; r.Resource != nil {
				c.add(s.minute, r)
			}
		}
	}
	for _, out := range c.reports {
		slices.SortFunc(out.Contributors, byCount)
		// Cut only after adding up: a key that is rare in one slot may be frequent in total.
		out.Contributors = out.Contributors[:min(reported, len(out.Contributors))]
		report(*out)
	}
}

// keyCollector adds up the keys that the slots of each minute have counted.
type keyCollector struct {
	t       *Table
	reports map[keyReport]*metric.Report
}

// keyReport identifies a Report of a keyCollector.
type keyReport struct {
	minute   int64
	resource uint8
	what, by int
}

// add adds the keys that Contributor Insights asks for.
func (c *keyCollector) add(minute int64, r *resourceSlot) {
	for what := range r.keys {
		if r.Insights == NoInsights || what == accessed && r.Insights != AllKeys {
			continue
		}
		for by := range r.keys[what] {
			if sketch := r.keys[what][by].Load(); sketch != nil {
				c.report(keyReport{minute: minute, resource: r.ID, what: what, by: by}, r.Name).Add(sketch.top(sketchSize))
			}
		}
	}
}

// report returns the report of that kind, of the table (for "") or a GSI, and creates it if need be.
func (c *keyCollector) report(at keyReport, index string) *metric.Report {
	out := c.reports[at]
	if out == nil {
		out = &metric.Report{
			Account: c.t.Account, Region: c.t.Region, Table: c.t.Name, Index: index,
			Throttled: at.what == throttled, WholeKey: at.by == byItem, Time: time.Unix(at.minute*60, 0),
		}
		c.reports[at] = out
	}
	return out
}

// collectGauges emits the table's provisioned throughput.
func (m *Meter) collectGauges(t *Table, minute int64, emit func(metric.Datum)) {
	for i := range t.Resources {
		r := &t.Resources[i]
		gauge := func(name string, units float64) {
			if units > 0 {
				emit(metric.Datum{ID: t.id(name, index(r.Name)), Time: time.Unix(minute*60, 0), Unit: "Count", Set: metric.Set{Count: 1, Sum: units, Min: units, Max: units}})
			}
		}
		for d := range metricNames {
			gauge(metricNames[d].provisioned, r.Provisioned[d])
			gauge(metricNames[d].onDemandMax, r.OnDemandMax[d])
		}
	}
}

// collectAccounts emits how much of their quotas the accounts have provisioned.
func collectAccounts(meters []*Meter, minute int64, emit func(metric.Datum)) {
	type account struct{ account, region string }
	type use struct{ sum, most [2]float64 }
	uses := map[account]*use{}
	for _, m := range meters {
		if m.gone {
			continue
		}
		t := m.table.Load()
		a := account{t.Account, t.Region}
		u := uses[a]
		if u == nil {
			u = new(use)
			uses[a] = u
		}
		for d := range directionNames {
			for _, r := range t.Resources {
				u.sum[d] += r.Provisioned[d]
				u.most[d] = max(u.most[d], r.Provisioned[d])
			}
		}
	}
	for a, u := range uses {
		put := func(name, unit string, v float64) {
			emit(metric.Datum{
				ID:   metric.ID{Account: a.account, Region: a.region, Namespace: Namespace, Name: name},
				Time: time.Unix(minute*60, 0), Unit: unit, Set: metric.Set{Count: 1, Sum: v, Min: v, Max: v},
			})
		}
		for d, name := range directionNames {
			put("AccountMax"+name+"s", "Count", AccountMaxUnits)
			put("AccountMaxTableLevel"+name+"s", "Count", TableMaxUnits)
			put("AccountProvisioned"+name+"CapacityUtilization", "Percent", 100*u.sum[d]/AccountMaxUnits)
			put("MaxProvisionedTable"+name+"CapacityUtilization", "Percent", 100*u.most[d]/TableMaxUnits)
		}
	}
}

// Hot is the current load of a table or GSI.
type Hot struct {
	Index               string
	Partitions          []throttle.PartitionState
	Accessed, Throttled []metric.Contributor // partition keys of this minute and the previous one, in units and in requests
}

// hotKeys is the number of keys in a Hot.
const hotKeys = 10

// Hot returns the current load of the table and its GSIs.
func (m *Meter) Hot(now time.Time) []Hot {
	m.mu.Lock()
	defer m.mu.Unlock()
	slots := []*slot{m.current.Load()}
	for _, s := range m.done {
		if s.minute >= now.Unix()/60-1 {
			slots = append(slots, s)
		}
	}
	var out []Hot
	for _, r := range m.table.Load().Resources {
		if r.ID != 0 && !r.Global {
			continue
		}
		h := Hot{Index: r.Name, Partitions: m.current.Load().resource(r.ID).limiter.State(now)}
		h.Accessed = topOf(slots, r.ID, accessed)
		h.Throttled = topOf(slots, r.ID, throttled)
		out = append(out, h)
	}
	return out
}

// topOf returns the most used partition keys of some slots.
func topOf(slots []*slot, id uint8, what int) []metric.Contributor {
	var sum metric.Report
	for _, s := range slots {
		if int(id) >= len(s.resources) {
			continue
		}
		if sketch := s.resources[id].keys[what][byPartition].Load(); sketch != nil {
			sum.Add(sketch.top(sketchSize))
		}
	}
	out := sum.Contributors
	slices.SortFunc(out, byCount)
	return out[:min(hotKeys, len(out))]
}
