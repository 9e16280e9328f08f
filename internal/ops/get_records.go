package ops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/stream"
)

func (s *Service) getRecords(ctx context.Context, req *Request, in *api.GetRecordsInput) (*api.GetRecordsOutput, error) {
	if err := checkStreamLimit(in.Limit, stream.MaxRecords); err != nil {
		return nil, err
	}
	it, ok := stream.ParseIterator(in.ShardIterator.Value)
	if !ok {
		return nil, awserr.ValidationError("Invalid ShardIterator")
	}
	now := s.Now()
	if now.Sub(it.Created) > stream.IteratorLifetime {
		return nil, awserr.New(awserr.ExpiredIterator, "Iterator expired. The iterator was created at time "+it.Created.UTC().Format("Mon Jan 02 15:04:05 MST 2006")+
			" while right now it is "+now.UTC().Format("Mon Jan 02 15:04:05 MST 2006")+" which is further in the future than the tolerated delay of 900000 milliseconds.")
	}
	r, err := s.stream(req, it.StreamARN)
	if err != nil {
		return nil, err
	}
	shard := r.Shard(it.Shard)
	if shard == nil {
		return nil, shardNotFound(r, it.Shard)
	}
	p, err := s.streams().Read(ctx, r, shard, it.Position, int(in.Limit.Or(stream.MaxRecords)))
	if errors.Is(err, stream.ErrTrimmed) {
		return nil, trimmed()
	}
	if err != nil {
		return nil, clientError(err)
	}
	// Reads count towards the table, but not if another table has taken the name of the stream's table.
	if t := s.Tables.Catalog.Get(r.Namespace, r.Table); t != nil && t.ID == r.TableID {
		uses(req, t)
	}
	req.items, req.bytes = len(p.Entries), 0
	out := &api.GetRecordsOutput{Records: make([]api.Record, len(p.Entries))}
	for i := range p.Entries {
		req.bytes += p.Entries[i].Size()
		out.Records[i] = renderRecord(r, &p.Entries[i])
	}
	if err := holds(req, req.bytes); err != nil {
		return nil, err
	}
	if !p.End {
		next := stream.Iterator{StreamARN: it.StreamARN, Shard: it.Shard, Position: p.Next, Created: now}
		out.NextShardIterator = smithy.Some(next.String())
	}
	return out, nil
}

// renderRecord renders a stream record. The event ID is derived from stream and sequence number, so that it is the same in each
// read.
func renderRecord(r *catalog.StreamRef, e *stream.Entry) api.Record {
	number := e.SequenceNumber()
	id := sha256.Sum256([]byte(r.ARN() + number))
	out := api.Record{
		EventID:      smithy.Some(hex.EncodeToString(id[:16])),
		EventName:    smithy.Some(e.Event.String()),
		EventVersion: smithy.Some("1.1"),
		EventSource:  smithy.Some("aws:dynamodb"),
		AwsRegion:    smithy.Some(r.Region),
		Dynamodb: &api.StreamRecord{
			// AWS truncates the time to whole seconds.
			ApproximateCreationDateTime: smithy.Some(float64(e.Stamp.Millis() / 1000)),
			Keys:                        e.Keys,
			NewImage:                    e.New,
			OldImage:                    e.Old,
			SequenceNumber:              smithy.Some(number),
			SizeBytes:                   smithy.Some(int64(e.Size())),
			StreamViewType:              smithy.Some(r.ViewType),
		},
	}
	if e.Cause == stream.ByTTL {
		out.UserIdentity = &api.Identity{PrincipalId: smithy.Some("dynamodb.amazonaws.com"), Type: smithy.Some("Service")}
	}
	return out
}
