package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

// deleteResourcePolicy returns the revision of the policy that it deletes or, if the policy was deleted before, that of the deletion.
func (s *Service) deleteResourcePolicy(ctx context.Context, req *Request, in *api.DeleteResourcePolicyInput) (*api.DeleteResourcePolicyOutput, error) {
	out := &api.DeleteResourcePolicyOutput{}
	before, _, err := s.changePolicy(ctx, req, in.ResourceArn.Value, "", in.ExpectedRevisionId)
	if err == nil && before != nil {
		out.RevisionId = smithy.Some(before.Revision)
	}
	return out, err
}
