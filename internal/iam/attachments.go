package iam

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// maxAttached is how many managed policies may be attached to a user, group or role ("IAM and AWS STS quotas").
const maxAttached = 10

// useIn changes the counts of a managed policy's uses, in a transaction. AWS's policies exist always, and their uses aren't counted.
func (s *Service) useIn(txn *registry.Txn, account, arn string, count func(*managed)) error {
	if builtIn(arn) != nil {
		return nil
	}
	missing := awserr.New(noSuchEntity, "Policy "+arn+" does not exist or is not attachable.")
	r, ok := parseARN(arn)
	if !ok || r.kind != "policy" || r.account != account {
		return missing
	}
	m, err := s.policies.ChangeIn(txn, recordOf(account, r.name), func(m *managed) error {
		if m.arn("policy") != arn {
			return missing
		}
		count(m)
		return nil
	})
	if err == nil && m == nil {
		return missing
	}
	return err
}

// attach attaches a managed policy to a user, group or role. It does nothing if it is attached already.
func attach[T any, P holder[T]](ctx context.Context, s *Service, of *kind[T, P], call *smithy.Call, name, arn string) (*api.NoOutput, error) {
	with := keys{}.one("iam:policyarn", arn)
	for key, v := range limitsOf(of, s.Caller(call).Account, name) {
		with[key] = v
	}
	account, err := of.allowed(s, call, name, with)
	if err != nil {
		return nil, err
	}
	if m := builtIn(arn); m != nil && strings.HasPrefix(m.Path, "/aws-service-role/") {
		return nil, awserr.New(notAttachable, "Cannot attach a Service Role Policy to a Customer Role.")
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return of.changeIn(txn, account, name, func(v P) error {
			g := v.policies()
			if slices.Contains(g.Attached, arn) {
				return nil
			}
			if len(g.Attached) >= maxAttached {
				return exceeded("PoliciesPer"+strings.ToUpper(of.word[:1])+of.word[1:], maxAttached)
			}
			g.Attached = append(g.Attached, arn)
			return s.useIn(txn, account, arn, func(m *managed) { m.Attachments++ })
		})
	})
}

func detach[T any, P holder[T]](ctx context.Context, s *Service, of *kind[T, P], call *smithy.Call, name, arn string) (*api.NoOutput, error) {
	with := keys{}.one("iam:policyarn", arn)
	for key, v := range limitsOf(of, s.Caller(call).Account, name) {
		with[key] = v
	}
	account, err := of.allowed(s, call, name, with)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return of.changeIn(txn, account, name, func(v P) error {
			g := v.policies()
			i := slices.Index(g.Attached, arn)
			if i < 0 {
				return awserr.New(noSuchEntity, "Policy "+arn+" was not found.")
			}
			g.Attached = slices.Delete(g.Attached, i, i+1)
			return s.useIn(txn, account, arn, func(m *managed) { m.Attachments-- })
		})
	})
}

// attachedName returns the name by which a managed policy is sorted in lists. A policy of AWS may have the name of a customer's.
func attachedName(arn string) string {
	r, _ := parseARN(arn) // what is attached is an ARN
	return r.name + ":" + r.account
}

// attachedPolicy returns a policy as lists of attached policies have it.
func attachedPolicy(arn string) api.AttachedPolicy {
	r, _ := parseARN(arn) // what is attached is an ARN
	return api.AttachedPolicy{PolicyName: smithy.Some(r.name), PolicyArn: smithy.Some(arn)}
}

// listAttached returns a page of the managed policies that are attached to an entity and whose paths begin with a prefix.
func listAttached[T any, P holder[T]](s *Service, of *kind[T, P], call *smithy.Call, name string, prefix, marker smithy.Opt[string], size smithy.Opt[int64]) ([]api.AttachedPolicy, smithy.Opt[string], error) {
	v, err := of.get(s, call, name)
	if err != nil {
		return nil, smithy.Opt[string]{}, err
	}
	all := slices.DeleteFunc(slices.Clone(v.policies().Attached), func(arn string) bool {
		r, ok := parseARN(arn)
		return !ok || !strings.HasPrefix(r.path, prefix.Value)
	})
	list, next, err := page(all, attachedName, marker, size)
	return mapped(list, attachedPolicy), next, err
}

func (s *Service) attachUserPolicy(ctx context.Context, call *smithy.Call, in *api.AttachUserPolicyRequest) (*api.NoOutput, error) {
	return attach(ctx, s, s.users, call, in.UserName.Value, in.PolicyArn.Value)
}

func (s *Service) attachGroupPolicy(ctx context.Context, call *smithy.Call, in *api.AttachGroupPolicyRequest) (*api.NoOutput, error) {
	return attach(ctx, s, s.groups, call, in.GroupName.Value, in.PolicyArn.Value)
}

func (s *Service) attachRolePolicy(ctx context.Context, call *smithy.Call, in *api.AttachRolePolicyRequest) (*api.NoOutput, error) {
	return attach(ctx, s, s.roles, call, in.RoleName.Value, in.PolicyArn.Value)
}

func (s *Service) detachUserPolicy(ctx context.Context, call *smithy.Call, in *api.DetachUserPolicyRequest) (*api.NoOutput, error) {
	return detach(ctx, s, s.users, call, in.UserName.Value, in.PolicyArn.Value)
}

func (s *Service) detachGroupPolicy(ctx context.Context, call *smithy.Call, in *api.DetachGroupPolicyRequest) (*api.NoOutput, error) {
	return detach(ctx, s, s.groups, call, in.GroupName.Value, in.PolicyArn.Value)
}

func (s *Service) detachRolePolicy(ctx context.Context, call *smithy.Call, in *api.DetachRolePolicyRequest) (*api.NoOutput, error) {
	return detach(ctx, s, s.roles, call, in.RoleName.Value, in.PolicyArn.Value)
}

func (s *Service) listAttachedUserPolicies(_ context.Context, call *smithy.Call, in *api.ListAttachedUserPoliciesRequest) (*api.ListAttachedUserPoliciesResponse, error) {
	list, next, err := listAttached(s, s.users, call, in.UserName.Value, in.PathPrefix, in.Marker, in.MaxItems)
	return &api.ListAttachedUserPoliciesResponse{AttachedPolicies: list, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listAttachedGroupPolicies(_ context.Context, call *smithy.Call, in *api.ListAttachedGroupPoliciesRequest) (*api.ListAttachedGroupPoliciesResponse, error) {
	list, next, err := listAttached(s, s.groups, call, in.GroupName.Value, in.PathPrefix, in.Marker, in.MaxItems)
	return &api.ListAttachedGroupPoliciesResponse{AttachedPolicies: list, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listAttachedRolePolicies(_ context.Context, call *smithy.Call, in *api.ListAttachedRolePoliciesRequest) (*api.ListAttachedRolePoliciesResponse, error) {
	list, next, err := listAttached(s, s.roles, call, in.RoleName.Value, in.PathPrefix, in.Marker, in.MaxItems)
	return &api.ListAttachedRolePoliciesResponse{AttachedPolicies: list, Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}
