package iam

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/registry"
)

// TestQuotas enforces AWS's quotas: one more than they allow is refused.
func TestQuotas(t *testing.T) {
	s := newSession(t)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}]}`
	err := s.update(t.Context(), account, func(txn *registry.Txn) (err error) {
		named := func(i int) entity {
			return entity{Account: account, Name: fmt.Sprint("x", i), Path: "/", ID: newID(prefixUser)}
		}
		id := func(i int) registry.ID { return recordOf(account, fmt.Sprint("x", i)) }
		put := func(e error) { err = errors.Join(err, e) }
		for i := range maxUsers {
			put(s.users.PutIn(txn, id(i), &user{entity: named(i)}))
		}
		for i := range maxGroups {
			put(s.groups.PutIn(txn, id(i), &group{entity: named(i)}))
		}
		for i := range maxRoles {
			put(s.roles.PutIn(txn, id(i), &role{entity: named(i), Trust: &document{text: trust}}))
		}
		for i := range maxProfiles {
			put(s.profiles.PutIn(txn, id(i), &profile{entity: named(i)}))
		}
		for i := range maxPolicies {
			m := &managed{entity: named(i)}
			m.add(&document{text: somePolicy}, 0, true)
			put(s.policies.PutIn(txn, id(i), m))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxGroupsPerUser {
		s.do(t, "AddUserToGroup", obj{"UserName": "x0", "GroupName": fmt.Sprint("x", i)}, nil)
	}
	policyARN := "arn:aws:iam::" + account + ":policy/x"
	for i := range maxAttached {
		s.do(t, "AttachRolePolicy", obj{"RoleName": "x0", "PolicyArn": policyARN + fmt.Sprint(i)}, nil)
	}
	var tags []obj
	for i := range maxTags {
		tags = append(tags, obj{"Key": fmt.Sprint(i), "Value": ""})
	}
	s.do(t, "TagUser", obj{"UserName": "x0", "Tags": tags}, nil)
	for _, c := range []struct {
		operation string
		in        obj
	}{
		{"CreateUser", obj{"UserName": "more"}},
		{"CreateGroup", obj{"GroupName": "more"}},
		{"CreateRole", obj{"RoleName": "more", "AssumeRolePolicyDocument": trust}},
		{"CreateInstanceProfile", obj{"InstanceProfileName": "more"}},
		{"CreatePolicy", obj{"PolicyName": "more", "PolicyDocument": somePolicy}},
		{"AddUserToGroup", obj{"UserName": "x0", "GroupName": fmt.Sprint("x", maxGroupsPerUser)}},
		{"AttachRolePolicy", obj{"RoleName": "x0", "PolicyArn": policyARN + fmt.Sprint(maxAttached)}},
		{"TagUser", obj{"UserName": "x0", "Tags": []obj{{"Key": "more", "Value": ""}}}},
	} {
		if err := s.try(t, c.operation, c.in, nil); err == nil || !strings.HasPrefix(err.Error(), string(limitExceeded)) {
			t.Errorf("%s: %v", c.operation, err)
		}
	}
	// What is there already counts once.
	s.do(t, "AddUserToGroup", obj{"UserName": "x0", "GroupName": "x0"}, nil)
	s.do(t, "AttachRolePolicy", obj{"RoleName": "x0", "PolicyArn": policyARN + "0"}, nil)
	s.do(t, "TagUser", obj{"UserName": "x0", "Tags": tags[:1]}, nil)
}

// BenchmarkCredential finds a key's identity while nothing changes.
func BenchmarkCredential(b *testing.B) {
	s := newSession(b)
	key, _ := s.newKey(b, "alice")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Credential(key, "", s.clock); err != nil {
			b.Fatal(err)
		}
	}
}
