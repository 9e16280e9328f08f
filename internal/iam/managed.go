package iam

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// Quotas of an account and its managed policies ("IAM and AWS STS quotas").
const (
	maxPolicies   = 1500
	maxPolicySize = 6144 // characters
	maxVersions   = 5
)

// noPolicy is AWS's error for the ARN of a policy that does not exist.
func noPolicy(arn string) error {
	return awserr.New(noSuchEntity, "Policy "+arn+" was not found.")
}

// lookup returns the managed policy with an ARN, of AWS or of an account, or nil.
func (s *Service) lookup(account, arn string) *managed {
	if m := builtIn(arn); m != nil {
		return m
	}
	r, ok := parseARN(arn)
	if !ok || r.kind != "policy" || r.account != account {
		return nil
	}
	if m := s.policies.find(account, r.name); m != nil && m.Path == r.path {
		return m
	}
	return nil
}

// ownPolicy returns the name of the customer managed policy with an ARN, for operations that change policies. If there is no such policy, it asks first
// whether the caller may know.
func (s *Service) ownPolicy(call *smithy.Call, arn string) (name string, err error) {
	if m := s.lookup(s.Caller(call).Account, arn); m != nil && m.Account != awsAccount {
		return m.Name, nil
	}
	if err := s.authorize(call, arn, nil); err != nil {
		return "", err
	}
	if builtIn(arn) != nil {
		return "", awserr.New(awserr.AccessDenied, "Policy "+arn+" is AWS's and can't be changed.")
	}
	return "", noPolicy(arn)
}

// policy authorizes an operation that reads a managed policy, which it returns.
func (s *Service) policy(call *smithy.Call, arn string) (*managed, error) {
	account := s.Caller(call).Account
	m := s.lookup(account, arn)
	with := keys{}
	if m != nil {
		with.resourceTags(m.Tags)
	}
	if err := s.authorize(call, arn, with); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, noPolicy(arn)
	}
	return m, nil
}

// usesOf returns how many entities of an account a managed policy is attached to, and how many it bounds.
func (s *Service) usesOf(account string, m *managed) (attached, bounds int) {
	if m.Account != awsAccount {
		return m.Attachments, m.Boundaries
	}
	arn := m.arn("policy")
	count := func(g *grants, boundary string) {
		if slices.Contains(g.Attached, arn) {
			attached++
		}
		if boundary == arn {
			bounds++
		}
	}
	for _, u := range s.users.under(account, "/") {
		count(&u.grants, u.Boundary)
	}
	for _, g := range s.groups.under(account, "/") {
		count(&g.grants, "")
	}
	for _, r := range s.roles.under(account, "/") {
		count(&r.grants, r.Boundary)
	}
	return attached, bounds
}

// policyAnswer returns a managed policy as lists have it: without description and tags, as AWS's.
func (s *Service) policyAnswer(account string, m *managed) api.Policy {
	attached, bounds := s.usesOf(account, m)
	return api.Policy{
		PolicyName: smithy.Some(m.Name), PolicyId: smithy.Some(m.ID), Arn: smithy.Some(m.arn("policy")), Path: smithy.Some(m.Path), DefaultVersionId: smithy.Some(m.Default),
		AttachmentCount: smithy.Some(int64(attached)), PermissionsBoundaryUsageCount: smithy.Some(int64(bounds)), IsAttachable: smithy.Some(true),
		CreateDate: seconds(m.Created), UpdateDate: seconds(m.Updated),
	}
}

func (s *Service) createPolicy(ctx context.Context, call *smithy.Call, in *api.CreatePolicyRequest) (*api.CreatePolicyResponse, error) {
	tags, err := newTags(in.Tags, tagOf)
	if err != nil {
		return nil, err
	}
	account := s.Caller(call).Account
	m := &managed{entity: s.newEntity(account, prefixManaged, in.PolicyName.Value, in.Path, tags), Description: in.Description.Value}
	if err := s.authorize(call, m.arn("policy"), keys{}.requestTags(tags)); err != nil {
		return nil, err
	}
	text, err := parseManaged(in.PolicyDocument.Value)
	if err != nil {
		return nil, err
	}
	if err := s.policies.room(account, "PoliciesPerAccount", maxPolicies); err != nil {
		return nil, err
	}
	m.add(text, m.Created, true)
	out := s.policyAnswer(account, m)
	out.Tags = tagsOf(tags)
	return &api.CreatePolicyResponse{Policy: &out}, s.update(ctx, account, func(txn *registry.Txn) error { return s.policies.putNew(txn, m) })
}

// parseManaged compiles a managed policy that a request brings.
func parseManaged(text string) (*document, error) {
	d, err := parsePolicy(text, policy.OfIdentity)
	if err != nil {
		return nil, err
	}
	if d.size() > maxPolicySize {
		return nil, exceeded("PolicySize", maxPolicySize)
	}
	return d, nil
}

// add adds a version, and puts it in force on request.
func (m *managed) add(text *document, at int64, inForce bool) *version {
	m.Next++
	m.Versions = append(m.Versions, version{ID: "v" + strconv.Itoa(m.Next), Created: at, Text: text})
	v := &m.Versions[len(m.Versions)-1]
	if inForce {
		m.Default = v.ID
	}
	m.Updated = at
	return v
}

func (s *Service) getPolicy(_ context.Context, call *smithy.Call, in *api.GetPolicyRequest) (*api.GetPolicyResponse, error) {
	m, err := s.policy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	out := s.policyAnswer(s.Caller(call).Account, m)
	out.Tags = tagsOf(m.Tags)
	if m.Description != "" {
		out.Description = smithy.Some(m.Description)
	}
	return &api.GetPolicyResponse{Policy: &out}, nil
}

// listPolicies lists the account's policies and then AWS's.
func (s *Service) listPolicies(_ context.Context, call *smithy.Call, in *api.ListPoliciesRequest) (*api.ListPoliciesResponse, error) {
	account, path := s.Caller(call).Account, in.PathPrefix.Or("/")
	if err := s.authorize(call, "policy path "+path, nil); err != nil {
		return nil, err
	}
	var all []*managed
	if in.Scope.Value != api.PolicyScopeTypeAws {
		all = s.policies.under(account, path)
	}
	if in.Scope.Value != api.PolicyScopeTypeLocal {
		for _, m := range builtIns() {
			if strings.HasPrefix(m.Path, path) {
				all = append(all, m)
			}
		}
	}
	all = slices.DeleteFunc(all, func(m *managed) bool {
		attached, bounds := s.usesOf(account, m)
		switch {
		case in.PolicyUsageFilter.Value == api.PolicyUsageTypePermissionspolicy && attached == 0, in.PolicyUsageFilter.Value == api.PolicyUsageTypePermissionsboundary && bounds == 0:
			return true
		}
		return in.OnlyAttached.Value && attached == 0 && bounds == 0
	})
	list, next, err := page(all, policyPlace, in.Marker, in.MaxItems)
	return &api.ListPoliciesResponse{
		Policies: mapped(list, func(m *managed) api.Policy { return s.policyAnswer(account, m) }), Marker: next, IsTruncated: smithy.Some(next.Set),
	}, err
}

// policyPlace returns what managed policies are sorted by: customers' come first.
func policyPlace(m *managed) string { return m.Account + ":" + m.Name }

func (s *Service) deletePolicy(ctx context.Context, call *smithy.Call, in *api.DeletePolicyRequest) (*api.NoOutput, error) {
	name, err := s.ownPolicy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	account, err := s.policies.allowed(s, call, name, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.policies.removeIn(txn, account, name, func(m *managed) error {
			switch {
			case m.Attachments+m.Boundaries > 0:
				return awserr.New(deleteConflict, "Cannot delete a policy attached to entities.")
			case len(m.Versions) > 1:
				return awserr.New(deleteConflict, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
			}
			return nil
		})
	})
}

// number returns the n of the id "vn".
func (v *version) number() (n int) {
	for _, digit := range v.ID[1:] {
		n = n*10 + int(digit-'0')
	}
	return n
}

// answer returns a version as answers have it. Only GetPolicyVersion and GetAccountAuthorizationDetails have the document.
func (v *version) answer(m *managed) api.PolicyVersion {
	return api.PolicyVersion{VersionId: smithy.Some(v.ID), IsDefaultVersion: smithy.Some(v.ID == m.Default), CreateDate: seconds(v.Created)}
}

// whole is answer with the document.
func (v *version) whole(m *managed) api.PolicyVersion {
	out := v.answer(m)
	out.Document = encoded(v.Text.text)
	return out
}

func (s *Service) createPolicyVersion(ctx context.Context, call *smithy.Call, in *api.CreatePolicyVersionRequest) (*api.CreatePolicyVersionResponse, error) {
	name, err := s.ownPolicy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	account, err := s.policies.allowed(s, call, name, nil)
	if err != nil {
		return nil, err
	}
	text, err := parseManaged(in.PolicyDocument.Value)
	if err != nil {
		return nil, err
	}
	var out api.PolicyVersion
	err = s.policies.change(ctx, s, account, name, func(m *managed) error {
		if len(m.Versions) >= maxVersions {
			return awserr.New(limitExceeded, "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
		}
		out = m.add(text, s.Now().UnixMilli(), in.SetAsDefault.Value).answer(m)
		return nil
	})
	return &api.CreatePolicyVersionResponse{PolicyVersion: &out}, err
}

// noVersion is AWS's error for a version that a policy does not have.
func noVersion(arn, id string) error {
	return awserr.New(noSuchEntity, "Policy "+arn+" version "+id+" does not exist or is not attachable.")
}

func (s *Service) getPolicyVersion(_ context.Context, call *smithy.Call, in *api.GetPolicyVersionRequest) (*api.GetPolicyVersionResponse, error) {
	m, err := s.policy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	v := m.version(in.VersionId.Value)
	if v == nil {
		return nil, noVersion(in.PolicyArn.Value, in.VersionId.Value)
	}
	out := v.whole(m)
	return &api.GetPolicyVersionResponse{PolicyVersion: &out}, nil
}

func (s *Service) listPolicyVersions(_ context.Context, call *smithy.Call, in *api.ListPolicyVersionsRequest) (*api.ListPolicyVersionsResponse, error) {
	m, err := s.policy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	// The newest come first: subtracted from a large number, versions sort as texts of equal length.
	list, next, err := page(slices.Clone(m.Versions), func(v version) string { return strconv.Itoa(1<<40 - v.number()) }, in.Marker, in.MaxItems)
	return &api.ListPolicyVersionsResponse{
		Versions: mapped(list, func(v version) api.PolicyVersion { return v.answer(m) }), Marker: next, IsTruncated: smithy.Some(next.Set),
	}, err
}

func (s *Service) setDefaultPolicyVersion(ctx context.Context, call *smithy.Call, in *api.SetDefaultPolicyVersionRequest) (*api.NoOutput, error) {
	return s.changeVersion(ctx, call, in.PolicyArn.Value, in.VersionId.Value, func(m *managed, _ int) error {
		m.Default, m.Updated = in.VersionId.Value, s.Now().UnixMilli()
		return nil
	})
}

func (s *Service) deletePolicyVersion(ctx context.Context, call *smithy.Call, in *api.DeletePolicyVersionRequest) (*api.NoOutput, error) {
	return s.changeVersion(ctx, call, in.PolicyArn.Value, in.VersionId.Value, func(m *managed, at int) error {
		if m.Default == in.VersionId.Value {
			return awserr.New(deleteConflict, "Cannot delete the default version of a policy.")
		}
		m.Versions = slices.Delete(m.Versions, at, at+1)
		return nil
	})
}

// changeVersion changes a policy's version. change gets its place in the list.
func (s *Service) changeVersion(ctx context.Context, call *smithy.Call, arn, id string, change func(m *managed, at int) error) (*api.NoOutput, error) {
	name, err := s.ownPolicy(call, arn)
	if err != nil {
		return nil, err
	}
	account, err := s.policies.allowed(s, call, name, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.policies.change(ctx, s, account, name, func(m *managed) error {
		at := slices.IndexFunc(m.Versions, func(v version) bool { return v.ID == id })
		if at < 0 {
			return noVersion(arn, id)
		}
		return change(m, at)
	})
}

// entityOf is a user, group or role that uses a managed policy.
type entityOf struct {
	kind string // Group, Role or User
	*entity
}

// listEntitiesForPolicy lists what a policy is attached to, or limits.
func (s *Service) listEntitiesForPolicy(_ context.Context, call *smithy.Call, in *api.ListEntitiesForPolicyRequest) (*api.ListEntitiesForPolicyResponse, error) {
	m, err := s.policy(call, in.PolicyArn.Value)
	if err != nil {
		return nil, err
	}
	account, path, arn := s.Caller(call).Account, in.PathPrefix.Or("/"), m.arn("policy")
	var all []entityOf
	add := func(kind string, e *entity, g *grants, boundary string) {
		attached := slices.Contains(g.Attached, arn) && in.PolicyUsageFilter.Value != api.PolicyUsageTypePermissionsboundary
		bounded := boundary == arn && in.PolicyUsageFilter.Value != api.PolicyUsageTypePermissionspolicy
		if (attached || bounded) && in.EntityFilter.Or(kind) == kind {
			all = append(all, entityOf{kind, e})
		}
	}
	for _, u := range s.users.under(account, path) {
		add(api.EntityTypeUser, &u.entity, &u.grants, u.Boundary)
	}
	for _, g := range s.groups.under(account, path) {
		add(api.EntityTypeGroup, &g.entity, &g.grants, "")
	}
	for _, r := range s.roles.under(account, path) {
		add(api.EntityTypeRole, &r.entity, &r.grants, r.Boundary)
	}
	list, next, err := page(all, func(e entityOf) string { return e.kind + ":" + e.Name }, in.Marker, in.MaxItems)
	out := &api.ListEntitiesForPolicyResponse{
		PolicyGroups: []api.PolicyGroup{}, PolicyUsers: []api.PolicyUser{}, PolicyRoles: []api.PolicyRole{}, Marker: next, IsTruncated: smithy.Some(next.Set),
	}
	for _, e := range list {
		switch e.kind {
		case api.EntityTypeUser:
			out.PolicyUsers = append(out.PolicyUsers, api.PolicyUser{UserName: smithy.Some(e.Name), UserId: smithy.Some(e.ID)})
		case api.EntityTypeGroup:
			out.PolicyGroups = append(out.PolicyGroups, api.PolicyGroup{GroupName: smithy.Some(e.Name), GroupId: smithy.Some(e.ID)})
		case api.EntityTypeRole:
			out.PolicyRoles = append(out.PolicyRoles, api.PolicyRole{RoleName: smithy.Some(e.Name), RoleId: smithy.Some(e.ID)})
		}
	}
	return out, err
}
