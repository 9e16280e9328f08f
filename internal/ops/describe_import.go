package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
)

func (s *Service) describeImport(_ context.Context, req *Request, in *api.DescribeImportInput) (*api.DescribeImportOutput, error) {
	r, err := s.resolve(req, req.resource(kindImport, in.ImportArn.Value))
	if err != nil {
		return nil, err
	}
	i := s.Transfers.Imports.Get(r.id())
	if i == nil || i.ARN() != r.ARN() {
		return nil, awserr.New(awserr.ImportNotFound, "Import not found: Import not found: "+in.ImportArn.Value)
	}
	return &api.DescribeImportOutput{ImportTableDescription: describeImport(s.Transfers.Current(i))}, nil
}
