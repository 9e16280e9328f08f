package ops

import (
	"context"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/table"
)

// updateItem lowers the legacy parameters to expressions before it looks up the table.
func (s *Service) updateItem(ctx context.Context, req *Request, in *api.UpdateItemInput) (*api.UpdateItemOutput, error) {
	if err := checkMixed(
		[]param{
			{"AttributeUpdates", in.AttributeUpdates != nil},
			{"ConditionalOperator", in.ConditionalOperator.Set},
			{"Expected", in.Expected != nil},
		},
		[]param{{"UpdateExpression", in.UpdateExpression.Set}, {"ConditionExpression", in.ConditionExpression.Set}},
	); err != nil {
		return nil, err
	}
	if err := checkItem(in.Key); err != nil {
		return nil, err
	}
	e, err := s.parseExpressions(expressionTexts{
		update: in.UpdateExpression, condition: in.ConditionExpression,
		names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues, untyped: attribute.ManyTypes,
	})
	if err != nil {
		return nil, err
	}
	if err := e.lowerExpected(in.Expected, in.ConditionalOperator); err != nil {
		return nil, err
	}
	legacy := !in.UpdateExpression.Set
	if legacy {
		if err := e.lowerUpdates(in.AttributeUpdates); err != nil {
			return nil, err
		}
	}
	t, err := s.serving(ctx, req, req.table(in.TableName.Value).asking(asks{
		key: in.Key, e: e, returned: in.ReturnValues, consumed: in.ReturnConsumedCapacity,
		returnOld: allOld(in.ReturnValuesOnConditionCheckFailure),
	}))
	if err != nil {
		return nil, err
	}
	m, err := updateMutation(t, in.Key, e, legacy)
	if err != nil {
		return nil, err
	}
	// AWS checks what it charges for the statement before it evaluates the condition.
	if !legacy && e.scope.Charge(e.update) > attribute.MaxItemSize {
		return nil, awserr.UpdatedItemTooLarge()
	}
	mode := in.ReturnValues.Or(api.ReturnValueNone)
	w, err := s.writeOne(ctx, m, e, writeModes{
		onFailure: in.ReturnValuesOnConditionCheckFailure, consumed: in.ReturnConsumedCapacity, metrics: in.ReturnItemCollectionMetrics,
		keepOld: mode == api.ReturnValueAllOld || mode == api.ReturnValueUpdatedOld, now: req.Time,
	})
	if err != nil {
		return nil, err
	}
	// DAX puts the stored item into its cache.
	req.Stored = w.Result.New
	return &api.UpdateItemOutput{
		Attributes: returnedAttributes(mode, e, w.Result), ConsumedCapacity: w.consumed, ItemCollectionMetrics: w.metrics,
	}, nil
}

// updateMutation returns the mutation that applies the request's update to the item, or to a new item with the key if it does
// not exist. An update that only removes creates no item.
func updateMutation(t *catalog.Table, key attribute.Item, e *expressions, legacy bool) (table.Mutation, error) {
	if err := checkKey(t, key); err != nil {
		return table.Mutation{}, err
	}
	if e.update != nil {
		if err := e.checkUpdatedKeys(t); err != nil {
			return table.Mutation{}, err
		}
	}
	nested, creates := e.deep, true
	if e.update != nil {
		creates = len(e.update.Actions) == 0
		for _, a := range e.update.Actions {
			creates = creates || a.Section == expr.SectionSet || a.Section == expr.SectionAdd
			nested = nested || len(a.Path) > 1 || a.Operand != nil && (a.Operand.Op == expr.OpListAppend || a.Operand.Lit != nil)
		}
	}
	return table.Mutation{Table: t, Key: key, Next: func(old attribute.Item) (attribute.Item, error) {
		base := old
		if base == nil {
			if !creates {
				return nil, nil
			}
			base = key
		}
		if e.update == nil || len(e.update.Actions) == 0 {
			return base, nil
		}
		next, err := e.scope.Apply(e.update, base)
		if err != nil {
			return nil, updateError(err, legacy)
		}
		if nested && tooDeep(next) {
			return nil, awserr.UpdatedTooDeep()
		}
		if next.Size() > attribute.MaxItemSize {
			return nil, awserr.UpdatedItemTooLarge()
		}
		return next, checkIndexKeys(t, old, next, true)
	}}, nil
}

// tooDeep reports whether the item nests values deeper than DynamoDB allows.
func tooDeep(it attribute.Item) bool { return it.AsMap().Depth()-1 >= attribute.MaxDepth }

// updateError converts an error of applying an update. AWS words type errors of legacy parameters differently.
func updateError(err error, legacy bool) error {
	e, ok := errors.AsType[*expr.Error](err)
	if legacy && ok && e.WrongType {
		return awserr.ValidationError("Type mismatch for attribute to update")
	}
	if ok {
		return awserr.ValidationError(e.Reason)
	}
	return err
}

// returnedAttributes returns the attributes that ReturnValues asks for, or nil.
func returnedAttributes(mode string, e *expressions, res table.Result) attribute.Item {
	updated := func(it attribute.Item) attribute.Item {
		if e.update == nil || it == nil {
			return nil
		}
		paths := make([]expr.Path, len(e.update.Actions))
		for i, a := range e.update.Actions {
			paths[i] = a.Path
		}
		if out := e.scope.NewProjector(paths).Project(it); out.Len() > 0 {
			return out
		}
		return nil
	}
	switch mode {
	case api.ReturnValueAllOld:
		return res.Old
	case api.ReturnValueAllNew:
		return res.New
	case api.ReturnValueUpdatedOld:
		return updated(res.Old)
	case api.ReturnValueUpdatedNew:
		return updated(res.New)
	}
	return nil
}
