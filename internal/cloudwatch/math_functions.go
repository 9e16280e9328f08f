package cloudwatch

import (
	"math"
	"slices"
	"strings"
	"time"
)

// function is a function of metric math. run may rely on the number and kinds of its arguments: check has verified them.
type function struct {
	min  int    // number of required arguments
	args []kind // accepted kinds of each argument, optional ones included
	// words are the texts that an argument accepts, by its index. Without an entry it accepts any text.
	words map[int][]string
	// result returns the result's kind for arguments of the given kinds.
	result func(args []kind) kind
	run    func(sc *scope, args []value) (value, error)
}

// takes reports whether argument i accepts the text.
func (f *function) takes(i int, text string) bool {
	words := f.words[i]
	return words == nil || slices.Contains(words, strings.ToUpper(text))
}

// isWord reports whether argument i of a function is one of its words. AWS's examples write words without quotes.
func isWord(name string, i int, text string) bool {
	return slices.Contains(functions[name].words[i], strings.ToUpper(text))
}

// first is the result kind of functions that return what they are given.
func first(args []kind) kind { return args[0] }

// always is the result kind of functions that return a fixed kind.
func always(k kind) func([]kind) kind { return func([]kind) kind { return k } }

// reduced is the result kind of functions that make a number of a series, and a series of a list.
func reduced(args []kind) kind {
	if args[0] == aSeries {
		return aNumber
	}
	return aSeries
}

// functions are the supported functions ("Metric math syntax and functions").
var functions = map[string]function{
	"ABS":   onValues(math.Abs),
	"CEIL":  onValues(math.Ceil),
	"FLOOR": onValues(math.Floor),
	"LOG":   onValues(math.Log),
	"LOG10": onValues(math.Log10),

	"SUM":             aggregate(sumOf),
	"AVG":             aggregate(averageOf),
	"MIN":             aggregate(slices.Min[[]float64]),
	"MAX":             aggregate(slices.Max[[]float64]),
	"STDDEV":          aggregate(deviationOf),
	"DATAPOINT_COUNT": aggregate(func(v []float64) float64 { return float64(len(v)) }),

	"METRIC_COUNT": {min: 1, args: []kind{aList}, result: always(aNumber), run: metricCount},
	"METRICS":      {args: []kind{aText}, result: always(aList), run: metricsNamed},
	"REMOVE_EMPTY": {min: 1, args: []kind{aList}, result: always(aList), run: removeEmpty},
	"FIRST":        endOf(func(n int) int { return 0 }),
	"LAST":         endOf(func(n int) int { return n - 1 }),
	"SLICE":        {min: 2, args: []kind{aList, aNumber, aNumber}, result: kindOfSlice, run: sliceOf},
	"SORT": {
		min: 3, args: []kind{aList, aText, aText, aNumber}, words: map[int][]string{1: {"AVG", "MIN", "MAX", "SUM"}, 2: {"ASC", "DESC"}},
		result: always(aList), run: sortBy,
	},

	"DIFF":        steps(func(was, is seriesPoint) float64 { return is.v - was.v }),
	"DIFF_TIME":   steps(func(was, is seriesPoint) float64 { return float64(is.at - was.at) }),
	"RATE":        steps(func(was, is seriesPoint) float64 { return (is.v - was.v) / float64(is.at-was.at) }),
	"RUNNING_SUM": perSeries(runningSum),
	"PERIOD":      {min: 1, args: []kind{aSeries}, result: always(aNumber), run: periodOf},
	"TIME_SERIES": {min: 1, args: []kind{aNumber}, result: always(aSeries), run: timeSeriesOf},
	"FILL": {
		min: 2, args: []kind{aSeries | aList, aNumber | aSeries | aText}, words: map[int][]string{1: {"REPEAT", "LINEAR"}},
		result: first, run: fill,
	},
	"IF": {min: 2, args: []kind{aNumber | aSeries, aNumber | aSeries, aNumber | aSeries}, result: kindOfIf, run: ifThenElse},

	"EPOCH":  clock(func(t time.Time) float64 { return float64(t.Unix()) }),
	"MINUTE": clock(func(t time.Time) float64 { return float64(t.Minute()) }),
	"HOUR":   clock(func(t time.Time) float64 { return float64(t.Hour()) }),
	"DAY":    clock(func(t time.Time) float64 { return float64((t.Weekday()+6)%7 + 1) }),
	"DATE":   clock(func(t time.Time) float64 { return float64(t.Day()) }),
	"MONTH":  clock(func(t time.Time) float64 { return float64(t.Month()) }),
	"YEAR":   clock(func(t time.Time) float64 { return float64(t.Year()) }),
}

func sumOf(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum
}

func averageOf(v []float64) float64 { return sumOf(v) / float64(len(v)) }

// deviationOf returns the population standard deviation.
func deviationOf(v []float64) float64 {
	mean, squares := averageOf(v), 0.0
	for _, x := range v {
		squares += (x - mean) * (x - mean)
	}
	return math.Sqrt(squares / float64(len(v)))
}

// onValues makes a function that applies f to each value.
func onValues(f func(float64) float64) function {
	series := perSeries(func(sc *scope, t *timeSeries) (*timeSeries, error) {
		return sc.mapped(t, func(p seriesPoint) float64 { return f(p.v) })
	})
	return function{min: 1, args: []kind{aNumber | aSeries | aList}, result: first, run: func(sc *scope, a []value) (value, error) {
		if a[0].kind == aNumber {
			return scalar(f(a[0].number)), nil
		}
		return series.run(sc, a)
	}}
}

// perSeries makes a function that applies f to a series, or to each of an array.
func perSeries(f func(*scope, *timeSeries) (*timeSeries, error)) function {
	return function{min: 1, args: []kind{aSeries | aList}, result: first, run: func(sc *scope, a []value) (value, error) {
		return sc.each(a[0], func(t *timeSeries) (*timeSeries, error) { return f(sc, t) })
	}}
}

// aggregate makes a function that reduces a series to a number, and an array to a series, by reducing the values at each time.
func aggregate(f func([]float64) float64) function {
	return function{min: 1, args: []kind{aSeries | aList}, result: reduced, run: func(sc *scope, a []value) (value, error) {
		if a[0].kind == aSeries {
			return sc.aggregateOne(a[0].series, f)
		}
		return sc.aggregateAll(a[0].list, f)
	}}
}

// aggregateOne reduces a series to a number.
func (sc *scope) aggregateOne(t *timeSeries, f func([]float64) float64) (value, error) {
	if err := sc.budget.visit(len(t.points)); err != nil || len(t.points) == 0 {
		return scalar(0), err
	}
	values := make([]float64, len(t.points))
	for i, p := range t.points {
		values[i] = p.v
	}
	return scalar(f(values)), nil
}

// aggregateAll reduces an array to a series. Times usually lie on a grid, which allows a counting sort.
func (sc *scope) aggregateAll(list []*timeSeries, f func([]float64) float64) (value, error) {
	out, n, first, last, step := &timeSeries{}, 0, int64(math.MaxInt64), int64(math.MinInt64), int64(0)
	for _, t := range list {
		if out.period = max(out.period, t.period); len(t.points) == 0 {
			continue
		}
		n += len(t.points)
		first, last = min(first, t.points[0].at), max(last, t.points[len(t.points)-1].at)
	}
	for _, t := range list {
		for i := 0; i < len(t.points) && step != 1; i++ {
			// The grid's step is the greatest common divisor of all distances from the first time.
			step = gcd(step, t.points[i].at-first)
		}
	}
	if n == 0 {
		return value{kind: aSeries, series: out}, nil
	}
	if err := sc.budget.visit(2 * n); err != nil {
		return value{}, err
	}
	if n > maxMade {
		return value{}, wrong("The expressions of this call add up more than %d values: shorten the time range or use a longer period", maxMade)
	}
	slots := int64(1)
	if step > 0 {
		slots = (last-first)/step + 1
	}
	// A counting sort pays off unless there are many more slots than values.
	if slots > 4*int64(n)+1024 {
		sc.aggregateSparse(out, list, n, f)
	} else {
		sc.aggregateSlots(out, list, n, first, max(step, 1), slots, f)
	}
	return value{kind: aSeries, series: out}, sc.budget.make(len(out.points))
}

// gcd returns the greatest common divisor.
func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// aggregateSlots groups values by time with a counting sort. The times are first, first+step, …, in slots of them.
func (sc *scope) aggregateSlots(out *timeSeries, list []*timeSeries, n int, first, step, slots int64, f func([]float64) float64) {
	ends := grown(&sc.ends, int(slots)+1)
	clear(ends)
	for _, t := range list {
		for _, p := range t.points {
			ends[(p.at-first)/step+1]++
		}
	}
	for i := range slots {
		ends[i+1] += ends[i]
	}
	values := grown(&sc.sorted, n)
	for _, t := range list {
		for _, p := range t.points {
			i := (p.at - first) / step
			values[ends[i]] = p.v
			ends[i]++ // becomes the slot's end
		}
	}
	begin := int32(0)
	for i := range slots {
		if ends[i] > begin {
			out.add(first+i*step, f(values[begin:ends[i]]))
		}
		begin = ends[i]
	}
}

// aggregateSparse groups values by time with an ordinary sort, for values that are few compared to their time span.
func (sc *scope) aggregateSparse(out *timeSeries, list []*timeSeries, n int, f func([]float64) float64) {
	all := grown(&sc.points, n)[:0]
	for _, t := range list {
		all = append(all, t.points...)
	}
	slices.SortStableFunc(all, func(a, b seriesPoint) int { return compareTimes(a.at, b.at) })
	var values []float64
	for i, p := range all {
		if values = append(values, p.v); i+1 == len(all) || all[i+1].at != p.at {
			out.add(p.at, f(values))
			values = values[:0]
		}
	}
}

// grown returns a buffer of n elements, reallocated if it is too small. Its content is undefined.
func grown[T any](buffer *[]T, n int) []T {
	*buffer = slices.Grow((*buffer)[:0], n)[:n]
	return *buffer
}

func compareTimes(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// metricCount is METRIC_COUNT(list): the number of its series.
func metricCount(_ *scope, a []value) (value, error) { return scalar(float64(len(a[0].list))), nil }

// removeEmpty is REMOVE_EMPTY(list): the series that have values.
func removeEmpty(_ *scope, a []value) (value, error) {
	list := slices.DeleteFunc(slices.Clone(a[0].list), func(t *timeSeries) bool { return len(t.points) == 0 })
	return value{kind: aList, list: list}, nil
}

// periodOf is PERIOD(series), in seconds.
func periodOf(_ *scope, a []value) (value, error) { return scalar(float64(a[0].series.period)), nil }

// timeSeriesOf is TIME_SERIES(number): a series with that value in every period.
func timeSeriesOf(sc *scope, a []value) (value, error) { return sc.constant(a[0].number) }

// metricsNamed is METRICS([text]): the metrics whose ids contain the text.
func metricsNamed(sc *scope, a []value) (value, error) {
	out := value{kind: aList}
	all, err := sc.all()
	for _, t := range all {
		if len(a) == 0 || strings.Contains(t.id, a[0].text) {
			out.list = append(out.list, t)
		}
	}
	return out, err
}

// endOf makes a function that picks the first or last series of an array, or value of a series. Empty ones have no value.
func endOf(pick func(n int) int) function {
	return function{min: 1, args: []kind{aSeries | aList}, result: reduced, run: func(_ *scope, a []value) (value, error) {
		switch {
		case a[0].kind == aSeries && len(a[0].series.points) == 0:
			return scalar(math.NaN()), nil
		case a[0].kind == aSeries:
			return scalar(a[0].series.points[pick(len(a[0].series.points))].v), nil
		case len(a[0].list) == 0:
			return value{kind: aSeries, series: &timeSeries{}}, nil
		}
		return value{kind: aSeries, series: a[0].list[pick(len(a[0].list))]}, nil
	}}
}

// steps makes a function of each value and the one before it. The first value has no result.
func steps(f func(was, is seriesPoint) float64) function {
	return perSeries(func(sc *scope, t *timeSeries) (*timeSeries, error) {
		var was seriesPoint
		return sc.mapped(t, func(is seriesPoint) float64 {
			v := math.NaN()
			if is != t.points[0] {
				v = f(was, is)
			}
			was = is
			return v
		})
	})
}

// runningSum is RUNNING_SUM: the sum of all values up to each time.
func runningSum(sc *scope, t *timeSeries) (*timeSeries, error) {
	sum := 0.0
	return sc.mapped(t, func(p seriesPoint) float64 {
		sum += p.v
		return sum
	})
}

// clock makes a function of the times of a series, in UTC.
func clock(f func(time.Time) float64) function {
	return perSeries(func(sc *scope, t *timeSeries) (*timeSeries, error) {
		return sc.mapped(t, func(p seriesPoint) float64 { return f(time.Unix(p.at, 0).UTC()) })
	})
}

// kindOfIf returns the kind of IF: a series if any argument is one.
func kindOfIf(args []kind) kind {
	if slices.Contains(args, aSeries) {
		return aSeries
	}
	return aNumber
}

// ifThenElse is IF(condition, then[, else]). If the condition is a series it decides for each of its times. Without else, times at which
// the condition is false have no value.
func ifThenElse(sc *scope, a []value) (value, error) {
	otherwise := scalar(math.NaN())
	if len(a) == 3 {
		otherwise = a[2]
	}
	if a[0].kind == aNumber {
		chosen := otherwise
		if a[0].number != 0 && !math.IsNaN(a[0].number) {
			chosen = a[1]
		}
		if chosen.kind == aNumber && (a[1].kind == aSeries || otherwise.kind == aSeries) {
			return sc.constant(chosen.number)
		}
		return chosen, nil
	}
	if err := sc.budget.visit(a[1].size() + otherwise.size()); err != nil {
		return value{}, err
	}
	yes, no := a[1].cursor(), otherwise.cursor()
	out, err := sc.mapped(a[0].series, func(p seriesPoint) float64 {
		if p.v != 0 {
			return yes.at(p.at)
		}
		return no.at(p.at)
	})
	return value{kind: aSeries, series: out}, err
}

// clamp turns a number into an index from 0 to n.
func clamp(v float64, n int) int {
	if !(v > 0) { // also for NaN
		return 0
	}
	return int(math.Min(v, float64(n)))
}

// kindOfSlice returns the kind of SLICE: one series without an end, otherwise a list.
func kindOfSlice(args []kind) kind {
	if len(args) == 2 {
		return aSeries
	}
	return aList
}

// sliceOf is SLICE(list, start[, end]). Without end it is the single series at start, which is empty beyond the end of the list.
func sliceOf(_ *scope, a []value) (value, error) {
	list := a[0].list
	from := clamp(a[1].number, len(list))
	if len(a) == 3 {
		return value{kind: aList, list: list[from:max(from, clamp(a[2].number, len(list)))]}, nil
	}
	if from == len(list) {
		return value{kind: aSeries, series: &timeSeries{}}, nil
	}
	return value{kind: aSeries, series: list[from]}, nil
}

// sortKeys are the functions by which SORT compares series.
var sortKeys = map[string]func([]float64) float64{"AVG": averageOf, "MIN": slices.Min[[]float64], "MAX": slices.Max[[]float64], "SUM": sumOf}

// sortBy is SORT(list, function, order[, limit]).
func sortBy(sc *scope, a []value) (value, error) {
	f := sortKeys[strings.ToUpper(a[1].text)]
	by := map[*timeSeries]float64{}
	for _, t := range a[0].list {
		v, err := sc.aggregateOne(t, f)
		if err != nil {
			return value{}, err
		}
		by[t] = v.number
	}
	list := slices.Clone(a[0].list)
	slices.SortStableFunc(list, func(x, y *timeSeries) int {
		if strings.EqualFold(a[2].text, "DESC") {
			x, y = y, x
		}
		switch {
		case by[x] < by[y]:
			return -1
		case by[x] > by[y]:
			return 1
		}
		return 0
	})
	if len(a) == 4 {
		list = list[:clamp(a[3].number, len(list))]
	}
	return value{kind: aList, list: list}, nil
}

// fill is FILL(series, filler): it fills periods without a value with a number, another series' values, or by repeating or
// interpolating neighbours.
func fill(sc *scope, a []value) (value, error) {
	return sc.each(a[0], func(t *timeSeries) (*timeSeries, error) {
		period := t.period
		if period == 0 {
			period = sc.period
		}
		n := sc.steps(period)
		if err := sc.budget.make(n + len(t.points)); err != nil {
			return nil, err
		}
		with := a[1].cursor()
		out, next := &timeSeries{id: t.id, label: t.label, period: t.period, points: make([]seriesPoint, 0, n+len(t.points))}, 0
		for i := range n {
			at := sc.start + int64(i)*period
			for next < len(t.points) && t.points[next].at < at {
				out.points = append(out.points, t.points[next])
				next++
			}
			switch {
			case next < len(t.points) && t.points[next].at == at: // kept: the loop above or the append below adds it
			case a[1].kind != aText:
				out.add(at, with.at(at))
			case next > 0: // before the first value there is nothing to repeat
				out.add(at, fillValue(t.points, next, at, strings.EqualFold(a[1].text, "LINEAR")))
			}
		}
		out.points = append(out.points, t.points[next:]...)
		return out, nil
	})
}

// fillValue returns a value for a time just before points[next]: the previous value, or, if linear, one interpolated up to points[next].
func fillValue(points []seriesPoint, next int, at int64, linear bool) float64 {
	before := points[next-1]
	if !linear || next == len(points) {
		return before.v
	}
	after := points[next]
	return before.v + float64(at-before.at)/float64(after.at-before.at)*(after.v-before.v)
}
