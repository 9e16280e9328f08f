package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// backup returns the backup that a request names by ARN.
func (s *Service) backup(req *Request, arn string) (*catalog.Backup, error) {
	if r, ok := parseARN(arn); !ok || r.kind != kindBackup {
		return nil, awserr.ValidationError("Invalid Backup ARN")
	}
	r, err := s.resolve(req, req.resource(kindBackup, arn))
	if err != nil {
		return nil, err
	}
	b := s.Tables.Catalog.Backups.Get(r.id())
	if b == nil || b.ARN() != r.ARN() {
		return nil, awserr.New(awserr.BackupNotFound, "Backup not found: "+arn)
	}
	return b, nil
}

// describeBackup describes a backup and the table as it was when the backup was made.
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
	if d.SourceTableFeatureDetails = f; b.Type == catalog.SystemBackup { // AWS tells nothing of a deleted table's features
		return d
	}
	for _, x := range t.Indexes {
		projection := &api.Projection{ProjectionType: smithy.Some(x.Projection.Type), NonKeyAttributes: x.Projection.Attributes}
		if x.Global {
			f.GlobalSecondaryIndexes = append(f.GlobalSecondaryIndexes, api.GlobalSecondaryIndexInfo{
				IndexName: smithy.Some(x.Name), KeySchema: describeKey(&x.Key), Projection: projection,
				ProvisionedThroughput: throughputOf(&x.Throughput),
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
	f.SSEDescription = sseDescription(api.SSEStatusEnabled, t.SSEKey)
	return d
}

func throughputOf(t *catalog.Throughput) *api.ProvisionedThroughput {
	return &api.ProvisionedThroughput{ReadCapacityUnits: smithy.Some(t.Read), WriteCapacityUnits: smithy.Some(t.Write)}
}

// tableForBackup returns the table that a backup operation names. AWS words its errors differently from those of other
// operations.
func (s *Service) tableForBackup(req *Request, given string) (*catalog.Table, error) {
	r, err := s.resolve(req, req.table(given))
	if err != nil {
		return nil, err
	}
	if t := s.Tables.Catalog.Get(r.Namespace, r.table); t != nil {
		return t, nil
	}
	return nil, awserr.TableNotFoundForBackup(given)
}
