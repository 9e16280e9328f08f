package autoscaling

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/smithy"
)

// activity is a change of a target's capacity or bounds, or the reason why there was none. The JSON form is the stored one.
type activity struct {
	Resource
	ActivityID           string
	Start                int64 // milliseconds since 1970
	Description, Cause   string
	Status, Message      string
	NotScaled            string `json:",omitempty"` // code of the reason why nothing was scaled
	Current, Least, Most int64  `json:",omitempty"` // capacity and bounds at that time
}

// activitiesKept is how long activities are kept ("DescribeScalingActivities": six weeks).
const activitiesKept = 6 * 7 * 24 * time.Hour

// maxActivities is how many of a resource's latest activities are kept. An account has activities of up to maxTargets resources.
const maxActivities = 100

// newActivity returns an activity that begins at a time.
func newActivity(r *Resource, at time.Time) *activity {
	return &activity{Resource: *r, ActivityID: uuid.NewString(), Start: at.UnixMilli()}
}

// note stores an activity. s.mu is held.
func (s *Service) note(ctx context.Context, a *activity) error {
	if err := s.put(ctx, record(kindActivity, &a.Resource, a.ActivityID), a); err != nil {
		return err
	}
	list := append(s.activities[a.Resource], a)
	s.activities[a.Resource] = list
	if len(list) <= maxActivities {
		return nil
	}
	return s.forgetActivities(ctx, a.Resource, len(list)-maxActivities)
}

// forgetActivities removes the n oldest activities of a resource. s.mu is held.
func (s *Service) forgetActivities(ctx context.Context, r Resource, n int) error {
	list := s.activities[r]
	var keys [][]byte
	for _, a := range list[:n] {
		keys = append(keys, record(kindActivity, &r, a.ActivityID))
	}
	if err := s.remove(ctx, keys...); err != nil {
		return err
	}
	if s.activities[r] = slices.Clone(list[n:]); n == len(list) {
		delete(s.activities, r)
	}
	return nil
}

// notScaled records that a policy could not scale, once until another activity follows.
func (s *Service) notScaled(ctx context.Context, t *target, units int64, reason, cause string, at time.Time) error {
	list := s.activities[t.Resource]
	if reason == "" || len(list) > 0 && list[len(list)-1].NotScaled == reason {
		return nil
	}
	a := newActivity(&t.Resource, at)
	a.Description, a.Cause = "Attempting to scale due to alarm triggered", cause
	a.Status, a.NotScaled, a.Current, a.Least, a.Most = "Unfulfilled", reason, units, t.Min, t.Max
	return s.note(ctx, a)
}

// trim removes expired activities. s.mu is held.
func (s *Service) trim(ctx context.Context, now time.Time) error {
	before := now.Add(-activitiesKept).UnixMilli()
	for r, list := range s.activities {
		n := 0
		for n < len(list) && list[n].Start < before {
			n++
		}
		if n == 0 {
			continue
		}
		if err := s.forgetActivities(ctx, r, n); err != nil {
			return err
		}
	}
	return s.trimResources(ctx)
}

// trimResources bounds the number of resources with activities per account: tables come and go, and their activities stay. It removes those
// of the resources that were scaled least recently.
func (s *Service) trimResources(ctx context.Context) error {
	byAccount := map[string][]Resource{}
	for r := range s.activities {
		byAccount[r.Account] = append(byAccount[r.Account], r)
	}
	for _, list := range byAccount {
		if len(list) <= maxTargets {
			continue
		}
		latest := func(r Resource) int64 { some := s.activities[r]; return some[len(some)-1].Start }
		slices.SortFunc(list, func(a, b Resource) int { return cmp.Compare(latest(a), latest(b)) })
		for _, r := range list[:len(list)-maxTargets] {
			if err := s.forgetActivities(ctx, r, len(s.activities[r])); err != nil {
				return err
			}
		}
	}
	return nil
}

// describeScalingActivities lists activities, the latest first. Those that record why nothing was scaled are listed only on request.
func (s *Service) describeScalingActivities(_ context.Context, call *smithy.Call, in *api.DescribeScalingActivitiesRequest) (*api.DescribeScalingActivitiesResponse, error) {
	f, err := s.filter(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	s.lock()
	defer s.mu.Unlock()
	var list []*activity
	for r, some := range s.activities {
		if !f.has(&r) {
			continue
		}
		for i := len(some) - 1; i >= 0; i-- { // the latest first
			if a := some[i]; a.NotScaled == "" || in.IncludeNotScaledActivities.Value {
				list = append(list, a)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *activity) int { return cmp.Compare(b.Start, a.Start) })
	list, next, err := page(list, func(a *activity) string { return a.ActivityID }, in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeScalingActivitiesResponse{ScalingActivities: []api.ScalingActivity{}, NextToken: next}
	for _, a := range list {
		at := smithy.Some(float64(a.Start) / 1000)
		r := api.ScalingActivity{
			ActivityId: smithy.Some(a.ActivityID), ServiceNamespace: smithy.Some("dynamodb"), ResourceId: smithy.Some(a.ID),
			ScalableDimension: smithy.Some(a.Dimension), Description: smithy.Some(a.Description), Cause: smithy.Some(a.Cause),
			StartTime: at, EndTime: at, StatusCode: smithy.Some(a.Status), StatusMessage: smithy.Opt[string]{Value: a.Message, Set: a.Message != ""},
		}
		if a.NotScaled != "" {
			reason := api.NotScaledReason{Code: smithy.Some(a.NotScaled), CurrentCapacity: smithy.Some(a.Current)}
			if a.NotScaled == "AlreadyAtMaxCapacity" {
				reason.MaxCapacity = smithy.Some(a.Most)
			} else {
				reason.MinCapacity = smithy.Some(a.Least)
			}
			r.NotScaledReasons = []api.NotScaledReason{reason}
		}
		out.ScalingActivities = append(out.ScalingActivities, r)
	}
	return out, nil
}
