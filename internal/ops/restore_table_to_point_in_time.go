package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

func (s *Service) restoreTableToPointInTime(ctx context.Context, req *Request, in *api.RestoreTableToPointInTimeInput) (*api.RestoreTableToPointInTimeOutput, error) {
	given := in.SourceTableArn.Or(in.SourceTableName.Value)
	switch {
	case in.SourceTableArn.Set == in.SourceTableName.Set:
		return nil, awserr.Invalid("Exactly one of SourceTableArn and SourceTableName must be specified")
	case in.UseLatestRestorableTime.Value && in.RestoreDateTime.Set:
		return nil, awserr.Invalid("UseLatestRestorableTime and RestoreDateTime can't be specified together")
	case !in.UseLatestRestorableTime.Value && !in.RestoreDateTime.Set:
		return nil, awserr.Invalid("Either UseLatestRestorableTime or RestoreDateTime must be specified")
	}
	t, err := s.tableForBackup(req, given)
	if err != nil {
		return nil, err
	}
	at, err := s.pointInTime(ctx, t, in.RestoreDateTime, awserr.InvalidRestoreTime)
	if err != nil {
		return nil, err
	}
	d, err := s.restore(ctx, req, in.TargetTableName.Value, t, &catalog.Loading{From: t.ID, At: at},
		&catalog.Restored{SourceARN: t.ARN(), At: at.Millis()},
		overrides{
			billing: in.BillingModeOverride, throughput: in.ProvisionedThroughputOverride, onDemand: in.OnDemandThroughputOverride,
			sse: in.SSESpecificationOverride, global: in.GlobalSecondaryIndexOverride, local: in.LocalSecondaryIndexOverride,
			vector: in.VectorIndexOverride,
		})
	return &api.RestoreTableToPointInTimeOutput{TableDescription: d}, err
}
