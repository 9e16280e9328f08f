package ops

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// overrides are the settings in which a restored table differs from its source.
type overrides struct {
	billing    smithy.Opt[string]
	throughput *api.ProvisionedThroughput
	onDemand   *api.OnDemandThroughput
	sse        *api.SSESpecification
	global     []api.GlobalSecondaryIndex
	local      []api.LocalSecondaryIndex
	vector     []api.VectorIndex
}

// restoreActions are the further actions that a restore needs on its target ("Using IAM with DynamoDB backup and restore").
var restoreActions = []string{
	"dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem",
}

// restore creates the table that a restore fills.
func (s *Service) restore(ctx context.Context, req *Request, name string, source *catalog.Table, loading *catalog.Loading, from *catalog.Restored, o overrides) (*api.TableDescription, error) {
	if o.vector != nil {
		return nil, unsupported("VectorIndexOverride")
	}
	target, err := s.resolve(req, req.table(name))
	if len(name) < 3 || len(name) > 255 {
		return nil, awserr.TableNameLength()
	}
	if err == nil {
		err = s.authorizeMore(req, &target, asks{}, restoreActions...)
	}
	if err != nil {
		return nil, err
	}
	now := s.Now()
	t := &catalog.Table{
		Namespace: target.Namespace, Name: target.table, UUID: uuid.NewString(), Created: now.UnixMilli(), CreatingUntil: now.Add(s.TransientStatus).UnixMilli(),
		Attributes: slices.Clone(source.Attributes), Key: source.Key,
		OnDemandBilling: source.OnDemandBilling, OnDemand: source.OnDemand, Warm: source.Warm,
		Throughput: catalog.Throughput{Read: source.Throughput.Read, Write: source.Throughput.Write},
		Keys:       source.Keys, SSEKey: source.SSEKey, Restored: from, Loading: loading,
	}
	if err := restoreIndexes(t, source, o); err != nil {
		return nil, err
	}
	if err := s.restoreBilling(t, source, o); err != nil {
		return nil, err
	}
	if err := s.checkQuotas(nil, t); err != nil {
		return nil, err
	}
	if o.sse != nil {
		if t.SSEKey, err = newSSEKey(t, o.sse); err != nil {
			return nil, err
		}
	}
	taken, err := s.Backups.Restore(ctx, t)
	if errors.Is(err, backup.ErrGone) {
		return nil, awserr.New(awserr.BackupInUse, "What is to be restored is being deleted: "+source.Name)
	}
	if err != nil {
		return nil, clientError(err)
	}
	// AWS distinguishes a table that exists from one that is being restored.
	if taken != nil {
		if r := taken.Restored; r != nil && taken.Status(now) == catalog.Creating {
			from := "backup: " + r.BackupARN
			if r.BackupARN == "" {
				from = "table: " + r.SourceARN
			}
			return nil, awserr.New(awserr.TableInUse, "Table: "+name+" is already being restored from "+from)
		}
		return nil, awserr.New(awserr.TableAlreadyExists, "Table already exists: "+name)
	}
	d, err := s.describe(ctx, t, true)
	if err != nil {
		return nil, err
	}
	d.TableStatus = smithy.Some(catalog.Creating)
	return d, nil
}

// restoreIndexes copies the source's indexes to the table, or only those that the overrides name.
func restoreIndexes(t, source *catalog.Table, o overrides) error {
	for _, x := range source.Indexes {
		if x.State != catalog.Deleting && (x.Global && o.global == nil || !x.Global && o.local == nil) {
			t.Indexes = append(t.Indexes, restoredIndex(x))
		}
	}
	for _, g := range o.global {
		x, err := restoreIndex(t, source, g.IndexName.Value, true, g.KeySchema, g.Projection)
		if err != nil {
			return err
		}
		x.Throughput = catalog.Throughput{}
		if p := g.ProvisionedThroughput; p != nil {
			x.Throughput = catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
		}
	}
	for _, l := range o.local {
		if _, err := restoreIndex(t, source, l.IndexName.Value, false, l.KeySchema, l.Projection); err != nil {
			return err
		}
	}
	t.RemoveUnusedAttributes()
	return nil
}

// restoredIndex returns the copy of an index for a restored table.
func restoredIndex(x *catalog.Index) *catalog.Index {
	return &catalog.Index{
		ID: x.ID, Name: x.Name, Global: x.Global, Key: x.Key, Projection: x.Projection, OnDemand: x.OnDemand, Warm: x.Warm,
		Throughput: catalog.Throughput{Read: x.Throughput.Read, Write: x.Throughput.Write},
	}
}

// restoreIndex adds the index of the source that a request describes, under the name that the request gives it.
func restoreIndex(t, source *catalog.Table, name string, global bool, keys []api.KeySchemaElement, p *api.Projection) (*catalog.Index, error) {
	for _, x := range source.Indexes {
		if x.Global == global && x.State != catalog.Deleting && t.IndexByID(x.ID) == nil && sameIndex(source, x, keys, p) {
			restored := restoredIndex(x)
			restored.Name = name
			if t.Index(name) != nil {
				return nil, awserr.Invalid("Duplicate index name: " + name)
			}
			t.Indexes = append(t.Indexes, restored)
			return restored, nil
		}
	}
	return nil, invalidRestore("Index " + name + " does not match a secondary index that existed in the source table and cannot be created during the restore operation")
}

func invalidRestore(reason string) error { return awserr.ValidationError("Invalid Request: " + reason) }

// sameIndex reports whether a request describes an index of the source unchanged.
func sameIndex(t *catalog.Table, x *catalog.Index, keys []api.KeySchemaElement, p *api.Projection) bool {
	key, err := newGlobalKey(t, keys)
	if err != nil || !slices.Equal(key.Partition, x.Key.Partition) || !slices.Equal(key.Sort, x.Key.Sort) || p == nil {
		return false
	}
	a, b := slices.Sorted(slices.Values(p.NonKeyAttributes)), slices.Sorted(slices.Values(x.Projection.Attributes))
	return p.ProjectionType.Value == x.Projection.Type && slices.Equal(a, b)
}

// restoreBilling applies the overrides of billing mode and throughput.
func (s *Service) restoreBilling(t, source *catalog.Table, o overrides) (err error) {
	if o.billing.Set {
		t.OnDemandBilling = o.billing.Value == api.BillingModePayPerRequest
	}
	if err := checkRestoreThroughput(t, source, o); err != nil {
		return err
	}
	if p := o.throughput; p != nil {
		t.Throughput = catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
	}
	if t.OnDemand, err = s.restoreOnDemand(t, "", t.OnDemand, o.onDemand); err != nil {
		return err
	}
	if t.OnDemandBilling {
		t.Throughput, t.SwitchedToOnDemand = catalog.Throughput{}, t.Created
	}
	for _, x := range t.Indexes {
		if !x.Global {
			continue
		}
		if t.OnDemandBilling {
			x.Throughput = catalog.Throughput{}
		}
		var given *api.OnDemandThroughput
		for i := range o.global {
			if o.global[i].IndexName.Value == x.Name {
				given = o.global[i].OnDemandThroughput
			}
		}
		if x.OnDemand, err = s.restoreOnDemand(t, x.Name, x.OnDemand, given); err != nil {
			return err
		}
		if err := checkThroughput(x.Throughput); err != nil {
			return err
		}
	}
	return checkThroughput(t.Throughput)
}

// checkRestoreThroughput checks whether throughput is given exactly where the restored table needs or can have it.
func checkRestoreThroughput(t, source *catalog.Table, o overrides) error {
	forbidden := func(of string) error {
		if o.billing.Set {
			return invalidRestore("Cannot override ProvisionedThroughput if BillingMode is overridden to PAY_PER_REQUEST" + of)
		}
		return invalidRestore("Cannot override ProvisionedThroughput unless BillingMode is PROVISIONED" + of)
	}
	switch {
	case t.OnDemandBilling && o.throughput != nil:
		return forbidden("")
	case !t.OnDemandBilling && source.OnDemandBilling && o.throughput == nil:
		return invalidRestore("Must override ProvisionedThroughput if BillingMode is overridden to PROVISIONED")
	}
	for i := range o.global {
		if t.OnDemandBilling && o.global[i].ProvisionedThroughput != nil {
			return forbidden(" for index " + o.global[i].IndexName.Value)
		}
	}
	for _, x := range t.Indexes {
		if x.Global && !t.OnDemandBilling && x.Throughput.Read == 0 {
			return invalidRestore("Must specify provisioned throughput for index " + x.Name)
		}
	}
	return nil
}

// restoreOnDemand returns the on-demand maxima of a restored table, or of an index of it.
func (s *Service) restoreOnDemand(t *catalog.Table, index string, old *catalog.OnDemand, in *api.OnDemandThroughput) (*catalog.OnDemand, error) {
	r := onDemandRates(in)
	for i := range r {
		switch {
		case !r[i].Set:
		case !t.OnDemandBilling:
			return nil, invalidRestore("Cannot override " + onDemandNames[i] + " for OnDemandThroughput unless BillingModeOverride is PAY_PER_REQUEST")
		case r[i].Value < 1:
			return nil, invalidRestore("Requested " + onDemandNames[i] + " for OnDemandThroughput is outside of valid range")
		}
	}
	if !t.OnDemandBilling {
		return nil, nil
	}
	return s.mergeOnDemand(t, index, old, r, 1)
}
