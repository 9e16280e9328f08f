package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeContinuousBackups(ctx context.Context, call *smithy.Call, in *api.DescribeContinuousBackupsInput) (*api.DescribeContinuousBackupsOutput, error) {
	t, err := s.tableForBackup(call, in.TableName.Value)
	if err != nil {
		return nil, err
	}
	d, err := s.describeRecovery(ctx, t)
	if err != nil {
		return nil, err
	}
	return &api.DescribeContinuousBackupsOutput{ContinuousBackupsDescription: d}, nil
}
