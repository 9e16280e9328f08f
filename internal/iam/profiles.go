package iam

import (
	"context"
	"slices"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// maxProfiles is how many instance profiles an account may have ("IAM and AWS STS quotas").
const maxProfiles = 1000

// profileAnswer returns an instance profile as answers have it.
func (s *Service) profileAnswer(p *profile) api.InstanceProfile {
	out := api.InstanceProfile{
		Path: smithy.Some(p.Path), InstanceProfileName: smithy.Some(p.Name), InstanceProfileId: smithy.Some(p.ID), Arn: smithy.Some(p.arn("instance-profile")),
		CreateDate: seconds(p.Created), Roles: []api.Role{}, Tags: tagsOf(p.Tags),
	}
	if r := s.roles.find(p.Account, p.Role); r != nil {
		out.Roles = append(out.Roles, r.answer())
	}
	return out
}

func (s *Service) createInstanceProfile(ctx context.Context, call *smithy.Call, in *api.CreateInstanceProfileRequest) (*api.CreateInstanceProfileResponse, error) {
	tags, err := newTags(in.Tags, tagOf)
	if err != nil {
		return nil, err
	}
	account := s.Caller(call).Account
	p := &profile{entity: s.newEntity(account, prefixProfile, in.InstanceProfileName.Value, in.Path, tags)}
	if err := s.authorize(call, p.arn("instance-profile"), keys{}.requestTags(tags)); err != nil {
		return nil, err
	}
	if err := s.profiles.room(account, "InstanceProfilesPerAccount", maxProfiles); err != nil {
		return nil, err
	}
	out := s.profileAnswer(p)
	return &api.CreateInstanceProfileResponse{InstanceProfile: &out}, s.update(ctx, account, func(txn *registry.Txn) error { return s.profiles.putNew(txn, p) })
}

func (s *Service) getInstanceProfile(_ context.Context, call *smithy.Call, in *api.GetInstanceProfileRequest) (*api.GetInstanceProfileResponse, error) {
	p, err := s.profiles.get(s, call, in.InstanceProfileName.Value)
	if err != nil {
		return nil, err
	}
	out := s.profileAnswer(p)
	return &api.GetInstanceProfileResponse{InstanceProfile: &out}, nil
}

func (s *Service) listInstanceProfiles(_ context.Context, call *smithy.Call, in *api.ListInstanceProfilesRequest) (*api.ListInstanceProfilesResponse, error) {
	all, err := s.profiles.listing(s, call, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	list, next, err := page(all, named, in.Marker, in.MaxItems)
	return &api.ListInstanceProfilesResponse{InstanceProfiles: mapped(list, s.profileAnswer), Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

// profilesOf returns the instance profiles that contain a role.
func (s *Service) profilesOf(r *role) (out []*profile) {
	for _, name := range r.Profiles {
		if p := s.profiles.find(r.Account, name); p != nil {
			out = append(out, p)
		}
	}
	return out
}

func (s *Service) listInstanceProfilesForRole(_ context.Context, call *smithy.Call, in *api.ListInstanceProfilesForRoleRequest) (*api.ListInstanceProfilesForRoleResponse, error) {
	r, err := s.roles.get(s, call, in.RoleName.Value)
	if err != nil {
		return nil, err
	}
	list, next, err := page(s.profilesOf(r), named, in.Marker, in.MaxItems)
	return &api.ListInstanceProfilesForRoleResponse{InstanceProfiles: mapped(list, s.profileAnswer), Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) deleteInstanceProfile(ctx context.Context, call *smithy.Call, in *api.DeleteInstanceProfileRequest) (*api.NoOutput, error) {
	account, err := s.profiles.allowed(s, call, in.InstanceProfileName.Value, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.profiles.removeIn(txn, account, in.InstanceProfileName.Value, func(p *profile) error {
			if p.Role != "" {
				return errInProfile
			}
			return nil
		})
	})
}

func (s *Service) addRoleToInstanceProfile(ctx context.Context, call *smithy.Call, in *api.AddRoleToInstanceProfileRequest) (*api.NoOutput, error) {
	account, err := s.profiles.allowed(s, call, in.InstanceProfileName.Value, nil)
	if err != nil {
		return nil, err
	}
	// The role is given to whatever uses the profile ("Grant a user permissions to pass a role to an AWS service").
	if err := s.authorizeAction(call, "iam:PassRole", s.roles.resource(account, in.RoleName.Value), nil); err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.profiles.changeIn(txn, account, in.InstanceProfileName.Value, func(p *profile) error {
			if p.Role != "" {
				return exceeded("InstanceSessionsPerInstanceProfile", 1)
			}
			p.Role = in.RoleName.Value
			return s.roles.touchIn(txn, account, p.Role, func(r *role) error {
				r.Profiles = append(r.Profiles, p.Name)
				return nil
			})
		})
	})
}

func (s *Service) removeRoleFromInstanceProfile(ctx context.Context, call *smithy.Call, in *api.RemoveRoleFromInstanceProfileRequest) (*api.NoOutput, error) {
	account, err := s.profiles.allowed(s, call, in.InstanceProfileName.Value, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.profiles.changeIn(txn, account, in.InstanceProfileName.Value, func(p *profile) error {
			if p.Role != in.RoleName.Value {
				return awserr.New(noSuchEntity, "Role "+in.RoleName.Value+" is not in instance profile "+p.Name+".")
			}
			p.Role = ""
			return s.roles.touchIn(txn, account, in.RoleName.Value, func(r *role) error {
				r.Profiles = slices.DeleteFunc(r.Profiles, func(name string) bool { return name == p.Name })
				return nil
			})
		})
	})
}
