// Package cloudwatch keeps metrics and serves CloudWatch's API: statistics, metric math, alarms, and the reports of Contributor
// Insights.
//
// It knows nothing of DynamoDB: metrics come from a Source, and from PutMetricData. Only Tick evaluates alarms, once for each minute of
// the clock, so tests run through days in seconds.
//
//	store.go             metrics at rest: points by resolution, rolled up as they age
//	metrics.go           PutMetricData, ListMetrics, GetMetricStatistics
//	get_metric_data.go   GetMetricData: queries, their plan, and pages of results
//	math*.go             metric math: parse, check, evaluate within a budget
//	alarms.go            alarms and their API; evaluate.go decides their states; history.go records changes
//	insights.go          reports of the most accessed and most throttled keys
//	prometheus.go        the same measurements for a Prometheus server
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

	dto "github.com/prometheus/client_model/go"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// Options configure a Service.
type Options struct {
	Coordinator cluster.Coordinator
	KV          kv.Store
	Now         func() time.Time
	// Namespace returns the account and region whose metrics a caller uses.
	Namespace func(smithy.Caller) (account, region string)
	// Source passes everything measured since its last call to emit and report; nil if nothing is measured.
	Source func(emit func(metric.Datum), report func(metric.Report))
	// Gather returns further metrics for Prometheus; nil for none.
	Gather func() ([]*dto.MetricFamily, error)
	// MaxMetrics bounds the metrics that the clients of an account may create, counting each unit; 0 means DefaultMaxMetrics.
	MaxMetrics int
	// Logger gets panics of background work; it may be nil.
	Logger *slog.Logger
	// Rules returns the Contributor Insights rules of an account and region; nil if there are none.
	Rules func(account, region string) []metric.Rule
}

// Service executes CloudWatch's operations. The mutexes collecting, mu and ticking guard the fields that follow them.
type Service struct {
	Options
	metrics *store
	alarms  *registry.Set[Alarm]

	collecting sync.Mutex
	pending    []metric.Datum    // not stored yet, because the store failed
	reports    []metric.Report   // likewise
	totals     map[string]*Total // sums of the Source's metrics since the start
	began      int64             // the minute in which this process started
	// earlier caches what previous processes have stored for that minute, by key: see keepReports.
	earlier map[string]metric.Report

	mu      sync.Mutex        // held during every change of alarms and their history
	items   uint32            // history entries of this process: makes their keys unique
	written map[[2]string]int // history entries per account and region since the last trim

	ticking sync.Mutex
	ticked  int64  // last minute that was evaluated
	rolled  int64  // hour of the last start of a roll-up
	rolling []byte // key at which the roll-up continues; nil if it is complete

	// act executes an alarm's action: see OnAction.
	act func(ctx context.Context, a *Alarm, action string, at time.Time) error
}

// DefaultMaxMetrics is the default of Options.MaxMetrics. AWS has no such quota; it charges for each metric instead.
const DefaultMaxMetrics = 50_000

// New returns a Service with the alarms and metrics that the store has.
func New(ctx context.Context, opt Options) (*Service, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	metrics := openStore(opt.KV, cmp.Or(opt.MaxMetrics, DefaultMaxMetrics))
	s := &Service{Options: opt, metrics: metrics, totals: map[string]*Total{}, written: map[[2]string]int{}}
	s.began, s.earlier = opt.Now().Unix()/60, map[string]metric.Report{}
	opt.Coordinator.Watch(keyspace.Metrics(), seriesWatcher{metrics})
	var err error
	s.alarms, err = registry.Open[Alarm](ctx, registry.Storage{Coordinator: opt.Coordinator, KV: opt.KV}, registry.Alarms)
	return s, errors.Join(err, s.Begin(ctx))
}

// maxMissed is how many of the minutes in which no server ran are evaluated afterwards: a day.
const maxMissed = 24 * 60

// Begin makes Tick continue behind the last minute that any server has evaluated. A server calls it when it takes over the job.
func (s *Service) Begin(ctx context.Context) error {
	s.ticking.Lock()
	defer s.ticking.Unlock()
	raw, err := kv.ReadLatest(ctx, s.KV, keyspace.EvaluatedMinute())
	if err != nil {
		return err
	}
	now := s.Now().Unix() / 60
	if len(raw) != 8 {
		return s.evaluated(ctx, now) // no server has ever run
	}
	s.ticked = max(s.ticked, min(now, max(int64(binary.BigEndian.Uint64(raw)), now-maxMissed)))
	return nil
}

// evaluated records that a minute was evaluated.
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

// Operations returns all operations, sorted by name.
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
	return access.Guard(list, "cloudwatch:", s.Now, s.questions)
}

// Missing returns the targets of operations in AWS's model that this package lacks.
func (s *Service) Missing() []string { return smithy.Missing(api.CloudWatchOperations, s.Operations()) }

// maxPending and maxReports bound the data and reports kept in memory while the store fails. The oldest are dropped.
const (
	maxPending = 100_000
	maxReports = 10_000
)

// Collect stores everything measured since the last call.
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
	// The Source doesn't repeat what fails to be stored now, because the store fails or the client of this request goes: keep it.
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

// last returns the last n elements of a list.
func last[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

// Total is the sum of a metric of the Source since the start.
type Total struct {
	metric.ID
	Unit string
	Set  metric.Set
	Last float64 // average of the latest values, for metrics that are levels
	at   int64   // last measured, in seconds since 1970
}

const (
	// maxTotals bounds the Totals. Beyond it, those not measured for totalKept are dropped: they belong to deleted tables, which
	// clients may create and delete without limit.
	maxTotals = 20_000
	totalKept = 15 * time.Minute
)

// total adds data to the Totals.
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

// Totals visits the sum of each metric of the Source since the start, without aggregates.
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

// maxCatchUp is how many minutes are evaluated one by one after a jump of the clock; earlier ones are skipped.
const maxCatchUp = 7 * 24 * 60

// Tick collects, and then evaluates the alarms and calls each for every minute that has ended since the last call.
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
		// A failed minute is not repeated: some of its actions have been executed.
		if err := errors.Join(s.evaluate(ctx, at), each(ctx, at), s.evaluated(ctx, next)); err != nil {
			return err
		}
	}
	// Clean up, and begin a roll-up, once an hour. Each Tick then does a part of the roll-up.
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

// rollAtATime is how many metrics one Tick rolls up, so that alarms don't wait for all of them.
const rollAtATime = 256

// historyKept is how long the alarm history is kept ("DescribeAlarmHistory").
const historyKept = 30 * 24 * time.Hour

// clean removes expired history and reports.
func (s *Service) clean(ctx context.Context, now time.Time) error {
	if err := s.cleanHistory(ctx, now.Add(-historyKept)); err != nil {
		return err
	}
	return s.cleanReports(ctx, now.Add(-retention[1].keep))
}

func invalid(message string) error { return awserr.New(invalidValue, message) }

// timeOf converts a timestamp in seconds. Timestamps outside the years 1 to 9999 are clamped.
func timeOf(seconds float64) time.Time {
	const first, last = -62135596800, 253402300799
	if math.IsNaN(seconds) {
		seconds = 0
	}
	return time.UnixMilli(int64(math.Round(min(max(seconds, first), last) * 1000)))
}

// metricID returns the ID of a metric in a request.
func (s *Service) metricID(call *smithy.Call, namespace, name string, dimensions []api.Dimension) metric.ID {
	account, region := s.Namespace(call.Caller)
	return newID(account, region, namespace, name, dimensions)
}

// newID makes an ID whose strings outlive the request.
func newID(account, region, namespace, name string, dimensions []api.Dimension) metric.ID {
	id := metric.ID{Account: clone(account), Region: clone(region), Namespace: clone(namespace), Name: clone(name)}
	for _, d := range dimensions {
		id.Dimensions = append(id.Dimensions, metric.Dimension{Name: clone(d.Name.Value), Value: clone(d.Value.Value)})
	}
	sortDimensions(id.Dimensions)
	return id
}
