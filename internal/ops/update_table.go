package ops

import (
	"context"
	"fmt"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) updateTable(ctx context.Context, call *smithy.Call, in *api.UpdateTableInput) (*api.UpdateTableOutput, error) {
	ns, name, err := s.tableName(call, in.TableName.Value)
	if err != nil {
		return nil, err
	}
	if err := checkUpdate(in); err != nil {
		return nil, err
	}
	now := s.Now()
	t, err := s.Tables.Catalog.Change(ctx, ns, name, func(t *catalog.Table) error {
		if err := s.checkIdle(t); err != nil {
			return err
		}
		if err := changeBilling(t, in, now.UnixMilli()); err != nil {
			return err
		}
		if err := changeIndexThroughput(t, in.GlobalSecondaryIndexUpdates, now.UnixMilli()); err != nil {
			return err
		}
		if err := changeStream(t, in.StreamSpecification, streamLabel(now)); err != nil {
			return err
		}
		if err := setSSE(t, in.SSESpecification); err != nil {
			return err
		}
		if in.TableClass.Set && in.TableClass.Value != t.TableClass {
			t.TableClass, t.TableClassUpdated = in.TableClass.Value, now.UnixMilli()
		}
		if in.DeletionProtectionEnabled.Set {
			t.DeletionProtection = in.DeletionProtectionEnabled.Value
		}
		if in.WarmThroughput != nil {
			t.Warm = newWarm(in.WarmThroughput, t.Warm)
		}
		t.UpdatingUntil = now.Add(s.TransientStatus).UnixMilli()
		return nil
	})
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, awserr.TableNotFound(name)
	}
	d, err := s.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	d.TableStatus = smithy.Some(catalog.Updating)
	return &api.UpdateTableOutput{TableDescription: d}, nil
}

// checkUpdate checks what can be said without the table.
func checkUpdate(in *api.UpdateTableInput) error {
	switch {
	case in.VectorIndexUpdates != nil:
		return unsupported("VectorIndexUpdates")
	case in.ReplicaUpdates != nil:
		return unsupported("ReplicaUpdates")
	case in.GlobalTableWitnessUpdates != nil:
		return unsupported("GlobalTableWitnessUpdates")
	case in.MultiRegionConsistency.Set:
		return unsupported("MultiRegionConsistency")
	}
	for _, u := range in.GlobalSecondaryIndexUpdates {
		n := 0
		for _, set := range []bool{u.Update != nil, u.Create != nil, u.Delete != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			return awserr.Invalid("One of GlobalSecondaryIndexUpdate, GlobalSecondaryIndexCreate or GlobalSecondaryIndexDelete must be specified in each GlobalSecondaryIndexUpdates element")
		}
		if u.Create != nil || u.Delete != nil {
			return unsupported("GlobalSecondaryIndexUpdates with Create or Delete")
		}
	}
	if in.ProvisionedThroughput == nil && !in.BillingMode.Set && in.StreamSpecification == nil && in.GlobalSecondaryIndexUpdates == nil &&
		in.SSESpecification == nil && !in.TableClass.Set && !in.DeletionProtectionEnabled.Set && in.OnDemandThroughput == nil && in.WarmThroughput == nil {
		return awserr.NothingToUpdate()
	}
	return nil
}

// changeBilling changes billing mode and throughput.
func changeBilling(t *catalog.Table, in *api.UpdateTableInput, now int64) error {
	p := in.ProvisionedThroughput
	onDemand := t.OnDemandBilling
	if in.BillingMode.Set {
		onDemand = in.BillingMode.Value == api.BillingModePayPerRequest
	}
	switched := onDemand != t.OnDemandBilling
	switch {
	case onDemand && p != nil:
		return awserr.ThroughputForbidden()
	case !onDemand && switched && p == nil:
		return awserr.ThroughputRequired()
	case onDemand && switched:
		t.OnDemandBilling, t.SwitchedToOnDemand = true, now
		t.Throughput = catalog.Throughput{}
		for _, x := range t.Indexes {
			x.Throughput = catalog.Throughput{}
		}
	case p != nil:
		t.OnDemandBilling = false
		next := catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
		if next.Read == t.Throughput.Read && next.Write == t.Throughput.Write && in.GlobalSecondaryIndexUpdates == nil {
			return awserr.ThroughputUnchanged(next.Read, next.Write)
		}
		if err := changeThroughput(&t.Throughput, next, now); err != nil {
			return err
		}
	}
	if in.OnDemandThroughput != nil {
		if !t.OnDemandBilling {
			return awserr.Invalid("OnDemandThroughput can only be specified when BillingMode is PAY_PER_REQUEST")
		}
		t.OnDemand = newOnDemand(in.OnDemandThroughput)
	}
	return nil
}

// changeThroughput replaces a throughput and keeps its history.
func changeThroughput(t *catalog.Throughput, next catalog.Throughput, now int64) error {
	if err := checkThroughput(next); err != nil {
		return err
	}
	if next.Read > t.Read || next.Write > t.Write {
		t.LastIncrease = now
	}
	if next.Read < t.Read || next.Write < t.Write {
		const day = 24 * 3600 * 1000
		if now/day != t.LastDecrease/day {
			t.DecreasesToday = 0
		}
		t.LastDecrease = now
		t.DecreasesToday++
	}
	t.Read, t.Write = next.Read, next.Write
	return nil
}

// changeIndexThroughput changes the throughput of GSIs.
func changeIndexThroughput(t *catalog.Table, updates []api.GlobalSecondaryIndexUpdate, now int64) error {
	for _, u := range updates {
		name := u.Update.IndexName.Value
		x := t.Index(name)
		if x == nil || !x.Global {
			return awserr.New(awserr.ResourceNotFound, "Requested resource not found: Global secondary index "+name+" not found")
		}
		if p := u.Update.ProvisionedThroughput; p != nil {
			if t.OnDemandBilling {
				return awserr.IndexThroughputForbidden(name)
			}
			next := catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
			if next.Read == x.Throughput.Read && next.Write == x.Throughput.Write {
				return awserr.ValidationError(fmt.Sprintf("The provisioned throughput for the index %s will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the index: %d. Requested ReadCapacityUnits: %d. Current WriteCapacityUnits provisioned for the index: %d. Requested WriteCapacityUnits: %d. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
					name, next.Read, next.Read, next.Write, next.Write))
			}
			if err := changeThroughput(&x.Throughput, next, now); err != nil {
				return err
			}
		}
		if u.Update.OnDemandThroughput != nil {
			x.OnDemand = newOnDemand(u.Update.OnDemandThroughput)
		}
		if u.Update.WarmThroughput != nil {
			x.Warm = newWarm(u.Update.WarmThroughput, x.Warm)
		}
	}
	if !t.OnDemandBilling {
		for _, x := range t.Indexes {
			if x.Global && x.Throughput.Read == 0 {
				return awserr.IndexThroughputRequired(x.Name)
			}
		}
	}
	return nil
}

// changeStream enables or disables the stream.
func changeStream(t *catalog.Table, in *api.StreamSpecification, label string) error {
	if in == nil {
		return nil
	}
	enabled := t.Stream != nil && t.Stream.Enabled
	switch {
	case in.StreamEnabled.Value && enabled:
		return awserr.New(awserr.ResourceInUse, "Table already has an enabled stream: TableName: "+t.Name)
	case !in.StreamEnabled.Value && !enabled:
		return awserr.ValidationError("Table has no stream to disable: TableName: " + t.Name)
	}
	return setStream(t, in, label)
}
