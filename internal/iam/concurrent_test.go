package iam

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

// TestConcurrentChanges creates, attaches and deletes from many goroutines on two services over one store. In the end every reference has its object, and
// every count is right.
func TestConcurrentChanges(t *testing.T) {
	s := newSession(t)
	s.caller = rootIdentity(account)
	other := s.another(t)
	const rounds, names = 40, 3
	var all sync.WaitGroup
	for n, server := range []*Service{s.Service, other, s.Service, other} {
		handlers := server.Operations()
		all.Go(func() {
			for i := range rounds {
				user, policy := fmt.Sprintf("u%d", (i+n)%names), fmt.Sprintf("p%d", (i*7+n)%names)
				group, arn := "g"+user[1:], "arn:aws:iam::"+account+":policy/"+policy
				for _, c := range []struct {
					operation string
					in        obj
				}{
					{"CreateUser", obj{"UserName": user}},
					{"CreateGroup", obj{"GroupName": group}},
					{"CreatePolicy", obj{"PolicyName": policy, "PolicyDocument": somePolicy}},
					{"AttachUserPolicy", obj{"UserName": user, "PolicyArn": arn}},
					{"PutUserPermissionsBoundary", obj{"UserName": user, "PermissionsBoundary": arn}},
					{"AddUserToGroup", obj{"UserName": user, "GroupName": group}},
					{"CreateAccessKey", obj{"UserName": user}},
					{"DeletePolicy", obj{"PolicyArn": arn}},
					{"DetachUserPolicy", obj{"UserName": user, "PolicyArn": arn}},
					{"DeleteUserPermissionsBoundary", obj{"UserName": user}},
					{"DeletePolicy", obj{"PolicyArn": arn}},
					{"RemoveUserFromGroup", obj{"UserName": user, "GroupName": group}},
					{"DeleteGroup", obj{"GroupName": group}},
					{"DeleteUser", obj{"UserName": user}},
				} {
					err := smithytest.Do(t.Context(), handlers, smithy.Caller{Account: account}, c.operation, c.in, nil)
					var e *awserr.Error
					if err != nil && !errors.As(err, &e) {
						t.Errorf("%s: %v", c.operation, err)
					}
				}
			}
		})
	}
	all.Wait()
	s.open(t)
	attached, bounds, members := map[string]int{}, map[string]int{}, map[string]int{}
	keyCount := 0
	for _, u := range s.users.under(account, "/") {
		if _, err := s.userIdentity(u); err != nil {
			t.Errorf("user %s: %v", u.Name, err)
		}
		for _, arn := range u.Attached {
			attached[arn]++
		}
		bounds[u.Boundary]++
		for _, id := range u.Groups {
			members[id]++
		}
		keyCount += len(u.Keys)
		for _, id := range u.Keys {
			if k := s.keys.Get(keyRecord(account, id)); k == nil || k.User != u.Name {
				t.Errorf("access key %s of %s: %v", id, u.Name, k)
			}
		}
	}
	for _, m := range s.policies.under(account, "/") {
		if arn := m.arn("policy"); m.Attachments != attached[arn] || m.Boundaries != bounds[arn] {
			t.Errorf("policy %s: %d attachments, %d boundaries", m.Name, m.Attachments, m.Boundaries)
		}
	}
	for _, g := range s.groups.under(account, "/") {
		if g.Members != members[g.ID] {
			t.Errorf("group %s: %d members, want %d", g.Name, g.Members, members[g.ID])
		}
		delete(members, g.ID)
	}
	if len(members) > 0 || keyCount != len(s.keys.All()) {
		t.Errorf("members of groups that are gone: %v; %d of %d access keys have a user", members, keyCount, len(s.keys.All()))
	}
}
