package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/statordb/stator/internal/autoscaling"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cloudwatch"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/registry"
)

// scaledTables implements autoscaling.Tables by DynamoDB's operations, so that scaling follows the same rules as UpdateTable.
type scaledTables struct{ ops *ops.Service }

// Capacity implements autoscaling.Tables. A resource covers either reads or writes.
func (s scaledTables) Capacity(r *autoscaling.Resource) (units int64, exists bool) {
	table, index := r.Table()
	p, exists := s.ops.Capacity(catalog.Namespace{Account: r.Account, Region: r.Region}, table, index)
	if r.Writes() {
		return p.Write, exists
	}
	return p.Read, exists
}

// SetCapacity implements autoscaling.Tables. UpdateTable sets reads and writes together, so the other direction keeps its
// value.
func (s scaledTables) SetCapacity(ctx context.Context, r *autoscaling.Resource, units int64) error {
	ns := catalog.Namespace{Account: r.Account, Region: r.Region}
	table, index := r.Table()
	p, _ := s.ops.Capacity(ns, table, index)
	if r.Writes() {
		p.Write = units
	} else {
		p.Read = units
	}
	return s.ops.SetCapacity(ctx, ns, table, index, p)
}

// watch implements autoscaling.Watch by CloudWatch.
type watch struct{ *cloudwatch.Service }

// PutAlarm implements autoscaling.Watch. Alarms of scaling policies require all periods to breach (Datapoints equals Periods).
func (w watch) PutAlarm(ctx context.Context, account, region string, a *autoscaling.AlarmInfo) error {
	comparison := "GreaterThanThreshold"
	if a.Less {
		comparison = "LessThanThreshold"
	}
	return w.Service.PutAlarm(ctx, &cloudwatch.Alarm{
		Account: account, Region: region, Name: a.Name, Description: a.Description, AlarmActions: []string{a.Action},
		Metric: &a.Metric, Stat: a.Stat, Period: a.Period, Periods: a.Periods, Datapoints: a.Periods, Threshold: a.Threshold,
		Comparison: comparison, Strict: a.Strict,
	})
}

// Alarm implements autoscaling.Watch.
func (w watch) Alarm(account, region, name string) *autoscaling.AlarmInfo {
	return alarmInfo(w.Service.Alarm(account, region, name))
}

// WithAction implements autoscaling.Watch. It leaves out alarms on expressions, which have no single metric to scale by.
func (w watch) WithAction(account, region, action string) (out []*autoscaling.AlarmInfo) {
	for _, a := range w.Service.WithAction(account, region, action) {
		if a.Metric != nil {
			out = append(out, alarmInfo(a))
		}
	}
	return out
}

// Read implements autoscaling.Watch.
func (w watch) Read(ctx context.Context, id *metric.ID, stat string, from, to time.Time, period int64) ([]float64, error) {
	return w.Values(ctx, id, stat, from, to, period)
}

// alarmInfo reduces an alarm to what auto scaling needs; nil stays nil.
func alarmInfo(a *cloudwatch.Alarm) *autoscaling.AlarmInfo {
	if a == nil {
		return nil
	}
	out := &autoscaling.AlarmInfo{
		Name: a.Name, ARN: a.ARN(), Stat: a.Stat, Period: a.Period, Threshold: a.Threshold, Periods: a.Periods, Strict: a.Strict,
		Description: a.Description, Ringing: a.State == cloudwatch.StateAlarm,
	}
	if a.Metric != nil {
		out.Metric = *a.Metric
	}
	return out
}

// errNoAction fails an alarm action that is not a scaling policy of the alarm's account and region.
var errNoAction = errors.New("actions of this kind are not supported by this endpoint")

// openServices opens CloudWatch and auto scaling, and connects them: policies create alarms, and alarms trigger policies.
func openServices(ctx context.Context, opt cloudwatch.Options, tables *ops.Service) (*cloudwatch.Service, *autoscaling.Service, error) {
	metrics, err := cloudwatch.New(ctx, opt)
	if err != nil {
		return nil, nil, err
	}
	scaling, err := autoscaling.New(ctx, autoscaling.Options{
		Records: registry.Storage{Coordinator: opt.Coordinator, KV: opt.KV}, Now: opt.Now, Namespace: opt.Namespace,
		Tables: scaledTables{tables}, Watch: watch{metrics}, Logger: opt.Logger,
	})
	if err != nil {
		return nil, nil, err
	}
	metrics.OnAction(func(_ context.Context, a *cloudwatch.Alarm, action string, _ time.Time) error {
		// An alarm must neither scale another account's tables nor reveal whether that account has a policy, so both cases give
		// the same error.
		if !strings.HasPrefix(action, "arn:aws:autoscaling:"+a.Region+":"+a.Account+":") || !scaling.OnAlarm(action) {
			return errNoAction
		}
		return nil
	})
	return metrics, scaling, nil
}
