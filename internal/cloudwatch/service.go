// Package cloudwatch keeps metrics and serves CloudWatch's API: statistics, metric math, alarms, and the reports of
// Contributor Insights.
//
// It knows nothing of DynamoDB: metrics come from a Source, and from PutMetricData. Time moves only by Tick, which evaluates
// alarms once for each minute.
package cloudwatch

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
)

// Options configure a Service.
type Options struct {
	Fleet cluster.Fleet
	KV    kv.Store
	Now   func() time.Time
	// Namespace says whose metrics a caller's are.
	Namespace func(smithy.Caller) (account, region string)
	// Source calls its arguments for what was measured since the last time; nil for nothing.
	Source func(emit func(metric.Datum), report func(metric.Report))
	// MaxMetrics is how many metrics the clients of an account may put, each unit counted; 0 is DefaultMaxMetrics.
	MaxMetrics int
	// Logger gets panics in the background; it may be nil.
	Logger *slog.Logger
	// Rules returns the Contributor Insights rules of an account; nil for none.
	Rules func(account, region string) []metric.Rule
}

// Service executes CloudWatch's operations.
type Service struct {
	Options
	metrics *store

	collecting sync.Mutex
	pending    []metric.Datum    // that could not be stored
	reports    []metric.Report   // likewise
	totals     map[string]*Total // of what the Source said, since the start
	began      int64             // the minute
	earlier    map[string]metric.Report

	mu      sync.Mutex // of the alarms
	alarms  map[alarmID]*Alarm
	items   uint32            // of the history in this process
	written map[[2]string]int // items by account and region, since they were trimmed

	ticking sync.Mutex
	ticked  int64  // the last minute that was evaluated
	rolled  int64  // the last hour in which points began to be rolled up
	rolling []byte // where that goes on; nil if it is done

	// act is called for an alarm's actions.
	act func(ctx context.Context, a *Alarm, action string, at time.Time) error
}

// DefaultMaxMetrics is how many metrics the clients of an account may put. AWS has no quota for custom metrics, but a price.
const DefaultMaxMetrics = 50_000

// New returns a Service with what the store has.
func New(ctx context.Context, opt Options) (*Service, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	metrics := openStore(opt.KV, cmp.Or(opt.MaxMetrics, DefaultMaxMetrics))
	s := &Service{Options: opt, metrics: metrics, totals: map[string]*Total{}, alarms: map[alarmID]*Alarm{}, written: map[[2]string]int{}}
	s.began, s.earlier = opt.Now().Unix()/60, map[string]metric.Report{}
	opt.Fleet.Watch(keyspace.Metrics(), seriesWatcher{metrics})
	opt.Fleet.Watch(keyspace.Alarms(), alarmWatcher{s})
	return s, errors.Join(s.loadAlarms(ctx), s.Begin(ctx))
}

// maxMissed is how many minutes, in which no server ran, are evaluated when one begins to.
const maxMissed = 24 * 60

// Begin makes the minutes that Tick evaluates begin behind the last one that was evaluated by any server.
func (s *Service) Begin(ctx context.Context) error {
	s.ticking.Lock()
	defer s.ticking.Unlock()
	raw, err := kv.ReadLatest(ctx, s.KV, keyspace.EvaluatedMinute())
	if err != nil {
		return err
	}
	now := s.Now().Unix() / 60
	if len(raw) != 8 {
		return s.evaluated(ctx, now) // the first server begins
	}
	s.ticked = max(s.ticked, min(now, max(int64(binary.BigEndian.Uint64(raw)), now-maxMissed)))
	return nil
}

// evaluated stores that a minute was evaluated.
func (s *Service) evaluated(ctx context.Context, minute int64) error {
	s.ticked = minute
	return kv.Update(ctx, s.KV, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		return txn.Put(keyspace.EvaluatedMinute(), binary.BigEndian.AppendUint64(nil, uint64(minute)))
	})
}

// Codes of CloudWatch's errors.
const (
	invalidValue       awserr.Code = "InvalidParameterValueException"
	invalidCombination awserr.Code = "InvalidParameterCombinationException"
	missingParameter   awserr.Code = "MissingRequiredParameterException"
	invalidToken       awserr.Code = "InvalidNextToken"
	notFound           awserr.Code = "ResourceNotFound"
	resourceNotFound   awserr.Code = "ResourceNotFoundException"
	limitExceeded      awserr.Code = "LimitExceededFault"
)

var (
	errThrottled = awserr.New(awserr.Throttling, "Rate exceeded")
	errToken     = awserr.New(invalidToken, "The value for parameter NextToken is invalid.")
)

// API describes CloudWatch to package httpd.
var API = &protocol.Service{
	Name:         "GraniteServiceVersion20100801",
	SigningName:  "monitoring",
	ContentType:  "application/x-amz-json-1.0",
	Namespace:    "com.amazonaws.cloudwatch.v2010_08_01#",
	Version:      "2010-08-01",
	XMLNamespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
	Schema:       &api.Schema,
	Errors: map[awserr.Code]protocol.ErrorInfo{
		invalidValue:               {QueryCode: "InvalidParameterValue"},
		invalidCombination:         {QueryCode: "InvalidParameterCombination"},
		missingParameter:           {QueryCode: "MissingParameter"},
		notFound:                   {QueryCode: "ResourceNotFound", Status: 404},
		resourceNotFound:           {QueryCode: "ResourceNotFoundException", Status: 404},
		limitExceeded:              {QueryCode: "LimitExceeded"},
		awserr.Throttling:          {QueryCode: "Throttling"},
		awserr.Validation:          {QueryCode: "ValidationError"},
		awserr.InternalServerError: {QueryCode: "InternalServiceError", Status: 500},
		awserr.UnknownOperation:    {QueryCode: "InvalidAction"},
	},
}

// Operations returns every operation that there is, sorted by name.
func (s *Service) Operations() []smithy.Handler {
	list := []smithy.Handler{
		smithy.Bind(api.DeleteAlarms, s.deleteAlarms),
		smithy.Bind(api.DescribeAlarmHistory, s.describeAlarmHistory),
		smithy.Bind(api.DescribeAlarms, s.describeAlarms),
		smithy.Bind(api.DescribeAlarmsForMetric, s.describeAlarmsForMetric),
		smithy.Bind(api.DescribeInsightRules, s.describeInsightRules),
		smithy.Bind(api.DisableAlarmActions, s.disableAlarmActions),
		smithy.Bind(api.EnableAlarmActions, s.enableAlarmActions),
		smithy.Bind(api.GetInsightRuleReport, s.getInsightRuleReport),
		smithy.Bind(api.GetMetricData, s.getMetricData),
		smithy.Bind(api.GetMetricStatistics, s.getMetricStatistics),
		smithy.Bind(api.ListMetrics, s.listMetrics),
		smithy.Bind(api.ListTagsForResource, s.listTagsForResource),
		smithy.Bind(api.PutMetricAlarm, s.putMetricAlarm),
		smithy.Bind(api.PutMetricData, s.putMetricData),
		smithy.Bind(api.SetAlarmState, s.setAlarmState),
		smithy.Bind(api.TagResource, s.tagResource),
		smithy.Bind(api.UntagResource, s.untagResource),
	}
	for i := range list {
		list[i].Service, list[i].Settles = API.Name, true
	}
	return list
}

// Missing returns the targets of the operations that the model has and Stator has not.
func (s *Service) Missing() []string { return smithy.Missing(api.CloudWatchOperations, s.Operations()) }

// maxPending and maxReports are how many data and reports are kept while they can't be stored.
const (
	maxPending = 100_000
	maxReports = 10_000
)

// Collect stores what was measured since the last time.
func (s *Service) Collect(ctx context.Context) error {
	if s.Source == nil {
		return nil
	}
	s.collecting.Lock()
	defer s.collecting.Unlock()
	var data []metric.Datum
	var reports []metric.Report
	s.Source(func(d metric.Datum) { data = append(data, d) }, func(r metric.Report) { reports = append(reports, r) })
	s.total(data)
	// The Source does not say again what is not stored now: the store may fail, or the client go whose request this is.
	data, s.reports = last(append(s.pending, data...), maxPending), last(append(s.reports, reports...), maxReports)
	var err error
	if s.pending, err = s.metrics.add(ctx, data); err != nil {
		return err
	}
	if err := s.keepReports(ctx, s.reports); err != nil {
		return err
	}
	s.reports = nil
	return nil
}

// last returns the last elements of a list, n at most.
func last[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

// Total is what a metric of the Source has added up to since the start.
type Total struct {
	metric.ID
	Unit string
	Set  metric.Set
	Last float64 // the average of the latest values, for metrics that are levels
	at   int64   // when it was measured last, in seconds since 1970
}

const (
	// maxTotals is how many Totals there are: with more, those that were not measured for totalKept go, which are of tables that were
	// deleted. Clients make and delete tables as they like.
	maxTotals = 20_000
	totalKept = 15 * time.Minute
)

func (s *Service) total(data []metric.Datum) {
	for i := range data {
		d := &data[i]
		if d.Aggregate {
			continue
		}
		key := seriesKey(&d.ID, d.Unit)
		t := s.totals[key]
		if t == nil {
			t = &Total{ID: d.ID, Unit: d.Unit}
			s.totals[key] = t
		}
		t.Set.Add(&d.Set)
		t.Last, t.at = d.Set.Average(), s.Now().Unix()
	}
	if before := s.Now().Add(-totalKept).Unix(); len(s.totals) > maxTotals {
		maps.DeleteFunc(s.totals, func(_ string, t *Total) bool { return t.at < before })
	}
}

// Totals calls visit for everything that the Source has measured since the start, but for aggregates.
func (s *Service) Totals(ctx context.Context, visit func(*Total)) error {
	if err := s.Collect(ctx); err != nil {
		return err
	}
	s.collecting.Lock()
	defer s.collecting.Unlock()
	for _, t := range s.totals {
		visit(t)
	}
	return nil
}

// maxCatchUp is how many minutes are evaluated one by one when the clock was moved; earlier ones are left out.
const maxCatchUp = 7 * 24 * 60

// Tick collects, and evaluates the alarms for each minute that has ended since the last time; then it calls each for the minute.
func (s *Service) Tick(ctx context.Context, each func(ctx context.Context, at time.Time) error) error {
	s.ticking.Lock()
	defer s.ticking.Unlock()
	if err := s.Collect(ctx); err != nil {
		return err
	}
	now := s.Now()
	for minute := now.Unix() / 60; s.ticked < minute; {
		next := max(s.ticked+1, minute-maxCatchUp)
		at := time.Unix(next*60, 0)
		// A minute that fails is not evaluated again: some of it has happened.
		if err := errors.Join(s.evaluate(ctx, at), each(ctx, at), s.evaluated(ctx, next)); err != nil {
			return err
		}
	}
	if hour := now.Unix() / 3600; s.rolled != hour && s.rolling == nil {
		s.rolled, s.rolling = hour, keyspace.Metrics()
		if err := s.clean(ctx, now); err != nil {
			return err
		}
	}
	if err := s.trimHistory(ctx); err != nil {
		return err
	}
	if s.rolling == nil {
		return nil
	}
	var err error
	s.rolling, err = s.metrics.rollPage(ctx, now, s.rolling, rollAtATime)
	return err
}

// rollAtATime is how many metrics a Tick rolls up, so that alarms do not wait for many of them.
const rollAtATime = 256

// historyKept is how long the alarms' history is kept ("DescribeAlarmHistory").
const historyKept = 30 * 24 * time.Hour

// clean removes what is too old.
func (s *Service) clean(ctx context.Context, now time.Time) error {
	if err := s.cleanHistory(ctx, now.Add(-historyKept)); err != nil {
		return err
	}
	return s.cleanReports(ctx, now.Add(-retention[1].keep))
}

func invalid(message string) error { return awserr.New(invalidValue, message) }

// timeOf returns the time of a timestamp; one beyond the year 9999 or before 1 is one of then.
func timeOf(seconds float64) time.Time {
	const first, last = -62135596800, 253402300799
	if math.IsNaN(seconds) {
		seconds = 0
	}
	return time.UnixMilli(int64(math.Round(min(max(seconds, first), last) * 1000)))
}

// metricID returns the ID of a metric that a request names.
func (s *Service) metricID(call *smithy.Call, namespace, name string, dimensions []api.Dimension) metric.ID {
	account, region := s.Namespace(call.Caller)
	return newID(account, region, namespace, name, dimensions)
}

// newID makes an ID whose strings live longer than a request.
func newID(account, region, namespace, name string, dimensions []api.Dimension) metric.ID {
	id := metric.ID{Account: clone(account), Region: clone(region), Namespace: clone(namespace), Name: clone(name)}
	for _, d := range dimensions {
		id.Dimensions = append(id.Dimensions, metric.Dimension{Name: clone(d.Name.Value), Value: clone(d.Value.Value)})
	}
	sortDimensions(id.Dimensions)
	return id
}
