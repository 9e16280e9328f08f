package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

func (s *Service) tagResource(ctx context.Context, req *Request, in *api.TagResourceInput) (*api.NoOutput, error) {
	if len(in.Tags) == 0 {
		return nil, awserr.ValidationError("Atleast one Tag needs to be provided as Input.")
	}
	if _, err := mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	return s.changeTags(ctx, req, in.ResourceArn.Value, asks{tags: in.Tags}, func(tags []catalog.Tag) ([]catalog.Tag, error) {
		return mergeTags(tags, in.Tags)
	})
}
