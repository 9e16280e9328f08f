// Package metering counts what requests do to tables: capacity consumed, throttles, latencies, the keys they are for.
//
// Every table has a Meter, which throttles it too (package capacity). A Meter's counters are of a minute; a Registry collects
// them as metrics in the namespace AWS/DynamoDB. Counting takes no lock.
//
// Source: "DynamoDB metrics and dimensions".
package metering

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/capacity"
)

// Resource describes a table (ID 0) or an index of it.
type Resource struct {
	ID   uint8
	Name string // of the index; "" for the table
	// Global is false for LSIs, which use their table's capacity.
	Global bool
	// Provisioned are the units per second, by Direction; 0 for on-demand tables.
	Provisioned [2]float64
	// OnDemandMax are the maxima of OnDemandThroughput in units per second; 0 for none.
	OnDemandMax [2]float64
	// Warm is what an on-demand table serves at least with --on-demand-limits=aws.
	Warm   [2]float64
	Limits capacity.Config
	// PartitionKey and SortKey are the names of the key's attributes.
	PartitionKey, SortKey []string
	// Insights has the contributors counted that it names.
	Insights Insights
}

// Insights says which keys are counted exactly, for Contributor Insights.
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
	Stream          string     // label of the stream; "" for none
	Resources       []Resource // the table first
}

// Meter counts and throttles the requests of one table.
type Meter struct {
	id       uint32
	registry *Registry
	table    atomic.Pointer[Table]
	current  atomic.Pointer[slot]

	mu   sync.Mutex // held while slots are replaced or collected
	done []*slot    // earlier minutes'
	gone bool       // the table was deleted
	told int64      // the last minute for which gauges were collected
}

// slot has the counters of one minute.
type slot struct {
	minute    int64
	resources []resourceSlot // by the resources' ID
	table     tableSlot
	ops       [maxOperations]atomic.Pointer[opSlot]
}

type resourceSlot struct {
	*Resource // nil for an ID that nothing has
	limiter   *capacity.Limiter

	consumed  [2]stat // in half units, by Direction
	throttled [2]atomic.Int64
	reasons   [2][4]atomic.Int64 // by Direction and bit of capacity.Limit
	// Keys that were accessed, in units, and throttled, in requests: of the partition key, and of the whole key.
	keys [2][2]atomic.Pointer[sketch]
	// Of an index that is being built: units in half units, and how much is done in percent.
	builtUnits, progress stat
}

const (
	accessed = iota
	throttled
)

const (
	byPartition = iota
	byItem
)

type tableSlot struct {
	conditionFailed, conflicts, expired stat
}

// opSlot counts requests of one operation.
type opSlot struct {
	latency          latencies
	items            stat
	bytes, records   stat
	throttled, fault stat
}

// configure replaces the description.
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
			at.limiter = new(capacity.Limiter)
		}
		at.limiter.Configure(r.Limits, r.Warm, now)
	}
	m.table.Store(t)
	m.begin(next)
}

// begin makes a slot the current one; m.mu is held.
func (m *Meter) begin(s *slot) {
	if old := m.current.Load(); old != nil {
		m.done = append(m.done, old)
	}
	m.current.Store(s)
}

// at returns the slot of the time.
func (m *Meter) at(now time.Time) *slot {
	minute := now.Unix() / 60
	s := m.current.Load()
	if s.minute == minute || s.minute == minute+1 {
		return s // or of a request that was a little earlier
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s = m.current.Load(); s.minute == minute {
		return s
	}
	next := &slot{minute: minute, resources: make([]resourceSlot, len(s.resources))}
	for i := range s.resources {
		next.resources[i].Resource, next.resources[i].limiter = s.resources[i].Resource, s.resources[i].limiter
	}
	m.begin(next)
	return next
}

// resource returns what belongs to the table (0) or a GSI; the table's for an index that has gone.
func (s *slot) resource(id uint8) *resourceSlot {
	if int(id) < len(s.resources) && s.resources[id].Resource != nil {
		return &s.resources[id]
	}
	return &s.resources[0]
}

// Splits returns the bounds that heat has made in the partitions of a table (0) or GSI, sorted.
func (m *Meter) Splits(id uint8) []uint32 { return m.current.Load().resource(id).limiter.Splits() }

// Partitions returns how many partitions the table (0) or GSI was said to have at least.
func (m *Meter) Partitions(id uint8) int { return m.current.Load().resource(id).Limits.Partitions }

// Use is a use of capacity: of a table or GSI (its ID), in a direction, for a key.
type Use struct {
	Index     uint8
	Direction capacity.Direction
	// Partition is the hash of the partition key.
	Partition uint32
	// Key has the key's attributes, maybe among others; nil if nobody knows.
	Key attribute.Item
	// Many says that it is for more items than the one with the Key.
	Many bool
}

// Admit returns nil if a request may use the capacity now, else the ThrottledError, which it counts.
func (m *Meter) Admit(u Use, now time.Time) error {
	r := m.at(now).resource(u.Index)
	limits := r.limiter.Admit(u.Direction, u.Partition, now)
	if limits == 0 {
		return nil
	}
	return m.refuse(r, u, limits)
}

// Throttle counts a request that is refused although there is capacity, and returns its error; the test mode does that.
func (m *Meter) Throttle(u Use, now time.Time) error {
	r := m.at(now).resource(u.Index)
	limits := capacity.ProvisionedThroughput
	if r.Provisioned == [2]float64{} {
		limits = capacity.KeyRangeThroughput
	}
	return m.refuse(r, u, limits)
}

func (m *Meter) refuse(r *resourceSlot, u Use, limits capacity.Limit) error {
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

// Charge counts what an executed request consumed.
func (m *Meter) Charge(u Use, units float64, now time.Time) {
	r := m.at(now).resource(u.Index)
	r.limiter.Charge(u.Direction, u.Partition, units, now)
	r.consumed[u.Direction].add(int64(units * 2))
	if r.Insights != AllKeys {
		// Some of the keys tell which are hot.
		if rand.Uint32()&(sampled-1) != 0 {
			return
		}
		units *= sampled
	}
	r.count(accessed, u, units)
}

// Tally counts many uses of a table as one request.
type Tally struct {
	meter *Meter
	slot  *resourceSlot
	now   time.Time
	units float64
	n     uint32
}

// Tally begins to count uses of the table's reads.
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

// Charge counts what an executed use consumed.
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

// Done counts what all uses together have consumed.
func (t *Tally) Done() {
	if t.units > 0 {
		t.slot.consumed[capacity.Reads].add(int64(t.units * 2))
	}
}

// sampled is of how many requests one has its key counted where nobody asked for more.
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

// Conditioned counts a request whose condition was not met.
func (m *Meter) Conditioned(now time.Time) { m.at(now).table.conditionFailed.add(1) }

// Conflicted counts a request that another transaction was in the way of.
func (m *Meter) Conflicted(now time.Time) { m.at(now).table.conflicts.add(1) }

// Expired counts items that TTL has deleted.
func (m *Meter) Expired(n int, now time.Time) { m.at(now).table.expired.addMany(1, int64(n)) }

// Built counts what putting an item into an index that is being built consumed, in write units.
func (m *Meter) Built(index uint8, units float64, now time.Time) {
	m.at(now).resource(index).builtUnits.add(int64(units * 2))
}

// Progress says how much of an index has been built, in percent.
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
	Operation int // as NewRegistry numbers them
	Took      time.Duration
	Items     int // that Query, Scan and ExecuteStatement returned; -1 for others
	Bytes     int // that GetRecords returned; -1 for others
	Throttled bool
	Fault     bool // InternalServerError
	Failed    bool // any error
}

// Finished counts a request that was executed.
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
