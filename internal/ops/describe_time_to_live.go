package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeTimeToLive(_ context.Context, req *Request, in *api.DescribeTimeToLiveInput) (*api.DescribeTimeToLiveOutput, error) {
	t, err := s.existing(req, req.table(in.TableName.Value))
	if err != nil {
		return nil, err
	}
	if t.Restoring() {
		return nil, awserr.TableNotFound(t.Name)
	}
	if status := t.Status(s.Now()); status == catalog.Creating || status == catalog.Deleting {
		return nil, awserr.ValidationError("Cannot describe time to live while table is in " + status + " state: Current table state is " + status)
	}
	d := &api.TimeToLiveDescription{TimeToLiveStatus: smithy.Some(api.TimeToLiveStatusDisabled)}
	if t.TTL != nil {
		d.TimeToLiveStatus = smithy.Some(t.TTL.State)
		if t.TTL.State != catalog.Disabled {
			d.AttributeName = smithy.Some(t.TTL.Attribute)
		}
	}
	return &api.DescribeTimeToLiveOutput{TimeToLiveDescription: d}, nil
}
