package abuse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

var metricAttacks = []Attack{
	{Point: 6, Name: "GetMetricData of 500 TIME_SERIES over 199,000 s", Work: 3 * time.Second, Run: timeSeries},
	{Point: 6, Name: "GetMetricData and GetMetricStatistics over all of time", Work: 3 * time.Second, Run: allOfTime},
	{Point: 6, Name: "150,000 metrics, then ListMetrics, /metrics and a restart", Work: 30 * time.Second, Run: manyMetrics},
	{Point: 6, Name: "5,000 alarms", Needs: Needs{Clock: true}, Work: 15 * time.Second, Run: manyAlarms},
}

func timeSeries(ctx context.Context, t *Target) error {
	now := time.Now().Unix()
	var queries []string
	for i := range 500 {
		queries = append(queries, fmt.Sprintf(`{"Id":"e%d","Expression":"TIME_SERIES(%d)","Period":1}`, i, i))
	}
	r := t.Call(ctx, Alice, cloudWatch+"GetMetricData", fmt.Sprintf(`{"StartTime":%d,"EndTime":%d,"MetricDataQueries":[%s]}`, now-199_000, now, strings.Join(queries, ",")))
	return r.Taken("500 TIME_SERIES")
}

// allOfTime requests periods and ranges at the limits.
func allOfTime(ctx context.Context, t *Target) error {
	var failed error
	for _, period := range []string{"1", "60", "86400", "0", "-60", "7", "2147483647", "9223372036854775807"} {
		for _, span := range []string{`"StartTime":0,"EndTime":4102444800`, `"StartTime":-1e18,"EndTime":1e18`, `"StartTime":4102444800,"EndTime":0`, `"StartTime":1e300,"EndTime":1e308`, `"StartTime":0.001,"EndTime":0.002`} {
			r := t.Call(ctx, Alice, cloudWatch+"GetMetricData", `{`+span+`,"MetricDataQueries":[{"Id":"e1","Expression":"SUM([TIME_SERIES(1)])","Period":`+period+`},{"Id":"m1","MetricStat":{"Metric":{"Namespace":"AWS/DynamoDB","MetricName":"ConsumedReadCapacityUnits"},"Period":`+period+`,"Stat":"Sum"}}]}`)
			failed = errors.Join(failed, r.Taken("GetMetricData "+period+" "+span))
			r = t.Call(ctx, Alice, cloudWatch+"GetMetricStatistics", `{`+span+`,"Namespace":"AWS/DynamoDB","MetricName":"ConsumedReadCapacityUnits","Statistics":["Sum"],"Period":`+period+`}`)
			failed = errors.Join(failed, r.Taken("GetMetricStatistics "+period+" "+span))
		}
	}
	return failed
}

// manyMetrics puts as many metrics as the server accepts. The cost of a page of them must not depend on their number, and a start must not
// read them all.
func manyMetrics(ctx context.Context, t *Target) error {
	n := 12_000
	if t.Long {
		n = 150_000
	}
	const each, few = 1000, 1000
	var failed error
	var fewCost time.Duration
	for i := 0; i < n && ctx.Err() == nil; i += each {
		if i == few {
			fewCost, failed = listCost(ctx, t)
		}
		var data []string
		for j := range each {
			data = append(data, fmt.Sprintf(`{"MetricName":"m%d","Dimensions":[{"Name":"d","Value":"%d"}],"Value":1}`, j%7, i+j))
		}
		r := t.Call(ctx, Alice, cloudWatch+"PutMetricData", `{"Namespace":"many","MetricData":[`+strings.Join(data, ",")+`]}`)
		if r.Status != http.StatusOK {
			failed = errors.Join(failed, r.Is("a bound on series", "Throttling", "ThrottlingException", "LimitExceeded", "LimitExceededException"))
			break
		}
	}
	cost, err := listCost(ctx, t)
	if failed = errors.Join(failed, err); cost > 3*fewCost+20*time.Millisecond {
		failed = errors.Join(failed, fmt.Errorf("a page of ListMetrics, a metric and /metrics cost %v with many metrics, %v with few", cost, fewCost))
	}
	if t.Long {
		return failed
	}
	if err := t.Restart(); err != nil {
		return errors.Join(failed, err)
	}
	if err := t.Idle(); err != nil {
		return errors.Join(failed, err)
	}
	if work := t.CPU(); work > 400*time.Millisecond {
		failed = errors.Join(failed, fmt.Errorf("a start with the metrics costs %v", work))
	}
	return failed
}

// listCost returns the CPU time of a page of ListMetrics, a single metric and /metrics together.
func listCost(ctx context.Context, t *Target) (time.Duration, error) {
	if err := t.Idle(); err != nil {
		return 0, err
	}
	const asks = 30
	var failed error
	token, start := "", t.CPU()
	for range asks {
		r := t.Call(ctx, Alice, cloudWatch+"ListMetrics", `{"Namespace":"many"`+token+`}`)
		failed = errors.Join(failed, r.Is("ListMetrics", "ok"))
		var page struct{ NextToken string }
		if err := json.Unmarshal(r.Body, &page); err != nil {
			return 0, errors.Join(failed, err)
		}
		if token = ""; page.NextToken != "" {
			token = `,"NextToken":` + quote(page.NextToken)
		}
		r = t.Call(ctx, Alice, cloudWatch+"ListMetrics", `{"Namespace":"many","MetricName":"m1","Dimensions":[{"Name":"d","Value":"1"}]}`)
		failed = errors.Join(failed, r.Is("ListMetrics of one", "ok"))
		r = reply(t.client.Get("http://" + t.Addr + "/metrics"))
		failed = errors.Join(failed, r.Is("/metrics", "ok"))
	}
	return (t.CPU() - start) / asks, failed
}

// manyAlarms stores alarms and has them evaluated.
func manyAlarms(ctx context.Context, t *Target) error {
	n := 500
	if t.Long {
		n = 5000
	}
	var failed error
	for i := range n {
		r := t.Call(ctx, Alice, cloudWatch+"PutMetricAlarm", alarm(fmt.Sprint("a", i), "SUM([TIME_SERIES(1),TIME_SERIES(2)])"))
		if failed = errors.Join(failed, r.Taken("PutMetricAlarm")); failed != nil || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed, evaluate(t))
}
