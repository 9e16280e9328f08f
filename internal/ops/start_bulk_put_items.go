package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) startBulkPutItems(ctx context.Context, req *Request, in *api.StartBulkPutItemsInput) (*api.StartBulkPutItemsOutput, error) {
	out := in.OutputS3Configuration
	if out.S3SseKmsKeyId.Set && out.S3SseAlgorithm.Value != api.S3SseAlgorithmKms {
		return nil, awserr.Invalid("S3SseKmsKeyId can only be specified when S3SseAlgorithm is KMS")
	}
	t, err := s.existing(req, req.table(in.TableName.Value))
	if err != nil {
		return nil, err
	}
	request := transfer.NewBulkRequest(in)
	print, err := fingerprint(&request)
	if err != nil {
		return nil, err
	}
	old, conflict := repeated(s, s.Transfers.Bulk.List(t.Account, t.Region), in.ClientToken, print, func(b *transfer.Bulk) (string, string, int64) {
		return b.Request.ClientToken.Value, b.Fingerprint, b.End
	})
	switch {
	case conflict:
		return nil, awserr.New(awserr.IdempotentParameterMismatch, "The request uses the same client token as a previous, but non-identical request.")
	case old != nil:
		// A repeated token gets its answer whatever the status of the table.
		return &api.StartBulkPutItemsOutput{BulkOperationDescription: s.describeBulk(old)}, nil
	case !t.Serves(s.Now()):
		return nil, s.settled(t)
	}
	b, err := s.Transfers.StartBulk(ctx, &transfer.Bulk{
		Namespace: t.Namespace, Caller: req.Caller.Account, Table: t.Name, TableUUID: t.UUID, TableID: t.ID, Request: request, Fingerprint: print,
	})
	if err != nil {
		return nil, clientError(err)
	}
	return &api.StartBulkPutItemsOutput{BulkOperationDescription: s.describeBulk(b)}, nil
}
