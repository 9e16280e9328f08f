package cloudwatch

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// maxTags bounds the tags of a resource.
const maxTags = 50

// addTags returns tags with more added or replaced.
func addTags(tags map[string]string, more []api.Tag) (map[string]string, error) {
	if tags == nil && more != nil {
		tags = map[string]string{}
	}
	for _, t := range more {
		if strings.HasPrefix(t.Key.Value, "aws:") {
			return nil, awserr.ValidationError("Tag keys must not start with aws:")
		}
		tags[t.Key.Value] = t.Value.Value
	}
	if len(tags) > maxTags {
		return nil, awserr.ValidationError("A resource can have at most 50 tags")
	}
	return tags, nil
}

// change changes the alarm with an ARN.
func (s *Service) change(ctx context.Context, call *smithy.Call, arn string, change func(*Alarm) error) error {
	a, err := s.tagged(call, arn)
	if err != nil {
		return err
	}
	return s.update(ctx, func(txn *registry.Txn) error {
		_, err := s.alarms.ChangeIn(txn, a.id(), change)
		return err
	})
}

// tagged returns the alarm with an ARN.
func (s *Service) tagged(call *smithy.Call, arn string) (*Alarm, error) {
	if a := s.withARN(call, arn); a != nil {
		return a, nil
	}
	return nil, awserr.New(resourceNotFound, "The resource "+arn+" does not exist")
}

// withARN returns the caller's alarm with an ARN, or nil.
func (s *Service) withARN(call *smithy.Call, arn string) *Alarm {
	account, region := s.Namespace(call.Caller)
	name, ok := strings.CutPrefix(arn, (&Alarm{Account: account, Region: region}).ARN())
	if !ok {
		return nil
	}
	return s.Alarm(account, region, name)
}

func (s *Service) tagResource(ctx context.Context, call *smithy.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	return &api.TagResourceOutput{}, s.change(ctx, call, in.ResourceARN.Value, func(a *Alarm) (err error) {
		a.Tags, err = addTags(a.Tags, in.Tags)
		return err
	})
}

func (s *Service) untagResource(ctx context.Context, call *smithy.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	return &api.UntagResourceOutput{}, s.change(ctx, call, in.ResourceARN.Value, func(a *Alarm) error {
		for _, key := range in.TagKeys {
			delete(a.Tags, key)
		}
		return nil
	})
}

func (s *Service) listTagsForResource(_ context.Context, call *smithy.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	a, err := s.tagged(call, in.ResourceARN.Value)
	if err != nil {
		return nil, err
	}
	out := &api.ListTagsForResourceOutput{Tags: []api.Tag{}}
	for _, key := range slices.Sorted(maps.Keys(a.Tags)) {
		out.Tags = append(out.Tags, api.Tag{Key: smithy.Some(key), Value: smithy.Some(a.Tags[key])})
	}
	return out, nil
}
