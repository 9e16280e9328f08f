package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

// exists reports whether the table with a name and UUID still exists. AWS lists the exports of a table only as long as it does.
func (s *Service) exists(ns catalog.Namespace, table, uuid string) bool {
	t := s.Tables.Catalog.Get(ns, table)
	return t != nil && t.UUID == uuid
}

func (s *Service) listExports(_ context.Context, req *Request, in *api.ListExportsInput) (*api.ListExportsOutput, error) {
	of, err := s.resolve(req, req.resource(anyKind, in.TableArn.Value))
	if err != nil {
		return nil, err
	}
	ns := s.namespace(req.Caller)
	var list []*transfer.Export
	for _, e := range s.Transfers.Exports.List(ns.Account, ns.Region) {
		if !in.TableArn.Set || of.table != "" && of.ARN() == e.TableARN() && s.exists(ns, e.Table, e.TableUUID) {
			list = append(list, e)
		}
	}
	page, next, err := pageOf(list, func(e *transfer.Export) string { return e.ID }, in.NextToken, in.MaxResults.Or(transfersPerPage), 0)
	if err != nil {
		return nil, err
	}
	out := &api.ListExportsOutput{ExportSummaries: []api.ExportSummary{}, NextToken: next}
	for _, e := range page {
		d := describeExport(e)
		out.ExportSummaries = append(out.ExportSummaries, api.ExportSummary{ExportArn: d.ExportArn, ExportStatus: d.ExportStatus, ExportType: smithy.Some(d.ExportType.Or(api.ExportTypeFullExport))})
	}
	return out, nil
}
