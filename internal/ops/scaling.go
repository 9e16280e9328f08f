package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// Namespace returns the account and region to which the caller's tables belong.
func (s *Service) Namespace(caller smithy.Caller) (account, region string) {
	ns := s.namespace(caller)
	return ns.Account, ns.Region
}

// Capacity returns the provisioned throughput, in units per second, of a table, or of one of its GSIs if index is not "". It is
// 0 in on-demand mode. exists is false if there is no such table or index.
func (s *Service) Capacity(ns catalog.Namespace, table, index string) (p catalog.Throughput, exists bool) {
	t := s.Tables.Catalog.Get(ns, table)
	if t == nil || t.DeletingUntil != 0 {
		return p, false
	}
	if index == "" {
		return t.Throughput, true
	}
	x := t.Index(index)
	if x == nil || !x.Global || x.State == catalog.Deleting {
		return p, false
	}
	return x.Throughput, true
}

// setCapacity is the operation as which auto scaling runs UpdateTable.
var setCapacity = &operation{actions: []string{"dynamodb:UpdateTable"}}

// SetCapacity changes the provisioned throughput of a table or GSI (see Capacity) as UpdateTable does.
func (s *Service) SetCapacity(ctx context.Context, ns catalog.Namespace, table, index string, p catalog.Throughput) error {
	units := &api.ProvisionedThroughput{ReadCapacityUnits: smithy.Some(p.Read), WriteCapacityUnits: smithy.Some(p.Write)}
	in := &api.UpdateTableInput{TableName: smithy.Some(table)}
	if index == "" {
		in.ProvisionedThroughput = units
	} else {
		in.GlobalSecondaryIndexUpdates = []api.GlobalSecondaryIndexUpdate{{
			Update: &api.UpdateGlobalSecondaryIndexAction{IndexName: smithy.Some(index), ProvisionedThroughput: units},
		}}
	}
	req := &Request{Call: &smithy.Call{Caller: smithy.Caller{Account: ns.Account, Region: ns.Region}}, op: setCapacity}
	_, err := s.updateTable(ctx, req, in)
	return err
}
