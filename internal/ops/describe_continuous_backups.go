package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
)

func (s *Service) describeContinuousBackups(ctx context.Context, req *Request, in *api.DescribeContinuousBackupsInput) (*api.DescribeContinuousBackupsOutput, error) {
	t, err := s.tableForBackup(req, in.TableName.Value)
	if err != nil {
		return nil, err
	}
	if t.Restoring() {
		return nil, awserr.TableNotFoundForBackup(t.Name)
	}
	d, err := s.describeRecovery(ctx, t)
	if err != nil {
		return nil, err
	}
	return &api.DescribeContinuousBackupsOutput{ContinuousBackupsDescription: d}, nil
}
