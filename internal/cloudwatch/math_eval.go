package cloudwatch

import (
	"context"
	"math"
	"sort"

	"github.com/statordb/stator/internal/turns"
)

const (
	// maxMade is how many values the expressions of a call may make, and maxVisited how many they may look at.
	maxMade    = 1_000_000
	maxVisited = 10 * maxMade
	// maxSeries is how many time series an array may have: as many as a GetMetricData returns.
	maxSeries = 500
	// yieldEvery is after how many stored points a call looks whether its turn is over.
	yieldEvery = 64
)

// budget bounds what the expressions of a call compute, whatever they are. AWS documents no such bound.
type budget struct {
	ctx                  context.Context
	turn                 *turns.Turn // nil where no request waits
	made, visited, reads int
}

// maxReads is how many stored points a call may read: of 90 metrics, all that is kept of 455 days.
const maxReads = 4_000_000

// read is called before a stored point is read.
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

// visit is called before so many values are looked at. It ends the work of a client that has gone.
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

// make is called before memory is taken for so many values.
func (b *budget) make(n int) error {
	if n < 0 || n > maxMade-b.made {
		return wrong("The expressions of this call make more than %d values: shorten the time range or use a longer period", maxMade)
	}
	b.made += n
	return b.visit(n)
}

// point1 is a value of a time series.
type point1 struct {
	at int64 // seconds since 1970
	v  float64
}

// timeSeries are values, sorted by their times. It is never changed once it is a result.
type timeSeries struct {
	id     string
	label  string
	period int64
	points []point1
}

// add appends a value, unless it is NaN or infinite.
func (t *timeSeries) add(at int64, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		t.points = append(t.points, point1{at, v})
	}
}

// value is what an expression is: one of the kinds. A number that is NaN is no value.
type value struct {
	kind   kind
	number float64
	text   string
	series *timeSeries
	list   []*timeSeries
}

func scalar(v float64) value { return value{kind: aNumber, number: v} }

// size is how many values a time series has; 0 for a number.
func (v value) size() int {
	if v.series == nil {
		return 0
	}
	return len(v.series.points)
}

// cursor finds the values of a series at times that ascend.
type cursor struct {
	number float64
	points []point1
}

// cursor returns one for a series, or a number, which is the same at all times.
func (v value) cursor() *cursor {
	if v.kind == aNumber {
		return &cursor{number: v.number}
	}
	if v.kind != aSeries {
		return &cursor{number: math.NaN()}
	}
	return &cursor{number: math.NaN(), points: v.series.points}
}

// at returns the value at a time, or NaN. It moves forward only: earlier times are not found again.
func (c *cursor) at(at int64) float64 {
	// Doubling steps, so that two series cost the shorter one's length even where the other is much longer.
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

// scope is what an expression is evaluated in.
type scope struct {
	lookup     func(id string) (value, error) // another query's result
	all        func() ([]*timeSeries, error)  // of METRICS(): those that are no expressions
	start, end int64                          // seconds since 1970
	period     int64                          // of time series that functions make
	budget     *budget

	// Memory of aggregates, which each uses anew.
	points []point1
	sorted []float64
	ends   []int32
}

// eval computes an expression that check has found nothing wrong with.
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

// join makes an array.
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

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

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

// combine applies an operator: to numbers, to a number and each value of a series, to the values of two series at the same time.
func (sc *scope) combine(op string, a, b value) (value, error) {
	f := operators[op]
	missing := func(v float64) float64 { // a missing operand makes a missing result, also of a comparison
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
			return sc.mapped(t, func(p point1) float64 { return apply(left.at(p.at), p.v) })
		})
	}
	return sc.each(a, func(t *timeSeries) (*timeSeries, error) {
		if err := sc.budget.visit(b.size()); err != nil {
			return nil, err
		}
		right := b.cursor()
		return sc.mapped(t, func(p point1) float64 { return apply(p.v, right.at(p.at)) })
	})
}

// each applies f to a series, or to each of a list.
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

// mapped returns the series with each value changed, the first one first; values that are no numbers are left out.
func (sc *scope) mapped(t *timeSeries, f func(p point1) float64) (*timeSeries, error) {
	if err := sc.budget.make(len(t.points)); err != nil {
		return nil, err
	}
	out := &timeSeries{id: t.id, label: t.label, period: t.period, points: make([]point1, 0, len(t.points))}
	for _, p := range t.points {
		out.add(p.at, f(p))
	}
	return out, nil
}

// steps returns how many periods begin in the scope's time.
func (sc *scope) steps(period int64) int {
	if period <= 0 || sc.end <= sc.start {
		return 0
	}
	return int((sc.end - sc.start + period - 1) / period)
}

// constant returns a series that has the number at every time.
func (sc *scope) constant(v float64) (value, error) {
	n := sc.steps(sc.period)
	if err := sc.budget.make(n); err != nil {
		return value{}, err
	}
	out := &timeSeries{period: sc.period, points: make([]point1, 0, n)}
	for i := range n {
		out.add(sc.start+int64(i)*sc.period, v)
	}
	return value{kind: aSeries, series: out}, nil
}
