package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/capacity"
)

func (s *Service) getItem(ctx context.Context, req *Request, in *api.GetItemInput) (*api.GetItemOutput, error) {
	if err := checkItem(in.Key); err != nil {
		return nil, err
	}
	var e *expressions
	if in.ProjectionExpression.Set || in.AttributesToGet != nil || in.ExpressionAttributeNames != nil {
		err := checkMixed([]param{{"AttributesToGet", in.AttributesToGet != nil}}, []param{{"ProjectionExpression", in.ProjectionExpression.Set}})
		if err != nil {
			return nil, err
		}
		if e, err = s.parseExpressions(expressionTexts{projection: in.ProjectionExpression, names: in.ExpressionAttributeNames}); err != nil {
			return nil, err
		}
		if err := e.lowerProjection(in.AttributesToGet); err != nil {
			return nil, err
		}
	}
	t, err := s.serving(ctx, req, req.table(in.TableName.Value).asking(asks{key: in.Key, e: e, consumed: in.ReturnConsumedCapacity}))
	if err != nil {
		return nil, err
	}
	if err := checkKey(t, in.Key); err != nil {
		return nil, err
	}
	storage := t.AppendItemKey(req.key[:0], in.Key)
	req.key = storage
	use, now := itemRead(storage, in.Key), req.Time
	if err := s.admit(ctx, t, use, now); err != nil {
		return nil, clientError(err)
	}
	r, err := s.reader(ctx, t, in.ConsistentRead.Value)
	if err != nil {
		return nil, clientError(err)
	}
	req.OnRelease(r)
	raw, err := r.Get(storage)
	if err != nil {
		return nil, clientError(err)
	}
	item := attribute.Item(raw)
	units := capacity.Consumed{Table: capacity.Read(item.Size(), in.ConsistentRead.Value)}
	t.Meter.Charge(use, units.Table, now)
	out := &api.GetItemOutput{Item: item}
	if in.ReturnConsumedCapacity.Set {
		out.ConsumedCapacity = consumedCapacity(in.ReturnConsumedCapacity, t.Name, &units, plainUnits)
	}
	if item != nil && e != nil && e.projector != nil && !req.Unprojected {
		out.Item = e.projector.Project(item)
	}
	return out, nil
}
