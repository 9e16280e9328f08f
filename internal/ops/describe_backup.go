package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeBackup(_ context.Context, call *smithy.Call, in *api.DescribeBackupInput) (*api.DescribeBackupOutput, error) {
	b, err := s.backup(call, in.BackupArn.Value)
	if err != nil {
		return nil, err
	}
	return &api.DescribeBackupOutput{BackupDescription: describeBackup(b)}, nil
}
