package ops

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// maxBackupsPerPage is how many backups a page has at most ("ListBackups").
const maxBackupsPerPage = 100

func (s *Service) createBackup(ctx context.Context, call *smithy.Call, in *api.CreateBackupInput) (*api.CreateBackupOutput, error) {
	t, err := s.tableForBackup(call, in.TableName.Value)
	if err != nil {
		return nil, err
	}
	if !t.Serves(s.Now()) {
		return nil, awserr.TableBusyForBackup(t.Name)
	}
	b, err := s.Backups.Create(ctx, t, in.BackupName.Value)
	if err != nil {
		return nil, clientError(err)
	}
	d := describeBackup(b).BackupDetails
	d.BackupStatus = smithy.Some(catalog.BackupCreating)
	return &api.CreateBackupOutput{BackupDetails: d}, nil
}

// backup returns the backup that a request names by its ARN.
func (s *Service) backup(call *smithy.Call, arn string) (*catalog.Backup, error) {
	if err := s.authorizeARN(call, arn); err != nil {
		return nil, err
	}
	key, ok := catalog.BackupFromARN(arn)
	if !ok {
		return nil, awserr.Invalid("Invalid BackupArn: " + arn)
	}
	b := s.Tables.Catalog.Backups.Get(key)
	if b == nil || b.ARN() != arn {
		return nil, awserr.New(awserr.BackupNotFound, "Backup not found: "+arn)
	}
	return b, nil
}

func (s *Service) describeBackup(_ context.Context, call *smithy.Call, in *api.DescribeBackupInput) (*api.DescribeBackupOutput, error) {
	b, err := s.backup(call, in.BackupArn.Value)
	if err != nil {
		return nil, err
	}
	return &api.DescribeBackupOutput{BackupDescription: describeBackup(b)}, nil
}

func (s *Service) deleteBackup(ctx context.Context, call *smithy.Call, in *api.DeleteBackupInput) (*api.DeleteBackupOutput, error) {
	b, err := s.backup(call, in.BackupArn.Value)
	if err != nil {
		return nil, err
	}
	if err := s.Backups.Delete(ctx, b); err != nil {
		if errors.Is(err, backup.ErrInUse) {
			return nil, awserr.New(awserr.BackupInUse, "Backup is being created or restored: "+b.ARN())
		}
		return nil, clientError(err)
	}
	d := describeBackup(b)
	d.BackupDetails.BackupStatus = smithy.Some(catalog.BackupDeleted)
	return &api.DeleteBackupOutput{BackupDescription: d}, nil
}

func (s *Service) listBackups(_ context.Context, call *smithy.Call, in *api.ListBackupsInput) (*api.ListBackupsOutput, error) {
	ns := s.namespace(call)
	name := ""
	if in.TableName.Set {
		var err error
		if ns, name, err = s.tableName(call, in.TableName.Value); err != nil {
			return nil, err
		}
	}
	list := s.Tables.Catalog.Backups.List(ns.Account, ns.Region)
	slices.SortFunc(list, func(a, b *catalog.Backup) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID))
	})
	if after := in.ExclusiveStartBackupArn; after.Set {
		if err := s.authorizeARN(call, after.Value); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(b *catalog.Backup) bool { return b.ARN() == after.Value })
		if i < 0 {
			return nil, awserr.Invalid("Invalid ExclusiveStartBackupArn: " + after.Value)
		}
		list = list[i+1:]
	}
	kind := in.BackupType.Or(api.BackupTypeFilterAll)
	list = slices.DeleteFunc(list, func(b *catalog.Backup) bool {
		return name != "" && b.Table.Name != name || kind != api.BackupTypeFilterAll && kind != b.Type ||
			in.TimeRangeLowerBound.Set && b.Created < millis(in.TimeRangeLowerBound.Value) ||
			in.TimeRangeUpperBound.Set && b.Created >= millis(in.TimeRangeUpperBound.Value)
	})
	out := &api.ListBackupsOutput{BackupSummaries: []api.BackupSummary{}}
	for _, b := range list {
		if len(out.BackupSummaries) == int(in.Limit.Or(maxBackupsPerPage)) {
			out.LastEvaluatedBackupArn = out.BackupSummaries[len(out.BackupSummaries)-1].BackupArn
			break
		}
		d := describeBackup(b).BackupDetails
		out.BackupSummaries = append(out.BackupSummaries, api.BackupSummary{
			TableName: smithy.Some(b.Table.Name), TableId: smithy.Some(b.Table.UUID), TableArn: smithy.Some(b.Table.ARN()),
			BackupArn: d.BackupArn, BackupName: d.BackupName, BackupCreationDateTime: d.BackupCreationDateTime,
			BackupExpiryDateTime: d.BackupExpiryDateTime, BackupStatus: d.BackupStatus, BackupType: d.BackupType, BackupSizeBytes: d.BackupSizeBytes,
		})
	}
	return out, nil
}

func describeBackup(b *catalog.Backup) *api.BackupDescription {
	t := &b.Table
	billing := api.BillingModeProvisioned
	if t.OnDemandBilling {
		billing = api.BillingModePayPerRequest
	}
	d := &api.BackupDescription{
		BackupDetails: &api.BackupDetails{
			BackupArn: smithy.Some(b.ARN()), BackupName: smithy.Some(b.Name), BackupStatus: smithy.Some(b.Status), BackupType: smithy.Some(b.Type),
			BackupSizeBytes: smithy.Some(b.Bytes), BackupCreationDateTime: seconds(b.Created), BackupExpiryDateTime: seconds(b.Expires),
		},
		SourceTableDetails: &api.SourceTableDetails{
			TableName: smithy.Some(t.Name), TableId: smithy.Some(t.UUID), TableArn: smithy.Some(t.ARN()), TableSizeBytes: smithy.Some(b.Bytes),
			ItemCount: smithy.Some(b.Items), KeySchema: describeKey(&t.Key), TableCreationDateTime: seconds(t.Created), BillingMode: smithy.Some(billing),
			ProvisionedThroughput: throughputOf(&t.Throughput), OnDemandThroughput: describeOnDemand(t.OnDemand),
		},
	}
	f := &api.SourceTableFeatureDetails{}
	for _, x := range t.Indexes {
		projection := &api.Projection{ProjectionType: smithy.Some(x.Projection.Type), NonKeyAttributes: x.Projection.Attributes}
		if x.Global {
			f.GlobalSecondaryIndexes = append(f.GlobalSecondaryIndexes, api.GlobalSecondaryIndexInfo{
				IndexName: smithy.Some(x.Name), KeySchema: describeKey(&x.Key), Projection: projection,
				ProvisionedThroughput: throughputOf(&x.Throughput), OnDemandThroughput: describeOnDemand(x.OnDemand),
			})
		} else {
			f.LocalSecondaryIndexes = append(f.LocalSecondaryIndexes, api.LocalSecondaryIndexInfo{
				IndexName: smithy.Some(x.Name), KeySchema: describeKey(&x.Key), Projection: projection,
			})
		}
	}
	if t.Stream.Active() {
		f.StreamDescription = &api.StreamSpecification{StreamEnabled: smithy.Some(true), StreamViewType: smithy.Some(t.Stream.ViewType)}
	}
	if t.TTL != nil && t.TTL.State != catalog.Disabled {
		f.TimeToLiveDescription = &api.TimeToLiveDescription{TimeToLiveStatus: smithy.Some(t.TTL.State), AttributeName: smithy.Some(t.TTL.Attribute)}
	}
	if t.SSEKey != "" {
		f.SSEDescription = describeSSE(t)
	}
	d.SourceTableFeatureDetails = f
	return d
}

func throughputOf(t *catalog.Throughput) *api.ProvisionedThroughput {
	return &api.ProvisionedThroughput{ReadCapacityUnits: smithy.Some(t.Read), WriteCapacityUnits: smithy.Some(t.Write)}
}
