package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

// maxTags is the largest number of tags of a resource ("Tagging for DynamoDB").
const maxTags = 50

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
func (s *Service) taggedTable(req *Request, arn string) (catalog.Namespace, string, error) {
	if _, _, ok := catalog.TableFromARN(arn); !ok {
		return catalog.Namespace{}, "", awserr.Invalid("Invalid TableArn: Invalid ResourceArn provided as input " + arn)
	}
	return s.tableName(req, arn)
}

func resourceNotFound(arn string) error {
	return awserr.New(awserr.ResourceNotFound, "Requested resource not found: ResourcArn: "+arn+" not found")
}

func (s *Service) changeTags(ctx context.Context, req *Request, arn string, change func(*catalog.Table) error) (*api.NoOutput, error) {
	ns, name, err := s.taggedTable(req, arn)
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
