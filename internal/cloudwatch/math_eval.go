package cloudwatch

import (
	"context"
	"math"
	"sort"

	"github.com/statordb/stator/internal/turns"
)

const (
	// maxMade bounds the values that the expressions of a call may create, and maxVisited those that they may read.
	maxMade    = 1_000_000
	maxVisited = 10 * maxMade
	// maxSeries bounds the time series of an array: as many as a GetMetricData returns.
	maxSeries = 500
	// yieldEvery is the number of stored points between two checks whether the call's turn is over.
	yieldEvery = 64
)

// budget bounds the work of one call's expressions, in time and memory. AWS documents no such bound.
type budget struct {
	ctx                  context.Context
	turn                 *turns.Turn // nil if no request waits
	made, visited, reads int
}

// maxReads bounds the stored points that a call may read: all 455 days of 90 metrics.
const maxReads = 4_000_000

// read must be called before a stored point is read. A nil budget has no bound.
func (b *budget) read() error {
	if b == nil {
		return nil
	}
	if b.reads++; b.reads > maxReads {
		return errThrottled
	}
	if b.reads%yieldEvery == 0 {
		return b.turn.Yield(b.ctx)
	}
	return nil
}

// visit must be called before n values are read. It fails once the client has gone.
func (b *budget) visit(n int) error {
	if err := b.turn.Yield(b.ctx); err != nil {
		return err
	}
	if n < 0 || n > maxVisited-b.visited {
		return wrong("The expressions of this call process more than %d values: shorten the time range or use a longer period", maxVisited)
	}
	b.visited += n
	return nil
}

// make must be called before memory for n values is allocated.
func (b *budget) make(n int) error {
	if n < 0 || n > maxMade-b.made {
		return wrong("The expressions of this call make more than %d values: shorten the time range or use a longer period", maxMade)
	}
	b.made += n
	return b.visit(n)
}

// seriesPoint is a value of a time series.
type seriesPoint struct {
	at int64 // seconds since 1970
	v  float64
}

// timeSeries is values in order of time. It is immutable once it is a result.
type timeSeries struct {
	id     string
	label  string
	period int64
	points []seriesPoint
}

// add appends a value, unless it is NaN or infinite.
func (t *timeSeries) add(at int64, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		t.points = append(t.points, seriesPoint{at, v})
	}
}

// value is the value of an expression, of one of the kinds. A number may be NaN: no value.
type value struct {
	kind   kind
	number float64
	text   string
	series *timeSeries
	list   []*timeSeries
}

func scalar(v float64) value { return value{kind: aNumber, number: v} }

// size returns the number of values of a time series; 0 for a number.
func (v value) size() int {
	if v.series == nil {
		return 0
	}
	return len(v.series.points)
}

// cursor looks up the values of a series at ascending times.
// number is returned for times without a value: NaN for a series.
type cursor struct {
	number float64
	points []seriesPoint
}

// cursor returns a cursor for a series, or for a number, which has the same value at all times.
func (v value) cursor() *cursor {
	if v.kind == aNumber {
		return &cursor{number: v.number}
	}
	if v.kind != aSeries {
		return &cursor{number: math.NaN()}
	}
	return &cursor{number: math.NaN(), points: v.series.points}
}

// at returns the value at a time, or NaN. Times must ascend from call to call.
func (c *cursor) at(at int64) float64 {
	// Galloping search: combining two series costs the length of the shorter one even if the other is much longer.
	step := 1
	for step < len(c.points) && c.points[step].at < at {
		step *= 2
	}
	c.points = c.points[sort.Search(min(step+1, len(c.points)), func(i int) bool { return c.points[i].at >= at }):]
	if len(c.points) > 0 && c.points[0].at == at {
		return c.points[0].v
	}
	return c.number
}

// scope is the environment of an evaluation.
type scope struct {
	lookup     func(id string) (value, error) // value of another query
	all        func() ([]*timeSeries, error)  // METRICS(): the queries that are metrics
	start, end int64                          // seconds since 1970
	period     int64                          // seconds; of series that functions create
	budget     *budget

	// Buffers of aggregates, reused from one to the next.
	points []seriesPoint
	sorted []float64
	ends   []int32
}

// eval computes an expression that check has accepted.
func (n *node) eval(sc *scope) (value, error) {
	switch n.op {
	case "number":
		return scalar(n.number), nil
	case "text":
		return value{kind: aText, text: n.text}, nil
	case "name":
		return sc.lookup(n.text)
	}
	if err := sc.budget.visit(1); err != nil {
		return value{}, err
	}
	args := make([]value, len(n.args))
	for i, a := range n.args {
		var err error
		if args[i], err = a.eval(sc); err != nil {
			return value{}, err
		}
	}
	switch n.op {
	case "call":
		return functions[n.text].run(sc, args)
	case "[":
		return sc.join(args)
	case "neg":
		return sc.combine("*", args[0], scalar(-1))
	}
	return sc.combine(n.op, args[0], args[1])
}

// join makes an array of series and arrays.
func (sc *scope) join(parts []value) (value, error) {
	out := value{kind: aList}
	for _, v := range parts {
		if v.kind == aSeries {
			out.list = append(out.list, v.series)
		} else {
			out.list = append(out.list, v.list...)
		}
		if len(out.list) > maxSeries {
			return value{}, wrong("An array has more than %d time series", maxSeries)
		}
	}
	return out, sc.budget.visit(len(out.list))
}

// truth returns 1 for true and 0 for false.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// operators are the binary operators on numbers.
var operators = map[string]func(a, b float64) float64{
	"+": func(a, b float64) float64 { return a + b }, "-": func(a, b float64) float64 { return a - b },
	"*": func(a, b float64) float64 { return a * b }, "/": func(a, b float64) float64 { return a / b },
	"^":  math.Pow,
	"==": func(a, b float64) float64 { return truth(a == b) }, "!=": func(a, b float64) float64 { return truth(a != b) },
	"<": func(a, b float64) float64 { return truth(a < b) }, "<=": func(a, b float64) float64 { return truth(a <= b) },
	">": func(a, b float64) float64 { return truth(a > b) }, ">=": func(a, b float64) float64 { return truth(a >= b) },
	"AND": func(a, b float64) float64 { return truth(a != 0 && b != 0) }, "&&": func(a, b float64) float64 { return truth(a != 0 && b != 0) },
	"OR": func(a, b float64) float64 { return truth(a != 0 || b != 0) }, "||": func(a, b float64) float64 { return truth(a != 0 || b != 0) },
}

// combine applies an operator: to two numbers, to a number and each value of a series, or to the values of two series at equal times.
func (sc *scope) combine(op string, a, b value) (value, error) {
	f := operators[op]
	missing := func(v float64) float64 { // a missing operand makes a missing result, even of a comparison
		if math.IsNaN(v) {
			return v
		}
		return 0
	}
	apply := func(x, y float64) float64 { return f(x, y) + missing(x) + missing(y) }
	switch {
	case a.kind == aNumber && b.kind == aNumber:
		return scalar(apply(a.number, b.number)), nil
	case b.kind == aList || a.kind == aNumber && b.kind == aSeries:
		return sc.each(b, func(t *timeSeries) (*timeSeries, error) {
			if err := sc.budget.visit(a.size()); err != nil {
				return nil, err
			}
			left := a.cursor()
			return sc.mapped(t, func(p seriesPoint) float64 { return apply(left.at(p.at), p.v) })
		})
	}
	return sc.each(a, func(t *timeSeries) (*timeSeries, error) {
		if err := sc.budget.visit(b.size()); err != nil {
			return nil, err
		}
		right := b.cursor()
		return sc.mapped(t, func(p seriesPoint) float64 { return apply(p.v, right.at(p.at)) })
	})
}

// each applies f to a series, or to each series of an array.
func (sc *scope) each(v value, f func(*timeSeries) (*timeSeries, error)) (value, error) {
	if v.kind == aSeries {
		t, err := f(v.series)
		return value{kind: aSeries, series: t}, err
	}
	out := value{kind: aList, list: make([]*timeSeries, len(v.list))}
	for i, t := range v.list {
		var err error
		if out.list[i], err = f(t); err != nil {
			return value{}, err
		}
	}
	return out, nil
}

// mapped returns a series with each value replaced, in order of time. Values that become NaN or infinite are left out.
func (sc *scope) mapped(t *timeSeries, f func(p seriesPoint) float64) (*timeSeries, error) {
	if err := sc.budget.make(len(t.points)); err != nil {
		return nil, err
	}
	out := &timeSeries{id: t.id, label: t.label, period: t.period, points: make([]seriesPoint, 0, len(t.points))}
	for _, p := range t.points {
		out.add(p.at, f(p))
	}
	return out, nil
}

// steps returns how many periods begin in the scope's time range.
func (sc *scope) steps(period int64) int {
	if period <= 0 || sc.end <= sc.start {
		return 0
	}
	return int((sc.end - sc.start + period - 1) / period)
}

// constant returns a series with the same value in every period.
func (sc *scope) constant(v float64) (value, error) {
	n := sc.steps(sc.period)
	if err := sc.budget.make(n); err != nil {
		return value{}, err
	}
	out := &timeSeries{period: sc.period, points: make([]seriesPoint, 0, n)}
	for i := range n {
		out.add(sc.start+int64(i)*sc.period, v)
	}
	return value{kind: aSeries, series: out}, nil
}
