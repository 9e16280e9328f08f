package ops

import (
	"context"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

func (s *Service) transactGetItems(ctx context.Context, call *smithy.Call, in *api.TransactGetItemsInput) (*api.TransactGetItemsOutput, error) {
	all := make([]*expressions, len(in.TransactItems))
	for i := range in.TransactItems {
		g := in.TransactItems[i].Get
		if err := checkItem(g.Key); err != nil {
			return nil, err
		}
		var err error
		if all[i], err = s.parseExpressions(expressionTexts{projection: g.ProjectionExpression, names: g.ExpressionAttributeNames}); err != nil {
			return nil, err
		}
	}
	tables := make([]*catalog.Table, len(all))
	reasons := make([]awserr.Reason, len(all))
	refused := false
	seen := make(map[string]struct{}, len(all))
	for i := range in.TransactItems {
		g := in.TransactItems[i].Get
		var err error
		if tables[i], err = s.table(call, g.TableName.Value); err != nil {
			return nil, err
		}
		var known *awserr.Error
		if errors.As(checkKey(tables[i], g.Key), &known) {
			reasons[i] = awserr.Reason{Code: "ValidationError", Message: known.Message}
			refused = true
			continue
		}
		storage := string(tables[i].AppendItemKey(nil, g.Key))
		if _, twice := seen[storage]; twice {
			return nil, awserr.DuplicateTransactItems()
		}
		seen[storage] = struct{}{}
	}
	if refused {
		return nil, canceled(reasons)
	}
	// One snapshot is what makes the reads a transaction: it never conflicts with writers.
	snap, err := s.Tables.KV.Snapshot(ctx)
	if err != nil {
		return nil, clientError(err)
	}
	call.OnRelease(snap)
	out := &api.TransactGetItemsOutput{Responses: make([]api.ItemResponse, len(all))}
	var used ledger
	size := 0
	for i, e := range all {
		item, err := table.Read(snap, tables[i], in.TransactItems[i].Get.Key)
		if err != nil {
			return nil, clientError(err)
		}
		if size += item.Size(); size > maxTransactionSize {
			return nil, transactionTooLarge()
		}
		used.add(tables[i].Name, &capacity.Consumed{Table: capacity.TransactionalRead(item.Size())}, 1)
		if item != nil && e.projector != nil {
			item = e.projector.Project(item)
		}
		out.Responses[i].Item = item
	}
	out.ConsumedCapacity = used.render(in.ReturnConsumedCapacity, transactReads)
	return out, nil
}
