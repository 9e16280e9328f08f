package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
)

func (s *Service) describeBackup(_ context.Context, req *Request, in *api.DescribeBackupInput) (*api.DescribeBackupOutput, error) {
	b, err := s.backup(req, in.BackupArn.Value)
	if err != nil {
		return nil, err
	}
	return &api.DescribeBackupOutput{BackupDescription: describeBackup(b)}, nil
}
