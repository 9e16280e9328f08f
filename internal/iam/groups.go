package iam

import (
	"context"
	"slices"

	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// maxGroups is how many groups an account may have ("IAM and AWS STS quotas").
const maxGroups = 300

func (g *group) answer() api.Group {
	return api.Group{Path: smithy.Some(g.Path), GroupName: smithy.Some(g.Name), GroupId: smithy.Some(g.ID), Arn: smithy.Some(g.arn("group")), CreateDate: seconds(g.Created)}
}

func (g *group) whole() *api.Group {
	out := g.answer()
	return &out
}

// groupsOf returns the groups of a user, sorted by name.
func (s *Service) groupsOf(u *user) (out []*group) {
	if len(u.Groups) == 0 {
		return nil
	}
	for _, g := range s.groups.under(u.Account, "/") {
		if slices.Contains(u.Groups, g.ID) {
			out = append(out, g)
		}
	}
	return out
}

func (s *Service) createGroup(ctx context.Context, call *smithy.Call, in *api.CreateGroupRequest) (*api.CreateGroupResponse, error) {
	account := s.Caller(call).Account
	g := &group{entity: s.newEntity(account, prefixGroup, in.GroupName.Value, in.Path, nil)}
	if err := s.authorize(call, g.arn("group"), nil); err != nil {
		return nil, err
	}
	if err := s.groups.room(account, "GroupsPerAccount", maxGroups); err != nil {
		return nil, err
	}
	return &api.CreateGroupResponse{Group: g.whole()}, s.update(ctx, account, func(txn *registry.Txn) error { return s.groups.putNew(txn, g) })
}

// getGroup returns a group and a page of its users.
func (s *Service) getGroup(_ context.Context, call *smithy.Call, in *api.GetGroupRequest) (*api.GetGroupResponse, error) {
	g, err := s.groups.get(s, call, in.GroupName.Value)
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(s.users.under(g.Account, "/"), func(u *user) bool { return !slices.Contains(u.Groups, g.ID) })
	list, next, err := page(all, named, in.Marker, in.MaxItems)
	return &api.GetGroupResponse{Group: g.whole(), Users: mapped(list, (*user).answer), Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listGroups(_ context.Context, call *smithy.Call, in *api.ListGroupsRequest) (*api.ListGroupsResponse, error) {
	all, err := s.groups.listing(s, call, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	list, next, err := page(all, named, in.Marker, in.MaxItems)
	return &api.ListGroupsResponse{Groups: mapped(list, (*group).answer), Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) listGroupsForUser(_ context.Context, call *smithy.Call, in *api.ListGroupsForUserRequest) (*api.ListGroupsForUserResponse, error) {
	u, err := s.users.get(s, call, in.UserName.Value)
	if err != nil {
		return nil, err
	}
	list, next, err := page(s.groupsOf(u), named, in.Marker, in.MaxItems)
	return &api.ListGroupsForUserResponse{Groups: mapped(list, (*group).answer), Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

func (s *Service) updateGroup(ctx context.Context, call *smithy.Call, in *api.UpdateGroupRequest) (*api.NoOutput, error) {
	account, err := s.groups.allowed(s, call, in.GroupName.Value, nil)
	if err != nil {
		return nil, err
	}
	next := entity{Account: account, Name: in.NewGroupName.Or(in.GroupName.Value), Path: in.NewPath.Or("/")}
	if old := s.groups.find(account, in.GroupName.Value); old != nil {
		next.Path = in.NewPath.Or(old.Path)
	}
	// The caller needs the permission for the new name and path too ("UpdateGroup").
	if err := s.authorize(call, next.arn("group"), nil); err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.groups.moveIn(txn, account, in.GroupName.Value, in.NewGroupName, in.NewPath, func(*group) error { return nil })
	})
}

func (s *Service) deleteGroup(ctx context.Context, call *smithy.Call, in *api.DeleteGroupRequest) (*api.NoOutput, error) {
	account, err := s.groups.allowed(s, call, in.GroupName.Value, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.groups.removeIn(txn, account, in.GroupName.Value, func(g *group) error {
			if g.Members > 0 {
				return errInGroup
			}
			return g.deletable()
		})
	})
}

func (s *Service) addUserToGroup(ctx context.Context, call *smithy.Call, in *api.AddUserToGroupRequest) (*api.NoOutput, error) {
	return s.setMember(ctx, call, in.GroupName.Value, in.UserName.Value, true)
}

func (s *Service) removeUserFromGroup(ctx context.Context, call *smithy.Call, in *api.RemoveUserFromGroupRequest) (*api.NoOutput, error) {
	return s.setMember(ctx, call, in.GroupName.Value, in.UserName.Value, false)
}

// setMember adds a user to a group or removes it. It does nothing if that is so already.
func (s *Service) setMember(ctx context.Context, call *smithy.Call, groupName, userName string, member bool) (*api.NoOutput, error) {
	account, err := s.groups.allowed(s, call, groupName, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.groups.changeIn(txn, account, groupName, func(g *group) error {
			return s.users.changeIn(txn, account, userName, func(u *user) error {
				i := slices.Index(u.Groups, g.ID)
				switch {
				case member && i < 0:
					if len(u.Groups) >= maxGroupsPerUser {
						return exceeded("GroupsPerUser", maxGroupsPerUser)
					}
					u.Groups = append(u.Groups, g.ID)
					g.Members++
				case !member && i >= 0:
					u.Groups = slices.Delete(u.Groups, i, i+1)
					g.Members--
				}
				return nil
			})
		})
	})
}
