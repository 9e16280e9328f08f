// Package autoscaling is Application Auto Scaling for DynamoDB's tables and GSIs: its API, and the loop that scales.
//
// It knows tables only through the interface Tables, and CloudWatch only through Watch. Everything happens in Step, once for each minute of
// the clock, so tests run through days in seconds.
//
//	targets.go     scalable targets: what may be scaled, and between which bounds
//	policies.go    scaling policies: target tracking and step scaling
//	schedule.go    scheduled actions
//	scale.go       the loop: what alarms and schedules ask for becomes new capacity
//	activities.go  the record of what was scaled, and why
//
// Source: "Managing throughput capacity automatically with DynamoDB auto scaling", Application Auto Scaling's API Reference.
package autoscaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// Resource is the read or the write capacity of a table or GSI.
type Resource struct {
	Account, Region string
	ID              string // table/NAME or table/NAME/index/NAME
	Dimension       string // e.g. dynamodb:table:ReadCapacityUnits
}

// Table returns the names of the table and the GSI; index is "" for the table itself.
func (r *Resource) Table() (table, index string) {
	parts := strings.Split(r.ID, "/")
	if len(parts) == 4 {
		return parts[1], parts[3]
	}
	return parts[1], ""
}

// Writes reports whether the resource is write capacity.
func (r *Resource) Writes() bool { return strings.HasSuffix(r.Dimension, ":WriteCapacityUnits") }

// kind returns Read or Write, as in names of metrics.
func (r *Resource) kind() string {
	if r.Writes() {
		return "Write"
	}
	return "Read"
}

// Tables gives access to what is scaled.
type Tables interface {
	// Capacity returns the provisioned units per second, 0 for on-demand tables. exists is false if there is no such table or GSI.
	Capacity(r *Resource) (units int64, exists bool)
	// SetCapacity changes the provisioned units per second. Users see its error.
	SetCapacity(ctx context.Context, r *Resource, units int64) error
}

// AlarmInfo is an alarm from a policy's point of view.
type AlarmInfo struct {
	Name, ARN string
	Metric    metric.ID
	Stat      string
	Period    int64 // seconds
	Threshold float64
	Less      bool // the alarm goes off below its threshold
	Periods   int64
	// Strict alarms go off only if all their datapoints are there.
	Strict bool
	// Description and Action are for creating an alarm.
	Description, Action string
	Ringing             bool // the alarm is in state ALARM
}

// Watch gives access to alarms and metrics.
type Watch interface {
	PutAlarm(ctx context.Context, account, region string, a *AlarmInfo) error
	RemoveAlarms(ctx context.Context, account, region string, names []string) error
	// Alarm returns the alarm with a name, or nil.
	Alarm(account, region, name string) *AlarmInfo
	// WithAction returns the alarms that execute an action.
	WithAction(account, region, action string) []*AlarmInfo
	// Read returns a statistic for each period of [from, to) that has data. period is in seconds.
	Read(ctx context.Context, id *metric.ID, stat string, from, to time.Time, period int64) ([]float64, error)
}

// Options configure a Service.
type Options struct {
	Records registry.Storage
	Now     func() time.Time
	// Namespace returns the account and region whose targets a caller manages.
	Namespace func(smithy.Caller) (account, region string)
	Tables    Tables
	Watch     Watch
	Logger    *slog.Logger // gets panics of background work; may be nil
}

// Service executes Application Auto Scaling's operations.
type Service struct {
	Options

	mu         sync.Mutex // held during every change and Step, even while a table's change waits for other servers
	targets    *registry.Set[target]
	policies   *registry.Set[policy]
	actions    *registry.Set[scheduled]
	activities *registry.Set[activity]
}

// New returns a Service with the records that the store has.
func New(ctx context.Context, opt Options) (*Service, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Options: opt}
	var errs [4]error
	s.targets, errs[0] = registry.Open[target](ctx, opt.Records, registry.ScalableTargets)
	s.policies, errs[1] = registry.Open[policy](ctx, opt.Records, registry.ScalingPolicies)
	s.actions, errs[2] = registry.Open[scheduled](ctx, opt.Records, registry.ScheduledActions)
	s.activities, errs[3] = registry.Open[activity](ctx, opt.Records, registry.ScalingActivities)
	return s, errors.Join(errs[:]...)
}

// record returns the ID of the resource's record with a name. A target's name is empty. The IDs of all records of a resource begin with
// that of its target.
func (r *Resource) record(name string) registry.ID {
	return registry.ID{Account: r.Account, Region: r.Region, Name: r.ID + "\x00" + r.Dimension + "\x00" + name}
}

// Codes of Application Auto Scaling's errors.
const (
	objectNotFound   awserr.Code = "ObjectNotFoundException"
	resourceNotFound awserr.Code = "ResourceNotFoundException"
	invalidToken     awserr.Code = "InvalidNextTokenException"
	tooManyTags      awserr.Code = "TooManyTagsException"
)

// Quotas of an account in a region ("Quotas for Application Auto Scaling").
const (
	maxTargets  = 5000
	maxPolicies = 50  // per target
	maxActions  = 200 // per target
	maxSteps    = 20  // per step scaling policy
)

// errLimit is AWS's error for exceeding a quota.
var errLimit = awserr.New(awserr.LimitExceeded, "A per-account resource limit is exceeded. For more information, see Application Auto Scaling service quotas.")

// API describes Application Auto Scaling to package httpd.
var API = &protocol.Service{
	Name:        "AnyScaleFrontendService",
	SigningName: "application-autoscaling",
	ContentType: "application/x-amz-json-1.1",
	Errors: map[awserr.Code]protocol.ErrorInfo{
		awserr.InternalServerError: {QueryCode: "InternalServiceException", Status: 500},
	},
}

// Operations returns all operations, sorted by name.
func (s *Service) Operations() []smithy.Handler {
	list := []smithy.Handler{
		smithy.Bind(api.DeleteScalingPolicy, s.deleteScalingPolicy),
		smithy.Bind(api.DeleteScheduledAction, s.deleteScheduledAction),
		smithy.Bind(api.DeregisterScalableTarget, s.deregisterScalableTarget),
		smithy.Bind(api.DescribeScalableTargets, s.describeScalableTargets),
		smithy.Bind(api.DescribeScalingActivities, s.describeScalingActivities),
		smithy.Bind(api.DescribeScalingPolicies, s.describeScalingPolicies),
		smithy.Bind(api.DescribeScheduledActions, s.describeScheduledActions),
		smithy.Bind(api.ListTagsForResource, s.listTagsForResource),
		smithy.Bind(api.PutScalingPolicy, s.putScalingPolicy),
		smithy.Bind(api.PutScheduledAction, s.putScheduledAction),
		smithy.Bind(api.RegisterScalableTarget, s.registerScalableTarget),
		smithy.Bind(api.TagResource, s.tagResource),
		smithy.Bind(api.UntagResource, s.untagResource),
	}
	for i := range list {
		list[i].Service, list[i].Settles = API.Name, true
	}
	return access.Guard(list, "application-autoscaling:", s.Now, s.questions)
}

// Missing returns the targets of operations in AWS's model that this package lacks.
func (s *Service) Missing() []string {
	return smithy.Missing(api.AutoScalingOperations, s.Operations())
}

// invalid returns a ValidationException.
func invalid(format string, args ...any) error {
	return awserr.New(awserr.Validation, fmt.Sprintf(format, args...))
}

// resource checks and returns the resource that a request names.
func (s *Service) resource(call *smithy.Call, namespace, id, dimension string) (Resource, error) {
	account, region := s.Namespace(call.Caller)
	r := Resource{account, region, id, dimension}
	parts := strings.Split(id, "/")
	of := "table"
	if len(parts) == 4 {
		of = "index"
	}
	if namespace != "dynamodb" || parts[0] != "table" || len(parts) != 2 && (len(parts) != 4 || parts[2] != "index") ||
		!strings.HasPrefix(dimension, "dynamodb:"+of+":") || !strings.HasSuffix(dimension, "CapacityUnits") {
		return r, invalid("Unsupported service namespace, resource type or scalable dimension: %s %s %s", namespace, id, dimension)
	}
	return r, nil
}

// notRegistered is the error for a resource that isn't a scalable target.
func notRegistered(r *Resource) error {
	return awserr.New(objectNotFound, fmt.Sprintf("No scalable target registered for service namespace: dynamodb, resource ID: %s, scalable dimension: %s", r.ID, r.Dimension))
}

// filter selects the resources that a request lists, among those of its account and region.
type filter struct {
	namespace, id string
	dimension     smithy.Opt[string]
}

func newFilter(namespace, id string, dimension smithy.Opt[string]) (filter, error) {
	if dimension.Set && id == "" {
		return filter{}, invalid("If you specify a scalable dimension, you must also specify a resource ID")
	}
	return filter{namespace, id, dimension}, nil
}

// has reports whether the filter selects a resource.
func (f *filter) has(r *Resource) bool {
	return f.namespace == "dynamodb" && (f.id == "" || r.ID == f.id) && (!f.dimension.Set || r.Dimension == f.dimension.Value)
}

// pageSize checks a request's MaxResults, which must be between 1 and most, the default (the API reference of each operation).
func pageSize(given smithy.Opt[int64], most int64) (int64, error) {
	n := given.Or(most)
	switch {
	case n < 1:
		return 0, smithy.TooSmall("maxResults", n, 1)
	case n > most:
		return 0, smithy.TooLarge("maxResults", n, most)
	}
	return n, nil
}

// setOf returns a filter by name. A nil list accepts every name.
func setOf(names []string) func(name string) bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return func(name string) bool { return names == nil || set[name] }
}

// page returns a page of the records that keep accepts: as many as requested, at most most, after the one that the token names. next is
// the token of the following page.
func page[T any](all []*T, keep func(*T) bool, name func(*T) string, given smithy.Opt[string], size smithy.Opt[int64], most int64) (out []*T, next smithy.Opt[string], err error) {
	limit, err := pageSize(size, most)
	if err != nil {
		return nil, next, err
	}
	all = slices.DeleteFunc(all, func(v *T) bool { return !keep(v) })
	if given.Set {
		i := slices.IndexFunc(all, func(v *T) bool { return smithy.EncodeToken(name(v)) == given.Value })
		if i < 0 {
			return nil, next, awserr.New(invalidToken, "The next token is not valid.")
		}
		all = all[i+1:]
	}
	out, last := smithy.Page(all, limit, name)
	if last.Set {
		next = smithy.Some(smithy.EncodeToken(last.Value))
	}
	return out, next, nil
}
