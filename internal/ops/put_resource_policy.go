package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) putResourcePolicy(ctx context.Context, req *Request, in *api.PutResourcePolicyInput) (*api.PutResourcePolicyOutput, error) {
	arn := in.ResourceArn.Value
	p, err := newPolicy(in.Policy.Value, arn)
	if err != nil {
		return nil, err
	}
	err = s.changePolicy(ctx, req, arn, func(at **catalog.Policy) error {
		if !expectedRevision(*at, in.ExpectedRevisionId) {
			return policyNotFound(arn)
		}
		*at = p
		return nil
	})
	return &api.PutResourcePolicyOutput{RevisionId: smithy.Some(p.Revision)}, err
}
