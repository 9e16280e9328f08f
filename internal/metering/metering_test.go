package metering

import (
	"testing"
	"time"

	"github.com/statordb/stator/internal/attribute"
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
