package ops

import (
	"context"
	"slices"
	"strings"
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
	d, err := s.describe(ctx, t, false)
	return &api.DescribeTableOutput{Table: d}, err
}

// seconds converts milliseconds to AWS's JSON form of a time; 0 becomes absent.
func seconds(ms int64) smithy.Opt[float64] {
	return smithy.Opt[float64]{Value: float64(ms) / 1000, Set: ms != 0}
}

// describe returns a table's description with its current size. fresh means the answer to a change of the table: it shows what the
// table had before, even if the change has taken effect already.
func (s *Service) describe(ctx context.Context, t *catalog.Table, fresh bool) (*api.TableDescription, error) {
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
		ProvisionedThroughput:     describeThroughput(&t.Throughput, t.Update, now, fresh),
		TableSizeBytes:            smithy.Some(stats.Bytes(0)),
		ItemCount:                 smithy.Some(stats.Items(0)),
		DeletionProtectionEnabled: smithy.Some(t.DeletionProtection),
		OnDemandThroughput:        describeOnDemand(t.OnDemand),
	}
	attributes := slices.SortedFunc(slices.Values(t.Attributes), func(a, b catalog.KeyAttribute) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range attributes {
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
	warm, warmStatus := warmThroughput(t, t.Warm, t.Throughput), catalog.Active
	if shown(t.WarmUpdate, now, fresh) {
		warm, warmStatus = *t.WarmUpdate.Warm, catalog.Updating
	}
	d.WarmThroughput = &api.TableWarmThroughputDescription{
		ReadUnitsPerSecond: smithy.Some(warm.Read), WriteUnitsPerSecond: smithy.Some(warm.Write), Status: smithy.Some(warmStatus),
	}
	class, since := t.TableClass, t.TableClassUpdated
	if u := t.Update; shown(u, now, fresh) && u.TableClass != nil {
		class, since = *u.TableClass, u.TableClassUpdated
	}
	if class != "" {
		d.TableClassSummary = &api.TableClassSummary{TableClass: smithy.Some(class), LastUpdateDateTime: seconds(since)}
	}
	d.SSEDescription = s.describeSSE(t, now, fresh)
	if t.Stream != nil {
		if t.Stream.Enabled {
			d.StreamSpecification = &api.StreamSpecification{StreamEnabled: smithy.Some(true), StreamViewType: smithy.Some(t.Stream.ViewType)}
		}
		d.LatestStreamLabel = smithy.Some(t.Stream.Label)
		d.LatestStreamArn = smithy.Some(t.ARN() + "/stream/" + t.Stream.Label)
	}
	if r := t.Restored; r != nil && (fresh || status == catalog.Creating) {
		d.RestoreSummary = &api.RestoreSummary{
			SourceBackupArn: smithy.Opt[string]{Value: r.BackupARN, Set: r.BackupARN != ""}, SourceTableArn: smithy.Some(r.SourceARN),
			RestoreDateTime: seconds(r.At), RestoreInProgress: smithy.Some(true),
		}
	}
	for _, x := range t.Indexes {
		describeIndex(d, t, x, stats, status, now, fresh)
	}
	return d, nil
}

// shown reports whether a description shows the old values of a change.
func shown(u *catalog.Update, now time.Time, fresh bool) bool {
	return u != nil && (fresh || u.Pending(now))
}

// describeIndex adds the description of an index to d. status is the table's, which the index shares while the table is being created
// or deleted.
func describeIndex(d *api.TableDescription, t *catalog.Table, x *catalog.Index, stats catalog.Stats, status string, now time.Time, fresh bool) {
	var backfilling smithy.Opt[bool]
	switch {
	case x.State == catalog.Creating:
		status = x.State
		backfilling = smithy.Some(now.UnixMilli() >= x.AllocatingUntil)
	case x.State != "":
		status = x.State
	case shown(x.Update, now, fresh) && x.Update.Warm == nil:
		status = catalog.Updating
	case status == catalog.Updating:
		status = catalog.Active
	}
	projection := &api.Projection{ProjectionType: smithy.Some(x.Projection.Type), NonKeyAttributes: slices.Sorted(slices.Values(x.Projection.Attributes))}
	arn := smithy.Some(t.ARN() + "/index/" + x.Name)
	if !x.Global {
		d.LocalSecondaryIndexes = append(d.LocalSecondaryIndexes, api.LocalSecondaryIndexDescription{
			IndexName: smithy.Some(x.Name), KeySchema: describeKey(&x.Key), Projection: projection, IndexArn: arn,
			IndexSizeBytes: smithy.Some(stats.Bytes(x.ID)), ItemCount: smithy.Some(stats.Items(x.ID)),
		})
		return
	}
	warm, warmStatus := warmThroughput(t, x.Warm, x.Throughput), catalog.Active
	if u := x.Update; shown(u, now, fresh) && u.Warm != nil {
		warm, warmStatus = *u.Warm, catalog.Updating
	}
	d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, api.GlobalSecondaryIndexDescription{
		IndexName: smithy.Some(x.Name), KeySchema: describeKey(&x.Key), Projection: projection, IndexArn: arn,
		IndexStatus: smithy.Some(status), Backfilling: backfilling, ProvisionedThroughput: describeThroughput(&x.Throughput, x.Update, now, fresh),
		IndexSizeBytes: smithy.Some(stats.Bytes(x.ID)), ItemCount: smithy.Some(stats.Items(x.ID)),
		OnDemandThroughput: describeOnDemand(x.OnDemand),
		WarmThroughput: &api.GlobalSecondaryIndexWarmThroughputDescription{
			ReadUnitsPerSecond: smithy.Some(warm.Read), WriteUnitsPerSecond: smithy.Some(warm.Write), Status: smithy.Some(warmStatus),
		},
	})
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

// describeThroughput renders a provisioned throughput with the history of its changes. While a change is under way, units and number of
// decreases are the old ones, while the times are those of the change.
func describeThroughput(t *catalog.Throughput, u *catalog.Update, now time.Time, fresh bool) *api.ProvisionedThroughputDescription {
	read, write, decreases := t.Read, t.Write, decreasesOn(t, now.UnixMilli())
	if shown(u, now, fresh) && u.Throughput != nil {
		read, write, decreases = u.Throughput.Read, u.Throughput.Write, u.Throughput.DecreasesToday
	}
	return &api.ProvisionedThroughputDescription{
		ReadCapacityUnits: smithy.Some(read), WriteCapacityUnits: smithy.Some(write), NumberOfDecreasesToday: smithy.Some(decreases),
		LastIncreaseDateTime: seconds(t.LastIncrease), LastDecreaseDateTime: seconds(t.LastDecrease),
	}
}
