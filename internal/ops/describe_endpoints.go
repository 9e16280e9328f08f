package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

// endpointCacheMinutes is how long clients may cache the answer; the value is AWS's.
const endpointCacheMinutes = 1440

// describeEndpoints returns the address that the client already uses, because there is no other.
func (s *Service) describeEndpoints(_ context.Context, req *Request, _ *api.DescribeEndpointsRequest) (*api.DescribeEndpointsResponse, error) {
	return &api.DescribeEndpointsResponse{Endpoints: []api.Endpoint{{
		Address:              smithy.Some(req.Host),
		CachePeriodInMinutes: smithy.Some[int64](endpointCacheMinutes),
	}}}, nil
}
