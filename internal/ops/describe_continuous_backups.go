package ops

import (
	"context"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

// describeContinuousBackups answers as AWS does for a table without point-in-time recovery, which can't be enabled yet.
func (s *Service) describeContinuousBackups(_ context.Context, call *smithy.Call, in *api.DescribeContinuousBackupsInput) (*api.DescribeContinuousBackupsOutput, error) {
	if _, err := s.anyTable(call, in.TableName.Value); err != nil {
		var known *awserr.Error
		if errors.As(err, &known) && known.Code == awserr.ResourceNotFound {
			return nil, awserr.New(awserr.TableNotFoundCode, "Table not found: "+in.TableName.Value)
		}
		return nil, err
	}
	return &api.DescribeContinuousBackupsOutput{ContinuousBackupsDescription: &api.ContinuousBackupsDescription{
		ContinuousBackupsStatus: smithy.Some(api.ContinuousBackupsStatusEnabled),
		PointInTimeRecoveryDescription: &api.PointInTimeRecoveryDescription{
			PointInTimeRecoveryStatus: smithy.Some(api.PointInTimeRecoveryStatusDisabled),
		},
	}}, nil
}
