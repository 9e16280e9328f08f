package ops

import (
	"context"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/table"
)

// transactGetItems reads all items from one snapshot. Invalid keys become cancellation reasons, after every item was checked.
func (s *Service) transactGetItems(ctx context.Context, req *Request, in *api.TransactGetItemsInput) (*api.TransactGetItemsOutput, error) {
	all := make([]*expressions, len(in.TransactItems))
	for i := range in.TransactItems {
		g := in.TransactItems[i].Get
		if err := checkOlderItem(g.Key); err != nil {
			return nil, err
		}
		var err error
		if all[i], err = s.parseExpressions(expressionTexts{projection: g.ProjectionExpression, names: g.ExpressionAttributeNames, older: true}); err != nil {
			return nil, err
		}
	}
	muts := make([]table.Mutation, len(all))
	reasons := make([]awserr.Reason, len(all))
	refused := false
	seen := make(map[string]struct{}, len(all))
	for i := range in.TransactItems {
		g := in.TransactItems[i].Get
		t, err := s.serving(ctx, req, req.table(g.TableName.Value).asking(asks{
			key: g.Key, e: all[i], consumed: in.ReturnConsumedCapacity, enclosing: "TransactGetItems",
		}))
		if err != nil {
			return nil, err
		}
		muts[i] = table.Mutation{Table: t, Key: g.Key}
		var known *awserr.Error
		if errors.As(checkKey(t, g.Key), &known) {
			if known.Whole {
				return nil, known
			}
			reasons[i] = awserr.Reason{Code: "ValidationError", Message: known.Message}
			refused = true
			continue
		}
		storage := string(t.AppendItemKey(nil, g.Key))
		if _, twice := seen[storage]; twice {
			return nil, awserr.DuplicateTransactItems()
		}
		seen[storage] = struct{}{}
	}
	if refused {
		return nil, canceled(reasons)
	}
	out := &api.TransactGetItemsOutput{Responses: make([]api.ItemResponse, len(all))}
	var used ledger
	size := 0
	err := s.readItems(ctx, req, muts, func(i int, item attribute.Item, units *capacity.Consumed) error {
		if size += item.Size(); size > maxTransactionSize {
			return transactionTooLarge()
		}
		used.add(muts[i].Table.Name, units, 1)
		if item != nil && all[i].projector != nil && !req.Unprojected {
			if item = all[i].projector.Project(item); item.Len() == 0 {
				item = nil // unlike GetItem and BatchGetItem
			}
		}
		out.Responses[i].Item = item
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.ConsumedCapacity = used.render(in.ReturnConsumedCapacity, transactReads)
	return out, nil
}
