package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeBulkOperation(_ context.Context, call *smithy.Call, in *api.DescribeBulkOperationInput) (*api.DescribeBulkOperationOutput, error) {
	b, err := s.bulk(call, in.BulkOperationArn.Value)
	if err != nil {
		return nil, err
	}
	return &api.DescribeBulkOperationOutput{BulkOperationDescription: s.describeBulk(b)}, nil
}
