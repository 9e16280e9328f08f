package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) listImports(_ context.Context, req *Request, in *api.ListImportsInput) (*api.ListImportsOutput, error) {
	of, err := s.resolve(req, req.resource(anyKind, in.TableArn.Value))
	if err != nil {
		return nil, err
	}
	ns := s.namespace(req.Caller)
	var list []*transfer.Import
	for _, i := range s.Transfers.Imports.List(ns.Account, ns.Region) {
		if !in.TableArn.Set || of.table != "" && of.ARN() == i.TableARN() {
			list = append(list, i)
		}
	}
	page, next, err := pageOf(list, func(i *transfer.Import) string { return i.ID }, in.NextToken, in.PageSize.Or(transfersPerPage), minImportTokenChars)
	if err != nil {
		return nil, err
	}
	out := &api.ListImportsOutput{ImportSummaryList: []api.ImportSummary{}, NextToken: next}
	for _, i := range page {
		d := describeImport(s.Transfers.Current(i))
		out.ImportSummaryList = append(out.ImportSummaryList, api.ImportSummary{
			ImportArn: d.ImportArn, ImportStatus: d.ImportStatus, TableArn: d.TableArn, S3BucketSource: d.S3BucketSource,
			CloudWatchLogGroupArn: d.CloudWatchLogGroupArn, InputFormat: d.InputFormat, StartTime: d.StartTime, EndTime: d.EndTime,
		})
	}
	return out, nil
}
