package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/table"
)

func (s *Service) scan(ctx context.Context, req *Request, in *api.ScanInput) (*api.ScanOutput, error) {
	if err := checkMixed(
		[]param{
			{"AttributesToGet", in.AttributesToGet != nil},
			{"ConditionalOperator", in.ConditionalOperator.Set},
			{"ScanFilter", in.ScanFilter != nil},
		},
		[]param{{"ProjectionExpression", in.ProjectionExpression.Set}, {"FilterExpression", in.FilterExpression.Set}},
	); err != nil {
		return nil, err
	}
	switch {
	case in.Segment.Set && !in.TotalSegments.Set:
		return nil, awserr.TotalSegmentsRequired()
	case in.TotalSegments.Set && !in.Segment.Set:
		return nil, awserr.SegmentRequired()
	case in.Segment.Set && in.Segment.Value >= in.TotalSegments.Value:
		return nil, awserr.SegmentTooLarge(in.Segment.Value, in.TotalSegments.Value)
	}
	if err := checkItem(in.ExclusiveStartKey); err != nil {
		return nil, err
	}
	e, err := s.parseExpressions(expressionTexts{
		filter: in.FilterExpression, projection: in.ProjectionExpression,
		names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues,
		valuesFor: []string{"FilterExpression"},
	})
	if err != nil {
		return nil, err
	}
	// Only here, values come before ConditionalOperator.
	for i := range in.ScanFilter {
		if err := checkValues(in.ScanFilter[i].Value.AttributeValueList); err != nil {
			return nil, err
		}
	}
	if err := e.lowerFilter(in.ScanFilter, in.ConditionalOperator); err != nil {
		return nil, err
	}
	if err := e.lowerProjection(in.AttributesToGet); err != nil {
		return nil, err
	}
	if err := checkSelect(in.Select, in.IndexName.Set, in.ProjectionExpression.Set, in.AttributesToGet != nil); err != nil {
		return nil, err
	}
	e.scan = true
	on := req.index(in.TableName.Value, in.IndexName.Value).asking(asks{e: e, selected: in.Select, consumed: in.ReturnConsumedCapacity})
	r, err := s.reading(ctx, req, on, in.IndexName, in.ConsistentRead.Value, in.Select.Value, e)
	if err != nil {
		return nil, err
	}
	indexID := uint8(0)
	if r.index != nil {
		indexID = r.index.ID
	}
	q := r.page
	q.Range = table.SegmentRange(r.table, indexID, in.Segment.Value, in.TotalSegments.Or(1))
	q.Limit = int(in.Limit.Value)
	q.CountOnly = in.Select.Value == api.SelectCount
	if in.ExclusiveStartKey != nil {
		if q.Start, err = r.startKey(in.ExclusiveStartKey); err != nil {
			return nil, err
		}
		if !inRange(q.Range.Start, q.Range.End, q.Start) {
			return nil, awserr.StartKeySegment(in.Segment.Value, in.TotalSegments.Value)
		}
	}
	out, err := s.page(ctx, req, r, q, in.ReturnConsumedCapacity)
	return (*api.ScanOutput)(out), err
}
