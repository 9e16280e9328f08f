package ops

import (
	"context"
	"math"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

// putItem checks the item's size before the table's existence, as AWS does.
func (s *Service) putItem(ctx context.Context, req *Request, in *api.PutItemInput) (*api.PutItemOutput, error) {
	returnOld, err := returnsOld(in.ReturnValues)
	if err != nil {
		return nil, err
	}
	e, err := s.parseConditional(conditional{
		expected: in.Expected, operator: in.ConditionalOperator, expression: in.ConditionExpression,
		names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues,
	}, in.Item)
	if err != nil {
		return nil, err
	}
	if in.Item.Size() > attribute.MaxItemSize {
		return nil, awserr.ItemTooLarge()
	}
	t, err := s.serving(ctx, req, req.table(in.TableName.Value).asking(asks{
		key: in.Item, e: e, returned: in.ReturnValues, consumed: in.ReturnConsumedCapacity,
		returnOld: allOld(in.ReturnValuesOnConditionCheckFailure),
	}))
	if err != nil {
		return nil, err
	}
	m, err := putMutation(t, in.Item)
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
	return &api.PutItemOutput{Attributes: w.Old, ConsumedCapacity: w.consumed, ItemCollectionMetrics: w.metrics}, nil
}

// putMutation returns the mutation that puts the item, after checking its key attributes.
func putMutation(t *catalog.Table, item attribute.Item) (table.Mutation, error) {
	if err := checkItemKey(t, item); err != nil {
		return table.Mutation{}, err
	}
	if err := checkIndexKeys(t, nil, item, false); err != nil {
		return table.Mutation{}, err
	}
	return table.Mutation{Table: t, Key: item, Next: func(attribute.Item) (attribute.Item, error) { return item, nil }}, nil
}

// returnsOld parses ReturnValues where only NONE and ALL_OLD are valid.
func returnsOld(mode smithy.Opt[string]) (bool, error) {
	switch mode.Or(api.ReturnValueNone) {
	case api.ReturnValueNone:
		return false, nil
	case api.ReturnValueAllOld:
		return true, nil
	}
	return false, awserr.InvalidReturnValues()
}

// collectionMetrics returns the size of the item collection with the key if the request asks for it and the table has LSIs.
func (s *Service) collectionMetrics(ctx context.Context, mode smithy.Opt[string], t *catalog.Table, key attribute.Item) (*api.ItemCollectionMetrics, error) {
	if mode.Value != api.ReturnItemCollectionMetricsSize || !t.HasLocalIndexes() {
		return nil, nil
	}
	partition := catalog.AppendKeyValues(nil, t.Key.Partition, key)
	var bytes int64
	add := func(indexID uint8) error {
		n, err := s.Tables.KV.Size(ctx, kv.Prefix(t.AppendPartition(nil, indexID, partition)))
		bytes += n
		return err
	}
	if err := add(0); err != nil {
		return nil, clientError(err)
	}
	for _, x := range t.Indexes {
		if x.Global {
			continue
		}
		if err := add(x.ID); err != nil {
			return nil, clientError(err)
		}
	}
	low := math.Floor(float64(bytes) / (1 << 30))
	return &api.ItemCollectionMetrics{
		ItemCollectionKey:   key.Project(func(name []byte) bool { return string(name) == t.Key.Partition[0].Name }),
		SizeEstimateRangeGB: []float64{low, low + 1},
	}, nil
}
