package tenant

import (
	"testing"
	"time"
)

const shop, other = "111111111111", "222222222222"

// clock is a clock that tests move.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func open(limits Limits) (*Tenants, *clock) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	t := New(c.read)
	t.Set(map[string]Limits{shop: limits})
	return t, c
}

// enter begins n requests, and returns how many were admitted and the limit that refused the others.
func enter(t *Tenants, account string, n int) (visits []Visit, reached Limit) {
	for range n {
		v, limit := t.Enter(account)
		if limit != "" {
			reached = limit
			continue
		}
		visits = append(visits, v)
	}
	return visits, reached
}

func TestConcurrentRequests(t *testing.T) {
	s, _ := open(Limits{ConcurrentRequests: 3})
	visits, reached := enter(s, shop, 5)
	if len(visits) != 3 || reached != ConcurrentRequests {
		t.Errorf("%d requests are admitted; %s", len(visits), reached)
	}
	if v, _ := enter(s, other, 5); len(v) != 5 {
		t.Errorf("%d requests of an account without limits are admitted", len(v))
	}
	s.Set(map[string]Limits{shop: {ConcurrentRequests: 4}}) // those that run stay counted
	if v, _ := enter(s, shop, 5); len(v) != 1 {
		t.Errorf("%d more requests are admitted", len(v))
	}
	for _, v := range visits {
		v.Leave()
	}
	if v, _ := enter(s, shop, 5); len(v) != 3 {
		t.Errorf("%d requests are admitted after three have ended", len(v))
	}
	s.Set(nil)
	if v, _ := enter(s, shop, 5); len(v) != 5 {
		t.Errorf("%d requests are admitted without limits", len(v))
	}
}

func TestRequestsPerSecond(t *testing.T) {
	s, c := open(Limits{RequestsPerSecond: 10})
	for _, step := range []struct {
		after time.Duration
		set   int // a new limit
		want  int
	}{{0, 0, 10}, {100 * time.Millisecond, 0, 1}, {time.Hour, 0, 10}, {time.Second, 100, 10}, {time.Second, 0, 100}} {
		c.now = c.now.Add(step.after)
		if step.set > 0 {
			s.Set(map[string]Limits{shop: {RequestsPerSecond: step.set}})
		}
		visits, reached := enter(s, shop, 200)
		if len(visits) != step.want || reached != RequestsPerSecond {
			t.Errorf("after %v: %d requests are admitted, want %d; %s", step.after, len(visits), step.want, reached)
		}
	}
}

func TestFull(t *testing.T) {
	s, _ := open(Limits{Bytes: 1000})
	for size, full := range map[int64]bool{0: false, 999: false, 1000: true} {
		s.Measured(map[string]int64{shop: size, other: 1 << 40})
		if s.Full(shop) != full || s.Full(other) {
			t.Errorf("with %d bytes: %v, another account %v", size, s.Full(shop), s.Full(other))
		}
	}
	if !s.Measures() {
		t.Error("bytes are not measured")
	}
	s.Set(map[string]Limits{shop: {Tables: 5}})
	if s.Measures() || s.MaxTables(shop) != 5 || s.MaxTables(other) != 0 {
		t.Errorf("bytes are measured: %v; tables: %d, %d", s.Measures(), s.MaxTables(shop), s.MaxTables(other))
	}
}

func TestNil(t *testing.T) {
	var s *Tenants
	v, reached := s.Enter(shop)
	v.Leave()
	if reached != "" || s.Full(shop) || s.MaxTables(shop) != 0 {
		t.Error("there are limits")
	}
}

func TestGather(t *testing.T) {
	s, _ := open(Limits{ConcurrentRequests: 1, Bytes: 10})
	enter(s, shop, 3)
	s.Measured(map[string]int64{shop: 11})
	s.Full(shop)
	families, err := s.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"stator_account_requests_running " + shop: 1, "stator_account_bytes " + shop: 11,
		"stator_account_refused_total " + shop + " concurrentRequests": 2, "stator_account_refused_total " + shop + " bytes": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v; all: %v", name, got[name], want, got)
		}
	}
}

func TestNegative(t *testing.T) {
	if !(&Limits{Bytes: -1}).Negative() || (&Limits{1, 2, 3, 4}).Negative() {
		t.Error("a negative limit is not found, or a positive one is taken for negative")
	}
}

func BenchmarkEnter(b *testing.B) {
	t := New(time.Now)
	t.Set(map[string]Limits{shop: {RequestsPerSecond: 1 << 30, ConcurrentRequests: 10}})
	b.ReportAllocs()
	for b.Loop() {
		v, _ := t.Enter(shop)
		v.Leave()
	}
}
