package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) getResourcePolicy(_ context.Context, req *Request, in *api.GetResourcePolicyInput) (*api.GetResourcePolicyOutput, error) {
	arn := in.ResourceArn.Value
	ns, name, err := s.taggedTable(req, arn)
	if err != nil {
		return nil, err
	}
	t := s.Tables.Catalog.Get(ns, name)
	if t == nil {
		return nil, resourceNotFound(arn)
	}
	at := policyOf(t, arn)
	switch {
	case at == nil:
		return nil, resourceNotFound(arn)
	case *at == nil:
		return nil, policyNotFound(arn)
	}
	return &api.GetResourcePolicyOutput{Policy: smithy.Some((*at).Document), RevisionId: smithy.Some((*at).Revision)}, nil
}
