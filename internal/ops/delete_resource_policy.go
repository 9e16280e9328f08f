package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) deleteResourcePolicy(ctx context.Context, req *Request, in *api.DeleteResourcePolicyInput) (*api.DeleteResourcePolicyOutput, error) {
	arn := in.ResourceArn.Value
	out := &api.DeleteResourcePolicyOutput{}
	err := s.changePolicy(ctx, req, arn, func(at **catalog.Policy) error {
		if *at == nil && in.ExpectedRevisionId.Set || !expectedRevision(*at, in.ExpectedRevisionId) {
			return policyNotFound(arn)
		}
		if *at != nil {
			out.RevisionId = smithy.Some((*at).Revision)
			*at = nil
		}
		return nil
	})
	return out, err
}
