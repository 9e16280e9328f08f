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
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/protocol"
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
	KV          kv.Store
	Coordinator cluster.Coordinator
	Now         func() time.Time
	// Namespace returns the account and region whose targets a caller manages.
	Namespace func(smithy.Caller) (account, region string)
	Tables    Tables
	Watch     Watch
	Logger    *slog.Logger // gets panics of background work; may be nil
}

// Service executes Application Auto Scaling's operations.
type Service struct {
	Options

	mu         sync.Mutex // held during every change; take it with lock
	targets    map[Resource]*target
	policies   map[policyID]*policy
	actions    map[policyID]*scheduled
	activities map[Resource][]*activity // the latest last

	stale stale
}

// policyID identifies a policy or scheduled action of a resource.
type policyID struct {
	Resource
	name string
}

// New returns a Service with the records that the store has.
func New(ctx context.Context, opt Options) (*Service, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		Options: opt, targets: map[Resource]*target{}, policies: map[policyID]*policy{}, actions: map[policyID]*scheduled{},
		activities: map[Resource][]*activity{},
	}
	opt.Coordinator.Watch(keyspace.AllScalingRecords(), &s.stale)
	snap, err := opt.KV.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	prefix := keyspace.AllScalingRecords()
	err = kv.Each(ctx, snap, kv.Range{Start: prefix, End: keyspace.PrefixEnd(prefix)}, s.keep)
	return s, err
}

// keep adds a stored record to memory. s.mu is held.
func (s *Service) keep(key, val []byte) error {
	read := map[byte]func([]byte) error{
		kindTarget: decodeInto(func(t *target) { s.targets[t.Resource] = t }),
		kindPolicy: decodeInto(func(p *policy) { s.policies[policyID{p.Resource, p.Name}] = p }),
		kindAction: decodeInto(func(a *scheduled) { s.actions[policyID{a.Resource, a.Name}] = a }),
		kindActivity: decodeInto(func(a *activity) {
			list := slices.DeleteFunc(s.activities[a.Resource], func(b *activity) bool { return b.ActivityID == a.ActivityID })
			list = append(list, a)
			slices.SortStableFunc(list, func(a, b *activity) int { return int(a.Start - b.Start) })
			s.activities[a.Resource] = list
		}),
	}[key[1]]
	if read == nil {
		return nil
	}
	if err := read(val); err != nil {
		return fmt.Errorf("auto scaling record %q: %w", key, err)
	}
	return nil
}

// drop removes the record with a key from memory. s.mu is held.
func (s *Service) drop(key []byte) {
	gone := func(kind byte, r Resource, name string) bool { return bytes.Equal(key, record(kind, &r, name)) }
	maps.DeleteFunc(s.targets, func(r Resource, _ *target) bool { return gone(kindTarget, r, "") })
	maps.DeleteFunc(s.policies, func(id policyID, _ *policy) bool { return gone(kindPolicy, id.Resource, id.name) })
	maps.DeleteFunc(s.actions, func(id policyID, _ *scheduled) bool { return gone(kindAction, id.Resource, id.name) })
	for r, list := range s.activities {
		s.activities[r] = slices.DeleteFunc(list, func(a *activity) bool { return gone(kindActivity, r, a.ActivityID) })
	}
}

// stale are keys that other servers have changed since s.mu was last taken. Its own mutex is essential: the holder of s.mu may be waiting
// for all servers to acknowledge a change of a table, so acknowledging a change must not wait for s.mu.
type stale struct {
	mu   sync.Mutex
	keys [][]byte
}

// Freeze implements cluster.Watcher.
func (s *stale) Freeze([]byte) {}

// Reload implements cluster.Watcher.
func (s *stale) Reload(_ context.Context, key []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
	return nil
}

// take empties the list and returns it.
func (s *stale) take() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := s.keys
	s.keys = nil
	return keys
}

// lock takes s.mu and rereads the records that other servers have changed.
func (s *Service) lock() {
	s.mu.Lock()
	for _, key := range s.stale.take() {
		if err := s.refresh(key); err != nil {
			_ = s.stale.Reload(context.Background(), key) // the next caller of lock retries
		}
	}
}

// refresh rereads a record. s.mu is held.
func (s *Service) refresh(key []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	val, err := kv.ReadLatest(ctx, s.KV, key)
	if err != nil {
		return err
	}
	if val == nil {
		s.drop(key)
		return nil
	}
	return s.keep(key, val)
}

// decodeInto returns a function that decodes a T and passes it to keep.
func decodeInto[T any](keep func(*T)) func([]byte) error {
	return func(raw []byte) error {
		v := new(T)
		if err := json.Unmarshal(raw, v); err != nil {
			return err
		}
		keep(v)
		return nil
	}
}

// Kinds of records. They are part of the storage format.
const (
	kindTarget   = 't'
	kindPolicy   = 'p'
	kindAction   = 's'
	kindActivity = 'y'
)

// record returns the key of a record.
func record(kind byte, r *Resource, name string) []byte {
	return keyspace.ScalingRecord(kind, r.Account, r.Region, r.ID+"\x00"+r.Dimension+"\x00"+name)
}

// put stores a record.
func (s *Service) put(ctx context.Context, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return kv.Update(ctx, s.KV, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Put(key, raw) })
}

// remove deletes records from the store.
func (s *Service) remove(ctx context.Context, keys ...[]byte) error {
	return kv.Update(ctx, s.KV, kv.TxnOpt{}, func(txn kv.Txn) error {
		for _, key := range keys {
			if err := txn.Delete(key, 0); err != nil {
				return err
			}
		}
		return nil
	})
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

// countIf counts the keys of a map that keep accepts.
func countIf[K comparable, V any](all map[K]V, keep func(K) bool) (n int) {
	for key := range all {
		if keep(key) {
			n++
		}
	}
	return n
}

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
	return list
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
	r := Resource{Account: strings.Clone(account), Region: strings.Clone(region), ID: strings.Clone(id), Dimension: strings.Clone(dimension)}
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

// filter selects the resources that a request lists.
type filter struct {
	account, region string
	namespace, id   string
	dimension       smithy.Opt[string]
}

func (s *Service) filter(call *smithy.Call, namespace, id string, dimension smithy.Opt[string]) (filter, error) {
	account, region := s.Namespace(call.Caller)
	if dimension.Set && id == "" {
		return filter{}, invalid("If you specify a scalable dimension, you must also specify a resource ID")
	}
	return filter{account, region, namespace, id, dimension}, nil
}

// has reports whether the filter selects a resource.
func (f *filter) has(r *Resource) bool {
	return f.namespace == "dynamodb" && r.Account == f.account && r.Region == f.region && (f.id == "" || r.ID == f.id) &&
		(!f.dimension.Set || r.Dimension == f.dimension.Value)
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

// list returns a page of the values of a map that keep accepts, sorted by name.
func list[K comparable, V any](all map[K]V, keep func(V) bool, name func(V) string, given smithy.Opt[string], size smithy.Opt[int64], most int64) ([]V, smithy.Opt[string], error) {
	var out []V
	for _, v := range all {
		if keep(v) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b V) int { return strings.Compare(name(a), name(b)) })
	return page(out, name, given, size, most)
}

// page returns the part of a list behind the token, with as many elements as requested, at most most. It also returns the next token.
func page[T any](all []T, name func(T) string, given smithy.Opt[string], size smithy.Opt[int64], most int64) (out []T, next smithy.Opt[string], err error) {
	limit, err := pageSize(size, most)
	if err != nil {
		return nil, next, err
	}
	if given.Set {
		i := slices.IndexFunc(all, func(v T) bool { return token(name(v)) == given.Value })
		if i < 0 {
			return nil, next, awserr.New(invalidToken, "The next token is not valid.")
		}
		all = all[i+1:]
	}
	if int64(len(all)) > limit {
		all = all[:limit]
		next = smithy.Some(token(name(all[limit-1])))
	}
	return all, next, nil
}
