package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) listBulkOperations(_ context.Context, req *Request, in *api.ListBulkOperationsInput) (*api.ListBulkOperationsOutput, error) {
	ns := s.namespace(req.Caller)
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
