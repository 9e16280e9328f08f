package abuse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

var mathAttacks = []Attack{
	{Point: 1, Name: "a stored alarm whose math ends the process", Needs: Needs{Clock: true}, Run: mathAlarm},
	{Point: 1, Name: "every function of metric math with wrong arguments", Needs: Needs{Clock: true}, Work: 20 * time.Second, Run: mathFunctions},
	{Point: 1, Name: "metric math nested 10,000 deep", Needs: Needs{Clock: true}, Run: mathDepth},
}

// alarm returns the request for an alarm on an expression.
func alarm(name, expression string) string {
	return fmt.Sprintf(`{"AlarmName":%q,"ComparisonOperator":"GreaterThanThreshold","EvaluationPeriods":1,"Threshold":1,"Metrics":[{"Id":"e1","Expression":%s,"Period":60}]}`, name, quote(expression))
}

// mathAlarm stores alarms whose evaluation once crashed the process, advances the clock, and does so again after a restart.
func mathAlarm(ctx context.Context, t *Target) error {
	var failed error
	for i, e := range []string{
		`SORT([TIME_SERIES(1)],"IF","ASC")`, `SORT([TIME_SERIES(1)],"SORT","ASC")`, `SORT([TIME_SERIES(1)],"METRICS","ASC",1)`,
		`SORT([TIME_SERIES(1)],"FILL","DESC",-1)`, `SORT([TIME_SERIES(1)],"SLICE","ASC")`, `SLICE([TIME_SERIES(1)],5,-1)`,
		`SORT([TIME_SERIES(1)],"TIME_SERIES","ASC")`, `SORT([TIME_SERIES(1)],"","")`, `IF()`, `FILL(TIME_SERIES(1))`,
	} {
		r := t.Call(ctx, Alice, cloudWatch+"PutMetricAlarm", alarm(fmt.Sprint("a", i), e))
		failed = errors.Join(failed, r.Taken(e))
	}
	return errors.Join(failed, evaluate(t), t.Restart(), evaluate(t))
}

// evaluate advances the clock so that alarms are evaluated.
func evaluate(t *Target) error {
	for range 3 {
		if err := errors.Join(t.Advance(time.Minute), t.Alive()); err != nil {
			return err
		}
	}
	return nil
}

// functions are those of "Using math expressions with CloudWatch metrics", and some names that aren't functions.
var functions = strings.Fields(`ABS ANOMALY_DETECTION_BAND AVG CEIL DATAPOINT_COUNT DAY DATE DB_PERF_INSIGHTS DIFF DIFF_TIME EPOCH FILL FIRST FLOOR HOUR IF
	INSIGHT_RULE_METRIC LAMBDA LAST LOG LOG10 MAX METRICS METRIC_COUNT MIN MINUTE MONTH PERIOD RATE REMOVE_EMPTY RUNNING_SUM SEARCH SERVICE_QUOTA
	SLICE SORT STDDEV SUM TIME_SERIES YEAR NOT sum _ 1`)

var arguments = []string{`1`, `-1`, `0.5`, `1e308`, `9223372036854775808`, `""`, `"IF"`, `"ASC"`, `"{AWS/DynamoDB,TableName} x"`, `m1`, `e1`, `nothing`,
	`[]`, `[1]`, `["x"]`, `[m1]`, `[m1,m1]`, `[[m1]]`, `[TIME_SERIES(1)]`, `TIME_SERIES(1)`, `METRICS()`, `METRICS("m")`, `IF`, `REPEAT`, `LINEAR`}

// mathFunctions calls every function with various numbers and kinds of arguments, in queries and in alarms.
func mathFunctions(ctx context.Context, t *Target) error {
	random := rand.New(rand.NewPCG(1, 1))
	now := time.Now().Unix()
	var failed error
	r := t.Call(ctx, Alice, cloudWatch+"PutMetricData", fmt.Sprintf(`{"Namespace":"abuse","MetricData":[{"MetricName":"m","Value":1,"Timestamp":%d},{"MetricName":"m","Value":2,"Timestamp":%d}]}`, now-120, now-60))
	failed = errors.Join(failed, r.Is("PutMetricData", "ok"))
	query := func(e string) {
		r := t.Call(ctx, Alice, cloudWatch+"GetMetricData", fmt.Sprintf(`{"StartTime":%d,"EndTime":%d,"MetricDataQueries":[{"Id":"m1","MetricStat":{"Metric":{"Namespace":"abuse","MetricName":"m"},"Period":60,"Stat":"Sum"}},{"Id":"e1","Expression":%s,"Period":60}]}`, now-600, now, quote(e)))
		failed = errors.Join(failed, r.Taken(e))
	}
	alarms := 0
	for _, f := range functions {
		query(f)
		query(f + "()")
		query(`SORT([TIME_SERIES(1),m1],"` + f + `","ASC")`)
		query("SORT(METRICS()," + f + ",DESC,1)")
		for _, a := range arguments {
			query(f + "(" + a + ")")
		}
		for n := range 60 {
			args := make([]string, 2+n%4)
			for i := range args {
				args[i] = arguments[random.IntN(len(arguments))]
			}
			e := f + "(" + strings.Join(args, ",") + ")"
			query(e)
			if n%6 == 0 {
				r := t.Call(ctx, Alice, cloudWatch+"PutMetricAlarm", alarm(fmt.Sprint("a", alarms), strings.ReplaceAll(e, "m1", "TIME_SERIES(1)")))
				failed = errors.Join(failed, r.Taken(e))
				alarms++
			}
		}
		if ctx.Err() != nil || failed != nil {
			break
		}
	}
	return errors.Join(failed, evaluate(t))
}

// mathDepth sends deep and long expressions, within the model's 2,048 characters and beyond.
func mathDepth(ctx context.Context, t *Target) error {
	var failed error
	for _, size := range []int{10_000, 500} {
		for i, e := range []string{
			strings.Repeat("ABS(", size) + "1" + strings.Repeat(")", size), strings.Repeat("(", size), strings.Repeat("[", size), strings.Repeat("-", size) + "1",
			"1" + strings.Repeat("+1", size), "1" + strings.Repeat("^1", size), strings.Repeat("IF(1,1,", size), strings.Repeat("SORT([", size), strings.Repeat(`"`, size),
			"SUM([TIME_SERIES(1)" + strings.Repeat(",TIME_SERIES(1)", size/10) + "])", "[" + strings.Repeat("TIME_SERIES(1),", size/10),
		} {
			r := t.Call(ctx, Alice, cloudWatch+"PutMetricAlarm", alarm(fmt.Sprint("deep", i), e))
			failed = errors.Join(failed, r.Taken(e[:20]))
			r = t.Call(ctx, Alice, cloudWatch+"GetMetricData", fmt.Sprintf(`{"StartTime":0,"EndTime":600,"MetricDataQueries":[{"Id":"e1","Expression":%s,"Period":60}]}`, quote(e)))
			failed = errors.Join(failed, r.Taken(e[:20]))
		}
	}
	return errors.Join(failed, evaluate(t))
}
