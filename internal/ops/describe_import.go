package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
)

func (s *Service) describeImport(_ context.Context, req *Request, in *api.DescribeImportInput) (*api.DescribeImportOutput, error) {
	key, ok, err := s.jobKey(req, in.ImportArn.Value, "import")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, awserr.Invalid("Invalid ImportArn: " + in.ImportArn.Value)
	}
	i := s.Transfers.Imports.Get(key)
	if i == nil || i.ARN() != in.ImportArn.Value {
		return nil, awserr.New(awserr.ImportNotFound, "Import not found: "+in.ImportArn.Value)
	}
	return &api.DescribeImportOutput{ImportTableDescription: describeImport(s.Transfers.Current(i))}, nil
}
