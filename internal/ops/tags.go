package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

// maxTags is the maximum number of tags of a resource ("Tagging for DynamoDB").
const maxTags = 50

// mergeTags returns tags with more added; a tag whose key exists already is replaced.
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

// tagged resolves the ARN of a table or of something that belongs to one. Unlike other operations, those on tags do not accept
// names.
func (s *Service) tagged(req *Request, arn string) (resource, error) {
	r, err := s.resolve(req.Caller, req.resource(anyKind, arn))
	switch {
	case err != nil:
		return r, err
	case r.table == "":
		return r, awserr.Invalid("Invalid TableArn: Invalid ResourceArn provided as input " + arn)
	}
	return r, checkTableName(r.table)
}

// resourceNotFound is AWS's error, including its misspelling.
func resourceNotFound(arn string) error {
	return awserr.New(awserr.ResourceNotFound, "Requested resource not found: ResourcArn: "+arn+" not found")
}

// changeTags changes the tags of the table with an ARN.
func (s *Service) changeTags(ctx context.Context, req *Request, arn string, change func(*catalog.Table) error) (*api.NoOutput, error) {
	r, err := s.tagged(req, arn)
	if err != nil {
		return nil, err
	}
	t, err := s.Tables.Catalog.Change(ctx, r.Namespace, r.table, change)
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, resourceNotFound(arn)
	}
	return &api.NoOutput{}, nil
}
