package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) listStreams(_ context.Context, req *Request, in *api.ListStreamsInput) (*api.ListStreamsOutput, error) {
	if err := checkStreamLimit(in.Limit, maxStreamPage); err != nil {
		return nil, err
	}
	if err := s.authorizeARN(req, in.ExclusiveStartStreamArn.Value); err != nil {
		return nil, err
	}
	out := &api.ListStreamsOutput{Streams: []api.Stream{}}
	limit := int(in.Limit.Or(maxStreamPage))
	for _, r := range s.Tables.Catalog.Streams(s.namespace(req.Caller), in.TableName.Value) {
		arn := r.ARN()
		if in.ExclusiveStartStreamArn.Set && arn <= in.ExclusiveStartStreamArn.Value {
			continue
		}
		if len(out.Streams) == limit {
			out.LastEvaluatedStreamArn = out.Streams[limit-1].StreamArn
			break
		}
		out.Streams = append(out.Streams, api.Stream{
			StreamArn: smithy.Some(arn), TableName: smithy.Some(r.Table), StreamLabel: smithy.Some(r.Label),
		})
	}
	return out, nil
}
