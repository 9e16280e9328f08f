package faults

import (
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, texts ...string) *Faults {
	t.Helper()
	f, err := Parse(texts, 1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRules: which rule applies to a request. The last one that matches wins.
func TestRules(t *testing.T) {
	f := parse(t, "throttle=1", "PutItem:throttle=0,latency=20ms", "Query/Users:throttle=0", "*/Orders:error=1", "*/*:stale=2s")
	for _, c := range []struct {
		effect           Effect
		operation, table string
		happens          bool
		time             time.Duration
	}{
		{Throttle, "GetItem", "Users", true, 0},
		{Throttle, "PutItem", "Users", false, 0},
		{Throttle, "Query", "Users", false, 0},
		{Throttle, "Query", "Orders", true, 0},
		{Latency, "PutItem", "Users", true, 20 * time.Millisecond},
		{Latency, "GetItem", "Users", false, 0},
		{Fail, "GetItem", "Orders", true, 0},
		{Fail, "GetItem", "Users", false, 0},
		{Stale, "GetItem", "Users", true, 2 * time.Second},
		{Conflict, "PutItem", "Users", false, 0},
	} {
		if d, happens := f.Draw(c.effect, c.operation, c.table); happens != c.happens || d != c.time {
			t.Errorf("%s of %s on %s: %v after %v", c.effect, c.operation, c.table, happens, d)
		}
	}
	if longest, ok := f.Has(Stale); !ok || longest != 2*time.Second {
		t.Errorf("stale: %v for %v", ok, longest)
	}
	if _, ok := f.Has(Unprocessed); ok {
		t.Error("a rule without an effect")
	}
}

// TestNone: no rules are no faults.
func TestNone(t *testing.T) {
	f := parse(t)
	if f != nil {
		t.Error("no rules should be nil")
	}
	if _, happens := f.Draw(Throttle, "PutItem", "Users"); happens {
		t.Error("nil throttles")
	}
	if _, ok := f.Has(Throttle); ok {
		t.Error("nil has rules")
	}
}

// TestSeed: the same seed gives the same faults, at about the rate.
func TestSeed(t *testing.T) {
	a, b := parse(t, "throttle=0.3"), parse(t, "throttle=0.3")
	n := 0
	for i := range 10_000 {
		_, x := a.Draw(Throttle, "PutItem", "Users")
		if _, y := b.Draw(Throttle, "PutItem", "Users"); x != y {
			t.Fatalf("request %d differs", i)
		}
		if x {
			n++
		}
	}
	if n < 2800 || n > 3200 {
		t.Errorf("%d of 10,000 requests at a rate of 0.3", n)
	}
	if d := a.Within(time.Second); d < 0 || d >= time.Second {
		t.Errorf("%v is not within a second", d)
	}
}

func TestInvalid(t *testing.T) {
	for text, want := range map[string]string{
		"throttle":              "NAME=RATE",
		"throttle=2":            "between 0 and 1",
		"throttle=-0.1":         "between 0 and 1",
		"throttle=often":        "between 0 and 1",
		"latency=soon":          "not a time",
		"latency=-1s":           "not a time",
		"latency=1s@2":          "between 0 and 1",
		"vanish=0.5":            "there is no effect",
		"PutItem:throttle=1,":   "NAME=RATE",
		"PutItem/Users:stale=0": "not a time",
	} {
		if _, err := Parse([]string{text}, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
