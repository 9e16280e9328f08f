package ops

import (
	"context"
	"math"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/stream"
)

func (s *Service) getShardIterator(ctx context.Context, req *Request, in *api.GetShardIteratorInput) (*api.GetShardIteratorOutput, error) {
	kind := in.ShardIteratorType.Value
	bySequence := kind == api.ShardIteratorTypeAtSequenceNumber || kind == api.ShardIteratorTypeAfterSequenceNumber
	switch {
	case bySequence && !in.SequenceNumber.Set:
		return nil, awserr.Invalid("Invalid SequenceNumber")
	case !bySequence && in.SequenceNumber.Set:
		return nil, awserr.Invalid("SequenceNumber should not be passed for this iterator type")
	case kind == api.ShardIteratorTypeAtTimestamp && !in.Timestamp.Set:
		return nil, awserr.Invalid("Invalid Timestamp")
	case kind != api.ShardIteratorTypeAtTimestamp && in.Timestamp.Set:
		return nil, awserr.Invalid("Timestamp should not be passed for this iterator type")
	}
	r, err := s.stream(req, in.StreamArn.Value)
	if err != nil {
		return nil, err
	}
	shard := r.Shard(in.ShardId.Value)
	if shard == nil {
		return nil, shardNotFound(r, in.ShardId.Value)
	}
	at, err := s.shardPosition(ctx, shard, kind, in)
	if err != nil {
		return nil, err
	}
	it := stream.Iterator{StreamARN: r.ARN(), Shard: shard.ID, Position: at, Created: s.Now()}
	return &api.GetShardIteratorOutput{ShardIterator: smithy.Some(it.String())}, nil
}

// shardPosition returns the position in the shard at which an iterator of the given type begins.
func (s *Service) shardPosition(ctx context.Context, shard *catalog.Shard, kind string, in *api.GetShardIteratorInput) (stream.Position, error) {
	reader := s.streams()
	start := reader.Start(shard)
	switch kind {
	case api.ShardIteratorTypeTrimHorizon:
		return start, nil
	case api.ShardIteratorTypeLatest:
		at, err := reader.Latest(ctx, shard)
		return at, clientError(err)
	case api.ShardIteratorTypeAtTimestamp:
		at := in.Timestamp.Value
		if math.IsNaN(at) || at < 0 || at > 1e11 {
			return stream.Position{}, awserr.Invalid("Invalid Timestamp")
		}
		p := stream.Position{Stamp: kv.AtMillis(int64(at * 1000))}
		if p.Before(start) {
			return start, nil
		}
		return p, nil
	}
	now, err := s.Tables.KV.Now(ctx)
	if err != nil {
		return stream.Position{}, clientError(err)
	}
	p, ok := stream.ParseSequenceNumber(in.SequenceNumber.Value)
	if !ok || p.Stamp < shard.Start || shard.End != 0 && p.Stamp > shard.End || p.Stamp > now {
		return p, awserr.Invalid("Invalid SequenceNumber")
	}
	if p.Before(start) {
		return p, trimmed()
	}
	if kind == api.ShardIteratorTypeAfterSequenceNumber {
		return p.Next(), nil
	}
	return p, nil
}
