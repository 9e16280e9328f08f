package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// listTagsOfResource returns all tags in one page, and like AWS ignores NextToken.
func (s *Service) listTagsOfResource(_ context.Context, req *Request, in *api.ListTagsOfResourceInput) (*api.ListTagsOfResourceOutput, error) {
	r, err := s.tagged(req, in.ResourceArn.Value, asks{})
	if err != nil {
		return nil, err
	}
	t := s.Tables.Catalog.Get(r.Namespace, r.table)
	if t == nil || t.Restoring() {
		return nil, resourceNotFound(in.ResourceArn.Value)
	}
	at := tagsOf(t, r)
	if at == nil {
		return nil, resourceNotFound(in.ResourceArn.Value)
	}
	out := &api.ListTagsOfResourceOutput{Tags: []api.Tag{}}
	for _, tag := range slices.SortedFunc(slices.Values(*at), func(a, b catalog.Tag) int { return strings.Compare(a.Key, b.Key) }) {
		out.Tags = append(out.Tags, api.Tag{Key: smithy.Some(tag.Key), Value: smithy.Some(tag.Value)})
	}
	return out, nil
}
