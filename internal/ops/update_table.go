package ops

import (
	"context"
	"fmt"
	"slices"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// updateTable applies all parts of the request in one change of the description, so it succeeds or fails as a whole.
func (s *Service) updateTable(ctx context.Context, req *Request, in *api.UpdateTableInput) (*api.UpdateTableOutput, error) {
	r, err := s.resolve(req.Caller, req.table(in.TableName.Value))
	if err != nil {
		return nil, err
	}
	if err := checkUpdate(in); err != nil {
		return nil, err
	}
	now := s.Now()
	t, err := s.Tables.Catalog.Change(ctx, r.Namespace, r.table, func(t *catalog.Table) error {
		if err := s.checkIdle(t); err != nil {
			return err
		}
		before := s.Tables.Catalog.Get(r.Namespace, r.table)
		if err := s.changeBilling(t, in, now.UnixMilli()); err != nil {
			return err
		}
		if err := s.changeIndexes(t, in, now.UnixMilli()); err != nil {
			return err
		}
		if err := s.checkQuotas(before, t); err != nil {
			return err
		}
		if err := s.changeStream(ctx, t, in.StreamSpecification); err != nil {
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
		return nil, awserr.TableNotFound(r.table)
	}
	d, err := s.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	d.TableStatus = smithy.Some(catalog.Updating)
	return &api.UpdateTableOutput{TableDescription: d}, nil
}

// checkUpdate runs the checks that do not need the table.
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
	online := 0
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
			online++
		}
	}
	if online > 1 {
		return onlineIndexLimit()
	}
	if in.ProvisionedThroughput == nil && !in.BillingMode.Set && in.StreamSpecification == nil && len(in.GlobalSecondaryIndexUpdates) == 0 &&
		in.SSESpecification == nil && !in.TableClass.Set && !in.DeletionProtectionEnabled.Set && in.OnDemandThroughput == nil && in.WarmThroughput == nil {
		return awserr.NothingToUpdate()
	}
	return nil
}

// changeBilling changes the billing mode and the throughput.
func (s *Service) changeBilling(t *catalog.Table, in *api.UpdateTableInput, now int64) error {
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
		if err := s.switchToOnDemand(t, now); err != nil {
			return err
		}
	case p != nil:
		t.OnDemandBilling = false
		next := catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
		if next.Read == t.Throughput.Read && next.Write == t.Throughput.Write && in.GlobalSecondaryIndexUpdates == nil {
			return awserr.ThroughputUnchanged(next.Read, next.Write)
		}
		if err := checkThroughput(next); err != nil {
			return err
		}
		if err := s.changeThroughput(&t.Throughput, next, now); err != nil {
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

// onlineIndexLimit is the error for a second index creation or deletion while one is under way ("Managing global secondary
// indexes").
func onlineIndexLimit() error {
	return awserr.New(awserr.LimitExceeded, "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table")
}

// changeIndexes creates, deletes and updates GSIs.
func (s *Service) changeIndexes(t *catalog.Table, in *api.UpdateTableInput, now int64) error {
	for _, u := range in.GlobalSecondaryIndexUpdates {
		var err error
		switch {
		case u.Create != nil:
			err = createIndex(t, in.AttributeDefinitions, u.Create)
		case u.Delete != nil:
			err = deleteIndex(t, u.Delete.IndexName.Value)
		default:
			err = s.changeIndex(t, u.Update, now)
		}
		if err != nil {
			return err
		}
	}
	if !t.OnDemandBilling {
		for _, x := range t.Indexes {
			if x.Global && x.Throughput.Read == 0 && x.State != catalog.Deleting {
				return awserr.IndexThroughputRequired(x.Name)
			}
		}
	}
	return nil
}

// createIndex adds a GSI. Package table fills it in the background.
func createIndex(t *catalog.Table, definitions []api.AttributeDefinition, in *api.CreateGlobalSecondaryIndexAction) error {
	name := in.IndexName.Value
	globals := 0
	for _, x := range t.Indexes {
		switch {
		case x.Name == name && x.State != catalog.Deleting:
			return awserr.ValidationError("Attempting to create an index which already exists")
		case x.State != "":
			return onlineIndexLimit()
		case x.Global:
			globals++
		}
	}
	if globals >= maxGlobalIndexes {
		return tooManyGlobalIndexes()
	}
	for _, d := range definitions {
		given := catalog.KeyAttribute{Name: d.AttributeName.Value, Type: scalarTypes[d.AttributeType.Value]}
		i := slices.IndexFunc(t.Attributes, func(a catalog.KeyAttribute) bool { return a.Name == given.Name })
		switch {
		case i < 0:
			t.Attributes = append(t.Attributes, given)
		case t.Attributes[i].Type != given.Type:
			return awserr.Invalid("Attribute " + given.Name + " is defined as " + t.Attributes[i].Type.String() + " already")
		}
	}
	x, err := newGlobalIndex(t, (*api.GlobalSecondaryIndex)(in))
	if err != nil {
		return err
	}
	x.State = catalog.Creating
	if in.ProvisionedThroughput != nil && t.OnDemandBilling {
		return awserr.IndexThroughputForbidden(name)
	}
	if err := checkThroughput(x.Throughput); err != nil {
		return err
	}
	return checkAttributesUsed(t)
}

// deleteIndex marks a GSI as DELETING. Its entries are removed in the background.
func deleteIndex(t *catalog.Table, name string) error {
	gone := t.Index(name)
	if gone == nil || !gone.Global {
		return globalIndexNotFound(name)
	}
	for _, x := range t.Indexes {
		// An index that is still being filled may be deleted.
		if x.State == catalog.Deleting || x.State == catalog.Creating && x != gone {
			return onlineIndexLimit()
		}
	}
	gone.State = catalog.Deleting
	return nil
}

func globalIndexNotFound(name string) error {
	return awserr.New(awserr.ResourceNotFound, "Requested resource not found: Global secondary index "+name+" not found")
}

// changeIndex changes the throughput of a GSI.
func (s *Service) changeIndex(t *catalog.Table, u *api.UpdateGlobalSecondaryIndexAction, now int64) error {
	name := u.IndexName.Value
	x := t.Index(name)
	if x == nil || !x.Global {
		return globalIndexNotFound(name)
	}
	if x.State != "" {
		return awserr.New(awserr.ResourceInUse, "Attempt to change a resource which is still in use: Index is being "+map[string]string{catalog.Creating: "created", catalog.Deleting: "deleted"}[x.State]+": "+name)
	}
	if p := u.ProvisionedThroughput; p != nil {
		if t.OnDemandBilling {
			return awserr.IndexThroughputForbidden(name)
		}
		next := catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
		if next.Read == x.Throughput.Read && next.Write == x.Throughput.Write {
			return awserr.ValidationError(fmt.Sprintf("The provisioned throughput for the index %s will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the index: %d. Requested ReadCapacityUnits: %d. Current WriteCapacityUnits provisioned for the index: %d. Requested WriteCapacityUnits: %d. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
				name, next.Read, next.Read, next.Write, next.Write))
		}
		if err := checkThroughput(next); err != nil {
			return err
		}
		if err := s.changeThroughput(&x.Throughput, next, now); err != nil {
			return err
		}
	}
	if u.OnDemandThroughput != nil {
		x.OnDemand = newOnDemand(u.OnDemandThroughput)
	}
	if u.WarmThroughput != nil {
		x.Warm = newWarm(u.WarmThroughput, x.Warm)
	}
	return nil
}

// changeStream enables or disables the stream.
func (s *Service) changeStream(ctx context.Context, t *catalog.Table, in *api.StreamSpecification) error {
	if in == nil {
		return nil
	}
	enabled := t.Stream.Active()
	switch {
	case in.StreamEnabled.Value && enabled:
		return awserr.ValidationError("Table already has an enabled stream: TableName: " + t.Name)
	case !in.StreamEnabled.Value && !enabled:
		return awserr.ValidationError("Table has no stream to disable: TableName: " + t.Name)
	}
	return s.setStream(ctx, t, in)
}
