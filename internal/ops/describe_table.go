package ops

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeTable(ctx context.Context, req *Request, in *api.DescribeTableInput) (*api.DescribeTableOutput, error) {
	t, err := s.existing(req, req.table(in.TableName.Value))
	if err != nil {
		return nil, err
	}
	d, err := s.describe(ctx, t)
	return &api.DescribeTableOutput{Table: d}, err
}

// seconds converts milliseconds to AWS's JSON form of a time; 0 becomes absent.
func seconds(ms int64) smithy.Opt[float64] {
	return smithy.Opt[float64]{Value: float64(ms) / 1000, Set: ms != 0}
}

// describe returns a table's description with its current size.
func (s *Service) describe(ctx context.Context, t *catalog.Table) (*api.TableDescription, error) {
	stats, err := s.Tables.Catalog.Stats(ctx, t)
	if err != nil {
		return nil, clientError(err)
	}
	now := s.Now()
	status := t.Status(now)
	d := &api.TableDescription{
		TableName:                 smithy.Some(t.Name),
		TableArn:                  smithy.Some(t.ARN()),
		TableId:                   smithy.Some(t.UUID),
		TableStatus:               smithy.Some(status),
		CreationDateTime:          seconds(t.Created),
		KeySchema:                 describeKey(&t.Key),
		ProvisionedThroughput:     describeThroughput(&t.Throughput, now),
		TableSizeBytes:            smithy.Some(stats.Bytes(0)),
		ItemCount:                 smithy.Some(stats.Items(0)),
		DeletionProtectionEnabled: smithy.Some(t.DeletionProtection),
		OnDemandThroughput:        describeOnDemand(t.OnDemand),
	}
	for _, a := range t.Attributes {
		d.AttributeDefinitions = append(d.AttributeDefinitions, api.AttributeDefinition{
			AttributeName: smithy.Some(a.Name), AttributeType: smithy.Some(a.Type.String()),
		})
	}
	if t.OnDemandBilling {
		d.BillingModeSummary = &api.BillingModeSummary{
			BillingMode: smithy.Some(api.BillingModePayPerRequest), LastUpdateToPayPerRequestDateTime: seconds(t.SwitchedToOnDemand),
		}
	} else if t.SwitchedToOnDemand != 0 {
		d.BillingModeSummary = &api.BillingModeSummary{
			BillingMode: smithy.Some(api.BillingModeProvisioned), LastUpdateToPayPerRequestDateTime: seconds(t.SwitchedToOnDemand),
		}
	}
	warm := warmThroughput(t.Warm, t.OnDemandBilling, &t.Throughput)
	d.WarmThroughput = &api.TableWarmThroughputDescription{
		ReadUnitsPerSecond: smithy.Some(warm.Read), WriteUnitsPerSecond: smithy.Some(warm.Write), Status: smithy.Some(catalog.Active),
	}
	if t.TableClass != "" {
		d.TableClassSummary = &api.TableClassSummary{TableClass: smithy.Some(t.TableClass), LastUpdateDateTime: seconds(t.TableClassUpdated)}
	}
	if t.SSEKey != "" {
		d.SSEDescription = describeSSE(t)
	}
	if t.Stream != nil {
		if t.Stream.Enabled {
			d.StreamSpecification = &api.StreamSpecification{StreamEnabled: smithy.Some(true), StreamViewType: smithy.Some(t.Stream.ViewType)}
		}
		d.LatestStreamLabel = smithy.Some(t.Stream.Label)
		d.LatestStreamArn = smithy.Some(t.ARN() + "/stream/" + t.Stream.Label)
	}
	if r := t.Restored; r != nil {
		d.RestoreSummary = &api.RestoreSummary{
			SourceBackupArn: smithy.Opt[string]{Value: r.BackupARN, Set: r.BackupARN != ""}, SourceTableArn: smithy.Some(r.SourceARN),
			RestoreDateTime: seconds(r.At), RestoreInProgress: smithy.Some(t.Loading != nil),
		}
	}
	for _, x := range t.Indexes {
		describeIndex(d, t, x, stats, status, now)
	}
	return d, nil
}

// describeIndex adds the description of an index to d. status is the table's, which the index shares unless it has a state of
// its own.
func describeIndex(d *api.TableDescription, t *catalog.Table, x *catalog.Index, stats catalog.Stats, status string, now time.Time) {
	var backfilling smithy.Opt[bool]
	if x.State != "" {
		status = x.State
		backfilling = smithy.Some(x.State == catalog.Creating)
	}
	projection := &api.Projection{ProjectionType: smithy.Some(x.Projection.Type), NonKeyAttributes: x.Projection.Attributes}
	arn := smithy.Some(t.ARN() + "/index/" + x.Name)
	if !x.Global {
		d.LocalSecondaryIndexes = append(d.LocalSecondaryIndexes, api.LocalSecondaryIndexDescription{
			IndexName: smithy.Some(x.Name), KeySchema: describeKey(&x.Key), Projection: projection, IndexArn: arn,
			IndexSizeBytes: smithy.Some(stats.Bytes(x.ID)), ItemCount: smithy.Some(stats.Items(x.ID)),
		})
		return
	}
	warm := warmThroughput(x.Warm, t.OnDemandBilling, &x.Throughput)
	d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, api.GlobalSecondaryIndexDescription{
		IndexName: smithy.Some(x.Name), KeySchema: describeKey(&x.Key), Projection: projection, IndexArn: arn,
		IndexStatus: smithy.Some(status), Backfilling: backfilling, ProvisionedThroughput: describeThroughput(&x.Throughput, now),
		IndexSizeBytes: smithy.Some(stats.Bytes(x.ID)), ItemCount: smithy.Some(stats.Items(x.ID)),
		OnDemandThroughput: describeOnDemand(x.OnDemand),
		WarmThroughput: &api.GlobalSecondaryIndexWarmThroughputDescription{
			ReadUnitsPerSecond: smithy.Some(warm.Read), WriteUnitsPerSecond: smithy.Some(warm.Write), Status: smithy.Some(catalog.Active),
		},
	})
}

func describeSSE(t *catalog.Table) *api.SSEDescription {
	return &api.SSEDescription{
		Status: smithy.Some(api.SSEStatusEnabled), SSEType: smithy.Some(api.SSETypeKms), KMSMasterKeyArn: smithy.Some(t.SSEKey),
	}
}

// describeKey renders a key schema.
func describeKey(k *catalog.KeySchema) []api.KeySchemaElement {
	var out []api.KeySchemaElement
	for _, a := range k.Partition {
		out = append(out, api.KeySchemaElement{AttributeName: smithy.Some(a.Name), KeyType: smithy.Some(api.KeyTypeHash)})
	}
	for _, a := range k.Sort {
		out = append(out, api.KeySchemaElement{AttributeName: smithy.Some(a.Name), KeyType: smithy.Some(api.KeyTypeRange)})
	}
	return out
}

// describeThroughput renders a provisioned throughput with the history of its changes.
func describeThroughput(t *catalog.Throughput, now time.Time) *api.ProvisionedThroughputDescription {
	return &api.ProvisionedThroughputDescription{
		ReadCapacityUnits: smithy.Some(t.Read), WriteCapacityUnits: smithy.Some(t.Write),
		NumberOfDecreasesToday: smithy.Some(decreasesOn(t, now.UnixMilli())),
		LastIncreaseDateTime:   seconds(t.LastIncrease), LastDecreaseDateTime: seconds(t.LastDecrease),
	}
}

func describeOnDemand(o *catalog.OnDemand) *api.OnDemandThroughput {
	if o == nil {
		return nil
	}
	return &api.OnDemandThroughput{MaxReadRequestUnits: smithy.Some(o.MaxRead), MaxWriteRequestUnits: smithy.Some(o.MaxWrite)}
}

// Warm throughput of a new on-demand table, in units per second ("Understanding DynamoDB warm throughput").
const (
	initialWarmRead  = 12000
	initialWarmWrite = 4000
)

// warmThroughput returns the warm throughput that was set, or the one with which AWS starts: the provisioned throughput, or an
// on-demand table's initial one.
func warmThroughput(set *catalog.Warm, onDemand bool, t *catalog.Throughput) catalog.Warm {
	switch {
	case set != nil:
		return *set
	case onDemand:
		return catalog.Warm{Read: initialWarmRead, Write: initialWarmWrite}
	}
	return catalog.Warm{Read: t.Read, Write: t.Write}
}
