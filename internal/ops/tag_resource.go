package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) tagResource(ctx context.Context, call *smithy.Call, in *api.TagResourceInput) (*api.NoOutput, error) {
	return s.changeTags(ctx, call, in.ResourceArn.Value, func(t *catalog.Table) (err error) {
		t.Tags, err = mergeTags(t.Tags, in.Tags)
		return err
	})
}
