package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) createBackup(ctx context.Context, req *Request, in *api.CreateBackupInput) (*api.CreateBackupOutput, error) {
	t, err := s.tableForBackup(req, in.TableName.Value)
	if err != nil {
		return nil, err
	}
	if err := s.settledForBackup(t); err != nil {
		return nil, err
	}
	b, err := s.Backups.Create(ctx, t, in.BackupName.Value)
	if err != nil {
		return nil, clientError(err)
	}
	d := describeBackup(b).BackupDetails
	d.BackupStatus = smithy.Some(catalog.BackupCreating)
	return &api.CreateBackupOutput{BackupDetails: d}, nil
}
