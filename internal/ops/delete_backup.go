package ops

import (
	"context"
	"errors"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) deleteBackup(ctx context.Context, req *Request, in *api.DeleteBackupInput) (*api.DeleteBackupOutput, error) {
	b, err := s.backup(req, in.BackupArn.Value)
	if err != nil {
		return nil, err
	}
	if b.Type == api.BackupTypeSystem {
		return nil, awserr.ValidationError("Invalid Request: User is not allowed to delete the system backup with arn " + b.ARN() + ". It will automatically expire on " + instant(time.UnixMilli(b.Expires)))
	}
	if err := s.Backups.Delete(ctx, b); err != nil {
		if errors.Is(err, backup.ErrInUse) {
			return nil, awserr.New(awserr.BackupInUse, "Backup is being used to restore table: "+b.ARN())
		}
		return nil, clientError(err)
	}
	d := describeBackup(b)
	d.BackupDetails.BackupStatus = smithy.Some(catalog.BackupDeleted)
	return &api.DeleteBackupOutput{BackupDescription: d}, nil
}
