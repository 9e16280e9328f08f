package metering

import (
	"testing"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/throttle"
	"github.com/statordb/stator/internal/wirejson"
)

func newMeter(limits throttle.Config) *Meter {
	r := NewRegistry(time.Now, "GetItem")
	return r.Meter(1, &Table{Name: "t", Resources: []Resource{{PartitionKey: []string{"pk"}, Limits: limits}}})
}

// BenchmarkRequest is everything that metering does for a GetItem, plus one more reading of the clock.
func BenchmarkRequest(b *testing.B) {
	for name, limits := range map[string]throttle.Config{
		"on demand":   {},
		"provisioned": {Mode: throttle.Provisioned, Rates: [2]float64{1e9, 1e9}, Partitions: 10},
	} {
		b.Run(name, func(b *testing.B) {
			m := newMeter(limits)
			var r wirejson.Reader
			r.Reset([]byte(`{"pk":{"S":"some key"}}`))
			key := attribute.ReadItem(&r)
			for range b.N {
				began := time.Now()
				u := Use{Direction: throttle.Reads, Partition: 77, Key: key}
				if err := m.Admit(u, began); err == nil {
					m.Charge(u, 0.5, began)
				}
				now := time.Now()
				m.Finished(Outcome{Took: now.Sub(began), Items: -1, Bytes: -1}, now)
			}
		})
	}
}

// TestIdleTables collects from tables that no request uses any more: they must keep no counters of operations, and collecting must make
// next to no garbage, because a server may have thousands of them.
func TestIdleTables(t *testing.T) {
	const tables = 100
	now := time.Unix(1_800_000_000, 0)
	r := NewRegistry(func() time.Time { return now }, "GetItem")
	for id := range uint32(tables) {
		m := r.Meter(id, &Table{Name: "t", Resources: []Resource{{Provisioned: [2]float64{5, 5}}, {ID: 1, Name: "x", Global: true}}})
		m.Charge(Use{Direction: throttle.Reads}, 1, now)
		m.Finished(Outcome{Items: -1, Bytes: -1}, now)
	}
	counted := map[string]float64{}
	collect := func() {
		r.Collect(func(d metric.Datum) { counted[d.Name] += d.Set.Sum }, func(metric.Report) {})
	}
	now = now.Add(2 * time.Minute)
	collect()
	if got := counted["ConsumedReadCapacityUnits"]; got != tables {
		t.Errorf("%v consumed units of %d were collected", got, tables)
	}
	for _, m := range r.meters {
		if m.current.Load().used() || len(m.done) > 0 {
			t.Fatal("an idle table keeps its counters")
		}
	}
	if perTable := testing.AllocsPerRun(10, collect) / tables; perTable > 2 {
		t.Errorf("collecting from an idle table allocates %.1f times", perTable)
	}
}
