package ops

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

// ttlInterval is the minimum time between two changes of a table's TTL. The documentation says up to one hour ("UpdateTimeToLive"); AWS
// was seen to refuse a change after 1811 seconds and to take one after 1872.
const ttlInterval = 31 * time.Minute

// updateTimeToLive only changes the state. Package table builds or clears the TTL index in the background.
func (s *Service) updateTimeToLive(ctx context.Context, req *Request, in *api.UpdateTimeToLiveInput) (*api.UpdateTimeToLiveOutput, error) {
	attribute, enable := in.TimeToLiveSpecification.AttributeName.Value, in.TimeToLiveSpecification.Enabled.Value
	now := s.Now()
	_, err := s.change(ctx, req, req.table(in.TableName.Value), func(t *catalog.Table) error {
		if err := s.settled(t); err != nil {
			return err
		}
		on := t.TTL.Indexed()
		switch {
		case on && t.TTL.Attribute != attribute:
			return awserr.ValidationError("TimeToLive is active on a different AttributeName: current AttributeName is " + t.TTL.Attribute)
		case on && enable:
			return awserr.ValidationError("TimeToLive is already enabled")
		case !on && !enable:
			return awserr.ValidationError("TimeToLive is already disabled")
		case t.TTL != nil && (t.TTL.State == catalog.Disabling || !s.NoChangeLimits && now.Sub(time.UnixMilli(t.TTL.Changed)) < ttlInterval):
			return awserr.ValidationError("Time to live has been modified multiple times within a fixed interval")
		}
		t.TTL = &catalog.TTL{Attribute: attribute, State: catalog.Disabling, Changed: now.UnixMilli()}
		if enable {
			t.TTL.State = catalog.Enabling
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateTimeToLiveOutput{TimeToLiveSpecification: in.TimeToLiveSpecification}, nil
}
