package autoscaling

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
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
	return &activity{Resource: *r, ActivityID: uuid.Must(uuid.NewV7()).String(), Start: at.UnixMilli()}
}

// compare orders activities by time, and those of the same moment by ID: a server makes ascending IDs.
func (a *activity) compare(b *activity) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ActivityID, b.ActivityID))
}

// activitiesOf returns the activities of a resource, the earliest first.
func (s *Service) activitiesOf(r *Resource) []*activity {
	return slices.SortedFunc(slices.Values(s.activities.Under(r.record(""))), (*activity).compare)
}

// note stores an activity. s.mu is held.
func (s *Service) note(ctx context.Context, a *activity) error {
	if err := s.activities.Put(ctx, a.record(a.ActivityID), a); err != nil {
		return err
	}
	list := s.activitiesOf(&a.Resource)
	return s.forgetActivities(ctx, list[:max(0, len(list)-maxActivities)])
}

// forgetActivities removes activities. s.mu is held.
func (s *Service) forgetActivities(ctx context.Context, list []*activity) error {
	for some := range slices.Chunk(list, maxActivities) {
		err := registry.Update(ctx, s.Records.KV, kv.TxnOpt{}, func(txn *registry.Txn) (err error) {
			for _, a := range some {
				err = errors.Join(err, s.activities.RemoveIn(txn, a.record(a.ActivityID)))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// notScaled records that a policy could not scale, once until another activity follows.
func (s *Service) notScaled(ctx context.Context, t *target, units int64, reason, cause string, at time.Time) error {
	if reason == "" {
		return nil
	}
	if list := s.activitiesOf(&t.Resource); len(list) > 0 && list[len(list)-1].NotScaled == reason {
		return nil
	}
	a := newActivity(&t.Resource, at)
	a.Description, a.Cause = "Attempting to scale due to alarm triggered", cause
	a.Status, a.NotScaled, a.Current, a.Least, a.Most = "Unfulfilled", reason, units, t.Min, t.Max
	return s.note(ctx, a)
}

// trim removes expired activities, and those of the resources that were scaled least recently if an account has too many: tables come and
// go, and their activities stay. s.mu is held.
func (s *Service) trim(ctx context.Context, now time.Time) error {
	before := now.Add(-activitiesKept).UnixMilli()
	latest := map[Resource]int64{} // when a resource was last scaled
	byAccount := map[string][]Resource{}
	all := s.activities.All()
	for _, a := range all {
		if _, seen := latest[a.Resource]; !seen {
			byAccount[a.Account] = append(byAccount[a.Account], a.Resource)
		}
		latest[a.Resource] = max(latest[a.Resource], a.Start)
	}
	gone := map[Resource]bool{}
	for _, list := range byAccount {
		slices.SortFunc(list, func(a, b Resource) int { return cmp.Compare(latest[a], latest[b]) })
		for _, r := range list[:max(0, len(list)-maxTargets)] {
			gone[r] = true
		}
	}
	return s.forgetActivities(ctx, slices.DeleteFunc(all, func(a *activity) bool { return a.Start >= before && !gone[a.Resource] }))
}

// describeScalingActivities lists activities, the latest first. Those that record why nothing was scaled are listed only on request.
func (s *Service) describeScalingActivities(_ context.Context, call *smithy.Call, in *api.DescribeScalingActivitiesRequest) (*api.DescribeScalingActivitiesResponse, error) {
	f, err := newFilter(in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	all := s.activities.List(s.Namespace(call.Caller))
	slices.SortFunc(all, func(a, b *activity) int { return b.compare(a) })
	list, next, err := page(all, func(a *activity) bool {
		return f.has(&a.Resource) && (a.NotScaled == "" || in.IncludeNotScaledActivities.Value)
	}, func(a *activity) string { return a.ActivityID }, in.NextToken, in.MaxResults, 50)
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
