package cloudwatch

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Metric math ("Using math expressions with CloudWatch metrics"): an expression is parsed into a tree of nodes and evaluated
// over the request's other results.

// timeSeries are values by their times in seconds since 1970.
type timeSeries struct {
	id     string
	label  string
	period int64
	values map[int64]float64
}

func (t *timeSeries) times() []int64 { return slices.Sorted(maps.Keys(t.values)) }

// mapped returns the series with each value changed.
func (t *timeSeries) mapped(f func(at int64, v float64) float64) *timeSeries {
	out := &timeSeries{id: t.id, label: t.label, period: t.period, values: make(map[int64]float64, len(t.values))}
	for at, v := range t.values {
		if r := f(at, v); !math.IsNaN(r) && !math.IsInf(r, 0) {
			out.values[at] = r
		}
	}
	return out
}

// value is what an expression is: one of the kinds.
type value struct {
	number *float64
	text   *string
	series *timeSeries
	list   []*timeSeries
	isList bool
}

func scalar(v float64) value { return value{number: &v} }

// mathError is what is wrong with an expression.
type mathError struct{ message string }

func (e *mathError) Error() string { return e.message }

func wrong(format string, args ...any) error { return &mathError{fmt.Sprintf(format, args...)} }

// node is a part of an expression.
type node struct {
	op   string // a number, text, name, [ for a list, a function's name with a (, or an operator
	text string
	args []*node
}

// mathParser reads an expression.
type mathParser struct {
	text string
	at   int
}

const maxExpressionDepth = 64

func parseMath(text string) (*node, error) {
	p := &mathParser{text: text}
	n, err := p.binary(0, 0)
	if err != nil {
		return nil, err
	}
	if p.skip(); p.at < len(text) {
		return nil, wrong("Unexpected %q at position %d", text[p.at:p.at+1], p.at)
	}
	return n, nil
}

func (p *mathParser) skip() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// levels are the operators, the weakest first.
var levels = [][]string{{"OR", "||"}, {"AND", "&&"}, {"==", "!=", "<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/"}, {"^"}}

// operator reads an operator of the level; "" if there is none.
func (p *mathParser) operator(level int) string {
	p.skip()
	for _, op := range levels[level] {
		rest := p.text[p.at:]
		if len(rest) < len(op) || !strings.EqualFold(rest[:len(op)], op) {
			continue
		}
		if isNameByte(op[0]) && len(rest) > len(op) && isNameByte(rest[len(op)]) {
			continue
		}
		p.at += len(op)
		return op
	}
	return ""
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (p *mathParser) binary(level, depth int) (*node, error) {
	if depth > maxExpressionDepth {
		return nil, wrong("The expression is nested too deep")
	}
	if level == len(levels) {
		return p.unary(depth)
	}
	left, err := p.binary(level+1, depth)
	for err == nil {
		op := p.operator(level)
		if op == "" {
			return left, nil
		}
		var right *node
		if op == "^" { // binds to the right
			right, err = p.binary(level, depth+1)
		} else {
			right, err = p.binary(level+1, depth)
		}
		left = &node{op: op, args: []*node{left, right}}
	}
	return nil, err
}

func (p *mathParser) unary(depth int) (*node, error) {
	p.skip()
	if p.at == len(p.text) {
		return nil, wrong("Unexpected end of the expression")
	}
	switch c := p.text[p.at]; {
	case c == '-':
		p.at++
		arg, err := p.binary(len(levels)-1, depth+1)
		return &node{op: "neg", args: []*node{arg}}, err
	case c == '(':
		p.at++
		n, err := p.binary(0, depth+1)
		if err != nil {
			return nil, err
		}
		return n, p.expect(')')
	case c == '[':
		p.at++
		args, err := p.list(']', depth)
		return &node{op: "[", args: args}, err
	case c == '"' || c == '\'':
		end := strings.IndexByte(p.text[p.at+1:], c)
		if end < 0 {
			return nil, wrong("Unterminated string at position %d", p.at)
		}
		text := p.text[p.at+1 : p.at+1+end]
		p.at += end + 2
		return &node{op: "text", text: text}, nil
	case c >= '0' && c <= '9' || c == '.':
		start := p.at
		for p.at < len(p.text) && (isNameByte(p.text[p.at]) || p.text[p.at] == '.' ||
			(p.text[p.at] == '-' || p.text[p.at] == '+') && strings.IndexByte("eE", p.text[p.at-1]) >= 0) {
			p.at++
		}
		return &node{op: "number", text: p.text[start:p.at]}, nil
	case isNameByte(c):
		start := p.at
		for p.at < len(p.text) && isNameByte(p.text[p.at]) {
			p.at++
		}
		name := p.text[start:p.at]
		if p.skip(); p.at < len(p.text) && p.text[p.at] == '(' {
			p.at++
			args, err := p.list(')', depth)
			return &node{op: "call", text: strings.ToUpper(name), args: args}, err
		}
		return &node{op: "name", text: name}, nil
	}
	return nil, wrong("Unexpected %q at position %d", p.text[p.at:p.at+1], p.at)
}

func (p *mathParser) expect(c byte) error {
	if p.skip(); p.at == len(p.text) || p.text[p.at] != c {
		return wrong("Missing %q at position %d", string(c), p.at)
	}
	p.at++
	return nil
}

// list reads expressions up to the closing character.
func (p *mathParser) list(end byte, depth int) (out []*node, err error) {
	if p.skip(); p.at < len(p.text) && p.text[p.at] == end {
		p.at++
		return nil, nil
	}
	for {
		n, err := p.binary(0, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
		if p.skip(); p.at < len(p.text) && p.text[p.at] == ',' {
			p.at++
			continue
		}
		return out, p.expect(end)
	}
}

// scope is what an expression is evaluated in.
type scope struct {
	lookup     func(name string) (value, error) // another query's result
	all        func() []*timeSeries             // of METRICS(): those that are no expressions
	start, end int64
	period     int64 // of time series that functions make
}

func (n *node) eval(sc *scope) (value, error) {
	switch n.op {
	case "number":
		v, err := strconv.ParseFloat(n.text, 64)
		if err != nil {
			return value{}, wrong("%q is not a number", n.text)
		}
		return scalar(v), nil
	case "text":
		return value{text: &n.text}, nil
	case "name":
		switch strings.ToUpper(n.text) {
		case "TRUE":
			return scalar(1), nil
		case "FALSE":
			return scalar(0), nil
		}
		return sc.lookup(n.text)
	case "call":
		f, ok := functions[n.text]
		if !ok {
			return value{}, wrong("The function %s is not supported", n.text)
		}
		if len(n.args) < f.min || len(n.args) > f.max {
			return value{}, wrong("The function %s was given %d arguments", n.text, len(n.args))
		}
		if n.text == "FILL" && len(n.args) == 2 && n.args[1].op == "name" {
			return n.fill(sc)
		}
		args := make([]value, len(n.args))
		for i, a := range n.args {
			var err error
			if args[i], err = a.eval(sc); err != nil {
				return value{}, err
			}
		}
		return f.run(sc, args)
	case "[":
		out := value{isList: true}
		for _, a := range n.args {
			v, err := a.eval(sc)
			switch {
			case err != nil:
				return value{}, err
			case v.series != nil:
				out.list = append(out.list, v.series)
			case v.isList:
				out.list = append(out.list, v.list...)
			default:
				return value{}, wrong("An array has time series alone")
			}
		}
		return out, nil
	case "neg":
		v, err := n.args[0].eval(sc)
		if err != nil {
			return value{}, err
		}
		return combine("*", v, scalar(-1))
	}
	left, err := n.args[0].eval(sc)
	if err != nil {
		return value{}, err
	}
	right, err := n.args[1].eval(sc)
	if err != nil {
		return value{}, err
	}
	return combine(n.op, left, right)
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
func combine(op string, a, b value) (value, error) {
	f := operators[op]
	switch {
	case a.text != nil || b.text != nil || a.isList && b.isList:
		return value{}, wrong("Unsupported operand type(s) for %s", op)
	case a.number != nil && b.number != nil:
		return scalar(f(*a.number, *b.number)), nil
	case a.isList:
		return each(a.list, func(t *timeSeries) (value, error) { return combine(op, value{series: t}, b) })
	case b.isList:
		return each(b.list, func(t *timeSeries) (value, error) { return combine(op, a, value{series: t}) })
	case b.number != nil:
		return value{series: a.series.mapped(func(_ int64, v float64) float64 { return f(v, *b.number) })}, nil
	case a.number != nil:
		return value{series: b.series.mapped(func(_ int64, v float64) float64 { return f(*a.number, v) })}, nil
	}
	return value{series: a.series.mapped(func(at int64, v float64) float64 {
		other, ok := b.series.values[at]
		if !ok {
			return math.NaN()
		}
		return f(v, other)
	})}, nil
}

// each applies f to each series of a list.
func each(list []*timeSeries, f func(*timeSeries) (value, error)) (value, error) {
	out := value{isList: true}
	for _, t := range list {
		v, err := f(t)
		if err != nil {
			return value{}, err
		}
		if v.series == nil {
			return value{}, wrong("An array has time series alone")
		}
		out.list = append(out.list, v.series)
	}
	return out, nil
}

// fill is FILL with a word for what is missing.
func (n *node) fill(sc *scope) (value, error) {
	v, err := n.args[0].eval(sc)
	if err != nil {
		return value{}, err
	}
	word := strings.ToUpper(n.args[1].text)
	if word != "REPEAT" && word != "LINEAR" {
		with, err := n.args[1].eval(sc)
		if err != nil {
			return value{}, err
		}
		return functions["FILL"].run(sc, []value{v, with})
	}
	return perSeries(v, func(t *timeSeries) (value, error) {
		known := t.times()
		out := t.mapped(func(_ int64, v float64) float64 { return v })
		if len(known) == 0 {
			return value{series: out}, nil
		}
		next := 0
		for _, at := range t.grid(sc) {
			for next < len(known) && known[next] <= at {
				next++
			}
			if _, ok := t.values[at]; ok || next == 0 {
				continue // nothing stands before it
			}
			before := known[next-1]
			out.values[at] = t.values[before]
			if word == "LINEAR" && next < len(known) {
				after := known[next]
				part := float64(at-before) / float64(after-before)
				out.values[at] += part * (t.values[after] - t.values[before])
			}
		}
		return value{series: out}, nil
	})
}

// grid are the times at which the series could have values.
func (t *timeSeries) grid(sc *scope) []int64 {
	period, start := t.period, sc.start
	if period == 0 {
		period = sc.period
	}
	var out []int64
	for at := start; at < sc.end; at += period {
		out = append(out, at)
	}
	return out
}

// perSeries applies f to a series or to each of a list.
func perSeries(v value, f func(*timeSeries) (value, error)) (value, error) {
	switch {
	case v.series != nil:
		return f(v.series)
	case v.isList:
		return each(v.list, f)
	}
	return value{}, wrong("A time series is needed")
}

type function struct {
	min, max int
	run      func(sc *scope, args []value) (value, error)
}

// functions are those of metric math that are supported. It is filled by init, since they call each other.
var functions map[string]function

func init() {
	functions = map[string]function{
		"ABS":   onValues(math.Abs),
		"CEIL":  onValues(math.Ceil),
		"FLOOR": onValues(math.Floor),
		"LOG":   onValues(math.Log),
		"LOG10": onValues(math.Log10),
		"SUM":   aggregate(func(v []float64) float64 { return total(v) }),
		"AVG":   aggregate(func(v []float64) float64 { return total(v) / float64(len(v)) }),
		"MIN":   aggregate(func(v []float64) float64 { return slices.Min(v) }),
		"MAX":   aggregate(func(v []float64) float64 { return slices.Max(v) }),
		"STDDEV": aggregate(func(v []float64) float64 {
			mean, squares := total(v)/float64(len(v)), 0.0
			for _, x := range v {
				squares += (x - mean) * (x - mean)
			}
			return math.Sqrt(squares / float64(len(v)))
		}),
		"DATAPOINT_COUNT": aggregate(func(v []float64) float64 { return float64(len(v)) }),
		"METRIC_COUNT": {1, 1, func(_ *scope, a []value) (value, error) {
			if !a[0].isList {
				return value{}, wrong("METRIC_COUNT takes an array of time series")
			}
			return scalar(float64(len(a[0].list))), nil
		}},
		"METRICS": {0, 1, func(sc *scope, a []value) (value, error) {
			out := value{isList: true}
			for _, t := range sc.all() {
				if len(a) == 0 || a[0].text != nil && strings.Contains(t.id, *a[0].text) {
					out.list = append(out.list, t)
				}
			}
			return out, nil
		}},
		"FIRST":     endOf(func(times []int64) int64 { return times[0] }),
		"LAST":      endOf(func(times []int64) int64 { return times[len(times)-1] }),
		"DIFF":      steps(func(_, _ int64, was, is float64) float64 { return is - was }),
		"DIFF_TIME": steps(func(before, at int64, _, _ float64) float64 { return float64(at - before) }),
		"RATE":      steps(func(before, at int64, was, is float64) float64 { return (is - was) / float64(at-before) }),
		"RUNNING_SUM": {1, 1, func(_ *scope, a []value) (value, error) {
			return perSeries(a[0], func(t *timeSeries) (value, error) {
				sum, out := 0.0, t.mapped(func(_ int64, v float64) float64 { return v })
				for _, at := range t.times() {
					sum += t.values[at]
					out.values[at] = sum
				}
				return value{series: out}, nil
			})
		}},
		"PERIOD": {1, 1, func(_ *scope, a []value) (value, error) {
			if a[0].series == nil {
				return value{}, wrong("PERIOD takes a time series")
			}
			return scalar(float64(a[0].series.period)), nil
		}},
		"FILL": {2, 2, func(sc *scope, a []value) (value, error) {
			return perSeries(a[0], func(t *timeSeries) (value, error) {
				out := t.mapped(func(_ int64, v float64) float64 { return v })
				for _, at := range t.grid(sc) {
					if _, ok := out.values[at]; ok {
						continue
					}
					switch {
					case a[1].number != nil:
						out.values[at] = *a[1].number
					case a[1].series != nil:
						if v, ok := a[1].series.values[at]; ok {
							out.values[at] = v
						}
					default:
						return value{}, wrong("FILL takes a number, a time series, REPEAT or LINEAR")
					}
				}
				return value{series: out}, nil
			})
		}},
		"TIME_SERIES": {1, 1, func(sc *scope, a []value) (value, error) {
			if a[0].number == nil {
				return value{}, wrong("TIME_SERIES takes a number")
			}
			out := &timeSeries{period: sc.period, values: map[int64]float64{}}
			for _, at := range out.grid(sc) {
				out.values[at] = *a[0].number
			}
			return value{series: out}, nil
		}},
		"IF": {2, 3, ifThenElse},
		"REMOVE_EMPTY": {1, 1, func(_ *scope, a []value) (value, error) {
			if !a[0].isList {
				return value{}, wrong("REMOVE_EMPTY takes an array of time series")
			}
			return value{isList: true, list: slices.DeleteFunc(slices.Clone(a[0].list), func(t *timeSeries) bool { return len(t.values) == 0 })}, nil
		}},
		"SLICE":  {2, 3, sliceOf},
		"SORT":   {3, 4, sortBy},
		"EPOCH":  clock(func(t time.Time) float64 { return float64(t.Unix()) }),
		"MINUTE": clock(func(t time.Time) float64 { return float64(t.Minute()) }),
		"HOUR":   clock(func(t time.Time) float64 { return float64(t.Hour()) }),
		"DAY":    clock(func(t time.Time) float64 { return float64((t.Weekday()+6)%7 + 1) }),
		"DATE":   clock(func(t time.Time) float64 { return float64(t.Day()) }),
		"MONTH":  clock(func(t time.Time) float64 { return float64(t.Month()) }),
		"YEAR":   clock(func(t time.Time) float64 { return float64(t.Year()) }),
	}
}

func total(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum
}

// onValues is a function of each value.
func onValues(f func(float64) float64) function {
	return function{1, 1, func(_ *scope, a []value) (value, error) {
		if a[0].number != nil {
			return scalar(f(*a[0].number)), nil
		}
		return perSeries(a[0], func(t *timeSeries) (value, error) {
			return value{series: t.mapped(func(_ int64, v float64) float64 { return f(v) })}, nil
		})
	}}
}

// aggregate is a function that makes a number of a series, and a series of several: of the values at each time.
func aggregate(f func([]float64) float64) function {
	return function{1, 1, func(_ *scope, a []value) (value, error) {
		switch {
		case a[0].series != nil:
			if len(a[0].series.values) == 0 {
				return scalar(0), nil
			}
			var values []float64
			for _, at := range a[0].series.times() {
				values = append(values, a[0].series.values[at])
			}
			return scalar(f(values)), nil
		case a[0].isList:
			at := map[int64][]float64{}
			out := &timeSeries{values: map[int64]float64{}}
			for _, t := range a[0].list {
				out.period = max(out.period, t.period)
				for time, v := range t.values {
					at[time] = append(at[time], v)
				}
			}
			for time, values := range at {
				out.values[time] = f(values)
			}
			return value{series: out}, nil
		}
		return value{}, wrong("A time series is needed")
	}}
}

// endOf is the value at one of a series' times.
func endOf(pick func([]int64) int64) function {
	return function{1, 1, func(_ *scope, a []value) (value, error) {
		switch {
		case a[0].isList && len(a[0].list) > 0:
			i := int(pick([]int64{0, int64(len(a[0].list)) - 1}))
			return value{series: a[0].list[i]}, nil
		case a[0].series != nil && len(a[0].series.values) > 0:
			return scalar(a[0].series.values[pick(a[0].series.times())]), nil
		}
		return value{}, wrong("A time series with values is needed")
	}}
}

// steps is a function of each value and the one before it.
func steps(f func(before, at int64, was, is float64) float64) function {
	return function{1, 1, func(_ *scope, a []value) (value, error) {
		return perSeries(a[0], func(t *timeSeries) (value, error) {
			out := &timeSeries{id: t.id, label: t.label, period: t.period, values: map[int64]float64{}}
			times := t.times()
			for i := 1; i < len(times); i++ {
				out.values[times[i]] = f(times[i-1], times[i], t.values[times[i-1]], t.values[times[i]])
			}
			return value{series: out}, nil
		})
	}}
}

// clock is a function of the times of a series.
func clock(f func(time.Time) float64) function {
	return function{1, 1, func(_ *scope, a []value) (value, error) {
		return perSeries(a[0], func(t *timeSeries) (value, error) {
			return value{series: t.mapped(func(at int64, _ float64) float64 { return f(time.Unix(at, 0).UTC()) })}, nil
		})
	}}
}

// ifThenElse is IF(condition, then, else): for each time if the condition is a series. Without else, values for which the
// condition is not met are left out.
func ifThenElse(_ *scope, a []value) (value, error) {
	at := func(v value, time int64) float64 {
		switch {
		case v.number != nil:
			return *v.number
		case v.series != nil:
			if x, ok := v.series.values[time]; ok {
				return x
			}
		}
		return math.NaN()
	}
	otherwise := value{}
	if len(a) == 3 {
		otherwise = a[2]
	}
	if a[0].isList || a[1].isList || otherwise.isList || a[0].text != nil {
		return value{}, wrong("IF takes time series and numbers")
	}
	if a[0].number != nil {
		if *a[0].number != 0 {
			return a[1], nil
		}
		if len(a) == 2 {
			return value{series: &timeSeries{values: map[int64]float64{}}}, nil
		}
		return otherwise, nil
	}
	return value{series: a[0].series.mapped(func(time int64, c float64) float64 {
		if c != 0 {
			return at(a[1], time)
		}
		return at(otherwise, time)
	})}, nil
}

// sliceOf is SLICE(list, start[, end]).
func sliceOf(_ *scope, a []value) (value, error) {
	if !a[0].isList {
		return value{}, wrong("SLICE takes an array of time series")
	}
	n := len(a[0].list)
	bounds := []int{0, n}
	for i, v := range a[1:] {
		if v.number == nil {
			return value{}, wrong("SLICE takes numbers")
		}
		bounds[i] = min(max(int(*v.number), 0), n)
	}
	if len(a) == 2 {
		if bounds[0] == n {
			return value{}, wrong("SLICE is out of the array's bounds")
		}
		return value{series: a[0].list[bounds[0]]}, nil
	}
	return value{isList: true, list: a[0].list[bounds[0]:max(bounds[0], bounds[1])]}, nil
}

// sortBy is SORT(list, function, order[, limit]).
func sortBy(sc *scope, a []value) (value, error) {
	if !a[0].isList || a[1].text == nil || a[2].text == nil {
		return value{}, wrong("SORT takes an array of time series, a function and an order")
	}
	f, ok := functions[strings.ToUpper(*a[1].text)]
	descending := strings.EqualFold(*a[2].text, "DESC")
	if !ok || !descending && !strings.EqualFold(*a[2].text, "ASC") {
		return value{}, wrong("SORT takes AVG, MIN, MAX or SUM, and ASC or DESC")
	}
	by := map[*timeSeries]float64{}
	for _, t := range a[0].list {
		v, err := f.run(sc, []value{{series: t}})
		if err != nil || v.number == nil {
			return value{}, wrong("SORT takes AVG, MIN, MAX or SUM, and ASC or DESC")
		}
		by[t] = *v.number
	}
	list := slices.Clone(a[0].list)
	slices.SortStableFunc(list, func(x, y *timeSeries) int {
		d := by[x] - by[y]
		if descending {
			d = -d
		}
		switch {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
	if len(a) == 4 && a[3].number != nil {
		list = list[:min(max(int(*a[3].number), 0), len(list))]
	}
	return value{isList: true, list: list}, nil
}
