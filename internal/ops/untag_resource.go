package ops

import (
	"context"
	"slices"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
)

func (s *Service) untagResource(ctx context.Context, req *Request, in *api.UntagResourceInput) (*api.NoOutput, error) {
	return s.changeTags(ctx, req, in.ResourceArn.Value, func(t *catalog.Table) error {
		t.Tags = slices.DeleteFunc(t.Tags, func(tag catalog.Tag) bool { return slices.Contains(in.TagKeys, tag.Key) })
		return nil
	})
}
