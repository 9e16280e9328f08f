package ops

import (
	"context"
	"slices"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

func (s *Service) untagResource(ctx context.Context, req *Request, in *api.UntagResourceInput) (*api.NoOutput, error) {
	switch n := len(in.TagKeys); {
	case n == 0:
		return nil, awserr.ValidationError("Atleast one Tag Key needs to be provided as Input.")
	case n > maxTags:
		return nil, tooManyTags()
	}
	for _, key := range in.TagKeys {
		if err := checkTagKey(key); err != nil {
			return nil, err
		}
	}
	return s.changeTags(ctx, req, in.ResourceArn.Value, asks{untagged: in.TagKeys}, func(tags []catalog.Tag) ([]catalog.Tag, error) {
		return slices.DeleteFunc(tags, func(tag catalog.Tag) bool { return slices.Contains(in.TagKeys, tag.Key) }), nil
	})
}
