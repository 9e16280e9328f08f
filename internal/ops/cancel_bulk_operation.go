package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) cancelBulkOperation(ctx context.Context, req *Request, in *api.CancelBulkOperationInput) (*api.CancelBulkOperationOutput, error) {
	b, err := s.bulk(req, in.BulkOperationArn.Value)
	if err != nil {
		return nil, err
	}
	if b.Status != transfer.InProgress && b.Status != transfer.Cancelling {
		return nil, awserr.Invalid("The bulk operation is not in progress: " + b.ARN())
	}
	if b, err = s.Transfers.CancelBulk(ctx, b.Key()); err != nil {
		return nil, clientError(err)
	}
	return &api.CancelBulkOperationOutput{BulkOperationArn: smithy.Some(b.ARN()), BulkOperationStatus: smithy.Some(transfer.Cancelling)}, nil
}
