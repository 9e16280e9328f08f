package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) startBulkPutItems(ctx context.Context, call *smithy.Call, in *api.StartBulkPutItemsInput) (*api.StartBulkPutItemsOutput, error) {
	out := in.OutputS3Configuration
	if out.S3SseKmsKeyId.Set && out.S3SseAlgorithm.Value != api.S3SseAlgorithmKms {
		return nil, awserr.Invalid("S3SseKmsKeyId can only be specified when S3SseAlgorithm is KMS")
	}
	t, err := s.anyTable(call, in.TableName.Value)
	if err != nil {
		return nil, err
	}
	print, err := fingerprint(in)
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
		return &api.StartBulkPutItemsOutput{BulkOperationDescription: s.describeBulk(old)}, nil
	case !t.Serves(s.Now()):
		return nil, s.checkIdle(t)
	}
	b, err := s.Transfers.StartBulk(ctx, &transfer.Bulk{
		Namespace: t.Namespace, Caller: call.Caller.Account, Table: t.Name, TableUUID: t.UUID, TableID: t.ID, Request: *in, Fingerprint: print,
	})
	if err != nil {
		return nil, clientError(err)
	}
	return &api.StartBulkPutItemsOutput{BulkOperationDescription: s.describeBulk(b)}, nil
}

func (s *Service) describeBulk(b *transfer.Bulk) *api.BulkOperationDescription {
	in := &b.Request
	name := smithy.Some(b.Table)
	d := &api.BulkOperationDescription{
		BulkOperationArn: smithy.Some(b.ARN()), BulkOperationStatus: smithy.Some(b.Status), ClientToken: in.ClientToken,
		TableDetails:         []api.BulkOperationTableDetail{{TableName: name, TableId: smithy.Some(b.TableUUID)}},
		InputS3Configuration: in.InputS3Configuration, OutputS3Configuration: in.OutputS3Configuration,
		StartTime: seconds(b.Start), EndTime: seconds(b.End), ProcessedItemCount: smithy.Some(b.Items), FailedItemCount: smithy.Some(b.Errors),
		ProcessedInputBytes: smithy.Some(b.Bytes), TotalInputBytes: smithy.Opt[int64]{Value: b.Total, Set: b.Total > 0},
		MaxWriteRequestUnits: in.MaxWriteRequestUnits, PerformanceTier: smithy.Some(in.PerformanceTier.Or(api.BulkOperationPerformanceTierStandard)),
	}
	if b.Failure != nil {
		d.FailureCode, d.FailureMessage = smithy.Some(b.Failure.Code), smithy.Some(b.Failure.Message)
	}
	usage := api.BulkOperationUsage{TableName: name, Table: &api.BulkOperationBytes{BulkPutBytes: smithy.Some[int64](0)}}
	var total int64
	t := s.Tables.Catalog.Get(b.Namespace, b.Table)
	for id, n := range b.PutBytes {
		total += n
		bytes := api.BulkOperationBytes{BulkPutBytes: smithy.Some(n)}
		if id == 0 {
			usage.Table = &bytes
			continue
		}
		if t == nil || t.ID != b.TableID || t.IndexByID(uint8(id)) == nil {
			continue // its name is not known any more
		}
		if x := t.IndexByID(uint8(id)); x.Global {
			usage.GlobalSecondaryIndexes.Put(x.Name, bytes)
		} else {
			usage.LocalSecondaryIndexes.Put(x.Name, bytes)
		}
	}
	usage.BulkPutBytes = smithy.Some(total)
	d.BulkOperationUsage = []api.BulkOperationUsage{usage}
	return d
}

// bulk returns the bulk operation that a request names by its ARN.
func (s *Service) bulk(call *smithy.Call, arn string) (*transfer.Bulk, error) {
	key, ok := transfer.BulkFromARN(arn)
	if !ok {
		return nil, awserr.Invalid("Invalid BulkOperationArn: " + arn)
	}
	if err := s.authorize(call, call.Operation, arn); err != nil {
		return nil, err
	}
	if b := s.Transfers.Bulk.Get(key); b != nil {
		return b, nil
	}
	return nil, awserr.New(awserr.ResourceNotFound, "Bulk operation not found: "+arn)
}

func (s *Service) describeBulkOperation(_ context.Context, call *smithy.Call, in *api.DescribeBulkOperationInput) (*api.DescribeBulkOperationOutput, error) {
	b, err := s.bulk(call, in.BulkOperationArn.Value)
	if err != nil {
		return nil, err
	}
	return &api.DescribeBulkOperationOutput{BulkOperationDescription: s.describeBulk(b)}, nil
}

func (s *Service) cancelBulkOperation(ctx context.Context, call *smithy.Call, in *api.CancelBulkOperationInput) (*api.CancelBulkOperationOutput, error) {
	b, err := s.bulk(call, in.BulkOperationArn.Value)
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

func (s *Service) listBulkOperations(_ context.Context, call *smithy.Call, in *api.ListBulkOperationsInput) (*api.ListBulkOperationsOutput, error) {
	ns := s.namespace(call)
	page, next, err := pageOf(s.Transfers.Bulk.List(ns.Account, ns.Region), func(b *transfer.Bulk) string { return b.ID }, in.NextToken, in.MaxResults.Or(bulksPerPage), 0)
	if err != nil {
		return nil, err
	}
	out := &api.ListBulkOperationsOutput{BulkOperationsSummaryList: []api.BulkOperationSummary{}, NextToken: next}
	for _, b := range page {
		out.BulkOperationsSummaryList = append(out.BulkOperationsSummaryList, api.BulkOperationSummary{
			BulkOperationArn: smithy.Some(b.ARN()), BulkOperationStatus: smithy.Some(b.Status), StartTime: seconds(b.Start), EndTime: seconds(b.End),
		})
	}
	return out, nil
}
