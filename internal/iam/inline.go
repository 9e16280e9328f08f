package iam

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/smithy"
)

// maxInline is how many characters the inline policies of a user, group or role may have together ("IAM and AWS STS quotas"), by the word in ARNs.
var maxInline = map[string]int{"user": 2048, "group": 5120, "role": 10240}

// holder is implemented by pointers to users, groups and roles.
type holder[T any] interface {
	record[T]
	policies() *grants
}

// putInline adds an inline policy, or replaces the one with that name.
func putInline[T any, P holder[T]](ctx context.Context, s *Service, of *kind[T, P], call *smithy.Call, name, policyName, text string) (*api.NoOutput, error) {
	account, err := of.allowed(s, call, name, limitsOf(of, s.Caller(call).Account, name))
	if err != nil {
		return nil, err
	}
	d, err := parsePolicy(text, policy.OfIdentity)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, of.change(ctx, s, account, name, func(v P) error {
		g := v.policies()
		if g.Inline == nil {
			g.Inline = map[string]*document{}
		}
		g.Inline[policyName] = d
		total := 0
		for _, d := range g.Inline {
			total += d.size()
		}
		if most := maxInline[of.word]; total > most {
			return awserr.New(limitExceeded, fmt.Sprintf("Maximum policy size of %d bytes exceeded for %s %s", most, of.word, name))
		}
		return nil
	})
}

// limitsOf returns the condition key of the permissions boundary that limits an entity, if it has one.
func limitsOf[T any, P record[T]](of *kind[T, P], account, name string) keys {
	if v := of.find(account, name); v != nil {
		return currentBoundary(v)
	}
	return nil
}

// noInline is AWS's error for the name of an inline policy that an entity does not have.
func noInline(word, name string) error {
	return awserr.New(noSuchEntity, "The "+word+" policy with name "+name+" cannot be found.")
}

func deleteInline[T any, P holder[T]](ctx context.Context, s *Service, of *kind[T, P], call *smithy.Call, name, policyName string) (*api.NoOutput, error) {
	account, err := of.allowed(s, call, name, limitsOf(of, s.Caller(call).Account, name))
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, of.change(ctx, s, account, name, func(v P) error {
		g := v.policies()
		if g.Inline[policyName] == nil {
			return noInline(of.word, policyName)
		}
		delete(g.Inline, policyName)
		return nil
	})
}

// getInline returns the text of an inline policy, encoded.
func getInline[T any, P holder[T]](s *Service, of *kind[T, P], call *smithy.Call, name, policyName string) (text smithy.Opt[string], err error) {
	v, err := of.get(s, call, name)
	if err != nil {
		return text, err
	}
	d := v.policies().Inline[policyName]
	if d == nil {
		return text, noInline(of.word, policyName)
	}
	return encoded(d.text), nil
}

// listInline returns a page of the names of an entity's inline policies.
func listInline[T any, P holder[T]](s *Service, of *kind[T, P], call *smithy.Call, name string, marker smithy.Opt[string], size smithy.Opt[int64]) ([]string, smithy.Opt[string], error) {
	v, err := of.get(s, call, name)
	if err != nil {
		return nil, smithy.Opt[string]{}, err
	}
	list, next, err := page(slices.Collect(maps.Keys(v.policies().Inline)), itself, marker, size)
	return mapped(list, itself), next, err
}

func itself(name string) string { return name }

func (s *Service) putUserPolicy(ctx context.Context, call *smithy.Call, in *api.PutUserPolicyRequest) (*api.NoOutput, error) {
	return putInline(ctx, s, s.users, call, in.UserName.Value, in.PolicyName.Value, in.PolicyDocument.Value)
}

func (s *Service) putGroupPolicy(ctx context.Context, call *smithy.Call, in *api.PutGroupPolicyRequest) (*api.NoOutput, error) {
	return putInline(ctx, s, s.groups, call, in.GroupName.Value, in.PolicyName.Value, in.PolicyDocument.Value)
}

func (s *Service) putRolePolicy(ctx context.Context, call *smithy.Call, in *api.PutRolePolicyRequest) (*api.NoOutput, error) {
	return putInline(ctx, s, s.roles, call, in.RoleName.Value, in.PolicyName.Value, in.PolicyDocument.Value)
}

func (s *Service) deleteUserPolicy(ctx context.Context, call *smithy.Call, in *api.DeleteUserPolicyRequest) (*api.NoOutput, error) {
	return deleteInline(ctx, s, s.users, call, in.UserName.Value, in.PolicyName.Value)
}

func (s *Service) deleteGroupPolicy(ctx context.Context, call *smithy.Call, in *api.DeleteGroupPolicyRequest) (*api.NoOutput, error) {
	return deleteInline(ctx, s, s.groups, call, in.GroupName.Value, in.PolicyName.Value)
}

func (s *Service) deleteRolePolicy(ctx context.Context, call *smithy.Call, in *api.DeleteRolePolicyRequest) (*api.NoOutput, error) {
	return deleteInline(ctx, s, s.roles, call, in.RoleName.Value, in.PolicyName.Value)
}

func (s *Service) getUserPolicy(_ context.Context, call *smithy.Call, in *api.GetUserPolicyRequest) (*api.GetUserPolicyResponse, error) {
	text, err := getInline(s, s.users, call, in.UserName.Value, in.PolicyName.Value)
	return &api.GetUserPolicyResponse{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: text}, err
}

func (s *Service) getGroupPolicy(_ context.Context, call *smithy.Call, in *api.GetGroupPolicyRequest) (*api.GetGroupPolicyResponse, error) {
	text, err := getInline(s, s.groups, call, in.GroupName.Value, in.PolicyName.Value)
	return &api.GetGroupPolicyResponse{GroupName: in.GroupName, PolicyName: in.PolicyName, PolicyDocument: text}, err
}

func (s *Service) getRolePolicy(_ context.Context, call *smithy.Call, in *api.GetRolePolicyRequest) (*api.GetRolePolicyResponse, error) {
	text, err := getInline(s, s.roles, call, in.RoleName.Value, in.PolicyName.Value)
	return &api.GetRolePolicyResponse{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: text}, err
}

func (s *Service) listUserPolicies(_ context.Context, call *smithy.Call, in *api.ListUserPoliciesRequest) (*api.ListUserPoliciesResponse, error) {
	names, next, err := listInline(s, s.users, call, in.UserName.Value, in.Marker, in.MaxItems)
	return &api.ListUserPoliciesResponse{PolicyNames: names, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listGroupPolicies(_ context.Context, call *smithy.Call, in *api.ListGroupPoliciesRequest) (*api.ListGroupPoliciesResponse, error) {
	names, next, err := listInline(s, s.groups, call, in.GroupName.Value, in.Marker, in.MaxItems)
	return &api.ListGroupPoliciesResponse{PolicyNames: names, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listRolePolicies(_ context.Context, call *smithy.Call, in *api.ListRolePoliciesRequest) (*api.ListRolePoliciesResponse, error) {
	names, next, err := listInline(s, s.roles, call, in.RoleName.Value, in.Marker, in.MaxItems)
	return &api.ListRolePoliciesResponse{PolicyNames: names, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}
