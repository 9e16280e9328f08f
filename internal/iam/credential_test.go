package iam

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/iam/stsapi"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

type obj = map[string]any

// do calls an operation as the root of the account.
func (s *tester) do(t testing.TB, operation string, in obj, out any) {
	t.Helper()
	if err := s.try(t, operation, in, out); err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
}

func (s *tester) try(t testing.TB, operation string, in obj, out any) error {
	t.Helper()
	s.caller = rootIdentity(account)
	return smithytest.Do(t.Context(), s.Operations(), smithy.Caller{Account: account, Verified: true}, operation, in, out)
}

// newKey makes a user with an access key and an inline policy.
func (s *tester) newKey(t testing.TB, name string) (id, secret string) {
	t.Helper()
	s.do(t, "CreateUser", obj{"UserName": name}, nil)
	s.do(t, "PutUserPolicy", obj{"UserName": name, "PolicyName": "read", "PolicyDocument": somePolicy}, nil)
	var out struct {
		AccessKey struct{ AccessKeyId, SecretAccessKey string }
	}
	s.do(t, "CreateAccessKey", obj{"UserName": name}, &out)
	return out.AccessKey.AccessKeyId, out.AccessKey.SecretAccessKey
}

type credentials struct {
	Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string }
}

// newSession makes a session of the account's root.
func (s *tester) newSession(t testing.TB) credentials {
	t.Helper()
	var out credentials
	s.do(t, "GetSessionToken", obj{}, &out)
	return out
}

// TestCredential finds the same secret that the operation has told, for keys and sessions, on this and another server, and notices changes that another
// server makes. It allocates nothing when nothing has changed.
func TestCredential(t *testing.T) {
	s := newSession(t)
	key, secret := s.newKey(t, "alice")
	root := s.newSession(t).Credentials
	other := s.another(t)
	for _, server := range []*Service{s.Service, other} {
		got, id, err := server.Credential(key, "", s.clock)
		if err != nil || got != secret || id.UserName != "alice" || len(id.Policies.Identity) != 1 {
			t.Fatalf("the key: %v, %v", id, err)
		}
		got, id, err = server.Credential(root.AccessKeyId, root.SessionToken, s.clock)
		if err != nil || got != root.SecretAccessKey || id.Type != typeAccount {
			t.Fatalf("the session: %v, %v", id, err)
		}
		n := testing.AllocsPerRun(100, func() {
			_, _, err1 := server.Credential(key, "", s.clock)
			_, _, err2 := server.Credential(root.AccessKeyId, root.SessionToken, s.clock)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
		})
		if n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
	for name, c := range map[string][2]string{
		"unknown": {"AKIAIOSFODNN7EXAMPLE", ""}, "empty": {"", ""}, "long": {strings.Repeat("A", 1000), ""}, "key with a token": {key, root.SessionToken},
		"session without a token": {root.AccessKeyId, ""}, "another's key": {root.AccessKeyId[:19] + "A", root.SessionToken}, "operator's": {"test", ""},
	} {
		if _, id, err := s.Credential(c[0], c[1], s.clock); id != nil || err == nil || err.Code != awserr.UnrecognizedClient {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	// The other server makes a change, and this one follows it.
	before := s.principalOf(t, key)
	if _, err := other.users.Change(t.Context(), recordOf(account, "alice"), func(u *user) error { u.Inline = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if again := s.principalOf(t, key); again != before {
		t.Error("an identity was made anew without a change")
	}
	if err := s.users.Reload(t.Context(), []byte("iu"+account+"\x00"+region+"\x00alice")); err != nil {
		t.Fatal(err)
	}
	if after := s.principalOf(t, key); after == before || len(after.Policies.Identity) != 0 || len(before.Policies.Identity) != 1 {
		t.Errorf("after the change: %v", after)
	}
}

func (s *tester) principalOf(t *testing.T, key string) *policy.Identity {
	t.Helper()
	_, id, err := s.Credential(key, "", s.clock)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestCredentialIsBounded keeps the cache within its bound while clients make sessions.
func TestCredentialIsBounded(t *testing.T) {
	s := newSession(t)
	g := s.current()
	for i := range maxEntries + 10 {
		g.put(fmt.Sprint(i), &credential{})
	}
	if len(g.entries) > maxEntries || g.get(fmt.Sprint(maxEntries+9)) == nil {
		t.Errorf("%d entries", len(g.entries))
	}
}

// TestIdentity names principals by their ARNs.
func TestIdentity(t *testing.T) {
	s := newSession(t)
	s.do(t, "CreateUser", obj{"UserName": "alice", "Path": "/staff/"}, nil)
	s.do(t, "CreateRole", obj{"RoleName": "app", "AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}]}`}, nil)
	prefix := ":" + account + ":"
	for arn, want := range map[string]string{
		"arn:aws:iam:" + prefix + "root": "arn:aws:iam:" + prefix + "root", "arn:aws:iam:" + prefix + "user/staff/alice": "arn:aws:iam:" + prefix + "user/staff/alice",
		"arn:aws:iam:" + prefix + "user/alice": "", "arn:aws:iam:" + prefix + "role/app": "arn:aws:sts:" + prefix + "assumed-role/app/app",
		"arn:aws:sts:" + prefix + "assumed-role/app/x": "arn:aws:sts:" + prefix + "assumed-role/app/x", "arn:aws:sts:" + prefix + "assumed-role/none/x": "",
		"arn:aws:iam:" + prefix + "group/g": "", "alice": "", "": "", "arn:aws:iam::000000000000:root": "", "arn:aws:dynamodb:" + prefix + "table/x": "",
	} {
		id, err := s.Identity(account, arn)
		switch {
		case want == "" && (err == nil || err.Code != noSuchEntity):
			t.Errorf("%s: %v, %v", arn, id, err)
		case want != "" && (err != nil || id.ARN != want):
			t.Errorf("%s: %v, %v", arn, id, err)
		}
	}
}

// TestAuthorized asks for permission in every operation, before anything else is revealed. A universal form has the parameters of all of them.
func TestAuthorized(t *testing.T) {
	s := newSession(t)
	s.caller = &policy.Identity{Principal: policy.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/eve"}, Type: typeUser, UserName: "eve"}
	form := url.Values{}
	for name, value := range map[string]string{
		"UserName": "u", "GroupName": "g", "RoleName": "r", "InstanceProfileName": "i", "PolicyName": "p", "PolicyArn": "arn:aws:iam::" + account + ":policy/p", "VersionId": "v1",
		"PolicyDocument": somePolicy, "AssumeRolePolicyDocument": "{}", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "Status": "Active", "PermissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess",
		"Tags.member.1.Key": "k", "Tags.member.1.Value": "v", "TagKeys.member.1": "k", "ActionNames.member.1": "iam:GetUser", "PolicyInputList.member.1": somePolicy,
		"PolicySourceArn": "arn:aws:iam::" + account + ":user/u", "Description": "d", "RoleArn": "arn:aws:iam::" + account + ":role/r", "RoleSessionName": "session", "Name": "name",
	} {
		form.Set(name, value)
	}
	// GetCallerIdentity and GetSessionToken need no permission. The trust policy decides about a web identity, whose token comes first.
	exempt := []string{stsapi.GetCallerIdentity.Target, stsapi.GetSessionToken.Target, stsapi.AssumeRoleWithWebIdentity.Target}
	for _, h := range s.Operations() {
		of := API
		if h.Service == STS.Name {
			of = STS
		}
		_, operation, _ := strings.Cut(h.Target, ".")
		_, err := s.run(t.Context(), &h, protocol.Query{Service: of, Operation: operation}, form.Encode())
		var e *awserr.Error
		refused := errors.As(err, &e) && e.Code == awserr.AccessDenied && strings.Contains(e.Message, ":"+operation+" on resource: ")
		if refused == slices.Contains(exempt, h.Target) {
			t.Errorf("%s: %v", h.Target, err)
		}
	}
}

// TestSecrets rotates the secrets key, and tells servers with other keys apart.
func TestSecrets(t *testing.T) {
	one, two := slices.Repeat([]byte{1}, 32), slices.Repeat([]byte{2}, 32)
	s := newSession(t)
	check := func(what string, want string, keys ...[]byte) {
		t.Helper()
		if err := s.SetSecrets(keys); err != nil {
			t.Fatal(err)
		}
		err := s.CheckSecrets(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("a store without secrets, and no key", "")
	if err := s.try(t, "GetSessionToken", obj{}, nil); !errors.Is(err, errNoSecrets) {
		t.Errorf("a session without a key: %v", err)
	}
	check("the first key", "", one)
	key, secret := s.newKey(t, "alice")
	session := s.newSession(t).Credentials
	works := func(what string, key, token, want string) {
		t.Helper()
		if got, _, err := s.Credential(key, token, s.clock); err != nil || got != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("another key", "which is not among", two)
	if _, _, err := s.Credential(key, "", s.clock); err == nil || err.Code != awserr.InternalServerError {
		t.Errorf("a key that can't be decrypted: %v", err)
	}
	check("no key", "no secrets key")
	check("both", "", one, two)
	check("both, the new one first", "", two, one)
	works("the key", key, "", secret)
	works("the session", session.AccessKeyId, session.SessionToken, session.SecretAccessKey)
	for _, want := range []int{1, 0} {
		if n, err := s.Reencrypt(t.Context()); err != nil || n != want {
			t.Errorf("%d keys were encrypted anew, want %d: %v", n, want, err)
		}
	}
	check("the old key", "which is not among", one)
	check("the new key", "", two)
	works("the key afterwards", key, "", secret)
	if _, _, err := s.Credential(session.AccessKeyId, session.SessionToken, s.clock); err == nil {
		t.Error("a session that an old key has sealed")
	}
	for _, bad := range []Keyring{{one[:31]}, {one, one}} {
		if err := s.SetSecrets(bad); err == nil {
			t.Errorf("%d keys of %d bytes are accepted", len(bad), len(bad[0]))
		}
	}
	// What is stored does not have the secret, and is bound to its key.
	k := s.keys.Get(keyRecord(account, key))
	if strings.Contains(string(k.Sealed), secret) {
		t.Error("the secret is stored")
	}
	moved := *k
	moved.ID = "AKIAIOSFODNN7EXAMPLE"
	if _, err := s.unseal(&moved); err == nil {
		t.Error("a secret belongs to another key")
	}
}

// TestLastUsed keeps the last use of a key, and forgets it with the key.
func TestLastUsed(t *testing.T) {
	s := newSession(t)
	key, _ := s.newKey(t, "alice")
	last := func() (out struct {
		AccessKeyLastUsed struct {
			LastUsedDate        float64
			ServiceName, Region string
		}
	}) {
		t.Helper()
		s.do(t, "GetAccessKeyLastUsed", obj{"AccessKeyId": key}, &out)
		return out
	}
	s.Used(key, "dynamodb", "eu-west-1", s.clock)
	s.Used("AKIAIOSFODNN7EXAMPLE", "dynamodb", "eu-west-1", s.clock)
	s.Used("test", "dynamodb", "eu-west-1", s.clock)
	if got := last().AccessKeyLastUsed; got.ServiceName != "dynamodb" || got.Region != "eu-west-1" || got.LastUsedDate != float64(s.clock.Unix()) {
		t.Errorf("%+v", got)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.open(t)
	s.Used(key, "sts", "us-east-1", s.clock.Add(-time.Hour)) // another server knows better
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := last().AccessKeyLastUsed; got.ServiceName != "dynamodb" {
		t.Errorf("%+v", got)
	}
	s.do(t, "DeleteAccessKey", obj{"UserName": "alice", "AccessKeyId": key}, nil)
	if err := s.Flush(t.Context()); err != nil || len(s.uses.All()) != 0 {
		t.Errorf("%d uses are left: %v", len(s.uses.All()), err)
	}
}

// TestOperations lists operations in order, and none that the model lacks.
func TestOperations(t *testing.T) {
	s := newSession(t)
	have := s.Operations()
	targets := slices.Concat(api.IAMOperations, stsapi.STSOperations)
	for i, h := range have {
		if !slices.Contains(targets, h.Target) || i > 0 && have[i-1].Target >= h.Target {
			t.Errorf("%s is unknown or out of order", h.Target)
		}
	}
	if got := len(have) + len(s.Missing()); got != len(targets) {
		t.Errorf("%d operations, want %d", got, len(targets))
	}
}

// TestBuiltIns compiles AWS's policies.
func TestBuiltIns(t *testing.T) {
	for _, m := range builtIns() {
		if _, err := m.inForce().Text.compile(policy.OfIdentity); err != nil || builtIn(m.arn("policy")) != m {
			t.Errorf("%s: %v", m.arn("policy"), err)
		}
	}
}

// FuzzToken accepts no token but those that it has sealed. The corpus has the parts of a real one, changed.
func FuzzToken(f *testing.F) {
	r, err := newRing(Keyring{slices.Repeat([]byte{7}, 32)})
	if err != nil {
		f.Fatal(err)
	}
	token, secret, err := r[0].seal(&session{Type: typeAccount, Key: "ASIAIOSFODNN7EXAMPLE", Account: account, Issued: 1, Expires: 2})
	if err != nil {
		f.Fatal(err)
	}
	if v, got, err := r.open(token); err != nil || got != secret || v.Account != account {
		f.Fatalf("a sealed session: %v, %v", v, err)
	}
	for i := range len(token) {
		f.Add(token[:i])
		f.Add(token[:i] + "\n" + token[i:])
		if token[i] != 'A' { // each of the fuzzer's processes has a token of its own, so none may be in the corpus
			f.Add(token[:i] + "A" + token[i+1:])
		}
	}
	f.Add(token + "A")
	f.Add(token + "=")
	f.Fuzz(func(t *testing.T, text string) {
		if v, _, err := r.open(text); !errors.Is(err, errToken) {
			t.Errorf("%q is accepted: %v, %v", text, v, err)
		}
	})
}

// FuzzForm sends forms to every operation. None may panic, and errors are AWS's.
func FuzzForm(f *testing.F) {
	s := newSession(f)
	s.caller = rootIdentity(account)
	handlers := s.Operations()
	for i := range handlers {
		f.Add(uint8(i), "UserName=u&GroupName=g&RoleName=r&PolicyName=p&PolicyArn=arn:aws:iam::111122223333:policy/p&PolicyDocument=%7B%7D&Tags.member.1.Key=k&Tags.member.1.Value=v&Marker=eA==&MaxItems=1")
		f.Add(uint8(i), "RoleArn=arn:aws:iam::111122223333:role/a&RoleSessionName=ss&Name=nn&AccessKeyId=AKIA7777777777777777&PolicySourceArn=arn:aws:iam::aws:x/y/&ActionNames.member.1=a:b")
	}
	f.Fuzz(func(t *testing.T, n uint8, form string) {
		h := handlers[int(n)%len(handlers)]
		of := API
		if h.Service == STS.Name {
			of = STS
		}
		_, operation, _ := strings.Cut(h.Target, ".")
		_, err := s.run(t.Context(), &h, protocol.Query{Service: of, Operation: operation}, form)
		var e *awserr.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%s: %v", h.Target, err)
		}
	})
}
