package ops

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// maxBackupsPerPage is the maximum page size ("ListBackups").
const maxBackupsPerPage = 100

func (s *Service) listBackups(_ context.Context, req *Request, in *api.ListBackupsInput) (*api.ListBackupsOutput, error) {
	of := resource{Namespace: s.namespace(req.Caller)}
	if in.TableName.Set {
		var err error
		if of, err = s.resolve(req.Caller, req.table(in.TableName.Value)); err != nil {
			return nil, err
		}
	}
	list := s.Tables.Catalog.Backups.List(of.Account, of.Region)
	slices.SortFunc(list, func(a, b *catalog.Backup) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID))
	})
	if after := in.ExclusiveStartBackupArn; after.Set {
		r, err := s.resolve(req.Caller, req.resource(anyKind, after.Value))
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(b *catalog.Backup) bool { return r.kind == kindBackup && b.ARN() == r.ARN() })
		if i < 0 {
			return nil, awserr.Invalid("Invalid ExclusiveStartBackupArn: " + after.Value)
		}
		list = list[i+1:]
	}
	kind := in.BackupType.Or(api.BackupTypeFilterAll)
	list = slices.DeleteFunc(list, func(b *catalog.Backup) bool {
		return of.table != "" && b.Table.Name != of.table || kind != api.BackupTypeFilterAll && kind != b.Type ||
			in.TimeRangeLowerBound.Set && b.Created < millis(in.TimeRangeLowerBound.Value) ||
			in.TimeRangeUpperBound.Set && b.Created >= millis(in.TimeRangeUpperBound.Value)
	})
	page, last := smithy.Page(list, in.Limit.Or(maxBackupsPerPage), (*catalog.Backup).ARN)
	out := &api.ListBackupsOutput{BackupSummaries: []api.BackupSummary{}, LastEvaluatedBackupArn: last}
	for _, b := range page {
		d := describeBackup(b).BackupDetails
		out.BackupSummaries = append(out.BackupSummaries, api.BackupSummary{
			TableName: smithy.Some(b.Table.Name), TableId: smithy.Some(b.Table.UUID), TableArn: smithy.Some(b.Table.ARN()),
			BackupArn: d.BackupArn, BackupName: d.BackupName, BackupCreationDateTime: d.BackupCreationDateTime,
			BackupExpiryDateTime: d.BackupExpiryDateTime, BackupStatus: d.BackupStatus, BackupType: d.BackupType, BackupSizeBytes: d.BackupSizeBytes,
		})
	}
	return out, nil
}
