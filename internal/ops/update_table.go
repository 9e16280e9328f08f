package ops

import (
	"context"
	"slices"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// updateTable applies all parts of the request in one change of the description, so it succeeds or fails as a whole.
func (s *Service) updateTable(ctx context.Context, req *Request, in *api.UpdateTableInput) (*api.UpdateTableOutput, error) {
	if err := checkUpdate(in); err != nil {
		return nil, err
	}
	r, err := s.named(req, req.table(in.TableName.Value))
	if err != nil {
		return nil, err
	}
	t, err := s.Tables.Catalog.Change(ctx, r.Namespace, r.table, func(t *catalog.Table) error {
		return s.applyUpdate(ctx, t, s.Tables.Catalog.Get(r.Namespace, r.table), in)
	})
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, awserr.TableNotFound(r.table)
	}
	d, err := s.describe(ctx, t, true)
	if err != nil {
		return nil, err
	}
	asUpdated(d, t, in)
	return &api.UpdateTableOutput{TableDescription: d}, nil
}

// applyUpdate applies the request to the table; before is the table as it is.
func (s *Service) applyUpdate(ctx context.Context, t, before *catalog.Table, in *api.UpdateTableInput) error {
	now := s.Now()
	if err := s.admitUpdate(t, in, now); err != nil {
		return err
	}
	until := now.Add(s.TransientStatus).UnixMilli()
	forgetUpdates(t, now)
	for _, change := range []func() error{
		func() error { return s.changeBilling(t, in, now.UnixMilli(), until) },
		func() error { return s.changeIndexes(t, in, now.UnixMilli(), until) },
		func() error { return s.checkQuotas(before, t) },
		func() error { return s.changeStream(ctx, t, in.StreamSpecification) },
		func() error { return s.changeSSE(t, in.SSESpecification, now, until) },
		func() error { return s.changeTableClass(t, in.TableClass, now, until) },
		func() error { return s.changeProtection(t, in.DeletionProtectionEnabled, now) },
		func() error { return s.changeWarm(t, in.WarmThroughput, until) },
	} {
		if err := change(); err != nil {
			return err
		}
	}
	keepWarm(t, &t.Warm, t.Throughput, warmThroughput(before, before.Warm, before.Throughput))
	for _, x := range t.Indexes {
		if old := before.IndexByID(x.ID); x.Global && old != nil {
			keepWarm(t, &x.Warm, x.Throughput, warmThroughput(before, old.Warm, old.Throughput))
		}
	}
	if job := jobOf(in); job != "" {
		t.Job, t.UpdatingUntil = job, until
	}
	return nil
}

// forgetUpdates removes what is remembered of changes that have taken effect.
func forgetUpdates(t *catalog.Table, now time.Time) {
	updates := []**catalog.Update{&t.Update, &t.SSEUpdate, &t.WarmUpdate}
	for _, x := range t.Indexes {
		updates = append(updates, &x.Update)
	}
	for _, u := range updates {
		if !(*u).Pending(now) {
			*u = nil
		}
	}
}

// jobOf returns what a table is UPDATING for after the request; "" if it stays ACTIVE.
func jobOf(in *api.UpdateTableInput) string {
	switch {
	case in.ProvisionedThroughput != nil || in.BillingMode.Set:
		return catalog.JobThroughput
	case in.StreamSpecification != nil:
		return catalog.JobStream
	case in.TableClass.Set:
		return catalog.JobTableClass
	}
	for _, u := range in.GlobalSecondaryIndexUpdates {
		switch {
		case u.Create != nil:
			return catalog.JobIndexCreate
		case u.Delete != nil:
			return catalog.JobIndexDelete
		}
	}
	return ""
}

// asUpdated turns a table's description into the answer to a request, which shows some requested settings before they take effect.
func asUpdated(d *api.TableDescription, t *catalog.Table, in *api.UpdateTableInput) {
	if jobOf(in) != "" {
		d.TableStatus = smithy.Some(catalog.Updating)
	}
	if in.BillingMode.Set && d.BillingModeSummary != nil && t.Job == catalog.JobThroughput && t.OnDemandBilling {
		d.BillingModeSummary.LastUpdateToPayPerRequestDateTime = smithy.Opt[float64]{}
	}
	if in.StreamSpecification != nil {
		d.StreamSpecification = in.StreamSpecification
	}
	if in.OnDemandThroughput != nil {
		d.OnDemandThroughput = onDemandAnswer(t.OnDemand, in.OnDemandThroughput)
	}
	for _, u := range in.GlobalSecondaryIndexUpdates {
		for i := range d.GlobalSecondaryIndexes {
			x := &d.GlobalSecondaryIndexes[i]
			switch {
			case u.Create != nil && u.Create.IndexName == x.IndexName:
				x.Backfilling = smithy.Some(false)
				if u.Create.WarmThroughput != nil {
					x.WarmThroughput.Status = smithy.Some(catalog.Updating)
				}
			case u.Update != nil && u.Update.IndexName == x.IndexName && u.Update.OnDemandThroughput != nil:
				x.OnDemandThroughput = onDemandAnswer(t.Index(x.IndexName.Value).OnDemand, u.Update.OnDemandThroughput)
			}
		}
	}
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
	parts := updateParts(in)
	if parts == 0 && in.OnDemandThroughput == nil && in.WarmThroughput == nil {
		return awserr.NothingToUpdate()
	}
	if err := checkCombination(in, parts); err != nil {
		return err
	}
	if in.GlobalSecondaryIndexUpdates != nil && len(in.GlobalSecondaryIndexUpdates) == 0 {
		return awserr.Invalid("List of GlobalSecondaryIndexUpdates is empty")
	}
	if err := checkStreamUpdate(in.StreamSpecification); err != nil {
		return err
	}
	if in.BillingMode.Set {
		switch onDemand := in.BillingMode.Value == api.BillingModePayPerRequest; {
		case !onDemand && in.ProvisionedThroughput == nil:
			return awserr.Invalid("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
		case onDemand && in.ProvisionedThroughput != nil:
			return awserr.Invalid("ProvisionedThroughput cannot be specified when BillingMode is PAY_PER_REQUEST")
		}
	}
	return checkIndexUpdates(in.GlobalSecondaryIndexUpdates)
}

// updateParts counts what the request changes.
func updateParts(in *api.UpdateTableInput) int {
	parts := 0
	for _, given := range []bool{
		in.ProvisionedThroughput != nil, in.BillingMode.Set, in.StreamSpecification != nil, len(in.GlobalSecondaryIndexUpdates) > 0,
		in.SSESpecification != nil, in.TableClass.Set, in.DeletionProtectionEnabled.Set, onDemandRates(in.OnDemandThroughput).any(),
		warmRates(in.WarmThroughput).any(),
	} {
		if given {
			parts++
		}
	}
	return parts
}

// checkCombination rejects changes that AWS does not make together.
func checkCombination(in *api.UpdateTableInput, parts int) error {
	created, deleted := false, false
	for _, u := range in.GlobalSecondaryIndexUpdates {
		created, deleted = created || u.Create != nil, deleted || u.Delete != nil
	}
	online := created || deleted
	together := parts > 1
	switch {
	case in.SSESpecification != nil && together:
		return awserr.Invalid("Server-Side Encryption modification must be the only operation in the request")
	case in.TableClass.Set && together:
		return awserr.Invalid("TableClass modification must be the only operation in the request")
	case in.DeletionProtectionEnabled.Set && together:
		return awserr.Invalid("DeletionProtection modification must be the only operation in the request")
	case onDemandRates(in.OnDemandThroughput).any() && (parts > 2 || parts == 2 && !in.BillingMode.Set):
		return awserr.Invalid("OnDemandThroughput can only be combined with BillingMode in an UpdateTable request")
	case warmRates(in.WarmThroughput).any() && created:
		return awserr.Invalid("Create global secondary index cannot be specified when updating WarmThroughput")
	case warmRates(in.WarmThroughput).any() && together:
		return awserr.Invalid("WarmThroughput must be the only operation in the request")
	case in.StreamSpecification != nil && (in.ProvisionedThroughput != nil || in.BillingMode.Value == api.BillingModeProvisioned):
		return awserr.Invalid("You cannot modify stream status while updating table IOPS")
	case in.ProvisionedThroughput != nil && !in.BillingMode.Set && online:
		return awserr.Invalid("You cannot create or delete index while updating table IOPS")
	case in.StreamSpecification != nil && online:
		return awserr.Invalid("You cannot create or delete index while changing stream status")
	}
	return nil
}

// checkStreamUpdate checks whether a stream specification has a view type if and only if it enables the stream.
func checkStreamUpdate(in *api.StreamSpecification) error {
	switch {
	case in == nil:
	case in.StreamEnabled.Value && !in.StreamViewType.Set:
		return awserr.Invalid("If stream is being enabled then UpdateViewType is required")
	case !in.StreamEnabled.Value && in.StreamViewType.Set:
		return awserr.Invalid("If stream is being disabled, then UpdateViewType must not be specified")
	}
	return nil
}

// checkIndexUpdates checks the form of changes of GSIs.
func checkIndexUpdates(updates []api.GlobalSecondaryIndexUpdate) error {
	online := 0
	seen := map[string]bool{}
	for _, u := range updates {
		var names []string
		if u.Update != nil {
			names = append(names, u.Update.IndexName.Value)
		}
		if u.Create != nil {
			names = append(names, u.Create.IndexName.Value)
		}
		if u.Delete != nil {
			names = append(names, u.Delete.IndexName.Value)
		}
		switch {
		case len(names) == 0:
			return awserr.Invalid("One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null")
		case len(names) > 1:
			return awserr.Invalid("Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object")
		case seen[names[0]]:
			return awserr.Invalid("Only one global secondary index update per index is allowed simultaneously. Index: " + names[0])
		case u.Update != nil && u.Update.WarmThroughput != nil && !warmRates(u.Update.WarmThroughput).any():
			return awserr.Invalid("WarmThroughput must have at least one of ReadUnitsPerSecond or WriteUnitsPerSecond specified for index: " + names[0])
		}
		seen[names[0]] = true
		if u.Update == nil {
			online++
		}
	}
	if online > 1 {
		return onlineIndexLimit()
	}
	return nil
}

// changeBilling changes the billing mode, the throughput and the on-demand maxima.
func (s *Service) changeBilling(t *catalog.Table, in *api.UpdateTableInput, now, until int64) error {
	p := in.ProvisionedThroughput
	onDemand := t.OnDemandBilling
	if in.BillingMode.Set {
		onDemand = in.BillingMode.Value == api.BillingModePayPerRequest
	}
	switch switched := onDemand != t.OnDemandBilling; {
	case onDemand && p != nil:
		return awserr.ThroughputForbidden()
	case onDemand && switched:
		if err := s.switchToOnDemand(t, now); err != nil {
			return err
		}
	case p != nil:
		next := catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
		if next.Read == t.Throughput.Read && next.Write == t.Throughput.Write && in.GlobalSecondaryIndexUpdates == nil {
			return awserr.ThroughputUnchanged("the table", next.Read, next.Write)
		}
		if err := checkThroughput(next); err != nil {
			return err
		}
		if switched { // this is no increase
			t.OnDemandBilling, t.OnDemand = false, nil
			t.Throughput.Read, t.Throughput.Write = next.Read, next.Write
			for _, x := range t.Indexes {
				x.OnDemand = nil
			}
			return nil
		}
		old := t.Throughput
		old.DecreasesToday = decreasesOn(&old, now)
		t.Update = &catalog.Update{Until: until, Throughput: &old}
		if err := s.changeThroughput(&t.Throughput, next, now); err != nil {
			return err
		}
	}
	r := onDemandRates(in.OnDemandThroughput)
	if !r.any() {
		return nil
	}
	if err := onDemandForbidden(t, "", r); err != nil {
		return err
	}
	var err error
	t.OnDemand, err = s.mergeOnDemand(t, "", t.OnDemand, r, unlimited)
	return err
}

// onDemandForbidden rejects on-demand maxima of a provisioned table, or of a GSI of one.
func onDemandForbidden(t *catalog.Table, index string, r rates) error {
	of := ""
	if index != "" {
		of = " for index : " + index
	}
	for i := range r {
		if r[i].Set && !t.OnDemandBilling {
			return awserr.Invalid(onDemandNames[i] + " for OnDemandThroughput" + of + " cannot be specified when the table BillingMode is PROVISIONED")
		}
	}
	return nil
}

// onlineIndexLimit is the error for a second index creation or deletion while one is under way ("Managing global secondary
// indexes").
func onlineIndexLimit() error {
	return subscriberLimit("Only 1 online index can be created or deleted simultaneously per table")
}

// changeIndexes creates, deletes and updates GSIs.
func (s *Service) changeIndexes(t *catalog.Table, in *api.UpdateTableInput, now, until int64) error {
	for _, u := range in.GlobalSecondaryIndexUpdates {
		var err error
		switch {
		case u.Create != nil:
			err = s.createIndex(t, in.AttributeDefinitions, u.Create, until)
		case u.Delete != nil:
			err = deleteIndex(t, u.Delete.IndexName.Value, now)
		default:
			err = s.changeIndex(t, u.Update, now, until)
		}
		if err != nil {
			return err
		}
	}
	if !t.OnDemandBilling {
		for _, x := range t.Indexes {
			if x.Global && x.Throughput.Read == 0 && x.State != catalog.Deleting {
				return awserr.Invalid("ProvisionedThroughput must be specified for index: " + x.Name)
			}
		}
	}
	return nil
}

// createIndex adds a GSI. Package table fills it in the background. Of the attribute definitions it takes those that the index needs:
// AWS ignores others, and those of attributes that are defined already.
func (s *Service) createIndex(t *catalog.Table, definitions []api.AttributeDefinition, in *api.CreateGlobalSecondaryIndexAction, until int64) error {
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
	switch p := in.ProvisionedThroughput; {
	case globals >= maxGlobalIndexes:
		return subscriberLimit("Number of global secondary indexes exceeds per-table limit of %d", maxGlobalIndexes)
	case len(definitions) == 0:
		return awserr.Invalid("AttributeDefinitions is not specified for index: " + name)
	case p != nil && t.OnDemandBilling:
		return awserr.Invalid("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: " + name + " when BillingMode is PAY_PER_REQUEST")
	case p == nil && !t.OnDemandBilling:
		return awserr.Invalid("Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: " + name)
	}
	for _, d := range definitions {
		if slices.ContainsFunc(t.Attributes, func(a catalog.KeyAttribute) bool { return a.Name == d.AttributeName.Value }) {
			continue
		}
		if slices.ContainsFunc(in.KeySchema, func(e api.KeySchemaElement) bool { return e.AttributeName == d.AttributeName }) {
			t.Attributes = append(t.Attributes, catalog.KeyAttribute{Name: d.AttributeName.Value, Type: scalarTypes[d.AttributeType.Value]})
		}
	}
	x, err := newGlobalIndex(t, (*api.GlobalSecondaryIndex)(in))
	if err != nil {
		return err
	}
	if err := checkProjection(name, in.Projection); err != nil {
		return err
	}
	if err := checkProjected(t); err != nil {
		return err
	}
	x.State, x.AllocatingUntil = catalog.Creating, until
	if x.OnDemand, err = s.newOnDemand(t, name, in.OnDemandThroughput); err != nil {
		return err
	}
	if x.Warm, err = s.newWarm(t, name, in.WarmThroughput, x.Throughput); err != nil {
		return err
	}
	return checkThroughput(x.Throughput)
}

// globalIndex returns the GSI that a request changes; verb says how.
func globalIndex(t *catalog.Table, name, verb string) (*catalog.Index, error) {
	switch x := t.Index(name); {
	case x == nil:
		return nil, awserr.New(awserr.ResourceNotFound, "Requested resource not found: Index "+name+" for table "+t.Name)
	case !x.Global:
		return nil, awserr.ValidationError("Cannot " + verb + " an index that is not a GlobalSecondaryIndex: " + name)
	case x.State == catalog.Deleting:
		return nil, awserr.StillInUse("Index is being deleted. Table: " + t.Name + " Index: " + name)
	default:
		return x, nil
	}
}

// deleteIndex marks a GSI as DELETING. Its entries are removed in the background.
func deleteIndex(t *catalog.Table, name string, now int64) error {
	gone, err := globalIndex(t, name, "delete")
	if err != nil {
		return err
	}
	for _, x := range t.Indexes {
		if x != gone && x.State != "" {
			return onlineIndexLimit()
		}
	}
	// An index that is still being filled may be deleted.
	switch {
	case gone.State == catalog.Creating && now < gone.AllocatingUntil:
		return awserr.StillInUse("Index creation is in resource allocation phase. Retry deletion during backfilling phase or when the index is active. Table: " +
			t.Name + " Index: " + name)
	case gone.Update.Pending(time.UnixMilli(now)):
		return awserr.StillInUse("Index is being updated. Table: " + t.Name + " Index: " + name)
	}
	gone.State = catalog.Deleting
	return nil
}

// changeIndex changes the throughput of a GSI.
func (s *Service) changeIndex(t *catalog.Table, u *api.UpdateGlobalSecondaryIndexAction, now, until int64) error {
	name := u.IndexName.Value
	x, err := globalIndex(t, name, "update")
	switch {
	case err != nil:
		return err
	case x.State == catalog.Creating && now < x.AllocatingUntil:
		return awserr.StillInUse("Index is being created but is not backfilling yet. Table: " + t.Name + " Index: " + name)
	case x.Update.Pending(time.UnixMilli(now)):
		return awserr.StillInUse("Index is being updated. Table: " + t.Name + " Index: " + name)
	case t.OnDemandBilling && !onDemandRates(u.OnDemandThroughput).any() && u.WarmThroughput == nil:
		return awserr.Invalid("The only Updates for index: " + name + " when TableThroughputMode is PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput")
	case t.OnDemandBilling && u.ProvisionedThroughput != nil:
		return awserr.Invalid("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: " + name + " when BillingMode is PAY_PER_REQUEST")
	}
	x.Update = &catalog.Update{Until: until}
	if p := u.ProvisionedThroughput; p != nil {
		next := catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
		if next.Read == x.Throughput.Read && next.Write == x.Throughput.Write {
			return awserr.ThroughputUnchanged("index "+name, next.Read, next.Write)
		}
		if err := checkThroughput(next); err != nil {
			return err
		}
		if x.Throughput.Read == 0 { // the table was on demand until now: this is no increase, and shows at once
			x.Throughput.Read, x.Throughput.Write = next.Read, next.Write
			return nil
		}
		old := x.Throughput
		old.DecreasesToday = decreasesOn(&old, now)
		x.Update.Throughput = &old
		if err := s.changeThroughput(&x.Throughput, next, now); err != nil {
			return err
		}
	}
	if r := onDemandRates(u.OnDemandThroughput); r.any() {
		if err := onDemandForbidden(t, name, r); err != nil {
			return err
		}
		if x.OnDemand, err = s.mergeOnDemand(t, name, x.OnDemand, r, unlimited); err != nil {
			return err
		}
	}
	if u.WarmThroughput != nil {
		old := warmThroughput(t, x.Warm, x.Throughput)
		x.Update.Warm = &old
		x.Warm, err = s.raiseWarm(t, name, old, u.WarmThroughput)
	}
	return err
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

// changeWarm raises the table's warm throughput.
func (s *Service) changeWarm(t *catalog.Table, in *api.WarmThroughput, until int64) (err error) {
	if !warmRates(in).any() {
		return nil
	}
	old := warmThroughput(t, t.Warm, t.Throughput)
	if t.Warm, err = s.raiseWarm(t, "", old, in); err != nil {
		return err
	}
	t.WarmUpdate = &catalog.Update{Until: until, Warm: &old}
	return nil
}
