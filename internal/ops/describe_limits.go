package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeLimits(context.Context, *Request, *api.DescribeLimitsInput) (*api.DescribeLimitsOutput, error) {
	return &api.DescribeLimitsOutput{
		AccountMaxReadCapacityUnits:  smithy.Some[int64](metering.AccountMaxUnits),
		AccountMaxWriteCapacityUnits: smithy.Some[int64](metering.AccountMaxUnits),
		TableMaxReadCapacityUnits:    smithy.Some[int64](metering.TableMaxUnits),
		TableMaxWriteCapacityUnits:   smithy.Some[int64](metering.TableMaxUnits),
	}, nil
}
