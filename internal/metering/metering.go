// Package metering measures what requests do to tables: consumed capacity, throttling, latency, and the most used keys.
//
// Every table has a Meter, which also throttles it (package capacity). A Meter counts into a slot per minute. Counting takes no lock,
// because it is on the path of every request. A Registry has all Meters, and collects their slots as metrics in the namespace AWS/DynamoDB.
//
// Source: "DynamoDB metrics and dimensions".
package metering

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/throttle"
)

// Resource describes a table (ID 0) or one of its indexes.
type Resource struct {
	ID   uint8
	Name string // index name; "" for the table
	// Global is false for LSIs, which use their table's capacity.
	Global bool
	// Provisioned is in units per second, by Direction; 0 for on-demand tables.
	Provisioned [2]float64
	// OnDemandMax is the configured OnDemandThroughput in units per second; 0 for none.
	OnDemandMax [2]float64
	// Warm is what an on-demand table serves at least with --on-demand-limits=aws, in units per second.
	Warm   [2]float64
	Limits throttle.Config
	// PartitionKey and SortKey are the names of the key attributes.
	PartitionKey, SortKey []string
	// Insights says which keys are counted exactly.
	Insights Insights
}

// Insights is the mode of Contributor Insights.
type Insights uint8

// The modes of Contributor Insights.
const (
	NoInsights Insights = iota
	AllKeys
	ThrottledKeys
)

// Table describes a table to its Meter.
type Table struct {
	Account, Region string
	Name            string
	Stream          string     // label of the stream; "" if there is none
	Resources       []Resource // the table first
}

// Meter counts and throttles the requests of one table.
type Meter struct {
	id       uint32
	registry *Registry
	table    atomic.Pointer[Table]
	current  atomic.Pointer[slot]

	mu           sync.Mutex // held while slots are replaced or collected
	done         []*slot    // slots of earlier minutes that requests in flight may still use
	gone         bool       // the table was deleted
	gaugesMinute int64      // last minute for which gauges were collected
}

// slot has the counters of a minute. A minute has several slots if the table was changed in it.
type slot struct {
	minute    int64
	resources []resourceSlot // by Resource.ID
	table     tableSlot
	ops       [maxOperations]atomic.Pointer[opSlot]
}

// resourceSlot has the counters of a table or index.
type resourceSlot struct {
	*Resource // nil if no resource has this ID
	limiter   *throttle.Limiter

	consumed  [2]stat // in half units, by Direction
	throttled [2]atomic.Int64
	reasons   [2][4]atomic.Int64 // by Direction and bit of throttle.Limit
	// keys are the accessed keys, in units, and the throttled ones, in requests: by partition key, and by whole key.
	keys [2][2]atomic.Pointer[sketch]
	// builtUnits and progress are for an index under construction: consumed half units, and percent done.
	builtUnits, progress stat
}

// First index of resourceSlot.keys.
const (
	accessed = iota
	throttled
)

// Second index of resourceSlot.keys.
const (
	byPartition = iota
	byItem
)

// tableSlot has the counters of a table that concern no index.
type tableSlot struct {
	conditionFailed, conflicts, expired stat
}

// opSlot has the counters of an operation.
type opSlot struct {
	latency          latencies
	items            stat
	bytes, records   stat
	throttled, fault stat
}

// configure replaces the table's description. Limiters are kept.
func (m *Meter) configure(t *Table, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.current.Load()
	size := 1
	for _, r := range t.Resources {
		size = max(size, int(r.ID)+1)
	}
	next := &slot{minute: now.Unix() / 60, resources: make([]resourceSlot, size)}
	for i := range t.Resources {
		r := &t.Resources[i]
		at := &next.resources[r.ID]
		at.Resource = r
		if old != nil && int(r.ID) < len(old.resources) {
			at.limiter = old.resources[r.ID].limiter
		}
		if at.limiter == nil {
			at.limiter = new(throttle.Limiter)
		}
		at.limiter.Configure(r.Limits, r.Warm, now)
	}
	m.table.Store(t)
	m.begin(next)
}

// begin makes s the current slot. m.mu is held.
func (m *Meter) begin(s *slot) {
	if old := m.current.Load(); old != nil {
		m.done = append(m.done, old)
	}
	m.current.Store(s)
}

// at returns the slot for a time.
func (m *Meter) at(now time.Time) *slot {
	minute := now.Unix() / 60
	s := m.current.Load()
	if s.minute == minute || s.minute == minute+1 {
		return s // the latter for a request that began just before the minute
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s = m.current.Load(); s.minute == minute {
		return s
	}
	next := s.next(minute)
	m.begin(next)
	return next
}

// next returns an empty slot of the same table for another minute.
func (s *slot) next(minute int64) *slot {
	next := &slot{minute: minute, resources: make([]resourceSlot, len(s.resources))}
	for i := range s.resources {
		next.resources[i].Resource, next.resources[i].limiter = s.resources[i].Resource, s.resources[i].limiter
	}
	return next
}

// used reports whether requests have counted in the slot.
func (s *slot) used() bool {
	for i := range s.ops {
		if s.ops[i].Load() != nil {
			return true
		}
	}
	return false
}

// resource returns the counters of the table (0) or a GSI. For an index that is gone it returns the table's.
func (s *slot) resource(id uint8) *resourceSlot {
	if int(id) < len(s.resources) && s.resources[id].Resource != nil {
		return &s.resources[id]
	}
	return &s.resources[0]
}

// Splits returns the bounds between partitions that heat has made in a table (0) or GSI, sorted.
func (m *Meter) Splits(id uint8) []uint32 { return m.current.Load().resource(id).limiter.Splits() }

// Partitions returns the configured least number of partitions of the table (0) or GSI.
func (m *Meter) Partitions(id uint8) int { return m.current.Load().resource(id).Limits.Partitions }

// Use is a use of capacity by a request.
// Index is the Resource.ID of the table or GSI.
type Use struct {
	Index     uint8
	Direction throttle.Direction
	// Partition is the hash of the partition key.
	Partition uint32
	// Key contains the key attributes, possibly among others; nil if it is unknown.
	Key attribute.Item
	// Many says that the use covers more items than the one with the Key.
	Many bool
}

// Admit returns nil if a request may use the capacity now. Otherwise it counts and returns a ThrottledError.
func (m *Meter) Admit(u Use, now time.Time) error {
	r := m.at(now).resource(u.Index)
	limits := r.limiter.Admit(u.Direction, u.Partition, now)
	if limits == 0 {
		return nil
	}
	return m.refuse(r, u, limits)
}

// Throttle counts a request as throttled regardless of the capacity, and returns its error. Test mode uses it.
func (m *Meter) Throttle(u Use, now time.Time) error {
	r := m.at(now).resource(u.Index)
	limits := throttle.ProvisionedThroughput
	if r.Provisioned == [2]float64{} {
		limits = throttle.KeyRangeThroughput
	}
	return m.refuse(r, u, limits)
}

// refuse counts a throttled request.
func (m *Meter) refuse(r *resourceSlot, u Use, limits throttle.Limit) error {
	r.throttled[u.Direction].Add(1)
	for bit := range r.reasons[u.Direction] {
		if limits&(1<<bit) != 0 {
			r.reasons[u.Direction][bit].Add(1)
		}
	}
	r.count(throttled, u, 1)
	t := m.table.Load()
	return &ThrottledError{Account: t.Account, Region: t.Region, Table: t.Name, Index: r.Name, Direction: u.Direction, Limits: limits, Provisioned: r.Provisioned[u.Direction] > 0}
}

// Charge counts what an executed request has consumed.
func (m *Meter) Charge(u Use, units float64, now time.Time) {
	r := m.at(now).resource(u.Index)
	r.limiter.Charge(u.Direction, u.Partition, units, now)
	// Reads consume half units, so count in halves.
	r.consumed[u.Direction].add(int64(units * 2))
	if r.Insights != AllKeys {
		// A sample of the keys is enough to find the hot ones.
		if rand.Uint32()&(sampled-1) != 0 {
			return
		}
		units *= sampled
	}
	r.count(accessed, u, units)
}

// Tally counts many uses of a table, as in a batch, as one request.
type Tally struct {
	meter *Meter
	slot  *resourceSlot
	now   time.Time
	units float64
	n     uint32
}

// Tally begins a Tally of the table's reads.
func (m *Meter) Tally(now time.Time) Tally {
	return Tally{meter: m, slot: m.at(now).resource(0), now: now, n: rand.Uint32()}
}

// Admit is Meter.Admit.
func (t *Tally) Admit(u *Use) error {
	if !t.slot.limiter.On() {
		return nil
	}
	return t.meter.Admit(*u, t.now)
}

// Charge counts what an executed use has consumed.
func (t *Tally) Charge(u *Use, units float64) {
	if t.slot.limiter.On() {
		t.slot.limiter.Charge(u.Direction, u.Partition, units, t.now)
	}
	t.units += units
	t.n++
	switch {
	case t.slot.Insights == AllKeys:
		t.slot.count(accessed, *u, units)
	case t.n%sampled == 0:
		t.slot.count(accessed, *u, units*sampled)
	}
}

// Done counts the total of all uses.
func (t *Tally) Done() {
	if t.units > 0 {
		t.slot.consumed[throttle.Reads].add(int64(t.units * 2))
	}
}

// sampled is the sampling interval of keys: one request in this many counts its key. With AllKeys, every request counts.
const sampled = 16

// count counts a key.
func (r *resourceSlot) count(what int, u Use, units float64) {
	if u.Key == nil {
		return
	}
	countBy(&r.keys[what][byPartition], r.PartitionKey, nil, u, units)
	wanted := r.Insights == AllKeys || r.Insights == ThrottledKeys && what == throttled
	if wanted && !u.Many && len(r.SortKey) > 0 && u.Key.Get(r.SortKey[0]) != nil {
		countBy(&r.keys[what][byItem], r.PartitionKey, r.SortKey, u, units)
	}
}

// Conditioned counts a request whose condition wasn't met.
func (m *Meter) Conditioned(now time.Time) { m.at(now).table.conditionFailed.add(1) }

// Conflicted counts a request that conflicted with a transaction.
func (m *Meter) Conflicted(now time.Time) { m.at(now).table.conflicts.add(1) }

// Expired counts items deleted by TTL.
func (m *Meter) Expired(n int, now time.Time) { m.at(now).table.expired.addMany(1, int64(n)) }

// Built counts the write units consumed by adding an item to an index under construction.
func (m *Meter) Built(index uint8, units float64, now time.Time) {
	m.at(now).resource(index).builtUnits.add(int64(units * 2))
}

// Progress records how much of an index has been built, in percent.
func (m *Meter) Progress(index uint8, percent int, now time.Time) {
	m.at(now).resource(index).progress.add(int64(percent))
}

// op returns the counters of an operation.
func (s *slot) op(id int) *opSlot {
	if o := s.ops[id].Load(); o != nil {
		return o
	}
	s.ops[id].CompareAndSwap(nil, new(opSlot))
	return s.ops[id].Load()
}

// Outcome is how a request ended.
type Outcome struct {
	Operation int // index in NewRegistry's list
	Took      time.Duration
	Items     int // items returned by Query, Scan and ExecuteStatement; -1 for others
	Bytes     int // bytes returned by GetRecords; -1 for others
	Throttled bool
	Fault     bool // InternalServerError
	Failed    bool // any error
}

// Finished counts a completed request.
func (m *Meter) Finished(o Outcome, now time.Time) {
	c := m.at(now).op(o.Operation)
	switch {
	case o.Throttled:
		c.throttled.add(1)
	case o.Fault:
		c.fault.add(1)
	case o.Failed:
	default:
		c.latency.add(o.Took.Microseconds())
		if o.Bytes >= 0 {
			c.bytes.add(int64(o.Bytes))
			c.records.add(int64(o.Items))
		} else if o.Items >= 0 {
			c.items.add(int64(o.Items))
		}
	}
}
