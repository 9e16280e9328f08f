package cloudwatch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

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
	s, err := openStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRetention keeps minutes for 15 days, five minutes for 63, hours for 455, and every sum all the time.
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
		points int // that there are if one asks for minutes
	}{{0, 2880}, {14, 2880}, {18, 576}, {60, 576}, {70, 48}, {400, 48}, {460, 0}} {
		now := began.Add(time.Duration(step.days) * 24 * time.Hour)
		if err := s.roll(ctx, now); err != nil {
			t.Fatal(err)
		}
		found := s.units(&id, "")
		if step.points == 0 {
			if len(found) != 0 {
				t.Errorf("after %d days the metric is still there", step.days)
			}
			continue
		}
		points, err := s.read(ctx, found[0].id, began.Unix(), began.Unix()+days*86400, 60)
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
	}
}

// TestReopen finds metrics again, and when they were last.
func TestReopen(t *testing.T) {
	ctx := context.Background()
	s := testStore(t)
	for i := range 3 {
		id := metric.ID{Account: "a", Region: "r", Namespace: "N", Name: fmt.Sprint("m", i), Dimensions: []metric.Dimension{{Name: "d", Value: "v"}}}
		if _, err := s.add(ctx, []metric.Datum{{ID: id, Unit: "Count", Time: began.Add(time.Duration(i) * time.Hour), Set: metric.Of(1, 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openStore(ctx, s.kv)
	if err != nil {
		t.Fatal(err)
	}
	list := again.list(func(*series) bool { return true })
	if len(list) != 3 || list[2].last != began.Add(2*time.Hour).Unix() {
		t.Errorf("found %v", list)
	}
}

// TestMissingData follows the table of "Configuring how CloudWatch alarms treat missing data": the newest datapoint is the last
// one, 0 is fine, X breaching, - missing.
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

// TestStatistics reads the names of statistics.
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
			t.Errorf("%s is not read", text)
			continue
		}
		if got, ok := f(&s); !ok || got < want*0.96-0.5 || got > want*1.04+0.5 {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "p", "p101", "p-1", "x50", "TM(90%:10%)", "TM(10%:90)", "TM()", "sum", "PR(10%:20%)"} {
		if _, ok := parseStatistic(text); ok {
			t.Errorf("%q is read", text)
		}
	}
}

// TestMath evaluates expressions over two series: m1 is 1, 2, 3 at the minutes 0, 1, 3, and m2 is 10 at 0 to 3.
func TestMath(t *testing.T) {
	m1 := &timeSeries{id: "m1", period: 60, values: map[int64]float64{0: 1, 60: 2, 180: 3}}
	m2 := &timeSeries{id: "m2", period: 60, values: map[int64]float64{0: 10, 60: 10, 120: 10, 180: 10}}
	sc := &scope{
		start: 0, end: 240, period: 60,
		all: func() []*timeSeries { return []*timeSeries{m1, m2} },
		lookup: func(name string) (value, error) {
			switch name {
			case "m1":
				return value{series: m1}, nil
			case "m2":
				return value{series: m2}, nil
			}
			return value{}, wrong("Unknown metric or expression id '%s'", name)
		},
	}
	show := func(v value) string {
		switch {
		case v.number != nil:
			return fmt.Sprint(*v.number)
		case v.series != nil:
			var out []string
			for _, at := range v.series.times() {
				out = append(out, fmt.Sprintf("%d:%.4g", at/60, v.series.values[at]))
			}
			return strings.Join(out, " ")
		}
		return fmt.Sprint(len(v.list), " series")
	}
	for text, want := range map[string]string{
		"1 + 2*3 - 4/2": "5", "2^3^2": "512", "-m1": "0:-1 1:-2 3:-3", "(1+2)*3": "9", "10 - 2 - 3": "5", "1 < 2 AND 2 >= 3 OR TRUE": "1",
		"m1 + m2": "0:11 1:12 3:13", "m1 * 2": "0:2 1:4 3:6", "m1/m2*100": "0:10 1:20 3:30", "m1 > 1": "0:0 1:1 3:1", "[m1, m2] * 2": "2 series",
		"SUM(m1)": "6", "AVG(m1)": "2", "MIN(m1)": "1", "MAX(m1)": "3", "DATAPOINT_COUNT(m1)": "3", "STDDEV(m2)": "0", "PERIOD(m1)": "60",
		"SUM(METRICS())": "0:11 1:12 2:10 3:13", "AVG([m1,m2])": "0:5.5 1:6 2:10 3:6.5", "METRIC_COUNT(METRICS())": "2", "SUM(METRICS(\"m2\"))": "0:10 1:10 2:10 3:10",
		"FILL(m1, 0)": "0:1 1:2 2:0 3:3", "FILL(m1, REPEAT)": "0:1 1:2 2:2 3:3", "FILL(m1, LINEAR)": "0:1 1:2 2:2.5 3:3", "FILL(m1, m2)": "0:1 1:2 2:10 3:3",
		"RATE(m1)": "1:0.01667 3:0.008333", "DIFF(m1)": "1:1 3:1", "DIFF_TIME(m1)": "1:60 3:120", "RUNNING_SUM(m1)": "0:1 1:3 3:6",
		"IF(m1 > 1, m2)": "1:10 3:10", "IF(m1 > 1, 1, 0)": "0:0 1:1 3:1", "IF(1, m1, m2)": "0:1 1:2 3:3", "ABS(-3)": "3", "CEIL(m1/2)": "0:1 1:1 3:2",
		"FIRST(m1)": "1", "LAST(m1)": "3", "LAST(METRICS())": "0:10 1:10 2:10 3:10", "TIME_SERIES(7)": "0:7 1:7 2:7 3:7", "MINUTE(m1)": "0:0 1:1 3:3",
		"SLICE(SORT(METRICS(), MAX, \"DESC\"), 0)": "?", "SLICE(SORT(METRICS(), \"MAX\", \"DESC\"), 0)": "0:10 1:10 2:10 3:10", "EPOCH(m1)": "0:0 1:60 3:180",
		"foo": "?", "1 +": "?", "(1": "?", "FOO(1)": "?", "SUM()": "?", "m1 + \"x\"": "?", "1 2": "?", "[1]": "?", "ANOMALY_DETECTION_BAND(m1)": "?", "SUM(1)": "?",
		"": "?", "'abc": "?", "1..2": "?", "SUM(m1, m2)": "?", "REMOVE_EMPTY([m1])": "1 series",
	} {
		got := "?"
		if tree, err := parseMath(text); err == nil {
			if v, err := tree.eval(sc); err == nil {
				got = show(v)
			}
		}
		if got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
	if _, err := parseMath(strings.Repeat("(", 100_000)); err == nil {
		t.Error("any depth is read")
	}
}

func FuzzMath(f *testing.F) {
	for _, text := range []string{"SUM(METRICS())", "IF(m1 > 2, FILL(m1, REPEAT), -m1^2)", "SLICE(SORT([m1,m1],\"AVG\",\"ASC\",1),0)"} {
		f.Add(text)
	}
	m1 := &timeSeries{id: "m1", period: 60, values: map[int64]float64{0: 1, 60: 2}}
	sc := &scope{start: 0, end: 120, period: 60, all: func() []*timeSeries { return []*timeSeries{m1} }, lookup: func(string) (value, error) { return value{series: m1}, nil }}
	f.Fuzz(func(_ *testing.T, text string) {
		if tree, err := parseMath(text); err == nil {
			_, _ = tree.eval(sc)
		}
	})
}
