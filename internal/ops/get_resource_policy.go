package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) getResourcePolicy(_ context.Context, req *Request, in *api.GetResourcePolicyInput) (*api.GetResourcePolicyOutput, error) {
	arn := in.ResourceArn.Value
	r, err := s.withPolicy(req, arn)
	if err != nil {
		return nil, err
	}
	t := s.Tables.Catalog.Get(r.Namespace, r.table)
	if t == nil || s.phaseOf(t) == phaseUnknown {
		return nil, awserr.TableNotFound(r.table)
	}
	at, err := policyOf(t, r)
	if err != nil {
		return nil, err
	}
	if !(*at).Exists() {
		return nil, policyNotFound(arn)
	}
	return &api.GetResourcePolicyOutput{Policy: smithy.Some((*at).Document), RevisionId: smithy.Some((*at).Revision)}, nil
}
