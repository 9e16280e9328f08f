package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/pitr"
)

// defaultRecoveryDays is the default of RecoveryPeriodInDays ("UpdateContinuousBackups").
const defaultRecoveryDays = 35

func (s *Service) updateContinuousBackups(ctx context.Context, req *Request, in *api.UpdateContinuousBackupsInput) (*api.UpdateContinuousBackupsOutput, error) {
	t, err := s.tableForBackup(req, in.TableName.Value)
	if err != nil {
		return nil, err
	}
	spec := in.PointInTimeRecoverySpecification
	enable := spec.PointInTimeRecoveryEnabled.Value
	if !enable && spec.RecoveryPeriodInDays.Set {
		return nil, awserr.ValidationError("Invalid Request: Cannot specify RecoveryPeriodInDays when disabling point-in-time recovery.")
	}
	s.recovery.Lock()
	defer s.recovery.Unlock()
	was := t.Recovery
	t, err = s.Tables.Catalog.Change(ctx, t.Namespace, t.Name, func(t *catalog.Table) error {
		if err := s.settledForBackup(t); err != nil {
			return err
		}
		now, err := s.Tables.KV.Now(ctx)
		if err != nil {
			return err
		}
		was = t.Recovery
		switch {
		case !enable:
			t.Recovery = nil
		case t.Recovery == nil:
			t.Recovery = &catalog.Recovery{Days: int(spec.RecoveryPeriodInDays.Or(defaultRecoveryDays)), Since: now}
		default:
			// A longer period does not bring back history that a shorter one has already dropped.
			days := int(spec.RecoveryPeriodInDays.Or(int64(t.Recovery.Days)))
			since := kv.AtMillis(s.Now().AddDate(0, 0, -t.Recovery.Days).UnixMilli())
			t.Recovery = &catalog.Recovery{Days: days, Since: max(t.Recovery.Since, since)}
		}
		return nil
	})
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, awserr.TableNotFoundForBackup(in.TableName.Value)
	}
	// Delete the history only after the change, so that no write adds to it any more.
	if was != nil && !enable {
		if err := pitr.Trim(ctx, s.Tables.KV, t.ID, pitr.Latest); err != nil {
			return nil, clientError(err)
		}
	}
	d, err := s.describeRecovery(ctx, t)
	if err != nil {
		return nil, err
	}
	return &api.UpdateContinuousBackupsOutput{ContinuousBackupsDescription: d}, nil
}
