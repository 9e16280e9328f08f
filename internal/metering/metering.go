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
	limiters atomic.Pointer[[]*capacity.Limiter] // by the resources' ID
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

// Name returns the table's name.
func (m *Meter) Name() string { return m.table.Load().Name }

// configure replaces the description.
func (m *Meter) configure(t *Table, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.limiters.Load()
	size := 1
	for _, r := range t.Resources {
		size = max(size, int(r.ID)+1)
	}
	limiters := make([]*capacity.Limiter, size)
	for _, r := range t.Resources {
		if old != nil && int(r.ID) < len(*old) && (*old)[r.ID] != nil {
			limiters[r.ID] = (*old)[r.ID]
		} else {
			limiters[r.ID] = new(capacity.Limiter)
		}
		limiters[r.ID].Configure(r.Limits, r.Warm, now)
	}
	m.table.Store(t)
	m.limiters.Store(&limiters)
	m.rotate(now.Unix()/60, size)
}

// rotate begins a new slot; m.mu is held.
func (m *Meter) rotate(minute int64, size int) *slot {
	if old := m.current.Load(); old != nil {
		m.done = append(m.done, old)
	}
	s := &slot{minute: minute, resources: make([]resourceSlot, size)}
	m.current.Store(s)
	return s
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
	return m.rotate(minute, len(s.resources))
}

// resource returns the counters of an index; those of the table for LSIs and unknown ones.
func (s *slot) resource(id uint8) *resourceSlot {
	if int(id) < len(s.resources) {
		return &s.resources[id]
	}
	return &s.resources[0]
}

func (m *Meter) limiter(id uint8) *capacity.Limiter {
	list := *m.limiters.Load()
	if int(id) < len(list) && list[id] != nil {
		return list[id]
	}
	return list[0]
}

// describe returns the description of a table (0) or GSI.
func (m *Meter) describe(id uint8) *Resource {
	t := m.table.Load()
	for i := range t.Resources {
		if t.Resources[i].ID == id {
			return &t.Resources[i]
		}
	}
	return &t.Resources[0]
}

// Splits returns the bounds that heat has made in the partitions of a table (0) or GSI, sorted.
func (m *Meter) Splits(id uint8) []uint32 { return m.limiter(id).Splits() }

// Partitions returns how many partitions the table (0) or GSI was said to have at least.
func (m *Meter) Partitions(id uint8) int { return m.describe(id).Limits.Partitions }

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
	limits := m.limiter(u.Index).Admit(u.Direction, u.Partition, now)
	if limits == 0 {
		return nil
	}
	return m.refuse(u, limits, now)
}

// Throttle counts a request that is refused although there is capacity, and returns its error; the test mode does that.
func (m *Meter) Throttle(u Use, now time.Time) error {
	limits := capacity.ProvisionedThroughput
	if m.describe(u.Index).Provisioned == [2]float64{} {
		limits = capacity.KeyRangeThroughput
	}
	return m.refuse(u, limits, now)
}

func (m *Meter) refuse(u Use, limits capacity.Limit, now time.Time) error {
	s := m.at(now)
	r := s.resource(u.Index)
	r.throttled[u.Direction].Add(1)
	for bit := range r.reasons[u.Direction] {
		if limits&(1<<bit) != 0 {
			r.reasons[u.Direction][bit].Add(1)
		}
	}
	m.count(r, throttled, u, 1)
	t, d := m.table.Load(), m.describe(u.Index)
	return &ThrottledError{Account: t.Account, Region: t.Region, Table: t.Name, Index: d.Name, Direction: u.Direction, Limits: limits, Provisioned: d.Provisioned[u.Direction] > 0}
}

// Charge counts what an executed request consumed.
func (m *Meter) Charge(u Use, units float64, now time.Time) {
	m.limiter(u.Index).Charge(u.Direction, u.Partition, units, now)
	r := m.at(now).resource(u.Index)
	r.consumed[u.Direction].add(int64(units * 2))
	if m.describe(u.Index).Insights != AllKeys {
		// Some of the keys tell which are hot.
		if rand.Uint32()&(sampled-1) != 0 {
			return
		}
		units *= sampled
	}
	m.count(r, accessed, u, units)
}

// sampled is of how many requests one has its key counted where nobody asked for more.
const sampled = 16

// count counts a key.
func (m *Meter) count(r *resourceSlot, what int, u Use, units float64) {
	if u.Key == nil {
		return
	}
	d := m.describe(u.Index)
	m.countBy(&r.keys[what][byPartition], d.PartitionKey, nil, u, units)
	wanted := d.Insights == AllKeys || d.Insights == ThrottledKeys && what == throttled
	if wanted && !u.Many && len(d.SortKey) > 0 && u.Key.Get(d.SortKey[0]) != nil {
		m.countBy(&r.keys[what][byItem], d.PartitionKey, d.SortKey, u, units)
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
