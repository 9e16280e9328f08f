package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/pitr"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) restoreTableFromBackup(ctx context.Context, req *Request, in *api.RestoreTableFromBackupInput) (*api.RestoreTableFromBackupOutput, error) {
	switch name := in.TargetTableName.Value; {
	case len(name) < 3:
		return nil, awserr.ValidationError("TableName must be at least 3 characters long and at most 255 characters long")
	case !smithy.NameChars(name):
		return nil, smithy.BadName("targetTableName", name)
	}
	b, err := s.backup(req, in.BackupArn.Value)
	if err != nil {
		return nil, err
	}
	if b.Status != catalog.BackupAvailable {
		return nil, awserr.New(awserr.BackupInUse, "Backup is being used to restore another table: "+b.ARN())
	}
	d, err := s.restore(ctx, req, in.TargetTableName.Value, &b.Table, &catalog.Loading{From: b.Data, At: pitr.Latest},
		&catalog.Restored{BackupARN: b.ARN(), SourceARN: b.Table.ARN(), At: b.Created},
		overrides{
			billing: in.BillingModeOverride, throughput: in.ProvisionedThroughputOverride, onDemand: in.OnDemandThroughputOverride,
			sse: in.SSESpecificationOverride, global: in.GlobalSecondaryIndexOverride, local: in.LocalSecondaryIndexOverride,
			vector: in.VectorIndexOverride,
		})
	return &api.RestoreTableFromBackupOutput{TableDescription: d}, err
}
