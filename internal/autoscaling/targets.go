package autoscaling

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// target is a scalable target. Targets are immutable: a change replaces the whole value. The JSON form is the stored one.
type target struct {
	Resource
	Min, Max  int64
	Role      string
	Created   int64 // milliseconds since 1970, like the other times
	Suspended suspension
	Tags      map[string]string `json:",omitempty"`

	// LastOut and LastIn are when a policy last scaled.
	LastOut int64 `json:",omitempty"`
	LastIn  int64 `json:",omitempty"`
	// Refused is when DynamoDB last refused a change.
	Refused int64 `json:",omitempty"`
}

// suspension says which kinds of scaling are suspended.
type suspension struct{ In, Out, Scheduled bool }

// arn returns the target's Amazon Resource Name. Like AWS's, it reveals nothing of the resource's name.
func (r *Resource) arn() string {
	sum := sha256.Sum256([]byte(r.ID + r.Dimension))
	return arnPrefix(r.Region, r.Account) + hex.EncodeToString(sum[:17])
}

// arnPrefix returns what the ARNs of an account's targets begin with.
func arnPrefix(region, account string) string {
	return "arn:aws:application-autoscaling:" + region + ":" + account + ":scalable-target/"
}

// serviceRole returns the role that AWS uses for all tables. It has no effect here.
func (r *Resource) serviceRole() string {
	return "arn:aws:iam::" + r.Account + ":role/aws-service-role/dynamodb.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_DynamoDBTable"
}

// registerScalableTarget creates or changes a target. Capacity outside of its bounds is corrected at once.
func (s *Service) registerScalableTarget(ctx context.Context, call *smithy.Call, in *api.RegisterScalableTargetRequest) (*api.RegisterScalableTargetResponse, error) {
	r, err := s.resource(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension.Value)
	if err != nil {
		return nil, err
	}
	if _, exists := s.Tables.Capacity(&r); !exists {
		if _, index := r.Table(); index != "" {
			return nil, invalid("DynamoDB index does not exist: %s", r.ID)
		}
		return nil, invalid("DynamoDB table does not exist: %s", r.ID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.targets.Get(r.record(""))
	if old == nil && (!in.MinCapacity.Set || !in.MaxCapacity.Set) {
		return nil, invalid("MinCapacity and MaxCapacity are required to register a new scalable target")
	}
	if old == nil && len(s.targets.List(r.Account, r.Region)) >= maxTargets {
		return nil, errLimit
	}
	next := &target{Resource: r, Role: r.serviceRole(), Created: s.Now().UnixMilli()}
	if old != nil {
		*next = *old
	}
	next.Min, next.Max = in.MinCapacity.Or(next.Min), in.MaxCapacity.Or(next.Max)
	switch {
	case next.Min < 1:
		return nil, invalid("Minimum capacity must be greater than or equal to 1")
	case next.Min > next.Max:
		return nil, invalid("Maximum capacity cannot be less than minimum capacity")
	}
	if susp := in.SuspendedState; susp != nil {
		next.Suspended.In = susp.DynamicScalingInSuspended.Or(next.Suspended.In)
		next.Suspended.Out = susp.DynamicScalingOutSuspended.Or(next.Suspended.Out)
		next.Suspended.Scheduled = susp.ScheduledScalingSuspended.Or(next.Suspended.Scheduled)
	}
	if in.Tags != nil {
		if old != nil {
			return nil, invalid("Tags can only be specified when a scalable target is registered. Use TagResource for one that is registered already")
		}
		if next.Tags, err = addTags(nil, in.Tags); err != nil {
			return nil, err
		}
	}
	if err := s.targets.Put(ctx, r.record(""), next); err != nil {
		return nil, err
	}
	if err := s.enforceBounds(ctx, r); err != nil {
		return nil, err
	}
	return &api.RegisterScalableTargetResponse{ScalableTargetARN: smithy.Some(r.arn())}, nil
}

func (s *Service) deregisterScalableTarget(ctx context.Context, call *smithy.Call, in *api.DeregisterScalableTargetRequest) (*api.DeregisterScalableTargetResponse, error) {
	r, err := s.resource(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension.Value)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets.Get(r.record("")) == nil {
		return nil, notRegistered(&r)
	}
	return &api.DeregisterScalableTargetResponse{}, s.forget(ctx, r)
}

// forget removes a target with its policies and scheduled actions. s.mu is held.
func (s *Service) forget(ctx context.Context, r Resource) error {
	policies, actions := s.policies.Under(r.record("")), s.actions.Under(r.record(""))
	for _, p := range policies {
		if err := s.Watch.RemoveAlarms(ctx, r.Account, r.Region, p.alarmNames()); err != nil {
			return err
		}
	}
	return registry.Update(ctx, s.Records.KV, kv.TxnOpt{}, func(txn *registry.Txn) error {
		err := s.targets.RemoveIn(txn, r.record(""))
		for _, p := range policies {
			err = errors.Join(err, s.policies.RemoveIn(txn, p.record(p.Name)))
		}
		for _, a := range actions {
			err = errors.Join(err, s.actions.RemoveIn(txn, a.record(a.Name)))
		}
		return err
	})
}

func (s *Service) describeScalableTargets(_ context.Context, call *smithy.Call, in *api.DescribeScalableTargetsRequest) (*api.DescribeScalableTargetsResponse, error) {
	if in.ScalableDimension.Set && in.ResourceIds == nil {
		return nil, invalid("If you specify a scalable dimension, you must also specify a resource ID")
	}
	f := filter{in.ServiceNamespace.Value, "", in.ScalableDimension}
	named := setOf(in.ResourceIds)
	found, next, err := page(s.targets.List(s.Namespace(call.Caller)), func(t *target) bool {
		return f.has(&t.Resource) && named(t.ID)
	}, func(t *target) string { return t.ID + " " + t.Dimension }, in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeScalableTargetsResponse{ScalableTargets: []api.ScalableTarget{}, NextToken: next}
	for _, t := range found {
		out.ScalableTargets = append(out.ScalableTargets, api.ScalableTarget{
			ServiceNamespace: smithy.Some("dynamodb"), ResourceId: smithy.Some(t.ID), ScalableDimension: smithy.Some(t.Dimension),
			MinCapacity: smithy.Some(t.Min), MaxCapacity: smithy.Some(t.Max), RoleARN: smithy.Some(t.Role),
			CreationTime: smithy.Some(float64(t.Created) / 1000), ScalableTargetARN: smithy.Some(t.arn()),
			SuspendedState: &api.SuspendedState{
				DynamicScalingInSuspended: smithy.Some(t.Suspended.In), DynamicScalingOutSuspended: smithy.Some(t.Suspended.Out),
				ScheduledScalingSuspended: smithy.Some(t.Suspended.Scheduled),
			},
		})
	}
	return out, nil
}

// maxTags bounds the tags of a target.
const maxTags = 50

// addTags returns tags with more added or replaced.
func addTags(tags map[string]string, more smithy.Map[string]) (map[string]string, error) {
	if tags == nil {
		tags = map[string]string{}
	}
	for _, t := range more {
		if strings.HasPrefix(t.Key, "aws:") {
			return nil, invalid("Tag keys must not start with aws:")
		}
		tags[t.Key] = t.Value
	}
	if len(tags) > maxTags {
		return nil, awserr.New(tooManyTags, "A resource can have at most 50 tags")
	}
	return tags, nil
}

// tagged returns the target with an ARN.
func (s *Service) tagged(call *smithy.Call, arn string) (*target, error) {
	account, region := s.Namespace(call.Caller)
	for _, t := range s.targets.List(account, region) {
		if t.arn() == arn {
			return t, nil
		}
	}
	return nil, awserr.New(resourceNotFound, "The specified resource doesn't exist: "+arn)
}

// change changes the target with an ARN.
func (s *Service) change(ctx context.Context, call *smithy.Call, arn string, change func(*target) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.tagged(call, arn)
	if err != nil {
		return err
	}
	_, err = s.targets.Change(ctx, t.record(""), change)
	return err
}

func (s *Service) tagResource(ctx context.Context, call *smithy.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	return &api.TagResourceResponse{}, s.change(ctx, call, in.ResourceARN.Value, func(t *target) (err error) {
		t.Tags, err = addTags(t.Tags, in.Tags)
		return err
	})
}

func (s *Service) untagResource(ctx context.Context, call *smithy.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	return &api.UntagResourceResponse{}, s.change(ctx, call, in.ResourceARN.Value, func(t *target) error {
		for _, key := range in.TagKeys {
			delete(t.Tags, key)
		}
		return nil
	})
}

func (s *Service) listTagsForResource(_ context.Context, call *smithy.Call, in *api.ListTagsForResourceRequest) (*api.ListTagsForResourceResponse, error) {
	t, err := s.tagged(call, in.ResourceARN.Value)
	if err != nil {
		return nil, err
	}
	out := &api.ListTagsForResourceResponse{Tags: smithy.Map[string]{}}
	for _, key := range slices.Sorted(maps.Keys(t.Tags)) {
		out.Tags.Put(key, t.Tags[key])
	}
	return out, nil
}
