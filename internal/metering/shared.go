package metering

import (
	"maps"
	"slices"
	"time"

	"github.com/statordb/stator/internal/throttle"
)

// Spending is what a server has charged to a table or GSI with limits since it started: in units, by the first hash of the partition and
// Direction.
type Spending struct {
	Table uint32
	Index uint8
	Units map[uint32][2]float64
}

// Spending returns what this server has charged to all tables.
func (r *Registry) Spending() (out []Spending) {
	r.mu.Lock()
	meters := slices.Collect(maps.Values(r.meters))
	r.mu.Unlock()
	for _, m := range meters {
		s := m.current.Load()
		for i := range s.resources {
			l := s.resources[i].limiter
			if l == nil || !l.On() {
				continue
			}
			if units := l.Spent(); len(units) > 0 {
				out = append(out, Spending{m.id, uint8(i), units})
			}
		}
	}
	return out
}

// Pay removes what another server has charged since its last report, before.
func (r *Registry) Pay(now, before []Spending, at time.Time) {
	type place struct {
		table uint32
		index uint8
	}
	earlier := map[place]map[uint32][2]float64{}
	for _, s := range before {
		earlier[place{s.Table, s.Index}] = s.Units
	}
	for _, s := range now {
		r.mu.Lock()
		m := r.meters[s.Table]
		r.mu.Unlock()
		if m == nil {
			continue
		}
		slot := m.current.Load()
		if int(s.Index) >= len(slot.resources) || slot.resources[s.Index].limiter == nil {
			continue
		}
		l := slot.resources[s.Index].limiter
		was := earlier[place{s.Table, s.Index}]
		for start, units := range s.Units {
			for d := range units {
				l.Pay(throttle.Direction(d), start, units[d]-was[start][d], at)
			}
		}
	}
}

// Settle divides the tables' remaining capacity among the given number of servers.
func (r *Registry) Settle(servers int, at time.Time) {
	r.mu.Lock()
	meters := slices.Collect(maps.Values(r.meters))
	r.mu.Unlock()
	for _, m := range meters {
		s := m.current.Load()
		for i := range s.resources {
			if l := s.resources[i].limiter; l != nil {
				l.Settle(servers, at)
			}
		}
	}
}
