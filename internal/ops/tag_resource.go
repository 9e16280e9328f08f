package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
)

func (s *Service) tagResource(ctx context.Context, req *Request, in *api.TagResourceInput) (*api.NoOutput, error) {
	return s.changeTags(ctx, req, in.ResourceArn.Value, func(t *catalog.Table) (err error) {
		t.Tags, err = mergeTags(t.Tags, in.Tags)
		return err
	})
}
