package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
)

func (s *Service) describeExport(_ context.Context, req *Request, in *api.DescribeExportInput) (*api.DescribeExportOutput, error) {
	r, err := s.resolve(req, req.resource(kindExport, in.ExportArn.Value))
	if err != nil {
		return nil, err
	}
	e := s.Transfers.Exports.Get(r.id())
	if e == nil || e.ARN() != r.ARN() {
		return nil, awserr.New(awserr.ExportNotFound, "Export not found: Export not found: "+in.ExportArn.Value)
	}
	return &api.DescribeExportOutput{ExportDescription: describeExport(e)}, nil
}
