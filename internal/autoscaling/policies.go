package autoscaling

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

// policy is a scaling policy of one of two kinds. Policies are immutable: a change replaces the whole value. The JSON form is the stored
// one.
type policy struct {
	Resource
	Name     string
	UUID     string
	Created  int64     // milliseconds since 1970
	Tracking *tracking `json:",omitempty"`
	Step     *stepping `json:",omitempty"`
	// Broken says why the policy is not followed until it is replaced: following it has panicked. It is empty for a healthy policy.
	Broken string `json:",omitempty"`
}

// tracking is target tracking: it keeps a metric at a target.
type tracking struct {
	Target         float64
	Predefined     string     `json:",omitempty"` // type of the predefined metric
	Metric         *metric.ID `json:",omitempty"` // customized metric; nil for a predefined one
	Stat           string     `json:",omitempty"`
	Unit           string     `json:",omitempty"`
	OutCooldown    int64      // cooldowns, in seconds
	InCooldown     int64
	HasOut, HasIn  bool // whether the cooldowns were given
	DisableScaleIn bool
	// Alarms are the suffixes of the names of the policy's alarms. Units is the capacity for which their thresholds were computed.
	Alarms [4]string
	Units  int64
}

// stepping is step scaling: it changes the capacity depending on how far an alarm's metric is beyond its threshold.
type stepping struct {
	Adjustment  string
	Steps       []stepRange
	Magnitude   int64 // MinAdjustmentMagnitude
	Cooldown    int64 // in seconds
	HasCooldown bool
	Aggregation string
}

// stepRange is a step: the change By applies while the distance from the threshold is between Low and High.
type stepRange struct {
	Low, High float64
	By        int64
	HasLow    bool
	HasHigh   bool
}

// low returns the lower bound, minus infinity if it wasn't given.
func (r *stepRange) low() float64 {
	if r.HasLow {
		return r.Low
	}
	return math.Inf(-1)
}

// high returns the upper bound, infinity if it wasn't given.
func (r *stepRange) high() float64 {
	if r.HasHigh {
		return r.High
	}
	return math.Inf(1)
}

// arn returns the policy's Amazon Resource Name.
func (p *policy) arn() string {
	return "arn:aws:autoscaling:" + p.Region + ":" + p.Account + ":scalingPolicy:" + p.UUID + ":resource/dynamodb/" + p.ID + ":policyName/" + p.Name
}

// Kinds of alarms of target tracking.
const (
	alarmHigh = iota
	alarmLow
	alarmProvisionedHigh
	alarmProvisionedLow
)

// alarmKinds are the parts of alarm names that stand for their kinds.
var alarmKinds = [...]string{"AlarmHigh", "AlarmLow", "ProvisionedCapacityHigh", "ProvisionedCapacityLow"}

// alarmName returns the name of one of the policy's alarms.
func (p *policy) alarmName(kind int) string {
	return "TargetTracking-" + p.ID + "-" + alarmKinds[kind] + "-" + p.Tracking.Alarms[kind]
}

// alarmNames returns the names of all alarms that the policy has created.
func (p *policy) alarmNames() []string {
	if p.Tracking == nil {
		return nil
	}
	var out []string
	for kind := range alarmKinds {
		if p.hasAlarm(kind) {
			out = append(out, p.alarmName(kind))
		}
	}
	return out
}

// hasAlarm reports whether the policy has an alarm of the kind. With a customized metric it has none for provisioned capacity.
func (p *policy) hasAlarm(kind int) bool { return kind <= alarmLow || p.Tracking.Metric == nil }

// Bounds of the target for predefined metrics, in percent ("Managing throughput capacity automatically with DynamoDB auto scaling").
const (
	minUtilization = 20
	maxUtilization = 90
)

// putScalingPolicy creates or replaces a policy. A replaced target tracking policy keeps the names of its alarms.
func (s *Service) putScalingPolicy(ctx context.Context, call *smithy.Call, in *api.PutScalingPolicyRequest) (*api.PutScalingPolicyResponse, error) {
	r, err := s.resource(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension.Value)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets.Get(r.record("")) == nil {
		return nil, notRegistered(&r)
	}
	old, others := s.policies.Get(r.record(in.PolicyName.Value)), s.policies.Under(r.record(""))
	if old == nil && len(others) >= maxPolicies {
		return nil, errLimit
	}
	kind := in.PolicyType.Or(api.PolicyTypeStepscaling)
	next := &policy{Resource: r, Name: in.PolicyName.Value, UUID: uuid.NewString(), Created: s.Now().UnixMilli()}
	if old != nil {
		if (old.Tracking != nil) != (kind == api.PolicyTypeTargettrackingscaling) {
			return nil, invalid("The policy type of an existing policy cannot be changed")
		}
		next.UUID, next.Created = old.UUID, old.Created
	}
	switch kind {
	case api.PolicyTypeTargettrackingscaling:
		if in.TargetTrackingScalingPolicyConfiguration == nil {
			return nil, invalid("TargetTrackingScalingPolicyConfiguration is required for policy type TargetTrackingScaling")
		}
		if next.Tracking, err = newTracking(&r, in.TargetTrackingScalingPolicyConfiguration); err != nil {
			return nil, err
		}
		for _, p := range others {
			if p.Name != next.Name && p.Tracking != nil && p.Tracking.same(next.Tracking) {
				return nil, invalid("Only one TargetTrackingScaling policy for a given metric specification is allowed.")
			}
		}
	case api.PolicyTypeStepscaling:
		if in.StepScalingPolicyConfiguration == nil {
			return nil, invalid("StepScalingPolicyConfiguration is required for policy type StepScaling")
		}
		if next.Step, err = newStepping(in.StepScalingPolicyConfiguration); err != nil {
			return nil, err
		}
	default:
		return nil, invalid("Policy type %s is not supported for DynamoDB", kind)
	}
	if next.Tracking != nil {
		if old != nil {
			next.Tracking.Alarms = old.Tracking.Alarms
		} else {
			for i := range next.Tracking.Alarms {
				next.Tracking.Alarms[i] = uuid.NewString()
			}
		}
		// Alarms first: a stored policy without alarms wouldn't scale.
		if next.Tracking.Units, err = s.putAlarms(ctx, next); err != nil {
			return nil, err
		}
	}
	if err := s.policies.Put(ctx, next.record(next.Name), next); err != nil {
		return nil, err
	}
	return &api.PutScalingPolicyResponse{PolicyARN: smithy.Some(next.arn()), Alarms: s.alarmsOf(next)}, nil
}

// same reports whether both policies are about the same metric.
func (t *tracking) same(o *tracking) bool {
	if t.Metric == nil || o.Metric == nil {
		return t.Metric == nil && o.Metric == nil
	}
	return t.Metric.Key() == o.Metric.Key() && t.Stat == o.Stat
}

// newTracking checks a target tracking configuration.
func newTracking(r *Resource, in *api.TargetTrackingScalingPolicyConfiguration) (*tracking, error) {
	out := &tracking{
		Target: in.TargetValue.Value, DisableScaleIn: in.DisableScaleIn.Value,
		OutCooldown: in.ScaleOutCooldown.Value, InCooldown: in.ScaleInCooldown.Value, HasOut: in.ScaleOutCooldown.Set, HasIn: in.ScaleInCooldown.Set,
	}
	if err := checkCooldown(out.OutCooldown, out.InCooldown); err != nil {
		return nil, err
	}
	if math.IsInf(out.Target, 0) || math.IsNaN(out.Target) {
		return nil, invalid("TargetValue must be a number")
	}
	switch m := in.CustomizedMetricSpecification; {
	case in.PredefinedMetricSpecification != nil && m != nil:
		return nil, invalid("Only one of PredefinedMetricSpecification and CustomizedMetricSpecification can be specified")
	case m != nil:
		if m.Metrics != nil {
			return nil, invalid("Metrics of CustomizedMetricSpecification are not supported by this endpoint")
		}
		if !m.MetricName.Set || !m.Namespace.Set || !m.Statistic.Set {
			return nil, invalid("MetricName, Namespace and Statistic are required in CustomizedMetricSpecification")
		}
		if out.Target <= 0 {
			return nil, invalid("TargetValue must be greater than 0")
		}
		if err := checkMetric(m); err != nil {
			return nil, err
		}
		id := metric.ID{Account: r.Account, Region: r.Region, Namespace: m.Namespace.Value, Name: m.MetricName.Value}
		for _, d := range m.Dimensions {
			id.Dimensions = append(id.Dimensions, metric.Dimension{Name: d.Name.Value, Value: d.Value.Value})
		}
		// Metrics are identified by their dimensions in order of name.
		slices.SortFunc(id.Dimensions, func(a, b metric.Dimension) int { return strings.Compare(a.Name, b.Name) })
		out.Metric, out.Stat, out.Unit = &id, m.Statistic.Value, m.Unit.Value
	case in.PredefinedMetricSpecification != nil:
		want := "DynamoDB" + r.kind() + "CapacityUtilization"
		if given := in.PredefinedMetricSpecification.PredefinedMetricType.Value; given != want {
			return nil, invalid("Invalid predefined metric type %s for scalable dimension %s", given, r.Dimension)
		}
		if out.Target < minUtilization || out.Target > maxUtilization {
			return nil, invalid("Target value for a DynamoDB capacity utilization metric must be between %d.0 and %d.0", minUtilization, maxUtilization)
		}
		out.Predefined = want
	default:
		return nil, invalid("One of PredefinedMetricSpecification and CustomizedMetricSpecification is required")
	}
	return out, nil
}

// checkCooldown checks cooldowns in seconds. AWS keeps them in Java ints.
func checkCooldown(seconds ...int64) error {
	for _, n := range seconds {
		if n < 0 {
			return invalid("Cooldown must be greater than or equal to 0")
		}
		if n > math.MaxInt32 {
			return invalid("Cooldown must be less than or equal to %d", math.MaxInt32)
		}
	}
	return nil
}

// checkMetric checks the names of a customized metric against CloudWatch's bounds ("Dimension", "Metric").
func checkMetric(m *api.CustomizedMetricSpecification) error {
	if len(m.Dimensions) > 30 {
		return invalid("A metric can have at most 30 dimensions")
	}
	for _, d := range m.Dimensions {
		if len(d.Name.Value) > 255 || len(d.Value.Value) > 1024 {
			return invalid("The names of dimensions can have up to 255 characters, and their values 1024")
		}
	}
	if len(m.Namespace.Value) > 255 || len(m.MetricName.Value) > 255 || len(m.Unit.Value) > 255 {
		return invalid("Namespace, MetricName and Unit can have up to 255 characters")
	}
	return nil
}

// newStepping checks a step scaling configuration. Its steps must not overlap.
func newStepping(in *api.StepScalingPolicyConfiguration) (*stepping, error) {
	out := &stepping{
		Adjustment: in.AdjustmentType.Value, Magnitude: in.MinAdjustmentMagnitude.Value,
		Cooldown: in.Cooldown.Or(300), HasCooldown: in.Cooldown.Set, Aggregation: in.MetricAggregationType.Or("Average"),
	}
	if !in.AdjustmentType.Set || len(in.StepAdjustments) == 0 {
		return nil, invalid("AdjustmentType and StepAdjustments are required")
	}
	if len(in.StepAdjustments) > maxSteps {
		return nil, errLimit
	}
	if err := checkCooldown(out.Cooldown); err != nil {
		return nil, err
	}
	for _, a := range in.StepAdjustments {
		step := stepRange{
			Low: a.MetricIntervalLowerBound.Value, High: a.MetricIntervalUpperBound.Value, By: a.ScalingAdjustment.Value,
			HasLow: a.MetricIntervalLowerBound.Set, HasHigh: a.MetricIntervalUpperBound.Set,
		}
		if step.HasLow && math.IsInf(step.Low, 0) || step.HasHigh && math.IsInf(step.High, 0) {
			return nil, invalid("The bounds of a step adjustment must be numbers")
		}
		if step.low() >= step.high() || !step.HasLow && !step.HasHigh && len(in.StepAdjustments) > 1 {
			return nil, invalid("The lower bound of a step adjustment must be less than its upper bound")
		}
		for _, other := range out.Steps {
			if step.low() < other.high() && other.low() < step.high() {
				return nil, invalid("StepAdjustment intervals can't overlap")
			}
		}
		out.Steps = append(out.Steps, step)
	}
	return out, nil
}

// alarmsOf returns the alarms of a policy: those that it has created, or those that have its ARN as an action.
func (s *Service) alarmsOf(p *policy) []api.Alarm {
	out := []api.Alarm{}
	if p.Tracking == nil {
		for _, a := range s.Watch.WithAction(p.Account, p.Region, p.arn()) {
			out = append(out, api.Alarm{AlarmName: smithy.Some(a.Name), AlarmARN: smithy.Some(a.ARN)})
		}
		return out
	}
	for _, name := range p.alarmNames() {
		if a := s.Watch.Alarm(p.Account, p.Region, name); a != nil {
			out = append(out, api.Alarm{AlarmName: smithy.Some(a.Name), AlarmARN: smithy.Some(a.ARN)})
		}
	}
	return out
}

func (s *Service) deleteScalingPolicy(ctx context.Context, call *smithy.Call, in *api.DeleteScalingPolicyRequest) (*api.DeleteScalingPolicyResponse, error) {
	r, err := s.resource(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension.Value)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.record(in.PolicyName.Value)
	p := s.policies.Get(id)
	if p == nil {
		return nil, awserr.New(objectNotFound, "No scaling policy found for service namespace: dynamodb, resource ID: "+r.ID+", scalable dimension: "+r.Dimension+", policy name: "+in.PolicyName.Value)
	}
	if err := s.Watch.RemoveAlarms(ctx, r.Account, r.Region, p.alarmNames()); err != nil {
		return nil, err
	}
	return &api.DeleteScalingPolicyResponse{}, s.policies.Remove(ctx, id)
}

func (s *Service) describeScalingPolicies(_ context.Context, call *smithy.Call, in *api.DescribeScalingPoliciesRequest) (*api.DescribeScalingPoliciesResponse, error) {
	f, err := newFilter(in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	named := setOf(in.PolicyNames)
	found, next, err := page(s.policies.List(s.Namespace(call.Caller)), func(p *policy) bool {
		return f.has(&p.Resource) && named(p.Name)
	}, func(p *policy) string { return p.ID + " " + p.Dimension + " " + p.Name }, in.NextToken, in.MaxResults, 10)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeScalingPoliciesResponse{ScalingPolicies: []api.ScalingPolicy{}, NextToken: next}
	for _, p := range found {
		out.ScalingPolicies = append(out.ScalingPolicies, s.renderPolicy(p))
	}
	return out, nil
}

// renderPolicy returns a policy in the API's form.
func (s *Service) renderPolicy(p *policy) api.ScalingPolicy {
	out := api.ScalingPolicy{
		PolicyARN: smithy.Some(p.arn()), PolicyName: smithy.Some(p.Name), ServiceNamespace: smithy.Some("dynamodb"), ResourceId: smithy.Some(p.ID),
		ScalableDimension: smithy.Some(p.Dimension), Alarms: s.alarmsOf(p), CreationTime: smithy.Some(float64(p.Created) / 1000),
	}
	if t := p.Tracking; t != nil {
		c := &api.TargetTrackingScalingPolicyConfiguration{
			TargetValue:      smithy.Some(t.Target),
			ScaleOutCooldown: smithy.Opt[int64]{Value: t.OutCooldown, Set: t.HasOut}, ScaleInCooldown: smithy.Opt[int64]{Value: t.InCooldown, Set: t.HasIn},
			DisableScaleIn: smithy.Opt[bool]{Value: t.DisableScaleIn, Set: t.DisableScaleIn},
		}
		if t.Metric == nil {
			c.PredefinedMetricSpecification = &api.PredefinedMetricSpecification{PredefinedMetricType: smithy.Some(t.Predefined)}
		} else {
			m := &api.CustomizedMetricSpecification{
				MetricName: smithy.Some(t.Metric.Name), Namespace: smithy.Some(t.Metric.Namespace), Statistic: smithy.Some(t.Stat),
				Unit: smithy.Opt[string]{Value: t.Unit, Set: t.Unit != ""},
			}
			for _, d := range t.Metric.Dimensions {
				m.Dimensions = append(m.Dimensions, api.MetricDimension{Name: smithy.Some(d.Name), Value: smithy.Some(d.Value)})
			}
			c.CustomizedMetricSpecification = m
		}
		out.PolicyType, out.TargetTrackingScalingPolicyConfiguration = smithy.Some(api.PolicyTypeTargettrackingscaling), c
		return out
	}
	c := &api.StepScalingPolicyConfiguration{
		AdjustmentType: smithy.Some(p.Step.Adjustment), MetricAggregationType: smithy.Some(p.Step.Aggregation),
		MinAdjustmentMagnitude: smithy.Opt[int64]{Value: p.Step.Magnitude, Set: p.Step.Magnitude != 0},
		Cooldown:               smithy.Opt[int64]{Value: p.Step.Cooldown, Set: p.Step.HasCooldown},
	}
	for _, step := range p.Step.Steps {
		c.StepAdjustments = append(c.StepAdjustments, api.StepAdjustment{
			MetricIntervalLowerBound: smithy.Opt[float64]{Value: step.Low, Set: step.HasLow},
			MetricIntervalUpperBound: smithy.Opt[float64]{Value: step.High, Set: step.HasHigh}, ScalingAdjustment: smithy.Some(step.By),
		})
	}
	out.PolicyType, out.StepScalingPolicyConfiguration = smithy.Some(api.PolicyTypeStepscaling), c
	return out
}
