package throttle

import (
	"testing"
	"time"
)

var began = time.Unix(1_800_000_000, 0)

// served returns how many units are admitted when requests of one size come every millisecond.
func served(l *Limiter, d Direction, hash func(i int) uint32, size float64, at time.Time, seconds int) (units float64) {
	for i := range seconds * 1000 {
		now := at.Add(time.Duration(i) * time.Millisecond)
		if l.Admit(d, hash(i), now) == 0 {
			l.Charge(d, hash(i), size, now)
			units += size
		}
	}
	return units
}

func spread(i int) uint32 { return uint32(i) * 2654435761 }

// TestProvisioned: exactly the provisioned throughput is served once the burst is used up.
func TestProvisioned(t *testing.T) {
	var l Limiter
	l.Configure(Config{Mode: Provisioned, Rates: [2]float64{10, 50}, Partitions: 1}, [2]float64{}, began)
	if got := served(&l, Writes, spread, 20, began, 60); got < 15000+50*60-40 || got > 15000+50*60+40 {
		t.Errorf("%v units in the first minute, want the burst and what is provisioned", got)
	}
	if got := served(&l, Writes, spread, 20, began.Add(time.Minute), 60); got < 50*60-40 || got > 50*60+40 {
		t.Errorf("%v units in the second minute, want 3000", got)
	}
	if got := served(&l, Reads, spread, 0.5, began, 1); got != 500 {
		t.Errorf("%v units read, want 500", got)
	}
}

// TestPartitions: keys share the table's capacity as they need it, up to what a partition serves.
func TestPartitions(t *testing.T) {
	if n := Partitions(6000, 3000, 0); n != 5 {
		t.Errorf("%d partitions for 6000 reads and 3000 writes, want 5", n)
	}
	if n := Partitions(10, 10, 95<<30); n != 10 {
		t.Errorf("%d partitions for 95 GB, want 10", n)
	}
	var l Limiter
	cfg := Config{Mode: Provisioned, Rates: [2]float64{100, 4000}, Partitions: Partitions(100, 4000, 0)}
	l.Configure(cfg, [2]float64{}, began)
	one := func(int) uint32 { return 7 }
	if got := served(&l, Writes, one, 10, began, 10); got < 10000 || got > 11100 {
		t.Errorf("%v units in ten seconds to one key, want 1000 a second", got)
	}
	if got := served(&l, Writes, spread, 10, began.Add(time.Minute), 1); got < 4000 {
		t.Errorf("%v units in a second to many keys, want at least 4000", got)
	}
	// More throughput makes more partitions; less doesn't merge them.
	cfg.Partitions = 16
	l.Configure(cfg, [2]float64{}, began.Add(2*time.Minute))
	cfg.Partitions = 2
	l.Configure(cfg, [2]float64{}, began.Add(3*time.Minute))
	if n := len(l.State(began)); n != 16 {
		t.Errorf("%d partitions, want 16", n)
	}
}

// TestChange: a change of throughput keeps the remaining burst, and debts.
func TestChange(t *testing.T) {
	var l Limiter
	l.Configure(Config{Mode: Provisioned, Rates: [2]float64{1, 1}, Partitions: 1}, [2]float64{}, began)
	l.Charge(Writes, 0, 400, began)
	l.Configure(Config{Mode: Provisioned, Rates: [2]float64{1, 100}, Partitions: 1}, [2]float64{}, began)
	if l.Admit(Writes, 0, began) == 0 {
		t.Error("a change of throughput pays debts")
	}
	if l.Admit(Writes, 0, began.Add(1100*time.Millisecond)) != 0 {
		t.Error("100 units are not paid after 1.1 seconds at 100 a second")
	}
	l.Configure(Config{}, [2]float64{}, began)
	if l.Admit(Writes, 0, began) != 0 {
		t.Error("throttled without limits")
	}
}

// TestClockBack: a clock that goes back doesn't stop the limiter.
func TestClockBack(t *testing.T) {
	var l Limiter
	l.Configure(Config{Mode: Provisioned, Rates: [2]float64{1, 1}, Partitions: 1}, [2]float64{}, began)
	l.Charge(Writes, 0, 301, began)
	back := began.Add(-time.Hour)
	if l.Admit(Writes, 0, back) == 0 {
		t.Error("admitted at once")
	}
	if l.Admit(Writes, 0, back.Add(2*time.Second)) != 0 {
		t.Error("not admitted two seconds later")
	}
}

// TestHeat: a hot partition is split unless one key has all the load.
func TestHeat(t *testing.T) {
	for name, keys := range map[string][]uint32{"one": {5}, "two": {5, 9}, "many": {1, 2, 3, 4, 5, 6, 7, 8}} {
		var l Limiter
		l.Configure(Config{Mode: Provisioned, Rates: [2]float64{100, 10000}, Partitions: 1}, [2]float64{}, began)
		for minute := range 12 {
			served(&l, Writes, func(i int) uint32 { return keys[int(spread(i)>>16)%len(keys)] }, 20, began.Add(time.Duration(minute)*time.Minute), 60)
		}
		if split := len(l.Splits()) > 0; split != (len(keys) > 1) {
			t.Errorf("%s: split is %t", name, split)
		}
	}
}
