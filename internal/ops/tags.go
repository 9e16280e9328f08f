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

// maxTags is the largest number of tags of a resource ("Tagging for DynamoDB").
const maxTags = 50

// tagsPerPage is how many tags a page of ListTagsOfResource has.
const tagsPerPage = 10

// mergeTags returns the tags with more added or replaced.
func mergeTags(tags []catalog.Tag, more []api.Tag) ([]catalog.Tag, error) {
	given := map[string]bool{}
	for _, t := range more {
		if strings.HasPrefix(strings.ToLower(t.Key.Value), "aws:") {
			return nil, awserr.Invalid("User-assigned tag keys cannot start with aws:. TagKey: " + t.Key.Value)
		}
		if given[t.Key.Value] {
			return nil, awserr.Invalid("Duplicate tag keys: " + t.Key.Value)
		}
		given[t.Key.Value] = true
		i := slices.IndexFunc(tags, func(old catalog.Tag) bool { return old.Key == t.Key.Value })
		if i >= 0 {
			tags[i].Value = t.Value.Value
		} else {
			tags = append(tags, catalog.Tag{Key: t.Key.Value, Value: t.Value.Value})
		}
	}
	if len(tags) > maxTags {
		return nil, awserr.New(awserr.LimitExceeded, "The number of tags exceeds the limit of 50")
	}
	return tags, nil
}

// taggedTable returns the name of the table that an ARN names.
func (s *Service) taggedTable(call *smithy.Call, arn string) (catalog.Namespace, string, error) {
	if _, _, ok := catalog.TableFromARN(arn); !ok {
		return catalog.Namespace{}, "", awserr.Invalid("Invalid TableArn: Invalid ResourceArn provided as input " + arn)
	}
	return s.tableName(call, arn)
}

func resourceNotFound(arn string) error {
	return awserr.New(awserr.ResourceNotFound, "Requested resource not found: ResourcArn: "+arn+" not found")
}

func (s *Service) tagResource(ctx context.Context, call *smithy.Call, in *api.TagResourceInput) (*api.NoOutput, error) {
	return s.changeTags(ctx, call, in.ResourceArn.Value, func(t *catalog.Table) (err error) {
		t.Tags, err = mergeTags(t.Tags, in.Tags)
		return err
	})
}

func (s *Service) untagResource(ctx context.Context, call *smithy.Call, in *api.UntagResourceInput) (*api.NoOutput, error) {
	return s.changeTags(ctx, call, in.ResourceArn.Value, func(t *catalog.Table) error {
		t.Tags = slices.DeleteFunc(t.Tags, func(tag catalog.Tag) bool { return slices.Contains(in.TagKeys, tag.Key) })
		return nil
	})
}

func (s *Service) changeTags(ctx context.Context, call *smithy.Call, arn string, change func(*catalog.Table) error) (*api.NoOutput, error) {
	ns, name, err := s.taggedTable(call, arn)
	if err != nil {
		return nil, err
	}
	t, err := s.Tables.Catalog.Change(ctx, ns, name, change)
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, resourceNotFound(arn)
	}
	return &api.NoOutput{}, nil
}

func (s *Service) listTagsOfResource(_ context.Context, call *smithy.Call, in *api.ListTagsOfResourceInput) (*api.ListTagsOfResourceOutput, error) {
	ns, name, err := s.taggedTable(call, in.ResourceArn.Value)
	if err != nil {
		return nil, err
	}
	t := s.Tables.Catalog.Get(ns, name)
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
	out := &api.ListTagsOfResourceOutput{Tags: []api.Tag{}}
	for i, tag := range tags {
		if i == tagsPerPage {
			out.NextToken = out.Tags[i-1].Key
			break
		}
		out.Tags = append(out.Tags, api.Tag{Key: smithy.Some(tag.Key), Value: smithy.Some(tag.Value)})
	}
	return out, nil
}
