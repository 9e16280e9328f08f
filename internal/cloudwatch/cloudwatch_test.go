package cloudwatch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metric"
)

var began = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func testStore(t *testing.T) *store {
	t.Helper()
	db, err := pebblekv.Open(pebblekv.Options{Now: func() time.Time { return began }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return openStore(db, DefaultMaxMetrics)
}

// TestRetention: minutes are kept for 15 days, five minutes for 63, hours for 455, and the sum never changes.
func TestRetention(t *testing.T) {
	ctx := context.Background()
	s := testStore(t)
	id := metric.ID{Account: "a", Region: "r", Namespace: "N", Name: "m"}
	const days = 2
	for minute := range days * 24 * 60 {
		_, err := s.add(ctx, []metric.Datum{{ID: id, Unit: "Count", Time: began.Add(time.Duration(minute)*time.Minute + time.Second), Set: metric.Of(1, 2)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		days   int
		period int64 // the shortest period with points
		points int
	}{{0, 60, 2880}, {14, 60, 2880}, {18, 300, 576}, {60, 300, 576}, {70, 3600, 48}, {400, 3600, 48}, {460, 0, 0}} {
		now := began.Add(time.Duration(step.days) * 24 * time.Hour)
		if err := s.roll(ctx, now); err != nil {
			t.Fatal(err)
		}
		found, err := s.units(ctx, &id, "")
		if err != nil {
			t.Fatal(err)
		}
		if step.points == 0 {
			if len(found) != 0 {
				t.Errorf("after %d days the metric is still there", step.days)
			}
			continue
		}
		points, err := s.read(ctx, found[0].id, began.Unix(), began.Unix()+days*86400, step.period, nil)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, p := range points {
			sum += p.Sum
		}
		if len(points) != step.points || sum != 2*days*24*60 {
			t.Errorf("after %d days: %d points with %v, want %d with %d", step.days, len(points), sum, step.points, 2*days*24*60)
		}
		if step.period == 60 {
			continue
		}
		if points, err = s.read(ctx, found[0].id, began.Unix(), began.Unix()+days*86400, step.period-60, nil); err != nil || len(points) != 0 {
			t.Errorf("after %d days: %d points in a shorter period, %v", step.days, len(points), err)
		}
	}
}

// TestReopen: a new process finds metrics again, and when they were last active.
func TestReopen(t *testing.T) {
	ctx := context.Background()
	s := testStore(t)
	for i := range 3 {
		id := metric.ID{Account: "a", Region: "r", Namespace: "N", Name: fmt.Sprint("m", i), Dimensions: []metric.Dimension{{Name: "d", Value: "v"}}}
		if _, err := s.add(ctx, []metric.Datum{{ID: id, Unit: "Count", Time: began.Add(time.Duration(i) * time.Hour), Set: metric.Of(1, 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	again := openStore(s.kv, DefaultMaxMetrics)
	list, next, err := again.list(ctx, keyspace.MetricIndex("a", "r"), nil, 10, began.Add(time.Hour).Unix(), func(*series) bool { return true })
	if err != nil || next != nil || len(list) != 2 || list[0].Name != "m1" || list[1].Name != "m2" {
		t.Errorf("found %v, then %x, %v", list, next, err)
	}
}

// TestMissingData follows the table in "Configuring how CloudWatch alarms treat missing data". The last character is the newest
// datapoint: 0 is fine, X is breaching, - is missing.
func TestMissingData(t *testing.T) {
	for _, c := range []struct {
		data                                  string
		missing, ignore, breaching, notBreach string
	}{
		{"0-X-X", "OK", "OK", "OK", "OK"},
		{"0----", "OK", "OK", "OK", "OK"},
		{"-----", "INSUFFICIENT_DATA", "", "ALARM", "OK"},
		{"0XX-X", "ALARM", "ALARM", "ALARM", "ALARM"},
		{"--X--", "ALARM", "", "ALARM", "OK"},
	} {
		var samples []sample
		for i := len(c.data) - 1; i >= 0 && len(samples) < 3; i-- {
			if c.data[i] != '-' {
				samples = append(samples, sample{breaching: c.data[i] == 'X'})
			}
		}
		for treat, want := range map[string]string{"missing": c.missing, "ignore": c.ignore, "breaching": c.breaching, "notBreaching": c.notBreach} {
			a := Alarm{Periods: 3, Datapoints: 3, Missing: treat}
			state, ok := a.judge(samples)
			if ok != (want != "") || state != want {
				t.Errorf("%s, treated as %s: %q, want %q", c.data, treat, state, want)
			}
		}
	}
}

// TestStatistics parses the names of statistics.
func TestStatistics(t *testing.T) {
	var s metric.Set
	for v := 1; v <= 100; v++ {
		one := metric.Of(float64(v), 1)
		s.Add(&one)
	}
	for text, want := range map[string]float64{
		"Sum": 5050, "Average": 50.5, "Minimum": 1, "Maximum": 100, "SampleCount": 100,
		"p0": 1, "p50": 50, "p99.9": 100, "p100": 100, "tm90": 45.5, "TM(10%:90%)": 50.5, "TM(:90%)": 45.5, "tc90": 90, "ts90": 4095,
		"TC(10:20)": 10, "PR(:50)": 50, "IQM": 50.5, "wm90": 50,
	} {
		f, ok := parseStatistic(text)
		if !ok {
			t.Errorf("%s is refused", text)
			continue
		}
		if got, ok := f(&s); !ok || got < want*0.96-0.5 || got > want*1.04+0.5 {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "p", "p101", "p-1", "x50", "TM(90%:10%)", "TM(10%:90)", "TM()", "sum", "PR(10%:20%)"} {
		if _, ok := parseStatistic(text); ok {
			t.Errorf("%q is accepted", text)
		}
	}
}
