package iam

import (
	"context"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// Quotas of an account and its roles ("IAM and AWS STS quotas").
const (
	maxRoles = 1000
	maxTrust = 2048 // characters of a trust policy
)

// defaultMaxSession is how long a role's sessions may last by default, in seconds.
const defaultMaxSession = 3600

// answer returns a role as answers have it. Lists leave out tags and boundary, as AWS's do.
func (r *role) answer() api.Role {
	out := api.Role{
		Path: smithy.Some(r.Path), RoleName: smithy.Some(r.Name), RoleId: smithy.Some(r.ID), Arn: smithy.Some(r.arn("role")), CreateDate: seconds(r.Created),
		AssumeRolePolicyDocument: encoded(r.Trust.text), MaxSessionDuration: smithy.Some(r.MaxSession),
	}
	if r.Description != "" {
		out.Description = smithy.Some(r.Description)
	}
	return out
}

// whole is answer with tags and boundary.
func (r *role) whole() *api.Role {
	out := r.answer()
	out.Tags, out.PermissionsBoundary = tagsOf(r.Tags), boundaryOf(r.Boundary)
	return &out
}

// parseTrust compiles a trust policy that a request brings.
func parseTrust(text string) (*document, error) {
	d, err := parsePolicy(text, policy.OfTrust)
	if err != nil {
		return nil, err
	}
	if d.size() > maxTrust {
		return nil, exceeded("ACLSizePerRole", maxTrust)
	}
	return d, nil
}

func (s *Service) createRole(ctx context.Context, call *smithy.Call, in *api.CreateRoleRequest) (*api.CreateRoleResponse, error) {
	tags, err := newTags(in.Tags, tagOf)
	if err != nil {
		return nil, err
	}
	account := s.Caller(call).Account
	r := &role{
		entity: s.newEntity(account, prefixRole, in.RoleName.Value, in.Path, tags), Boundary: in.PermissionsBoundary.Value,
		Description: in.Description.Value, MaxSession: in.MaxSessionDuration.Or(defaultMaxSession),
	}
	if err := s.authorize(call, r.arn("role"), keys{}.requestTags(tags).boundary(r.Boundary)); err != nil {
		return nil, err
	}
	if in.MaxSigninSessionDuration.Set {
		return nil, errSignin
	}
	if r.Trust, err = parseTrust(in.AssumeRolePolicyDocument.Value); err != nil {
		return nil, err
	}
	if err := s.roles.room(account, "RolesPerAccount", maxRoles); err != nil {
		return nil, err
	}
	err = s.update(ctx, account, func(txn *registry.Txn) error {
		if err := s.roles.putNew(txn, r); err != nil {
			return err
		}
		return s.bound(txn, account, "", r.Boundary)
	})
	return &api.CreateRoleResponse{Role: r.whole()}, err
}

func (s *Service) getRole(_ context.Context, call *smithy.Call, in *api.GetRoleRequest) (*api.GetRoleResponse, error) {
	r, err := s.roles.get(s, call, in.RoleName.Value)
	if err != nil {
		return nil, err
	}
	out := r.whole()
	out.RoleLastUsed = &api.RoleLastUsed{} // the use of roles is not recorded
	return &api.GetRoleResponse{Role: out}, nil
}

func (s *Service) listRoles(_ context.Context, call *smithy.Call, in *api.ListRolesRequest) (*api.ListRolesResponse, error) {
	all, err := s.roles.listing(s, call, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	list, next, err := page(all, named, in.Marker, in.MaxItems)
	return &api.ListRolesResponse{Roles: mapped(list, (*role).answer), Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

// errSignin refuses a setting of the sign-in to AWS's console, which is not part of this server.
var errSignin = awserr.New(invalidInput, "This server does not support MaxSigninSessionDuration.")

// updateRole sets a role's description, if the request has one, and its longest session, by default an hour ("UpdateRole").
func (s *Service) updateRole(ctx context.Context, call *smithy.Call, in *api.UpdateRoleRequest) (*api.UpdateRoleResponse, error) {
	account, err := s.roles.allowed(s, call, in.RoleName.Value, nil)
	if err != nil {
		return nil, err
	}
	if in.MaxSigninSessionDuration.Set {
		return nil, errSignin
	}
	return &api.UpdateRoleResponse{}, s.roles.change(ctx, s, account, in.RoleName.Value, func(r *role) error {
		r.Description = in.Description.Or(r.Description)
		r.MaxSession = in.MaxSessionDuration.Or(defaultMaxSession)
		return nil
	})
}

func (s *Service) updateRoleDescription(ctx context.Context, call *smithy.Call, in *api.UpdateRoleDescriptionRequest) (*api.UpdateRoleDescriptionResponse, error) {
	account, err := s.roles.allowed(s, call, in.RoleName.Value, nil)
	if err != nil {
		return nil, err
	}
	var out *api.Role
	err = s.roles.change(ctx, s, account, in.RoleName.Value, func(r *role) error {
		r.Description = in.Description.Value
		out = r.whole()
		return nil
	})
	return &api.UpdateRoleDescriptionResponse{Role: out}, err
}

func (s *Service) updateAssumeRolePolicy(ctx context.Context, call *smithy.Call, in *api.UpdateAssumeRolePolicyRequest) (*api.NoOutput, error) {
	account, err := s.roles.allowed(s, call, in.RoleName.Value, nil)
	if err != nil {
		return nil, err
	}
	trust, err := parseTrust(in.PolicyDocument.Value)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.roles.change(ctx, s, account, in.RoleName.Value, func(r *role) error {
		r.Trust = trust
		return nil
	})
}

func (s *Service) deleteRole(ctx context.Context, call *smithy.Call, in *api.DeleteRoleRequest) (*api.NoOutput, error) {
	account, err := s.roles.allowed(s, call, in.RoleName.Value, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.roles.removeIn(txn, account, in.RoleName.Value, func(r *role) error {
			if len(r.Profiles) > 0 {
				return errInProfile
			}
			if err := r.deletable(); err != nil {
				return err
			}
			return s.bound(txn, account, r.Boundary, "")
		})
	})
}
