package cloudwatch

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/metric"
)

// testScope has two series: m1 is 1, 2, 3 at minutes 0, 1, 3, and m2 is 10 at minutes 0 to 3.
func testScope(ctx context.Context) *scope {
	m1 := &timeSeries{id: "m1", period: 60, points: []seriesPoint{{0, 1}, {60, 2}, {180, 3}}}
	m2 := &timeSeries{id: "m2", period: 60, points: []seriesPoint{{0, 10}, {60, 10}, {120, 10}, {180, 10}}}
	return &scope{
		start: 0, end: 240, period: 60, budget: &budget{ctx: ctx},
		all: func() ([]*timeSeries, error) { return []*timeSeries{m1, m2}, nil },
		lookup: func(id string) (value, error) {
			return value{kind: aSeries, series: map[string]*timeSeries{"m1": m1, "m2": m2}[id]}, nil
		},
	}
}

// evalText parses, checks and evaluates an expression over the series of testScope.
func evalText(text string, sc *scope) (value, error) {
	tree, err := parseMath(text)
	if err == nil {
		_, err = tree.check(func(id string) (kind, error) {
			if id != "m1" && id != "m2" {
				return 0, wrong("Unknown metric or expression id '%s'", id)
			}
			return aSeries, nil
		})
	}
	if err != nil {
		return value{}, err
	}
	return tree.eval(sc)
}

func show(v value) string {
	switch v.kind {
	case aNumber:
		return fmt.Sprint(v.number)
	case aSeries:
		var out []string
		for _, p := range v.series.points {
			out = append(out, fmt.Sprintf("%d:%.4g", p.at/60, p.v))
		}
		return strings.Join(out, " ")
	case aText:
		return fmt.Sprintf("%q", v.text)
	}
	return fmt.Sprint(len(v.list), " series")
}

// TestMath evaluates expressions; check, not eval, finds the faulty ones.
func TestMath(t *testing.T) {
	for text, want := range map[string]string{
		"1 + 2*3 - 4/2": "5", "2^3^2": "512", "-m1": "0:-1 1:-2 3:-3", "(1+2)*3": "9", "10 - 2 - 3": "5", "1 < 2 AND 2 >= 3 OR TRUE": "1",
		"m1 + m2": "0:11 1:12 3:13", "m2 - m1": "0:9 1:8 3:7", "m1 * 2": "0:2 1:4 3:6", "6 / m1": "0:6 1:3 3:2", "m1/m2*100": "0:10 1:20 3:30", "m1 > 1": "0:0 1:1 3:1",
		"[m1, m2] * 2": "2 series", "SUM(12 / [m1, m2])": "0:13.2 1:7.2 2:1.2 3:5.2", "SUM(m1 - [m1, m2])": "0:-9 1:-8 3:-7", "[]": "0 series",
		"SUM(m1)": "6", "AVG(m1)": "2", "MIN(m1)": "1", "MAX(m1)": "3", "DATAPOINT_COUNT(m1)": "3", "STDDEV(m2)": "0", "PERIOD(m1)": "60",
		"SUM(METRICS())": "0:11 1:12 2:10 3:13", "AVG([m1,m2])": "0:5.5 1:6 2:10 3:6.5", "METRIC_COUNT(METRICS())": "2", "SUM(METRICS(\"m2\"))": "0:10 1:10 2:10 3:10",
		"FILL(m1, 0)": "0:1 1:2 2:0 3:3", "FILL(m1, REPEAT)": "0:1 1:2 2:2 3:3", "FILL(m1, LINEAR)": "0:1 1:2 2:2.5 3:3", "FILL(m1, m2)": "0:1 1:2 2:10 3:3",
		"FILL(m1, \"repeat\")": "0:1 1:2 2:2 3:3", "FILL(IF(m1 > 1, m1), LINEAR)": "1:2 2:2.5 3:3", "FILL(IF(m1 < 2, m1), LINEAR)": "0:1 1:1 2:1 3:1", "SUM(FILL(METRICS(), 0))": "0:11 1:12 2:10 3:13",
		"RATE(m1)": "1:0.01667 3:0.008333", "DIFF(m1)": "1:1 3:1", "DIFF_TIME(m1)": "1:60 3:120", "RUNNING_SUM(m1)": "0:1 1:3 3:6",
		"IF(m1 > 1, m2)": "1:10 3:10", "IF(m1 > 1, 1, 0)": "0:0 1:1 3:1", "IF(1, m1, m2)": "0:1 1:2 3:3", "IF(0, m1, 5)": "0:5 1:5 2:5 3:5", "IF(1, 2)": "2", "IF(0, 2)": "NaN", "ABS(-3)": "3", "CEIL(m1/2)": "0:1 1:1 3:2",
		"FIRST(m1)": "1", "LAST(m1)": "3", "LAST(METRICS())": "0:10 1:10 2:10 3:10", "FIRST([])": "", "LAST(IF(m1 > 9, m1))": "NaN", "TIME_SERIES(7)": "0:7 1:7 2:7 3:7", "MINUTE(m1)": "0:0 1:1 3:3",
		"SLICE(SORT(METRICS(), MAX, DESC), 0)": "0:10 1:10 2:10 3:10", "SLICE(SORT(METRICS(), \"MAX\", \"DESC\"), 0)": "0:10 1:10 2:10 3:10", "EPOCH(m1)": "0:0 1:60 3:180",
		"SLICE(METRICS(), 1)": "0:10 1:10 2:10 3:10", "SLICE(METRICS(), 5)": "", "SLICE(METRICS(), -1, 1e300)": "2 series", "SLICE(METRICS(), 2, 1)": "0 series", "SLICE(METRICS(), 0/0)": "0:1 1:2 3:3",
		"SORT(METRICS(), AVG, ASC, 1)": "1 series", "SORT(METRICS(), AVG, ASC, -1)": "0 series", "TIME_SERIES(1/0)": "", "LOG(m1 - 2)": "3:0", "REMOVE_EMPTY([m1, LOG(-m1)])": "1 series",
		// Refused by check.
		"foo": "?", "1 +": "?", "(1": "?", "FOO(1)": "?", "SUM()": "?", "m1 + \"x\"": "?", "1 2": "?", "[1]": "?", "ANOMALY_DETECTION_BAND(m1)": "?", "SUM(1)": "?", "METRICS() + METRICS()": "?",
		"": "?", "'abc": "?", "1..2": "?", "SUM(m1, m2)": "?", "SORT([m1],\"IF\",\"ASC\")": "?", "SORT([m1],\"SORT\",\"ASC\")": "?", "SORT([m1],\"\",\"ASC\")": "?", "SORT([m1],AVG,UP)": "?", "SORT(m1,AVG,ASC)": "?",
		"SORT([m1],AVG,ASC,m1)": "?", "FILL(m1, \"x\")": "?", "FILL(m1, METRICS())": "?", "FILL(1, 2)": "?", "IF(METRICS(), 1)": "?", "IF(\"x\", 1)": "?", "IF(1, \"x\")": "?", "METRICS(1)": "?", "METRIC_COUNT(m1)": "?",
		"PERIOD(1)": "?", "TIME_SERIES(m1)": "?", "SLICE(m1, 1)": "?", "SLICE(METRICS(), m1)": "?", "REMOVE_EMPTY(m1)": "?", "EPOCH(1)": "?", "RATE(1)": "?", "FIRST(1)": "?", "-\"x\"": "?", "SEARCH('x', 'Sum')": "?",
		"FILL(m1, REPEAT, 1)": "?", strings.Repeat("(", 100_000): "?", strings.Repeat("-", 2000) + "1": "?", "1" + strings.Repeat("^1", 1000): "?", strings.Repeat("1+", 1030) + "1": "?",
		strings.Repeat("1+", 1020) + "1": "1021", "\"x\"": `"x"`,
	} {
		got := "?"
		if v, err := evalText(text, testScope(t.Context())); err == nil {
			got = show(v)
		} else if _, ok := err.(*mathError); !ok {
			t.Errorf("%.50s: %v", text, err)
		}
		if got != want {
			t.Errorf("%.50s is %q, want %q", text, got, want)
		}
	}
}

// TestMathOnNothing runs every function on arguments of every kind, with empty series: what check accepts, eval can compute.
func TestMathOnNothing(t *testing.T) {
	args := []string{"1", "0/0", "m1", "IF(m1 > 9, m1)", "[]", "[m1, m2]", "\"AVG\"", "REPEAT", "ASC", "DESC", "-1"}
	for name, f := range functions {
		var run func(given []string)
		run = func(given []string) {
			text := name + "(" + strings.Join(given, ",") + ")"
			if v, err := evalText(text, testScope(t.Context())); err == nil && v.kind == aSeries && v.series == nil {
				t.Errorf("%s is not a series", text)
			}
			if len(given) < len(f.args) {
				for _, a := range args {
					run(append(given[:len(given):len(given)], a))
				}
			}
		}
		run(nil)
		run(strings.Split(strings.Repeat("m1,", len(f.args))+"m1", ",")) // one argument too many
	}
}

// queriesOf makes queries of expressions, with the ids e0, e1, …
func queriesOf(texts ...string) []Query {
	var out []Query
	for i, text := range texts {
		out = append(out, Query{ID: fmt.Sprint("e", i), Expression: text})
	}
	return out
}

// TestPlan orders expressions that depend on each other, over long chains too, and finds cycles.
func TestPlan(t *testing.T) {
	for want, texts := range map[string][]string{
		"Error in expression 'e0': Circular dependency on 'e0'":                                                      {"e0"},
		"Error in expression 'e2': Circular dependency on 'e0'":                                                      {"e1", "e2", "e0 + 1"},
		"Error in expression 'e1': Unknown metric or expression id 'e7'":                                             {"1", "e7"},
		"Error in expression 'e0': The function X is not supported":                                                  {"X()"},
		"Error in expression 'e0': The function ANOMALY_DETECTION_BAND is not supported":                             {"ANOMALY_DETECTION_BAND(m9)"},
		"Error in expression 'e1': The expression is a string":                                                       {"1", "\"x\""},
		"Error in expression 'e0': Unsupported operand type(s) for +: array of time series and array of time series": {"e1 + e1", "METRICS()"},
	} {
		if _, err := newPlan(queriesOf(texts...)); err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %s", texts, err, want)
		}
	}
	const n = 500
	var chain []string
	for i := range n - 1 {
		chain = append(chain, fmt.Sprint("e", i+1, " + 1"))
	}
	p, err := newPlan(queriesOf(append(chain, "1")...))
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{}
	v, err := s.evaluation(t.Context(), nil, p, 0, 60).result(0)
	if err != nil || v.number != n {
		t.Errorf("the chain is %v, %v", v, err)
	}
}

// TestMathBudget: the work and memory of expressions are bounded.
func TestMathBudget(t *testing.T) {
	double := []string{"[TIME_SERIES(1)]"}
	for i := range 60 {
		double = append(double, fmt.Sprintf("[e%d, e%d]", i, i))
	}
	products := []string{"[" + strings.Repeat("TIME_SERIES(1),", 100) + "TIME_SERIES(1)]"}
	for i := range 200 {
		products = append(products, fmt.Sprintf("e%d * 2", i))
	}
	sums := []string{"[" + strings.Repeat("e1,", 400) + "e1]", "TIME_SERIES(1)"}
	for range 300 {
		sums = append(sums, "SUM(e0)")
	}
	for name, c := range map[string]struct {
		texts []string
		end   int64
		fails bool
	}{
		"doubled":    {double, 60, true},
		"multiplied": {products, 1440 * 60, true},
		"added up":   {sums, 1440 * 60, true},
		"long":       {[]string{"TIME_SERIES(1)"}, math.MaxInt64 / 2, true},
		"a week":     {[]string{"TIME_SERIES(1)", "FILL(e0, REPEAT) + e0"}, 7 * 1440 * 60, false},
	} {
		p, err := newPlan(queriesOf(c.texts...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s := &Service{}
		e := s.evaluation(t.Context(), nil, p, 0, c.end)
		for i := range c.texts {
			if _, err = e.result(i); err != nil {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if c.fails != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64*maxMade {
			t.Errorf("%s took %d bytes", name, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := evalText("m1 + 1", testScope(ctx)); err != context.Canceled {
		t.Errorf("for a client that has gone: %v", err)
	}
}

// TestAggregate compares sums of series with a map of their values: several periods, odd times, and few values over a long time.
func TestAggregate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var list []*timeSeries
		want := map[int64]float64{}
		for range rng.IntN(5) {
			s, at := &timeSeries{}, rng.Int64N(3)*60
			step := []int64{1, 60, 90, 3600, 1 << 40}[rng.IntN(5)]
			for range rng.IntN(50) {
				at += step * (1 + rng.Int64N(3))
				s.add(at, float64(rng.IntN(100)))
				want[at] += s.points[len(s.points)-1].v
			}
			list = append(list, s)
		}
		v, err := testScope(t.Context()).aggregateAll(list, sumOf)
		if err != nil || len(v.series.points) != len(want) {
			t.Fatalf("round %d: %d values, want %d: %v", round, len(v.series.points), len(want), err)
		}
		for i, p := range v.series.points {
			if p.v != want[p.at] || i > 0 && v.series.points[i-1].at >= p.at {
				t.Fatalf("round %d: %v at %d, want %v", round, p.v, p.at, want[p.at])
			}
		}
	}
}

func FuzzMath(f *testing.F) {
	for _, text := range []string{"SUM(METRICS())", "IF(m1 > 2, FILL(m1, REPEAT), -m1^2)", "SLICE(SORT([m1,m1],\"AVG\",\"ASC\",1),0)", "SORT([TIME_SERIES(1)],\"IF\",\"ASC\")"} {
		f.Add(text)
	}
	for name, fn := range functions {
		for _, args := range []string{"m1", "METRICS()", "1", "m1, m2", "METRICS(), 1", "METRICS(), AVG, ASC", "m1, m2, 1"} {
			f.Add(fmt.Sprintf("%s(%s)", name, args))
		}
		f.Add(fmt.Sprintf("SORT(METRICS(), %s, DESC, %d)", name, len(fn.args)))
	}
	id := &metric.ID{Account: "a", Region: "r", Namespace: "N", Name: "m"}
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := evalText(text, testScope(t.Context())); err == nil && v.kind == aSeries && v.series == nil {
			t.Errorf("%q is not a series", text)
		}
		if _, err := newPlan([]Query{{ID: "m1", Metric: id}, {ID: "m2", Metric: id}, {ID: "e1", Expression: text}, {ID: "e2", Expression: "e1 + 1"}}); err != nil {
			if _, ok := err.(*queryError); !ok {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}
