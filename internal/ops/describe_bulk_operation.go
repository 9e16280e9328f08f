package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
)

func (s *Service) describeBulkOperation(_ context.Context, req *Request, in *api.DescribeBulkOperationInput) (*api.DescribeBulkOperationOutput, error) {
	b, err := s.bulk(req, in.BulkOperationArn.Value)
	if err != nil {
		return nil, err
	}
	return &api.DescribeBulkOperationOutput{BulkOperationDescription: s.describeBulk(b)}, nil
}
