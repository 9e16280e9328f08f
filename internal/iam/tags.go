package iam

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/smithy"
)

// maxTags is how many tags an entity or session may have.
const maxTags = 50

// The following add condition keys about tags. Names of keys are in lower case, and so are the tags' keys in them.

func (k keys) resourceTags(tags []tag) keys {
	for _, t := range tags {
		key := strings.ToLower(t.Key)
		k.one("aws:resourcetag/"+key, t.Value).one("iam:resourcetag/"+key, t.Value)
	}
	return k
}

func (k keys) requestTags(tags []tag) keys {
	var names []string
	for _, t := range tags {
		k.one("aws:requesttag/"+strings.ToLower(t.Key), t.Value)
		names = append(names, t.Key)
	}
	return k.tagNames(names)
}

func (k keys) tagNames(names []string) keys {
	if len(names) > 0 {
		k["aws:tagkeys"] = policy.Values{List: names, Multiple: true}
	}
	return k
}

// compareTags orders tags by key, regardless of case, in which IAM's tag keys don't differ.
func compareTags(a, b tag) int {
	return strings.Compare(strings.ToLower(a.Key), strings.ToLower(b.Key))
}

// newTags checks and sorts a request's tags.
func newTags[T any](given []T, of func(T) tag) ([]tag, error) {
	var out []tag
	for _, t := range given {
		out = append(out, of(t))
	}
	slices.SortFunc(out, compareTags)
	for i := range out {
		switch {
		case i > 0 && compareTags(out[i-1], out[i]) == 0:
			return nil, awserr.New(invalidInput, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case len(out[i].Key) >= len(reservedTags) && strings.EqualFold(out[i].Key[:len(reservedTags)], reservedTags):
			return nil, awserr.New(invalidInput, "Tag keys that begin with "+reservedTags+" are reserved.")
		}
	}
	return out, nil
}

// reservedTags is the prefix of the keys of AWS's own tags.
const reservedTags = "aws:"

func tagOf(t api.Tag) tag { return tag{t.Key.Value, t.Value.Value} }

// withTags returns the tags with others added, which replace those of the same key.
func withTags(old, add []tag) []tag {
	out := slices.Clone(old)
	for _, t := range add {
		if i, there := slices.BinarySearchFunc(out, t, compareTags); there {
			out[i] = t
		} else {
			out = slices.Insert(out, i, t)
		}
	}
	return out
}

// tagsOf returns tags as answers have them; nil if there are none.
func tagsOf(tags []tag) []api.Tag {
	if len(tags) == 0 {
		return nil
	}
	return mapped(tags, func(t tag) api.Tag { return api.Tag{Key: smithy.Some(t.Key), Value: smithy.Some(t.Value)} })
}

// tag adds tags to an entity.
func (k *kind[T, P]) tag(ctx context.Context, s *Service, call *smithy.Call, name string, given []api.Tag) (*api.NoOutput, error) {
	tags, err := newTags(given, tagOf)
	if err != nil {
		return nil, err
	}
	account, err := k.allowed(s, call, name, keys{}.requestTags(tags))
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, k.change(ctx, s, account, name, func(v P) error {
		e := v.base()
		if e.Tags = withTags(e.Tags, tags); len(e.Tags) > maxTags {
			return awserr.New(limitExceeded, "The number of tags has reached the maximum limit.")
		}
		return nil
	})
}

// untag removes an entity's tags with some keys. Keys that it does not have are ignored.
func (k *kind[T, P]) untag(ctx context.Context, s *Service, call *smithy.Call, name string, names []string) (*api.NoOutput, error) {
	account, err := k.allowed(s, call, name, keys{}.tagNames(names))
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, k.change(ctx, s, account, name, func(v P) error {
		v.base().Tags = slices.DeleteFunc(v.base().Tags, func(t tag) bool {
			return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, t.Key) })
		})
		return nil
	})
}

// tags returns a page of an entity's tags. A marker has the key's place instead of the key, which may be longer than a marker.
func (k *kind[T, P]) tags(s *Service, call *smithy.Call, name string, marker smithy.Opt[string], size smithy.Opt[int64]) ([]api.Tag, smithy.Opt[string], error) {
	v, err := k.get(s, call, name)
	if err != nil {
		return nil, smithy.Opt[string]{}, err
	}
	list := tagsOf(v.base().Tags)
	places := make([]int, len(list))
	for i := range places {
		places[i] = i
	}
	found, next, err := page(places, func(i int) string { return string(rune('0' + i)) }, marker, size)
	return mapped(found, func(i int) api.Tag { return list[i] }), next, err
}

func (s *Service) tagUser(ctx context.Context, call *smithy.Call, in *api.TagUserRequest) (*api.NoOutput, error) {
	return s.users.tag(ctx, s, call, in.UserName.Value, in.Tags)
}

func (s *Service) tagRole(ctx context.Context, call *smithy.Call, in *api.TagRoleRequest) (*api.NoOutput, error) {
	return s.roles.tag(ctx, s, call, in.RoleName.Value, in.Tags)
}

func (s *Service) tagInstanceProfile(ctx context.Context, call *smithy.Call, in *api.TagInstanceProfileRequest) (*api.NoOutput, error) {
	return s.profiles.tag(ctx, s, call, in.InstanceProfileName.Value, in.Tags)
}

func (s *Service) tagPolicy(ctx context.Context, call *smithy.Call, in *api.TagPolicyRequest) (*api.NoOutput, error) {
	name, err := s.ownPolicy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	return s.policies.tag(ctx, s, call, name, in.Tags)
}

func (s *Service) untagUser(ctx context.Context, call *smithy.Call, in *api.UntagUserRequest) (*api.NoOutput, error) {
	return s.users.untag(ctx, s, call, in.UserName.Value, in.TagKeys)
}

func (s *Service) untagRole(ctx context.Context, call *smithy.Call, in *api.UntagRoleRequest) (*api.NoOutput, error) {
	return s.roles.untag(ctx, s, call, in.RoleName.Value, in.TagKeys)
}

func (s *Service) untagInstanceProfile(ctx context.Context, call *smithy.Call, in *api.UntagInstanceProfileRequest) (*api.NoOutput, error) {
	return s.profiles.untag(ctx, s, call, in.InstanceProfileName.Value, in.TagKeys)
}

func (s *Service) untagPolicy(ctx context.Context, call *smithy.Call, in *api.UntagPolicyRequest) (*api.NoOutput, error) {
	name, err := s.ownPolicy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	return s.policies.untag(ctx, s, call, name, in.TagKeys)
}

func (s *Service) listUserTags(_ context.Context, call *smithy.Call, in *api.ListUserTagsRequest) (*api.ListUserTagsResponse, error) {
	tags, next, err := s.users.tags(s, call, in.UserName.Value, in.Marker, in.MaxItems)
	return &api.ListUserTagsResponse{Tags: tags, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listRoleTags(_ context.Context, call *smithy.Call, in *api.ListRoleTagsRequest) (*api.ListRoleTagsResponse, error) {
	tags, next, err := s.roles.tags(s, call, in.RoleName.Value, in.Marker, in.MaxItems)
	return &api.ListRoleTagsResponse{Tags: tags, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listInstanceProfileTags(_ context.Context, call *smithy.Call, in *api.ListInstanceProfileTagsRequest) (*api.ListInstanceProfileTagsResponse, error) {
	tags, next, err := s.profiles.tags(s, call, in.InstanceProfileName.Value, in.Marker, in.MaxItems)
	return &api.ListInstanceProfileTagsResponse{Tags: tags, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listPolicyTags(_ context.Context, call *smithy.Call, in *api.ListPolicyTagsRequest) (*api.ListPolicyTagsResponse, error) {
	if builtIn(in.PolicyArn.Value) != nil {
		return &api.ListPolicyTagsResponse{Tags: []api.Tag{}, IsTruncated: smithy.Some(false)}, s.authorize(call, in.PolicyArn.Value, nil)
	}
	name, err := s.ownPolicy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	tags, next, err := s.policies.tags(s, call, name, in.Marker, in.MaxItems)
	return &api.ListPolicyTagsResponse{Tags: tags, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}
