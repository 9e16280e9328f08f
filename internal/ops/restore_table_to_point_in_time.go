package ops

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

// second formats a time, in milliseconds since 1970, as AWS does in sentences about recovery.
func second(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z") }

func (s *Service) restoreTableToPointInTime(ctx context.Context, req *Request, in *api.RestoreTableToPointInTimeInput) (*api.RestoreTableToPointInTimeOutput, error) {
	given := in.SourceTableArn.Or(in.SourceTableName.Value)
	switch {
	case !in.SourceTableArn.Set && !in.SourceTableName.Set:
		return nil, awserr.MissingParameter("TableName")
	case in.SourceTableArn.Set && in.SourceTableName.Set:
		return nil, invalidRestore("Must provide exactly one of: sourceTableArn, sourceTableName")
	case in.SourceTableArn.Set && !isTableARN(given):
		return nil, awserr.Invalid("sourceTableArn is not a valid ARN")
	case in.UseLatestRestorableTime.Value && in.RestoreDateTime.Set:
		return nil, invalidRestore("Both RestoreDateTime and UseLatestRestorableTime cannot be set for point-in-time restore request. Please specify only one.")
	case !in.UseLatestRestorableTime.Value && !in.RestoreDateTime.Set:
		return nil, invalidRestore("Either one of RestoreDateTime or UseLatestRestorableTime must be specified, but not both")
	}
	if n := len(in.TargetTableName.Value); n < 3 || n > 255 {
		return nil, awserr.TableNameLength()
	}
	t, err := s.tableForBackup(req, given)
	if err != nil {
		return nil, err
	}
	at, err := s.pointInTime(ctx, t, in.RestoreDateTime, func(asked float64, w window) error {
		return awserr.New(awserr.InvalidRestoreTime, "RestoreDateTime '"+second(millis(asked))+"' must be within EarliestRestorableDateTime '"+
			second(w.earliest.Millis())+"' and LatestRestorableDateTime '"+second(w.latest.Millis())+"'")
	})
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
