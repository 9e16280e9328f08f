package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
)

func (s *Service) describeExport(_ context.Context, req *Request, in *api.DescribeExportInput) (*api.DescribeExportOutput, error) {
	key, ok, err := s.jobKey(req, in.ExportArn.Value, "export")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, awserr.Invalid("Invalid ExportArn: " + in.ExportArn.Value)
	}
	e := s.Transfers.Exports.Get(key)
	if e == nil || e.ARN() != in.ExportArn.Value {
		return nil, awserr.New(awserr.ExportNotFound, "Export not found: "+in.ExportArn.Value)
	}
	return &api.DescribeExportOutput{ExportDescription: describeExport(e)}, nil
}
