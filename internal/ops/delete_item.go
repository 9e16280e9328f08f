package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/table"
)

func (s *Service) deleteItem(ctx context.Context, req *Request, in *api.DeleteItemInput) (*api.DeleteItemOutput, error) {
	returnOld, err := returnsOld(in.ReturnValues)
	if err != nil {
		return nil, err
	}
	e, err := s.parseConditional(conditional{
		expected: in.Expected, operator: in.ConditionalOperator, expression: in.ConditionExpression,
		names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues, untyped: attribute.NoType | attribute.ManyTypes,
	}, in.Key)
	if err != nil {
		return nil, err
	}
	t, err := s.serving(ctx, req, req.table(in.TableName.Value).asking(asks{
		key: in.Key, e: e, returned: in.ReturnValues, consumed: in.ReturnConsumedCapacity,
		returnOld: allOld(in.ReturnValuesOnConditionCheckFailure),
	}))
	if err != nil {
		return nil, err
	}
	m, err := deleteMutation(t, in.Key)
	if err != nil {
		return nil, err
	}
	w, err := s.writeOne(ctx, m, e, writeModes{
		onFailure: in.ReturnValuesOnConditionCheckFailure, consumed: in.ReturnConsumedCapacity, metrics: in.ReturnItemCollectionMetrics,
		keepOld: returnOld, now: req.Time,
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteItemOutput{Attributes: w.Old, ConsumedCapacity: w.consumed, ItemCollectionMetrics: w.metrics}, nil
}

// deleteMutation returns the mutation that deletes the item, after checking its key.
func deleteMutation(t *catalog.Table, key attribute.Item) (table.Mutation, error) {
	if err := checkKey(t, key); err != nil {
		return table.Mutation{}, err
	}
	return table.Mutation{Table: t, Key: key, Next: func(attribute.Item) (attribute.Item, error) { return nil, nil }}, nil
}
