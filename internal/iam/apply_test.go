package iam

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/kv"
)

// declared is a desired state with one of each kind.
func declared() Declared {
	doc := json.RawMessage(somePolicy)
	trust := json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}]}`)
	return Declared{
		Users: []DeclaredUser{{
			Holder: Holder{Name: "alice", Path: "/staff/", Inline: map[string]json.RawMessage{"own": doc}, Attached: []string{"reader"}},
			Tags:   map[string]string{"team": "blue"}, Boundary: "arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess", Groups: []string{"crew"},
		}},
		Groups:   []DeclaredGroup{{Holder{Name: "crew", Attached: []string{"arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"}}}},
		Roles:    []DeclaredRole{{Holder: Holder{Name: "app", Attached: []string{"reader"}}, Trust: trust, Boundary: "reader", MaxSession: 7200, Description: "d"}},
		Policies: []DeclaredPolicy{{Name: "reader", Document: doc, Tags: map[string]string{"k": "v"}}},
	}
}

// state returns all that is stored of IAM.
func (s *tester) state(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	snap, err := s.db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	if err := kv.Each(t.Context(), snap, kv.Prefix([]byte("i")), func(key, val []byte) error {
		out.Write(key)
		out.WriteByte(' ')
		out.Write(val)
		out.WriteByte('\n')
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (s *tester) apply(t *testing.T, d Declared) {
	t.Helper()
	if _, err := s.Apply(t.Context(), declaring(d)); err != nil {
		t.Fatal(err)
	}
}

// declaring declares a state of the account.
func declaring(d Declared) Declaration { return Declaration{Accounts: map[string]Declared{account: d}} }

// TestApply makes declared records, leaves them alone when nothing changes, changes and removes them, and keeps the API from changing them.
func TestApply(t *testing.T) {
	s := newSession(t)
	s.do(t, "CreateUser", obj{"UserName": "bob"}, nil)
	byAPI := s.state(t)
	d := declared()
	s.apply(t, d)
	first, version := s.state(t), s.version()
	s.apply(t, declared())
	if s.state(t) != first || s.version() != version {
		t.Error("nothing was to be changed, and something was stored")
	}
	m := s.policies.find(account, "reader")
	if g := s.groups.find(account, "crew"); g.Members != 1 || m.Attachments != 2 || m.Boundaries != 1 {
		t.Errorf("%d members, %d attachments, %d boundaries", g.Members, m.Attachments, m.Boundaries)
	}
	// The API makes access keys, and changes nothing else.
	var key struct{ AccessKey struct{ AccessKeyId string } }
	s.do(t, "CreateAccessKey", obj{"UserName": "alice"}, &key)
	id := s.principalOf(t, key.AccessKey.AccessKeyId)
	for action, allowed := range map[string]bool{"dynamodb:GetItem": true, "dynamodb:Query": true, "dynamodb:PutItem": false} {
		if got := s.decide(id, action, "arn:aws:dynamodb:eu-west-1:"+account+":table/x", keys{}) == nil; got != allowed {
			t.Errorf("%s: %t", action, got)
		}
	}
	arn := m.arn("policy")
	for _, c := range []struct {
		operation string
		in        obj
	}{
		{"DeleteUser", obj{"UserName": "alice"}},
		{"UpdateUser", obj{"UserName": "alice", "NewUserName": "al"}},
		{"TagUser", obj{"UserName": "alice", "Tags": []obj{{"Key": "a", "Value": "b"}}}},
		{"PutUserPolicy", obj{"UserName": "alice", "PolicyName": "x", "PolicyDocument": somePolicy}},
		{"AttachUserPolicy", obj{"UserName": "alice", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}},
		{"DetachUserPolicy", obj{"UserName": "alice", "PolicyArn": arn}},
		{"DeleteUserPermissionsBoundary", obj{"UserName": "alice"}},
		{"AddUserToGroup", obj{"UserName": "bob", "GroupName": "crew"}},
		{"RemoveUserFromGroup", obj{"UserName": "alice", "GroupName": "crew"}},
		{"DeleteRole", obj{"RoleName": "app"}},
		{"UpdateRole", obj{"RoleName": "app"}},
		{"CreatePolicyVersion", obj{"PolicyArn": arn, "PolicyDocument": somePolicy}},
		{"DeletePolicy", obj{"PolicyArn": arn}},
	} {
		if err := s.try(t, c.operation, c.in, nil); err == nil || !strings.HasPrefix(err.Error(), string(unmodifiable)) {
			t.Errorf("%s: %v", c.operation, err)
		}
	}
	// A change keeps ids and access keys.
	d.Users[0].Path, d.Users[0].Inline, d.Policies[0].Document = "/", nil, json.RawMessage(strings.Replace(somePolicy, "GetItem", "Scan", 1))
	s.apply(t, d)
	if u, next := s.users.find(account, "alice"), s.policies.find(account, "reader"); u.ID != id.UserID || len(u.Keys) != 1 || u.Path != "/" || next.ID != m.ID || next.Default != "v2" || len(next.Versions) != 1 {
		t.Errorf("after the change: %+v, %+v", u, next)
	}
	// A declared policy that the API has attached can't be removed.
	s.do(t, "AttachUserPolicy", obj{"UserName": "bob", "PolicyArn": arn}, nil)
	before := s.state(t)
	if _, err := s.Apply(t.Context(), declaring(Declared{})); err == nil || !strings.Contains(err.Error(), `user "bob" uses arn:aws:iam::`) || s.state(t) != before {
		t.Errorf("removing a policy in use: %v", err)
	}
	s.do(t, "DetachUserPolicy", obj{"UserName": "bob", "PolicyArn": arn}, nil)
	s.apply(t, Declared{})
	if got := s.state(t); got != byAPI {
		t.Errorf("what is left:\n%s\nwant:\n%s", got, byAPI)
	}
	if _, _, err := s.Credential(key.AccessKey.AccessKeyId, "", s.clock); err == nil {
		t.Error("the key of a user that is gone")
	}
	s.open(t) // all records can be read
}

// TestApplyRefuses names what is wrong, and stores nothing.
func TestApplyRefuses(t *testing.T) {
	s := newSession(t)
	s.do(t, "CreateUser", obj{"UserName": "Bob"}, nil)
	before := s.state(t)
	long := json.RawMessage(strings.Replace(somePolicy, `"*"`, `"arn:aws:dynamodb:*:*:table/`+strings.Repeat("x", 7000)+`"`, 1))
	for want, change := range map[string]func(*Declared){
		`user "bob": it exists, and was not declared`:               func(d *Declared) { d.Users[0].Name = "bob" },
		`user "Alice": it is declared twice`:                        func(d *Declared) { d.Users = append(d.Users, DeclaredUser{Holder: Holder{Name: "Alice"}}) },
		`user "a b": 1 validation error`:                            func(d *Declared) { d.Users[0].Name = "a b" },
		`user "": 1 validation error`:                               func(d *Declared) { d.Users[0].Name = "" },
		`user "alice": 1 validation error`:                          func(d *Declared) { d.Users[0].Path = "staff" },
		`user "alice": there is no declared group "none"`:           func(d *Declared) { d.Users[0].Groups = []string{"none"} },
		`user "alice": there is no policy "none"`:                   func(d *Declared) { d.Users[0].Boundary = "none" },
		`group "crew": there is no policy "arn:aws:iam::1:policy/x`: func(d *Declared) { d.Groups[0].Attached = []string{"arn:aws:iam::1:policy/x"} },
		`policy "reader": line 1, column 1: `:                       func(d *Declared) { d.Policies[0].Document = json.RawMessage(`[]`) },
		`policy "reader": Cannot exceed quota`:                      func(d *Declared) { d.Policies[0].Document = long },
		`user "alice": its inline policies have`:                    func(d *Declared) { d.Users[0].Inline["own"] = long },
		`role "app": trust policy: line`:                            func(d *Declared) { d.Roles[0].Trust = json.RawMessage(somePolicy) },
		`role "app": 1 validation error`:                            func(d *Declared) { d.Roles[0].MaxSession = 5 },
		`role "app": Tag keys that begin with aws:`:                 func(d *Declared) { d.Roles[0].Tags = map[string]string{"aws:x": "y"} },
	} {
		d := declared()
		change(&d)
		if _, err := s.Apply(t.Context(), declaring(d)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if s.state(t) != before {
		t.Error("something was stored")
	}
}

// TestApplied records which directory is in force, and names the server that has applied another one in between.
func TestApplied(t *testing.T) {
	s := newSession(t)
	other := s.another(t)
	apply := func(on *Service, digest, server string, want Outcome) {
		t.Helper()
		got, err := on.Apply(t.Context(), Declaration{Digest: digest, Server: server})
		if err != nil || got != want {
			t.Errorf("%s by %s: %+v, %v, want %+v", digest, server, got, err, want)
		}
		if now, _ := on.Applied(); want.Changed && now != digest {
			t.Errorf("%s is recorded", now)
		}
	}
	apply(s.Service, "one", "a", Outcome{Changed: true})
	before := s.state(t)
	apply(other, "one", "b", Outcome{})
	if s.state(t) != before {
		t.Error("the same directory is recorded again")
	}
	apply(s.Service, "two", "a", Outcome{Changed: true})
	apply(s.Service, "one", "a", Outcome{Changed: true}) // the operator has reverted a change
	apply(other, "two", "b", Outcome{Changed: true, Rival: "a"})
	apply(other, "three", "b", Outcome{Changed: true})
	s.clock = s.clock.Add(rivalry)
	apply(other, "one", "a", Outcome{Changed: true})
	for _, digest := range []string{"4", "5", "6", "7"} {
		apply(other, digest, "a", Outcome{Changed: true})
	}
	if list := other.applied.All(); len(list) != 1 || len(list[0].Last) != maxApplied {
		t.Errorf("what is recorded: %+v", list)
	}
}

// TestApplyAccounts changes several accounts at once or none of them, and clears those that declare nothing any more.
func TestApplyAccounts(t *testing.T) {
	s := newSession(t)
	const second = "444455556666"
	d := Declaration{Accounts: map[string]Declared{account: declared(), second: {Groups: []DeclaredGroup{{Holder{Name: "g"}}}}}}
	if _, err := s.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	before := s.state(t)
	broken := Declaration{Accounts: map[string]Declared{account: {}, second: {Groups: []DeclaredGroup{{Holder{Name: "a b"}}, {Holder{Name: "c", Path: "x"}}}}}}
	_, err := s.Apply(t.Context(), broken)
	list := err.(interface{ Unwrap() []error }).Unwrap()
	if one, ok := errors.AsType[*Invalid](list[1]); len(list) != 2 || !ok || one.Account != second || one.Kind != "group" || one.Name != "c" || one.Member != MemberPath {
		t.Errorf("errors: %v", err)
	}
	if s.state(t) != before {
		t.Error("something was stored")
	}
	if _, err := s.Apply(t.Context(), Declaration{Accounts: map[string]Declared{second: d.Accounts[second]}}); err != nil {
		t.Fatal(err)
	}
	if s.users.find(account, "alice") != nil || s.groups.find(second, "g") == nil {
		t.Error("the wrong account is empty")
	}
}
