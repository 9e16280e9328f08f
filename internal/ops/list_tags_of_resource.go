package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// tagsPerPage is the page size of ListTagsOfResource.
const tagsPerPage = 10

func (s *Service) listTagsOfResource(_ context.Context, req *Request, in *api.ListTagsOfResourceInput) (*api.ListTagsOfResourceOutput, error) {
	r, err := s.tagged(req, in.ResourceArn.Value)
	if err != nil {
		return nil, err
	}
	t := s.Tables.Catalog.Get(r.Namespace, r.table)
	if t == nil {
		return nil, resourceNotFound(in.ResourceArn.Value)
	}
	tags := slices.Clone(t.Tags)
	slices.SortFunc(tags, func(a, b catalog.Tag) int { return strings.Compare(a.Key, b.Key) })
	if in.NextToken.Set {
		i, found := slices.BinarySearchFunc(tags, in.NextToken.Value, func(t catalog.Tag, key string) int { return strings.Compare(t.Key, key) })
		if !found {
			return nil, awserr.Invalid("Invalid NextToken")
		}
		tags = tags[i+1:]
	}
	page, last := smithy.Page(tags, tagsPerPage, func(t catalog.Tag) string { return t.Key })
	out := &api.ListTagsOfResourceOutput{Tags: []api.Tag{}, NextToken: last}
	for _, tag := range page {
		out.Tags = append(out.Tags, api.Tag{Key: smithy.Some(tag.Key), Value: smithy.Some(tag.Value)})
	}
	return out, nil
}
