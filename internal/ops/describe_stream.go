package ops

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/stream"
)

func (s *Service) describeStream(_ context.Context, req *Request, in *api.DescribeStreamInput) (*api.DescribeStreamOutput, error) {
	if err := checkStreamLimit(in.Limit, maxStreamPage); err != nil {
		return nil, err
	}
	var parent smithy.Opt[string]
	if f := in.ShardFilter; f != nil {
		if !f.Type.Set || !f.ShardId.Set {
			return nil, awserr.Invalid("ShardFilter requires both Type and ShardId")
		}
		parent = f.ShardId
	}
	r, err := s.stream(req, in.StreamArn.Value)
	if err != nil {
		return nil, err
	}
	d := &api.StreamDescription{
		StreamArn:               smithy.Some(r.ARN()),
		StreamLabel:             smithy.Some(r.Label),
		StreamStatus:            smithy.Some(s.streamStatus(r)),
		StreamViewType:          smithy.Some(r.ViewType),
		CreationRequestDateTime: seconds(r.Created),
		TableName:               smithy.Some(r.Table),
		KeySchema:               describeKey(&r.Key),
		Shards:                  []api.Shard{},
	}
	started := !in.ExclusiveStartShardId.Set
	horizon := s.streams().Horizon().Stamp
	var shards []*catalog.Shard
	for i := range r.Shards {
		shard := &r.Shards[i]
		switch {
		case !started:
			started = shard.ID == in.ExclusiveStartShardId.Value
		case shard.End != 0 && shard.End <= horizon, parent.Set && shard.Parent != parent.Value:
		default:
			shards = append(shards, shard)
		}
	}
	shards, d.LastEvaluatedShardId = smithy.Page(shards, in.Limit.Or(maxStreamPage), func(s *catalog.Shard) string { return s.ID })
	for _, shard := range shards {
		d.Shards = append(d.Shards, describeShard(shard))
	}
	return &api.DescribeStreamOutput{StreamDescription: d}, nil
}

// describeShard describes a shard. Its sequence number range is open while the shard is.
func describeShard(shard *catalog.Shard) api.Shard {
	out := api.Shard{ShardId: smithy.Some(shard.ID), SequenceNumberRange: &api.SequenceNumberRange{
		StartingSequenceNumber: smithy.Some(stream.Position{Stamp: shard.Start}.SequenceNumber()),
	}}
	if shard.End != 0 {
		out.SequenceNumberRange.EndingSequenceNumber = smithy.Some(stream.Position{Stamp: shard.End}.SequenceNumber())
	}
	if shard.Parent != "" {
		out.ParentShardId = smithy.Some(shard.Parent)
	}
	return out
}

// streamStatus returns the stream's status. ENABLING and DISABLING last for TransientStatus, like a table's transient statuses.
func (s *Service) streamStatus(r *catalog.StreamRef) string {
	recent := func(ms int64) bool { return s.Now().Before(time.UnixMilli(ms).Add(s.TransientStatus)) }
	switch {
	case r.Enabled && recent(r.Created):
		return api.StreamStatusEnabling
	case r.Enabled:
		return api.StreamStatusEnabled
	case recent(r.Ended):
		return api.StreamStatusDisabling
	}
	return api.StreamStatusDisabled
}
