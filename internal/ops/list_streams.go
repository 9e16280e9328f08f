package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) listStreams(_ context.Context, req *Request, in *api.ListStreamsInput) (*api.ListStreamsOutput, error) {
	if err := checkStreamLimit(in.Limit, maxStreamPage); err != nil {
		return nil, err
	}
	of := resource{Namespace: s.namespace(req.Caller)}
	if in.TableName.Set {
		var err error
		if of, err = s.resolve(req, req.table(in.TableName.Value)); err != nil {
			return nil, err
		}
	}
	after := in.ExclusiveStartStreamArn
	r, err := s.resolve(req, req.resource(anyKind, after.Value))
	if err != nil {
		return nil, err
	}
	if r.kind == kindStream {
		after = smithy.Some(r.ARN())
	}
	arn := (*catalog.StreamRef).ARN
	out := &api.ListStreamsOutput{Streams: []api.Stream{}}
	page, last := smithy.Page(smithy.After(s.Tables.Catalog.Streams(of.Namespace, of.table), after, arn), in.Limit.Or(maxStreamPage), arn)
	out.LastEvaluatedStreamArn = last
	for _, r := range page {
		out.Streams = append(out.Streams, api.Stream{
			StreamArn: smithy.Some(r.ARN()), TableName: smithy.Some(r.Table), StreamLabel: smithy.Some(r.Label),
		})
	}
	return out, nil
}
