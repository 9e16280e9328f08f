// Package throttle decides how much throughput requests get, as DynamoDB does: through token buckets (bucket.go), limits of tables,
// indexes and partitions (limiter.go), and partitions that are split when they are hot (heat.go). Units are those of package capacity.
//
// The sources are named at the limits in limiter.go.
package throttle

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Direction is how a request uses capacity.
type Direction uint8

// The directions.
const (
	Reads Direction = iota
	Writes
)

// Limit is the limits that throttled a request, a set of bits.
type Limit uint8

// The limits, as ThrottlingReason names them.
const (
	ProvisionedThroughput Limit = 1 << iota
	KeyRangeThroughput
	MaxOnDemandThroughput
	AccountLimit
)

// What AWS grants. Sources: "DynamoDB burst and adaptive capacity", "Partitions and data distribution in DynamoDB",
// "DynamoDB on-demand capacity mode", "Quotas in Amazon DynamoDB".
const (
	// BurstSeconds is for how many seconds unused provisioned capacity is kept.
	BurstSeconds = 300
	// InitialOnDemandReads and InitialOnDemandWrites are what a new on-demand table serves, in units per second.
	InitialOnDemandReads  = 12000
	InitialOnDemandWrites = 4000
	// TableMaxOnDemand is the quota of an on-demand table in units per second, for reads and writes each.
	TableMaxOnDemand = 40000

	partitionBytes = 10 << 30 // largest partition
	// maxPartitions bounds the partitions of a table.
	maxPartitions = 1024
	// peakInterval is how long on-demand traffic is observed before twice its peak is served.
	peakInterval = 30 * time.Minute
)

// partitionUnits is what a partition serves, in units per second.
var partitionUnits = [...]float64{Reads: 3000, Writes: 1000}

// Partitions returns the number of partitions for a throughput in units per second and a size in bytes.
func Partitions(reads, writes float64, bytes int64) int {
	byThroughput := math.Ceil(reads/partitionUnits[Reads] + writes/partitionUnits[Writes])
	bySize := math.Ceil(float64(bytes) / partitionBytes)
	return int(min(maxPartitions, max(1, byThroughput, bySize)))
}

// Config says what limits a table or GSI. The zero value means no limits.
type Config struct {
	// Mode says what the Rates mean.
	Mode Mode
	// Rates are in units per second, by Direction; 0 means no limit.
	Rates [2]float64
	// Partitions is the least number of equal parts into which the hashes of partition keys are divided.
	Partitions int
	// Splits are further bounds between partitions, which heat has made; sorted.
	Splits []uint32
}

// Mode is a way of granting capacity.
type Mode uint8

// The modes.
const (
	// Unlimited throttles nothing.
	Unlimited Mode = iota
	// Provisioned limits to Rates with bursts, and has partitions.
	Provisioned
	// OnDemandMaximum limits to Rates, an on-demand table's OnDemandThroughput, without bursts or partitions.
	OnDemandMaximum
	// OnDemandAWS has partitions that serve the warm throughput and twice every earlier peak. It limits to Rates like OnDemandMaximum.
	OnDemandAWS
)

// Limiter throttles a table or GSI. It is safe for concurrent use.
type Limiter struct {
	on atomic.Bool // false admits everything without taking the lock

	mu  sync.Mutex
	cfg Config
	// rates has the buckets of Config.Rates, account those of the per-table quota, peaks the on-demand traffic; by Direction.
	rates      [2]bucket
	account    [2]bucket
	peaks      [2]peak
	partitions []partition            // sorted by start; the first starts at 0
	spent      map[uint32]*[2]float64 // units charged here since the start, by the start of the partition
}

// partition is a range of hashes of partition keys, up to the next partition's start.
type partition struct {
	start   uint32
	buckets [2]bucket
	heat    heat
}

// Configure replaces the limits. Unused bursts are kept. warm is what an on-demand table serves at least, in units per second.
func (l *Limiter) Configure(cfg Config, warm [2]float64, now time.Time) {
	at := now.UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.cfg
	// Keep the splits that heat has made since cfg was written.
	cfg.Splits = slices.Concat(cfg.Splits, was.Splits)
	slices.Sort(cfg.Splits)
	cfg.Splits = slices.Compact(cfg.Splits)
	l.cfg = cfg
	l.on.Store(cfg.Mode != Unlimited)
	for d := range l.rates {
		burst := float64(BurstSeconds)
		if cfg.Mode != Provisioned {
			burst = 1
		}
		if was.Mode == cfg.Mode && l.rates[d].rate > 0 {
			l.rates[d].resize(cfg.Rates[d], burst, at)
		} else {
			l.rates[d] = newBucket(cfg.Rates[d], burst, at)
		}
		if cfg.Mode == OnDemandAWS {
			if l.account[d].rate == 0 {
				l.account[d] = newBucket(TableMaxOnDemand, 1, at)
			}
			l.peaks[d].base = max(l.peaks[d].base, warm[d])
		}
	}
	if cfg.Mode == OnDemandAWS {
		l.cfg.Partitions = max(cfg.Partitions, l.granted())
	}
	l.divide(at)
}

// granted returns the number of partitions needed to serve what the peaks allow.
func (l *Limiter) granted() int {
	return int(max(math.Ceil(l.peaks[Reads].allowed()/partitionUnits[Reads]), math.Ceil(l.peaks[Writes].allowed()/partitionUnits[Writes])))
}

// divide creates the configured partitions. It keeps existing ones with their buckets.
func (l *Limiter) divide(now int64) {
	if l.cfg.Mode != Provisioned && l.cfg.Mode != OnDemandAWS {
		l.partitions = nil
		return
	}
	n := max(1, l.cfg.Partitions)
	starts := slices.Clone(l.cfg.Splits)
	if l.partitions == nil {
		for i := range uint64(n) {
			starts = append(starts, uint32(i<<32/uint64(n)))
		}
	}
	for i := range l.partitions { // AWS never merges partitions
		starts = append(starts, l.partitions[i].start)
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	for len(starts) < n { // halve the widest
		widest, width := 0, uint64(0)
		for i, start := range starts {
			end := uint64(1) << 32
			if i+1 < len(starts) {
				end = uint64(starts[i+1])
			}
			if end-uint64(start) > width {
				widest, width = i, end-uint64(start)
			}
		}
		starts = slices.Insert(starts, widest+1, starts[widest]+uint32(width/2))
	}
	parts := make([]partition, len(starts))
	for i, start := range starts {
		parts[i] = l.newPartition(start, now)
		if old := l.find(start); old != nil && old.start == start {
			parts[i] = *old
		}
	}
	l.partitions = parts
}

// newPartition returns a partition with full buckets.
func (l *Limiter) newPartition(start uint32, now int64) partition {
	p := partition{start: start}
	for d := range p.buckets {
		p.buckets[d] = newBucket(partitionUnits[d], 1, now)
	}
	return p
}

// find returns the partition of a hash, or nil if there are no partitions.
func (l *Limiter) find(hash uint32) *partition {
	low, high := 0, len(l.partitions) // bounds of the first partition that starts behind the hash
	for low < high {
		if mid := (low + high) / 2; l.partitions[mid].start <= hash {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return nil
	}
	return &l.partitions[low-1]
}

// On reports whether there are any limits.
func (l *Limiter) On() bool { return l.on.Load() }

// Admit returns the limits that throttle a request now, or 0. hash is the hash of its partition key.
func (l *Limiter) Admit(d Direction, hash uint32, now time.Time) Limit {
	if !l.on.Load() {
		return 0
	}
	at := now.UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	var refused Limit
	if b := &l.rates[d]; b.rate > 0 && !b.open(at) {
		refused |= ProvisionedThroughput
		if l.cfg.Mode != Provisioned {
			refused = MaxOnDemandThroughput
		}
	}
	if b := &l.account[d]; l.cfg.Mode == OnDemandAWS && !b.open(at) {
		refused |= AccountLimit
	}
	if p := l.find(hash); p != nil && !p.buckets[d].open(at) {
		p.heat.throttled()
		refused |= KeyRangeThroughput
	}
	return refused
}

// Charge removes what an executed request has consumed.
func (l *Limiter) Charge(d Direction, hash uint32, units float64, now time.Time) {
	if !l.on.Load() || units == 0 {
		return
	}
	at := now.UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.charge(d, hash, units, at, (*bucket).charge)
	start := uint32(0)
	if p != nil {
		start = p.start
	}
	sum := l.spent[start]
	if sum == nil {
		if l.spent == nil {
			l.spent = map[uint32]*[2]float64{}
		}
		sum = new([2]float64)
		l.spent[start] = sum
	}
	sum[d] += units
	if p == nil {
		return
	}
	if split, ok := p.heat.add(d, hash, units, at); ok {
		l.split(p, split, at)
	}
}

// charge removes units from all buckets. It returns the partition of the hash, if there is one.
func (l *Limiter) charge(d Direction, hash uint32, units float64, at int64, take func(*bucket, float64, int64)) *partition {
	if l.rates[d].rate > 0 {
		take(&l.rates[d], units, at)
	}
	if l.cfg.Mode == OnDemandAWS {
		take(&l.account[d], units, at)
		if l.peaks[d].add(units, at) {
			l.cfg.Partitions = max(l.cfg.Partitions, l.granted())
			l.divide(at)
		}
	}
	p := l.find(hash)
	if p != nil {
		take(&p.buckets[d], units, at)
	}
	return p
}

// Spent returns the units charged since the start, by the first hash of their partition and Direction. Limiters of the same table on other
// servers Pay them.
func (l *Limiter) Spent() map[uint32][2]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[uint32][2]float64, len(l.spent))
	for start, sum := range l.spent {
		out[start] = *sum
	}
	return out
}

// Pay removes what another server has charged.
func (l *Limiter) Pay(d Direction, hash uint32, units float64, now time.Time) {
	if !l.on.Load() || units <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.charge(d, hash, units, now.UnixNano(), (*bucket).pay)
}

// Settle divides the remaining tokens among the given number of servers. Each must have paid what the others have spent.
func (l *Limiter) Settle(servers int, now time.Time) {
	if !l.on.Load() {
		return
	}
	at := now.UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := range l.rates {
		l.rates[d].settle(servers, at)
		l.account[d].settle(servers, at)
		for i := range l.partitions {
			l.partitions[i].buckets[d].settle(servers, at)
		}
	}
}

// split divides a partition into two. Each half serves as much as the old partition did.
func (l *Limiter) split(p *partition, at uint32, now int64) {
	if at <= p.start || len(l.partitions) >= maxPartitions {
		return
	}
	i := slices.IndexFunc(l.partitions, func(q partition) bool { return q.start == p.start })
	l.partitions[i].heat = heat{}
	l.partitions = slices.Insert(l.partitions, i+1, l.newPartition(at, now))
	l.cfg.Splits = append(l.cfg.Splits, at)
	slices.Sort(l.cfg.Splits)
}

// Splits returns the bounds between partitions that heat has made, sorted.
func (l *Limiter) Splits() []uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.cfg.Splits)
}

// PartitionState is the recent load of a partition.
type PartitionState struct {
	Start uint32 // first hash
	// Units is what it serves per second, by Direction, and Throttled the number of requests that it has refused, over up to 20 seconds.
	Units     [2]float64
	Throttled int64
}

// State returns the partitions in order; none if the table has no limits.
func (l *Limiter) State(now time.Time) []PartitionState {
	at := now.UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]PartitionState, len(l.partitions))
	for i := range l.partitions {
		p := &l.partitions[i]
		out[i] = PartitionState{Start: p.start}
		out[i].Units, out[i].Throttled = p.heat.recent(at)
	}
	return out
}

// peak records the traffic of an on-demand table, which serves twice its earlier peak.
type peak struct {
	base   float64 // units per second served from the beginning
	before float64 // highest minute of earlier intervals, in units per second
	now    float64 // highest minute of the current interval, in units per second
	since  int64   // start of the current interval, in nanoseconds since 1970
	minute int64   // current minute since 1970
	units  float64 // units in the current minute
}

// allowed returns the units per second that are served.
func (p *peak) allowed() float64 { return max(p.base, 2*p.before) }

// add counts units. It reports whether more is allowed than before.
func (p *peak) add(units float64, now int64) bool {
	minute := now / int64(time.Minute)
	if minute != p.minute {
		p.now = max(p.now, p.units/60)
		p.minute, p.units = minute, 0
	}
	p.units += units
	if p.since == 0 {
		p.since = now
	}
	if now-p.since < int64(peakInterval) {
		return false
	}
	old := p.allowed()
	p.before, p.now, p.since = max(p.before, p.now), 0, now
	return p.allowed() > old
}
