package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

// The initial quotas of an account ("Quotas in Amazon DynamoDB"), in capacity units per second.
const (
	accountMaxUnits = 80000
	tableMaxUnits   = 40000
)

func (s *Service) describeLimits(context.Context, *smithy.Call, *api.DescribeLimitsInput) (*api.DescribeLimitsOutput, error) {
	return &api.DescribeLimitsOutput{
		AccountMaxReadCapacityUnits:  smithy.Some[int64](accountMaxUnits),
		AccountMaxWriteCapacityUnits: smithy.Some[int64](accountMaxUnits),
		TableMaxReadCapacityUnits:    smithy.Some[int64](tableMaxUnits),
		TableMaxWriteCapacityUnits:   smithy.Some[int64](tableMaxUnits),
	}, nil
}
