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

// restore creates the table that a restore fills.
func (s *Service) restore(ctx context.Context, req *Request, name string, source *catalog.Table, loading *catalog.Loading, from *catalog.Restored, o overrides) (*api.TableDescription, error) {
	if o.vector != nil {
		return nil, unsupported("VectorIndexOverride")
	}
	target, err := s.resolve(req.Caller, req.table(name))
	if err != nil {
		return nil, err
	}
	now := s.Now()
	t := &catalog.Table{
		Namespace: target.Namespace, Name: target.table, UUID: uuid.NewString(), Created: now.UnixMilli(), CreatingUntil: now.Add(s.TransientStatus).UnixMilli(),
		Attributes: slices.Clone(source.Attributes), Key: source.Key,
		OnDemandBilling: source.OnDemandBilling, OnDemand: source.OnDemand, Warm: source.Warm,
		Throughput: catalog.Throughput{Read: source.Throughput.Read, Write: source.Throughput.Write},
		Keys:       source.Keys, TableClass: source.TableClass, SSEKey: source.SSEKey, Restored: from, Loading: loading,
	}
	if err := restoreIndexes(t, source, o); err != nil {
		return nil, err
	}
	if err := restoreBilling(t, o); err != nil {
		return nil, err
	}
	if err := s.checkQuotas(nil, t); err != nil {
		return nil, err
	}
	if err := setSSE(t, o.sse); err != nil {
		return nil, err
	}
	taken, err := s.Backups.Restore(ctx, t)
	if errors.Is(err, backup.ErrGone) {
		return nil, awserr.New(awserr.BackupInUse, "What is to be restored is being deleted: "+source.Name)
	}
	if err != nil {
		return nil, clientError(err)
	}
	// AWS distinguishes a table that exists from one that is being created or deleted.
	if taken != nil {
		if !taken.Serves(now) {
			return nil, awserr.TableBusyForBackup(name)
		}
		return nil, awserr.New(awserr.TableAlreadyExists, "Table already exists: "+name)
	}
	d, err := s.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	d.TableStatus = smithy.Some(catalog.Creating)
	return d, nil
}

// restoreIndexes copies the source's indexes to the table, or only those that the overrides name.
func restoreIndexes(t, source *catalog.Table, o overrides) error {
	for _, x := range source.Indexes {
		if x.State == catalog.Deleting {
			continue
		}
		restored, err := restoreIndex(t, x, o)
		if err != nil {
			return err
		}
		if restored != nil {
			t.Indexes = append(t.Indexes, restored)
		}
	}
	for _, g := range o.global {
		if x := source.Index(g.IndexName.Value); x == nil || !x.Global {
			return indexDiffers(g.IndexName.Value)
		}
	}
	for _, l := range o.local {
		if x := source.Index(l.IndexName.Value); x == nil || x.Global {
			return indexDiffers(l.IndexName.Value)
		}
	}
	t.RemoveUnusedAttributes()
	return nil
}

// restoreIndex returns a copy of an index of the source, changed as the overrides say; nil if they leave it out.
func restoreIndex(t *catalog.Table, x *catalog.Index, o overrides) (*catalog.Index, error) {
	restored := &catalog.Index{
		ID: x.ID, Name: x.Name, Global: x.Global, Key: x.Key, Projection: x.Projection, OnDemand: x.OnDemand, Warm: x.Warm,
		Throughput: catalog.Throughput{Read: x.Throughput.Read, Write: x.Throughput.Write},
	}
	switch {
	case x.Global && o.global != nil:
		i := slices.IndexFunc(o.global, func(g api.GlobalSecondaryIndex) bool { return g.IndexName.Value == x.Name })
		if i < 0 {
			return nil, nil
		}
		g := &o.global[i]
		if !sameIndex(t, x, g.KeySchema, g.Projection) {
			return nil, indexDiffers(x.Name)
		}
		if p := g.ProvisionedThroughput; p != nil {
			restored.Throughput = catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
		}
		if g.OnDemandThroughput != nil {
			restored.OnDemand = newOnDemand(g.OnDemandThroughput)
		}
	case !x.Global && o.local != nil:
		i := slices.IndexFunc(o.local, func(l api.LocalSecondaryIndex) bool { return l.IndexName.Value == x.Name })
		if i < 0 {
			return nil, nil
		}
		if !sameIndex(t, x, o.local[i].KeySchema, o.local[i].Projection) {
			return nil, indexDiffers(x.Name)
		}
	}
	return restored, nil
}

func indexDiffers(name string) error {
	return awserr.Invalid("Index does not match an index of the source table: " + name)
}

// sameIndex reports whether a request describes an index of the source unchanged.
func sameIndex(t *catalog.Table, x *catalog.Index, keys []api.KeySchemaElement, p *api.Projection) bool {
	key, err := newKey(t, keys, maxIndexKeyParts)
	if err != nil || !slices.Equal(key.Partition, x.Key.Partition) || !slices.Equal(key.Sort, x.Key.Sort) || p == nil {
		return false
	}
	a, b := slices.Sorted(slices.Values(p.NonKeyAttributes)), slices.Sorted(slices.Values(x.Projection.Attributes))
	return p.ProjectionType.Value == x.Projection.Type && slices.Equal(a, b)
}

// restoreBilling applies the overrides of billing mode and throughput.
func restoreBilling(t *catalog.Table, o overrides) error {
	if o.billing.Set {
		t.OnDemandBilling = o.billing.Value == api.BillingModePayPerRequest
	}
	switch p := o.throughput; {
	case p != nil && t.OnDemandBilling:
		return awserr.ThroughputForbidden()
	case p != nil:
		t.Throughput = catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
	case !t.OnDemandBilling && t.Throughput.Read == 0:
		return awserr.ThroughputRequired()
	}
	if o.onDemand != nil {
		if !t.OnDemandBilling {
			return awserr.Invalid("OnDemandThroughput can only be specified when BillingMode is PAY_PER_REQUEST")
		}
		t.OnDemand = newOnDemand(o.onDemand)
	}
	if t.OnDemandBilling {
		t.Throughput, t.SwitchedToOnDemand = catalog.Throughput{}, t.Created
	} else {
		t.OnDemand = nil
	}
	for _, x := range t.Indexes {
		switch {
		case !x.Global:
		case t.OnDemandBilling:
			x.Throughput = catalog.Throughput{}
		default:
			x.OnDemand = nil
			if x.Throughput.Read == 0 { // an on-demand source has no throughput
				x.Throughput = catalog.Throughput{Read: t.Throughput.Read, Write: t.Throughput.Write}
			}
			if err := checkThroughput(x.Throughput); err != nil {
				return err
			}
		}
	}
	return checkThroughput(t.Throughput)
}
