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
	of := resource{Namespace: s.namespace(req.Caller)}
	if in.TableName.Set {
		var err error
		if of, err = s.resolve(req.Caller, req.table(in.TableName.Value)); err != nil {
			return nil, err
		}
	}
	after := in.ExclusiveStartStreamArn.Value
	if r, err := s.resolve(req.Caller, req.resource(anyKind, after)); err != nil {
		return nil, err
	} else if r.kind == kindStream {
		after = r.ARN()
	}
	out := &api.ListStreamsOutput{Streams: []api.Stream{}}
	limit := int(in.Limit.Or(maxStreamPage))
	for _, r := range s.Tables.Catalog.Streams(of.Namespace, of.table) {
		arn := r.ARN()
		if in.ExclusiveStartStreamArn.Set && arn <= after {
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
