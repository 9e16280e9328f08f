package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) putResourcePolicy(ctx context.Context, req *Request, in *api.PutResourcePolicyInput) (*api.PutResourcePolicyOutput, error) {
	arn := in.ResourceArn.Value
	r, err := s.withPolicy(req, arn)
	if err != nil {
		return nil, err
	}
	document, err := parsePolicy(in.Policy.Value, r)
	if err != nil {
		return nil, err
	}
	if !in.ConfirmRemoveSelfResourceAccess.Value {
		if err := checkLockout(req, &r, document); err != nil {
			return nil, err
		}
	}
	_, p, err := s.changePolicy(ctx, req, arn, document, in.ExpectedRevisionId)
	if err != nil {
		return nil, err
	}
	return &api.PutResourcePolicyOutput{RevisionId: smithy.Some(p.Revision)}, nil
}
