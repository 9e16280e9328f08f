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
		if of, err = s.resolve(req, req.table(in.TableName.Value)); err != nil {
			return nil, err
		}
	}
	if in.TimeRangeLowerBound.Set && in.TimeRangeUpperBound.Set && in.TimeRangeLowerBound.Value > in.TimeRangeUpperBound.Value {
		return nil, awserr.Invalid("Time range lower bound must be less than or equal to upper bound")
	}
	list := s.Tables.Catalog.Backups.List(of.Account, of.Region)
	slices.SortFunc(list, func(a, b *catalog.Backup) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID))
	})
	if after := in.ExclusiveStartBackupArn; after.Set {
		r, err := s.resolve(req, req.resource(anyKind, after.Value))
		switch {
		case err != nil:
			return nil, err
		case r.kind != kindBackup:
			return nil, awserr.ValidationError("Invalid Backup ARN")
		case r.Region != of.Region:
			return nil, awserr.ValidationError("Invalid Request: The supplied ExclusiveStartBackupArn does not match the region")
		}
		// The backup may be deleted by now. Its ID begins with the time at which it was made.
		i, _ := slices.BinarySearchFunc(list, r.name, func(b *catalog.Backup, id string) int { return strings.Compare(b.ID, id) })
		list = slices.DeleteFunc(list[i:], func(b *catalog.Backup) bool { return b.ID == r.name })
	}
	kind := in.BackupType.Or(api.BackupTypeFilterUser)
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
