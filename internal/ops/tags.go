package ops

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

// Limits of a resource's tags ("Tagging for DynamoDB", "TagResource").
const (
	maxTags      = 50
	maxTagKey    = 128   // characters
	maxTagValue  = 256   // characters
	maxTagsBytes = 10240 // of all keys and values
)

func tooManyTags() error {
	return awserr.ValidationError("Number of Tags exceed the current limit for the provided ResourceArn")
}

// mergeTags returns tags with more added; a tag whose key exists already is replaced.
func mergeTags(tags []catalog.Tag, more []api.Tag) ([]catalog.Tag, error) {
	given := map[string]bool{}
	for _, t := range more {
		key, value := t.Key.Value, t.Value.Value
		if !t.Key.Set {
			return nil, invalidTagKey("null")
		}
		if err := checkTagKey(key); err != nil {
			return nil, err
		}
		if !t.Value.Set || !tagText(value, maxTagValue) {
			return nil, awserr.ValidationError("The Tag Value provided is invalid, Value: " + t.Value.Or("null"))
		}
		if given[key] {
			return nil, awserr.ValidationError("Duplicate Tag Keys provided as input: Duplicate Tag Key found " + key)
		}
		given[key] = true
		i := slices.IndexFunc(tags, func(old catalog.Tag) bool { return old.Key == key })
		if i >= 0 {
			tags[i].Value = value
		} else {
			tags = append(tags, catalog.Tag{Key: key, Value: value})
		}
	}
	if len(tags) > maxTags {
		return nil, tooManyTags()
	}
	bytes := 0
	for _, t := range tags {
		bytes += len(t.Key) + len(t.Value)
	}
	if bytes > maxTagsBytes {
		return nil, awserr.ValidationError(fmt.Sprintf("Tag set size %d bytes is above max size limit of %d bytes", bytes, maxTagsBytes))
	}
	return tags, nil
}

func checkTagKey(key string) error {
	switch {
	case strings.HasPrefix(strings.ToLower(key), "aws:"):
		return awserr.ValidationError("Tag Key cannot be prefixed with aws:, Key: " + key)
	case key == "" || !tagText(key, maxTagKey):
		return invalidTagKey(key)
	}
	return nil
}

func invalidTagKey(key string) error {
	return awserr.ValidationError("The Tag Key provided is invalid, Key: " + key)
}

// tagText reports whether a key or value has at most limit characters, and only characters that AWS allows.
func tagText(text string, limit int) bool {
	return utf8.RuneCountInString(text) <= limit && strings.IndexFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.Z, r) && !strings.ContainsRune("+-=._:/@", r)
	}) < 0
}

// tableOrStream resolves the ARN of a table or stream. Unlike other operations, those on tags and policies do not accept names.
// foreign returns the error for an ARN of another account or region.
func (s *Service) tableOrStream(req *Request, arn string, a asks, foreign func(resource) error) (resource, error) {
	r, ok := parseARN(arn)
	switch {
	case !strings.HasPrefix(arn, "arn:"):
		return r, awserr.Invalid("ARNs must start with 'arn:': " + arn)
	case ok && r.kind == kindIndex:
		return r, awserr.Invalid("Invalid resource arn provided, only table or stream is accepted. Provided resource arn: " + arn)
	case !ok || r.kind != kindTable && r.kind != kindStream:
		return r, awserr.Invalid("Provided Arn is not a DynamoDB resource arn: " + arn)
	}
	if r.Namespace != s.namespace(req.Caller) && !s.SharedNamespace {
		if err := foreign(r); err != nil {
			return r, err
		}
	}
	r, err := s.resolve(req, req.resource(anyKind, arn).asking(a))
	if err != nil {
		return r, err
	}
	return r, checkTableName(r.table)
}

// tagged resolves the ARN of a resource with tags.
func (s *Service) tagged(req *Request, arn string, a asks) (resource, error) {
	return s.tableOrStream(req, arn, a, func(r resource) error {
		if r.Account != req.Caller.Account {
			return awserr.Denied()
		}
		return awserr.ValidationError("Invalid TableArn: Invalid ResourceArn provided as input " + arn)
	})
}

func resourceNotFound(arn string) error {
	return awserr.New(awserr.ResourceNotFound, "Requested resource not found: ResourceArn: "+arn+" not found")
}

// tagsOf returns where the tags of a table, or of its stream, are stored; nil if the table has no such stream.
func tagsOf(t *catalog.Table, r resource) *[]catalog.Tag {
	switch {
	case r.kind != kindStream:
		return &t.Tags
	case t.Stream.Active() && t.Stream.Label == r.name:
		return &t.Stream.Tags
	}
	return nil
}

// changeTags changes the tags of the resource with an ARN.
func (s *Service) changeTags(ctx context.Context, req *Request, arn string, a asks, change func([]catalog.Tag) ([]catalog.Tag, error)) (*api.NoOutput, error) {
	r, err := s.tagged(req, arn, a)
	if err != nil {
		return nil, err
	}
	t, err := s.Tables.Catalog.Change(ctx, r.Namespace, r.table, func(t *catalog.Table) error {
		now := s.Now()
		at := tagsOf(t, r)
		switch {
		case at == nil || t.Status(now) == catalog.Creating && (t.Loading != nil || s.phaseOf(t) == phaseUnknown):
			return resourceNotFound(arn)
		case t.Status(now) == catalog.Creating:
			return awserr.TableBusy("created", t.Name)
		case t.Status(now) == catalog.Deleting:
			return awserr.TableBusy("deleted", t.Name)
		}
		tags, err := change(slices.Clone(*at))
		switch {
		case err != nil || slices.Equal(tags, *at):
			return err
		case now.UnixMilli() < t.TagsBusyUntil:
			return subscriberLimit("Table tags are being updated: %s", t.Name)
		}
		*at, t.TagsBusyUntil = tags, now.Add(s.TransientStatus).UnixMilli()
		return nil
	})
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, resourceNotFound(arn)
	}
	return &api.NoOutput{}, nil
}
