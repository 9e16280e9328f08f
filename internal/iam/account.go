package iam

import (
	"context"
	"maps"
	"slices"

	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/smithy"
)

// listAccountAliases lists no aliases: accounts have none here.
func (s *Service) listAccountAliases(_ context.Context, call *smithy.Call, _ *api.ListAccountAliasesRequest) (*api.ListAccountAliasesResponse, error) {
	return &api.ListAccountAliasesResponse{AccountAliases: []string{}, IsTruncated: smithy.Some(false)}, s.authorize(call, "*", nil)
}

// getAccountSummary returns how many entities an account has, and its quotas ("GetAccountSummary").
func (s *Service) getAccountSummary(_ context.Context, call *smithy.Call, _ *api.NoInput) (*api.GetAccountSummaryResponse, error) {
	if err := s.authorize(call, "*", nil); err != nil {
		return nil, err
	}
	account := s.Caller(call).Account
	var versions int64
	policies := s.policies.under(account, "/")
	for _, m := range policies {
		versions += int64(len(m.Versions))
	}
	return &api.GetAccountSummaryResponse{SummaryMap: smithy.Map[int64]{
		{Key: "Users", Value: int64(len(s.users.under(account, "/")))}, {Key: "UsersQuota", Value: maxUsers},
		{Key: "Groups", Value: int64(len(s.groups.under(account, "/")))}, {Key: "GroupsQuota", Value: maxGroups},
		{Key: "Roles", Value: int64(len(s.roles.under(account, "/")))}, {Key: "RolesQuota", Value: maxRoles},
		{Key: "InstanceProfiles", Value: int64(len(s.profiles.under(account, "/")))}, {Key: "InstanceProfilesQuota", Value: maxProfiles},
		{Key: "Policies", Value: int64(len(policies))}, {Key: "PoliciesQuota", Value: maxPolicies},
		{Key: "PolicyVersionsInUse", Value: versions}, {Key: "VersionsPerPolicyQuota", Value: maxVersions}, {Key: "PolicySizeQuota", Value: maxPolicySize},
		{Key: "AccessKeysPerUserQuota", Value: maxKeysPerUser}, {Key: "GroupsPerUserQuota", Value: maxGroupsPerUser},
		{Key: "AttachedPoliciesPerUserQuota", Value: maxAttached}, {Key: "AttachedPoliciesPerGroupQuota", Value: maxAttached}, {Key: "AttachedPoliciesPerRoleQuota", Value: maxAttached},
		{Key: "UserPolicySizeQuota", Value: int64(maxInline["user"])}, {Key: "GroupPolicySizeQuota", Value: int64(maxInline["group"])},
		{Key: "RolePolicySizeQuota", Value: int64(maxInline["role"])}, {Key: "AssumeRolePolicySizeQuota", Value: maxTrust},
	}}, nil
}

// detail is an entity in GetAccountAuthorizationDetails.
type detail struct {
	place string // by which the answers' pages are sorted
	add   func(*api.GetAccountAuthorizationDetailsResponse)
}

// getAccountAuthorizationDetails lists all users, groups, roles and policies with their policies.
func (s *Service) getAccountAuthorizationDetails(_ context.Context, call *smithy.Call, in *api.GetAccountAuthorizationDetailsRequest) (*api.GetAccountAuthorizationDetailsResponse, error) {
	if err := s.authorize(call, "*", nil); err != nil {
		return nil, err
	}
	account := s.Caller(call).Account
	var all []detail
	add := func(kind, name string, add func(*api.GetAccountAuthorizationDetailsResponse)) {
		if len(in.Filter) == 0 || slices.Contains(in.Filter, kind) {
			all = append(all, detail{kind + ":" + name, add})
		}
	}
	for _, u := range s.users.under(account, "/") {
		add(api.EntityTypeUser, u.Name, func(out *api.GetAccountAuthorizationDetailsResponse) {
			a := u.whole()
			out.UserDetailList = append(out.UserDetailList, api.UserDetail{
				Path: a.Path, UserName: a.UserName, UserId: a.UserId, Arn: a.Arn, CreateDate: a.CreateDate, UserPolicyList: inlineDetails(&u.grants),
				GroupList: mapped(s.groupsOf(u), func(g *group) string { return g.Name }), AttachedManagedPolicies: mapped(u.Attached, attachedPolicy),
				PermissionsBoundary: a.PermissionsBoundary, Tags: a.Tags,
			})
		})
	}
	for _, g := range s.groups.under(account, "/") {
		add(api.EntityTypeGroup, g.Name, func(out *api.GetAccountAuthorizationDetailsResponse) {
			a := g.answer()
			out.GroupDetailList = append(out.GroupDetailList, api.GroupDetail{
				Path: a.Path, GroupName: a.GroupName, GroupId: a.GroupId, Arn: a.Arn, CreateDate: a.CreateDate,
				GroupPolicyList: inlineDetails(&g.grants), AttachedManagedPolicies: mapped(g.Attached, attachedPolicy),
			})
		})
	}
	for _, r := range s.roles.under(account, "/") {
		add(api.EntityTypeRole, r.Name, func(out *api.GetAccountAuthorizationDetailsResponse) {
			a := r.whole()
			out.RoleDetailList = append(out.RoleDetailList, api.RoleDetail{
				Path: a.Path, RoleName: a.RoleName, RoleId: a.RoleId, Arn: a.Arn, CreateDate: a.CreateDate, AssumeRolePolicyDocument: a.AssumeRolePolicyDocument,
				InstanceProfileList: mapped(s.profilesOf(r), s.profileAnswer), RolePolicyList: inlineDetails(&r.grants),
				AttachedManagedPolicies: mapped(r.Attached, attachedPolicy), PermissionsBoundary: a.PermissionsBoundary, Tags: a.Tags, RoleLastUsed: &api.RoleLastUsed{},
			})
		})
	}
	for _, m := range s.policies.under(account, "/") {
		add(api.EntityTypeLocalmanagedpolicy, m.Name, func(out *api.GetAccountAuthorizationDetailsResponse) {
			out.Policies = append(out.Policies, s.policyDetail(account, m))
		})
	}
	for _, m := range builtIns() {
		// AWS lists only those of its policies that are in use.
		if attached, bounds := s.usesOf(account, m); attached+bounds > 0 {
			add(api.EntityTypeAwsmanagedpolicy, m.Name, func(out *api.GetAccountAuthorizationDetailsResponse) {
				out.Policies = append(out.Policies, s.policyDetail(account, m))
			})
		}
	}
	list, next, err := page(all, func(d detail) string { return d.place }, in.Marker, in.MaxItems)
	out := &api.GetAccountAuthorizationDetailsResponse{
		UserDetailList: []api.UserDetail{}, GroupDetailList: []api.GroupDetail{}, RoleDetailList: []api.RoleDetail{}, Policies: []api.ManagedPolicyDetail{},
		Marker: next, IsTruncated: smithy.Some(next.Set),
	}
	for _, d := range list {
		d.add(out)
	}
	return out, err
}

// inlineDetails returns the inline policies, sorted by name.
func inlineDetails(g *grants) []api.PolicyDetail {
	return mapped(slices.Sorted(maps.Keys(g.Inline)), func(name string) api.PolicyDetail {
		return api.PolicyDetail{PolicyName: smithy.Some(name), PolicyDocument: encoded(g.Inline[name].text)}
	})
}

func (s *Service) policyDetail(account string, m *managed) api.ManagedPolicyDetail {
	a := s.policyAnswer(account, m)
	out := api.ManagedPolicyDetail{
		PolicyName: a.PolicyName, PolicyId: a.PolicyId, Arn: a.Arn, Path: a.Path, DefaultVersionId: a.DefaultVersionId, AttachmentCount: a.AttachmentCount,
		PermissionsBoundaryUsageCount: a.PermissionsBoundaryUsageCount, IsAttachable: a.IsAttachable, CreateDate: a.CreateDate, UpdateDate: a.UpdateDate,
		PolicyVersionList: mapped(m.Versions, func(v version) api.PolicyVersion { return v.whole(m) }),
	}
	if m.Description != "" {
		out.Description = smithy.Some(m.Description)
	}
	return out
}
