package cloudwatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

// counted is a store that counts the keys read from it.
type counted struct {
	kv.Store
	keys int
}

func (c *counted) Snapshot(ctx context.Context, keys ...[]byte) (kv.Snapshot, error) {
	s, err := c.Store.Snapshot(ctx, keys...)
	return countedReader{s, s, c}, err
}

func (c *counted) Latest(ctx context.Context) (kv.Snapshot, error) {
	s, err := c.Store.Latest(ctx)
	return countedReader{s, s, c}, err
}

func (c *counted) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	txn, err := c.Store.Begin(ctx, opt)
	return countedTxn{txn, c}, err
}

type countedReader struct {
	kv.Reader
	io.Closer
	c *counted
}

func (r countedReader) Get(key []byte) ([]byte, error) {
	r.c.keys++
	return r.Reader.Get(key)
}

func (r countedReader) Scan(rng kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	it, err := r.Reader.Scan(rng, opt)
	return countedIterator{it, r.c}, err
}

type countedTxn struct {
	kv.Txn
	c *counted
}

func (t countedTxn) Get(key []byte) ([]byte, error) {
	t.c.keys++
	return t.Txn.Get(key)
}

func (t countedTxn) Scan(rng kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	it, err := t.Txn.Scan(rng, opt)
	return countedIterator{it, t.c}, err
}

type countedIterator struct {
	kv.Iterator
	c *counted
}

func (i countedIterator) Next() bool {
	i.c.keys++
	return i.Iterator.Next()
}

// testService is a Service whose clock moves only when a test moves it.
type testService struct {
	*Service
	t   *testing.T
	db  *counted
	now time.Time
}

func newService(t *testing.T, limit int) *testService {
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
	s := &testService{t: t, db: &counted{Store: db}, now: began}
	s.reopen(limit)
	return s
}

// reopen simulates a restart.
func (s *testService) reopen(limit int) {
	s.t.Helper()
	var err error
	if s.Service, err = New(s.t.Context(), Options{
		KV: s.db, Coordinator: cluster.NewSolo(s.t.Context(), nil), Now: func() time.Time { return s.now }, MaxMetrics: limit,
		Namespace: func(c smithy.Caller) (string, string) { return c.Account, "us-east-1" }, Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
	}); err != nil {
		s.t.Fatal(err)
	}
}

// do calls an operation as an account. in is encoded as JSON; out, unless nil, receives the answer.
func (s *testService) do(account, operation string, in any, out any) error {
	s.t.Helper()
	return smithytest.Do(s.t.Context(), s.Operations(), smithy.Caller{Account: account}, operation, in, out)
}

func (s *testService) must(operation string, in any, out any) {
	s.t.Helper()
	if err := s.do("a", operation, in, out); err != nil {
		s.t.Fatalf("%s: %v", operation, err)
	}
}

func (s *testService) refused(code awserr.Code, text, operation string, in any) {
	s.t.Helper()
	e, ok := errors.AsType[*awserr.Error](s.do("a", operation, in, nil))
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		s.t.Errorf("%s: %v, want %s: %s", operation, e, code, text)
	}
}

type obj = map[string]any

// putMetrics puts n metrics into a namespace.
func (s *testService) putMetrics(namespace string, from, n int) error {
	for from < n {
		var data []obj
		for ; from < n && len(data) < maxData; from++ {
			data = append(data, obj{"MetricName": fmt.Sprintf("m%d", from%3), "Dimensions": []obj{{"Name": "d", "Value": fmt.Sprint(from)}}, "Value": 1})
		}
		if err := s.do("a", "PutMetricData", obj{"Namespace": namespace, "MetricData": data}, nil); err != nil {
			return err
		}
	}
	return nil
}

// tickMinutes evaluates the alarms for n minutes.
func (s *testService) tickMinutes(n int) {
	s.t.Helper()
	for range n {
		s.now = s.now.Add(time.Minute)
		if err := s.Tick(s.t.Context(), func(context.Context, time.Time) error { return nil }); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestCostOfManyMetrics counts the keys that a start and each operation read while there are 5,000 metrics.
func TestCostOfManyMetrics(t *testing.T) {
	s := newService(t, 0)
	const metrics = 5000
	if err := s.putMetrics("Many", 0, metrics); err != nil {
		t.Fatal(err)
	}
	if err := s.putMetrics("Few", 0, 7); err != nil {
		t.Fatal(err)
	}
	cost := func(what string, most int, do func()) {
		t.Helper()
		before := s.db.keys
		do()
		if n := s.db.keys - before; n > most {
			t.Errorf("%s reads %d keys, want at most %d", what, n, most)
		}
	}
	cost("a start", 10, func() { s.reopen(0) })
	seen, pages, next, foreign := map[string]bool{}, 0, any(nil), any(nil)
	for {
		in := obj{"Namespace": "Many"}
		if next != nil {
			in["NextToken"] = next
		}
		var out struct {
			Metrics   []json.RawMessage
			NextToken any
		}
		cost("a page of ListMetrics", 3*listPage+20, func() { s.must("ListMetrics", in, &out) })
		for _, m := range out.Metrics {
			seen[string(m)] = true
		}
		if pages++; out.NextToken == nil {
			break
		}
		next, foreign = out.NextToken, out.NextToken
	}
	if len(seen) != metrics || pages != metrics/listPage {
		t.Errorf("%d metrics on %d pages, want %d on %d", len(seen), pages, metrics, metrics/listPage)
	}
	var few struct{ Metrics []json.RawMessage }
	cost("ListMetrics of another namespace", 30, func() { s.must("ListMetrics", obj{"Namespace": "Few"}, &few) })
	if len(few.Metrics) != 7 {
		t.Errorf("%d metrics of the other namespace, want 7", len(few.Metrics))
	}
	cost("a page on which little is wanted", 2*maxListed+100, func() {
		s.must("ListMetrics", obj{"Dimensions": []obj{{"Name": "d", "Value": "none"}}}, nil)
	})
	cost("GetMetricStatistics", 20, func() {
		s.must("GetMetricStatistics", obj{"Namespace": "Many", "MetricName": "m0", "Dimensions": []obj{{"Name": "d", "Value": "3"}}, "StartTime": began.Unix(), "EndTime": began.Unix() + 60, "Period": 60, "Statistics": []string{"Sum"}}, nil)
	})
	s.must("PutMetricAlarm", obj{"AlarmName": "a", "Namespace": "Many", "MetricName": "m0", "Dimensions": []obj{{"Name": "d", "Value": "3"}}, "Period": 60, "Statistic": "Sum", "EvaluationPeriods": 1, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold"}, nil)
	s.rolled = s.now.Unix() / 3600
	s.rolling = nil
	cost("an alarm", 50, func() { s.tickMinutes(1) })
	if a := s.Alarm("a", "us-east-1", "a"); a.State != StateAlarm {
		t.Errorf("the alarm is %s: %s", a.State, a.Reason)
	}
	cost("a metric that is known", 10, func() {
		if err := s.putMetrics("Many", metrics-1, metrics); err != nil {
			t.Fatal(err)
		}
	})
	cost("/metrics", 10, func() {
		text, err := s.Prometheus(t.Context())
		if err != nil || strings.Contains(string(text), "Many") {
			t.Errorf("/metrics has metrics of clients, or fails: %v", err)
		}
	})
	s.refused(invalidToken, "NextToken", "ListMetrics", obj{"NextToken": smithy.EncodeToken("x")})
	if err := s.do("b", "ListMetrics", obj{"NextToken": foreign}, nil); err == nil {
		t.Error("another account's token is accepted")
	}
}

// TestIndexOfOldStore finds and counts metrics stored by a version without the index.
func TestIndexOfOldStore(t *testing.T) {
	s := newService(t, 0)
	const metrics = 2*addBatch + 5
	if err := s.putMetrics("N", 0, metrics); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range [][]byte{keyspace.MetricIndex(), keyspace.MetricCount(""), keyspace.MetricsIndexed()} {
		if err := s.db.DeleteRange(t.Context(), kv.Prefix(prefix)); err != nil {
			t.Fatal(err)
		}
	}
	s.reopen(metrics)
	var out struct {
		Metrics   []json.RawMessage
		NextToken string
	}
	s.must("ListMetrics", obj{"Namespace": "N"}, &out)
	if len(out.Metrics) != listPage || out.NextToken == "" {
		t.Errorf("%d metrics on the first page", len(out.Metrics))
	}
	if err := s.putMetrics("N", metrics-1, metrics); err != nil {
		t.Errorf("a metric that is there: %v", err)
	}
	// A server of such a version describes one more: here it must become the same metric.
	s.reopen(2 * metrics)
	id := metric.ID{Account: "a", Region: "us-east-1", Namespace: "N", Name: "m0", Dimensions: []metric.Dimension{{Name: "d", Value: "0"}}}
	before, err := s.metrics.units(t.Context(), &id, "")
	if err != nil || len(before) != 1 {
		t.Fatalf("found %v, %v", before, err)
	}
	if err := s.db.DeleteRange(t.Context(), kv.Prefix(entryKey(&id, ""))); err != nil {
		t.Fatal(err)
	}
	s.reopen(2 * metrics)
	if err := s.putMetrics("N", 0, 1); err != nil {
		t.Fatal(err)
	}
	if after, err := s.metrics.units(t.Context(), &id, ""); err != nil || len(after) != 1 || after[0].id != before[0].id {
		t.Errorf("%v has become %v, %v", before, after, err)
	}
	s.reopen(metrics)
	if err := s.putMetrics("N", metrics, metrics+1); !errors.Is(err, errThrottled) {
		t.Errorf("one more than the limit: %v", err)
	}
}

// TestMetricLimit refuses whole requests beyond an account's limit, but not other accounts or the server's own metrics.
func TestMetricLimit(t *testing.T) {
	s := newService(t, 10)
	if err := s.putMetrics("N", 0, 8); err != nil {
		t.Fatal(err)
	}
	if err := s.putMetrics("N", 7, 11); !errors.Is(err, errThrottled) {
		t.Errorf("11 metrics: %v", err)
	}
	if err := s.putMetrics("N", 6, 10); err != nil {
		t.Errorf("10 metrics: %v", err)
	}
	if err := s.putMetrics("M", 0, 1); !errors.Is(err, errThrottled) {
		t.Errorf("in another namespace: %v", err)
	}
	s.refused(awserr.Throttling, "Rate exceeded", "PutMetricData", obj{"Namespace": "N", "MetricData": []obj{{"MetricName": "x", "Value": 1}}})
	if err := s.do("b", "PutMetricData", obj{"Namespace": "N", "MetricData": []obj{{"MetricName": "x", "Value": 1}}}, nil); err != nil {
		t.Errorf("another account: %v", err)
	}
	own := metric.Datum{ID: metric.ID{Account: "a", Region: "us-east-1", Namespace: "AWS/DynamoDB", Name: "x"}, Unit: "Count", Time: s.now, Set: metric.Of(1, 1)}
	if _, err := s.metrics.add(t.Context(), []metric.Datum{own}); err != nil {
		t.Errorf("the server's own: %v", err)
	}
	// Expired metrics make room.
	s.now = s.now.Add(retention[3].keep + 2*time.Hour)
	if err := s.metrics.roll(t.Context(), s.now); err != nil {
		t.Fatal(err)
	}
	if err := s.putMetrics("M", 0, 10); err != nil {
		t.Errorf("after all have gone: %v", err)
	}
}

// attack is an expression that once crashed the process.
const attack = `SORT([TIME_SERIES(1)],"IF","ASC")`

func alarmOn(name string, queries ...obj) obj {
	return obj{"AlarmName": name, "EvaluationPeriods": 1, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold", "Metrics": queries}
}

// TestBadExpressions refuses expressions when they are sent, and gives stored alarms of an older version a state and a reason.
func TestBadExpressions(t *testing.T) {
	s := newService(t, 0)
	for text, want := range map[string]string{
		attack: "Error in expression 'e1': Argument 2 of the function SORT can't be \"IF\"", "e1": "Circular dependency", "x": "Unknown metric or expression id 'x'", "METRICS()": "must return a single time series",
		strings.Repeat("1+", 600) + "1": "must not have more than 1024 characters",
	} {
		s.refused(awserr.Validation, want, "PutMetricAlarm", alarmOn("bad", obj{"Id": "e1", "Expression": text, "Period": 60}))
	}
	s.refused(awserr.Validation, "Error in expression 'e1'", "GetMetricData", obj{"StartTime": 0, "EndTime": 60, "MetricDataQueries": []obj{{"Id": "e1", "Expression": attack}}})
	for i, queries := range [][]Query{
		{{ID: "e1", Expression: attack, Period: 60}},
		{{ID: "e1", Expression: strings.Repeat("1+", 5000) + "1", Period: 60}},
		{{ID: "e1", Expression: "e2", Period: 60}, {ID: "e2", Expression: "e1", Hidden: true}},
		{{ID: "m1", Metric: &metric.ID{Name: "m"}, Stat: "nothing", Period: 60}},
	} {
		a := &Alarm{Account: "a", Region: "us-east-1", Name: fmt.Sprint("old", i), Queries: queries, Period: 60, Periods: 1, Datapoints: 1, Comparison: "GreaterThanThreshold", State: StateOK}
		if err := s.alarms.Put(t.Context(), a.id(), a); err != nil {
			t.Fatal(err)
		}
	}
	long := &Alarm{Account: "a", Region: "us-east-1", Name: "old long", Metric: &metric.ID{Name: "m"}, Stat: "Sum", Period: 1 << 61, Periods: 1 << 61, Comparison: "GreaterThanThreshold", State: StateOK}
	if err := s.alarms.Put(t.Context(), long.id(), long); err != nil {
		t.Fatal(err)
	}
	s.reopen(0)
	s.tickMinutes(2)
	var out struct{ MetricAlarms []obj }
	s.must("DescribeAlarms", obj{"AlarmNamePrefix": "old"}, &out)
	if len(out.MetricAlarms) != 5 {
		t.Errorf("%d alarms", len(out.MetricAlarms))
	}
	for _, a := range out.MetricAlarms {
		if a["StateValue"] != "INSUFFICIENT_DATA" || a["EvaluationState"] != "EVALUATION_ERROR" || !strings.HasPrefix(a["StateReason"].(string), "Error in expression") {
			t.Errorf("%s: %s, %s: %.100s", a["AlarmName"], a["StateValue"], a["EvaluationState"], a["StateReason"])
		}
	}
	var history struct{ AlarmHistoryItems []obj }
	s.must("DescribeAlarmHistory", obj{"AlarmName": "old0"}, &history)
	if len(history.AlarmHistoryItems) != 1 {
		t.Errorf("%d items of history in two minutes, want 1", len(history.AlarmHistoryItems))
	}
}

// TestAlarmThatPanics: a panic marks the alarm as broken until it is replaced, through a restart; other alarms are still evaluated.
func TestAlarmThatPanics(t *testing.T) {
	evaluated := 0
	functions["BOOM"] = function{0, nil, nil, always(aNumber), func(*scope, []value) (value, error) { evaluated++; panic("boom") }}
	defer delete(functions, "BOOM")
	s := newService(t, 0)
	s.must("PutMetricAlarm", alarmOn("bad", obj{"Id": "e1", "Expression": "BOOM()", "Period": 60}), nil)
	s.must("PutMetricAlarm", alarmOn("good", obj{"Id": "e1", "Expression": "TIME_SERIES(1)", "Period": 60}), nil)
	s.tickMinutes(2)
	s.reopen(0)
	s.tickMinutes(2)
	if evaluated != 1 {
		t.Errorf("evaluated %d times, want once", evaluated)
	}
	if a := s.Alarm("a", "us-east-1", "good"); a.State != StateAlarm {
		t.Errorf("the other alarm is %s", a.State)
	}
	var out struct{ MetricAlarms []obj }
	s.must("DescribeAlarms", obj{"AlarmNames": []string{"bad"}}, &out)
	a := out.MetricAlarms[0]
	if a["StateValue"] != "INSUFFICIENT_DATA" || a["EvaluationState"] != "EVALUATION_ERROR" || a["StateReason"] != "The alarm is not evaluated until it is changed: internal error: boom" {
		t.Errorf("the alarm is %v, %v: %v", a["StateValue"], a["EvaluationState"], a["StateReason"])
	}
	s.must("PutMetricAlarm", alarmOn("bad", obj{"Id": "e1", "Expression": "TIME_SERIES(1)", "Period": 60}), nil)
	s.tickMinutes(1)
	if a := s.Alarm("a", "us-east-1", "bad"); a.State != StateAlarm || a.Problem || a.Broken {
		t.Errorf("after a change it is %s: %s", a.State, a.Reason)
	}
}

// TestGetMetricDataPages: a page computes only what it returns.
func TestGetMetricDataPages(t *testing.T) {
	s := newService(t, 0)
	made := 0
	functions["COUNTED"] = function{1, []kind{aNumber}, nil, always(aSeries), func(sc *scope, a []value) (value, error) { made++; return sc.constant(a[0].number) }}
	defer delete(functions, "COUNTED")
	var queries []obj
	const n, span = 500, 199_000
	for i := range n {
		queries = append(queries, obj{"Id": fmt.Sprint("e", i), "Expression": "COUNTED(1)", "Period": 1})
	}
	in := obj{"StartTime": began.Unix() - span, "EndTime": began.Unix(), "MetricDataQueries": queries}
	type answer struct {
		MetricDataResults []struct {
			ID         string `json:"Id"`
			StatusCode string
			Timestamps []float64
		}
		NextToken string
	}
	values := map[string][]float64{}
	for page := range 4 {
		var out answer
		made = 0
		s.must("GetMetricData", in, &out)
		got := 0
		for _, r := range out.MetricDataResults {
			values[r.ID] = append(values[r.ID], r.Timestamps...)
			got += len(r.Timestamps)
		}
		if got != maxReturnedData || made > 2 || out.NextToken == "" {
			t.Errorf("page %d has %d values of %d series", page, got, made)
		}
		in["NextToken"] = out.NextToken
	}
	if got := values["e0"]; len(got) != span+20 || got[0] != float64(began.Unix()-1) || got[len(got)-1] != float64(began.Unix()-span-20) { // start is rounded to a minute
		t.Errorf("%d values from %v to %v", len(got), got[0], got[len(got)-1])
	}
	for i := 1; i < len(values["e0"]); i++ {
		if values["e0"][i] != values["e0"][i-1]-1 {
			t.Fatal("a value is missing or twice")
		}
	}
	// Small pages of several queries, one hidden and one without values.
	small := obj{"StartTime": began.Unix() - 300, "EndTime": began.Unix(), "MaxDatapoints": 2, "ScanBy": "TimestampAscending", "MetricDataQueries": []obj{
		{"Id": "a", "Expression": "TIME_SERIES(1)"}, {"Id": "b", "Expression": "a", "ReturnData": false}, {"Id": "c", "Expression": "LOG(-a)"}, {"Id": "d", "Expression": "[b, b]"},
	}}
	var pages []string
	for {
		var out answer
		s.must("GetMetricData", small, &out)
		page := ""
		for _, r := range out.MetricDataResults {
			page += fmt.Sprint(r.ID, len(r.Timestamps), r.StatusCode[:1])
		}
		pages = append(pages, page)
		if small["NextToken"] = out.NextToken; out.NextToken == "" {
			break
		}
	}
	if got := strings.Join(pages, " "); got != "a2P a2P a1Cc0Cd1P d2P d2C d2P d2P d1C" {
		t.Errorf("pages: %s", got)
	}
	for _, bad := range []any{"x", smithy.EncodeToken("1.2"), smithy.EncodeToken("-1.0.0"), smithy.EncodeToken("0.0.99999999999999999999")} {
		s.refused(invalidToken, "", "GetMetricData", with(small, obj{"NextToken": bad}))
	}
	s.must("GetMetricData", with(small, obj{"NextToken": smithy.EncodeToken("900.0.0")}), nil)
	s.must("GetMetricData", with(small, obj{"NextToken": smithy.EncodeToken("0.5.7")}), nil)
	for _, most := range []int{0, -1, maxReturnedData + 1} {
		s.refused(awserr.Validation, "MaxDatapoints", "GetMetricData", with(small, obj{"MaxDatapoints": most, "NextToken": nil}))
	}
	// More datapoints than an account may request per second.
	stat := func(id string, period int) obj {
		return obj{"Id": id, "MetricStat": obj{"Metric": obj{"Namespace": "N", "MetricName": "m"}, "Period": period, "Stat": "Sum"}}
	}
	var many []obj
	for i := range n {
		many = append(many, stat(fmt.Sprint("m", i), 60))
	}
	day := obj{"StartTime": began.Unix() - 86400, "EndTime": began.Unix(), "MetricDataQueries": many}
	s.refused(awserr.Throttling, "Rate exceeded", "GetMetricData", day)
	s.must("GetMetricData", with(day, obj{"MetricDataQueries": many[:250]}), nil)
	s.refused(awserr.Validation, "500", "GetMetricData", with(day, obj{"MetricDataQueries": append(many, stat("more", 60))}))
}

func with(a, b obj) obj {
	out := obj{}
	for _, o := range []obj{a, b} {
		for k, v := range o {
			out[k] = v
		}
	}
	return out
}

// TestAlarmLimits bounds alarms: their number, their size, what they refer to, their history.
func TestAlarmLimits(t *testing.T) {
	s := newService(t, 0)
	simple := obj{"Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}
	store := func(n int, description string) {
		t.Helper()
		if err := s.update(t.Context(), func(txn *registry.Txn) error {
			for i := range n {
				a := &Alarm{Account: "a", Region: "us-east-1", Name: fmt.Sprint(i), Description: description, Comparison: "GreaterThanThreshold", Period: 60}
				if err := s.alarms.PutIn(txn, a.id(), a); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	store(maxAlarms, "")
	s.refused(limitExceeded, "The quota for alarms for this customer has already been reached.", "PutMetricAlarm", with(simple, obj{"AlarmName": "more"}))
	s.must("PutMetricAlarm", with(simple, obj{"AlarmName": "0"}), nil) // replaces an existing one
	if err := s.do("b", "PutMetricAlarm", with(simple, obj{"AlarmName": "more"}), nil); err != nil {
		t.Errorf("another account: %v", err)
	}
	s = newService(t, 0)
	const large = 64
	store(large, strings.Repeat("x", maxAlarmBytes/large-100))
	s.refused(limitExceeded, "", "PutMetricAlarm", with(simple, obj{"AlarmName": "more"}))
	s.reopen(0)
	s.refused(limitExceeded, "", "PutMetricAlarm", with(simple, obj{"AlarmName": "more"}))
	s.must("PutMetricAlarm", with(simple, obj{"AlarmName": "0"}), nil) // makes room
	s.must("PutMetricAlarm", with(simple, obj{"AlarmName": "more"}), nil)
	s = newService(t, 0)
	var metrics []obj
	for i := range maxAlarmMetrics + 1 {
		metrics = append(metrics, obj{"Id": fmt.Sprint("m", i), "ReturnData": i == 0, "MetricStat": obj{"Metric": obj{"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}})
	}
	s.refused(awserr.Validation, "up to 10 metrics", "PutMetricAlarm", alarmOn("many", metrics...))
	s.must("PutMetricAlarm", alarmOn("many", metrics[:maxAlarmMetrics]...), nil)
	for _, c := range []struct{ period, periods int }{{60, 1441}, {3600, 169}, {86400, 8}, {60, 1 << 40}, {1 << 40 * 60, 1}} {
		s.refused(awserr.Validation, "Metrics cannot be checked across more than", "PutMetricAlarm", with(simple, obj{"AlarmName": "long", "Period": c.period, "EvaluationPeriods": c.periods}))
	}
	s.must("PutMetricAlarm", with(simple, obj{"AlarmName": "week", "Period": 3600, "EvaluationPeriods": 168}), nil)
	// The latest history entries stay, and those of other accounts.
	if err := s.do("b", "PutMetricAlarm", with(simple, obj{"AlarmName": "one"}), nil); err != nil {
		t.Fatal(err)
	}
	var items []historyItem
	for i := range maxHistory + historySlack {
		items = append(items, historyItem{Account: "a", Region: "us-east-1", Alarm: "x", Time: began.UnixMilli() + int64(i), Type: "Action", Data: json.RawMessage("{}")})
	}
	if err := s.update(t.Context(), func(txn *registry.Txn) error { return s.putHistory(txn, items...) }); err != nil {
		t.Fatal(err)
	}
	s.tickMinutes(1)
	count := func(account string) (n int) {
		r, err := s.db.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := kv.Each(t.Context(), r, kv.Prefix(keyspace.AlarmHistory(account, "us-east-1")), func(_, _ []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count("a"); n != maxHistory {
		t.Errorf("%d items of history, want %d", n, maxHistory)
	}
	if n := count("b"); n != 1 {
		t.Errorf("%d items of another account's history, want 1", n)
	}
	var page struct {
		AlarmHistoryItems []obj
		NextToken         string
	}
	s.must("DescribeAlarmHistory", obj{"MaxRecords": 1}, &page)
	if err := s.do("b", "DescribeAlarmHistory", obj{"NextToken": page.NextToken}, nil); err == nil {
		t.Error("another account's token is accepted")
	}
}

// interrupted is a store whose transactions fail once their request has ended, as over a network.
type interrupted struct{ kv.Store }

func (s interrupted) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.Store.Begin(ctx, opt)
}

// TestReportsArePending: when a client goes while its request collects, the next request stores what was measured.
func TestReportsArePending(t *testing.T) {
	store, err := pebblekv.Open(pebblekv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	measured := []metric.Report{{Account: "a", Region: "r", Table: "tbl", Time: now, Contributors: []metric.Contributor{{Key: "k", Count: 7}}, Total: 7, Distinct: 1}}
	s, err := New(t.Context(), Options{KV: interrupted{store}, Coordinator: cluster.NewSolo(t.Context(), nil), Now: func() time.Time { return now },
		Source: func(_ func(metric.Datum), report func(metric.Report)) {
			for _, r := range measured {
				report(r)
			}
			measured = nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Collect(gone); !errors.Is(err, context.Canceled) {
		t.Fatalf("Collect: %v", err)
	}
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := store.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	if err := kv.Each(t.Context(), r, kv.Prefix(keyspace.AllContributorReports()), func(_, _ []byte) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d reports are stored: %v", n, err)
	}
}
