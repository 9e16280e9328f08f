package access

import (
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/smithy"
)

const (
	here  = "111111111111"
	there = "222222222222"
	tab   = "arn:aws:dynamodb:us-east-1:" + here + ":table/T"
)

// parsed returns a compiled policy.
func parsed(t *testing.T, kind policy.Kind, text string) *policy.Document {
	t.Helper()
	d, err := policy.Parse(text, kind)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// user returns a user of the account with a policy.
func user(account string, policies ...*policy.Document) *policy.Identity {
	return &policy.Identity{
		Principal: policy.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/ann"}, Type: "User",
		UserID: "AIDAANN", UserName: "ann", Tags: map[string]string{"Team": "shop", "Empty": ""}, Policies: policy.Set{Identity: policies},
	}
}

func TestAuthorize(t *testing.T) {
	get := parsed(t, policy.OfIdentity, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"*"}}`)
	denyRoot := parsed(t, policy.OfResource, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"dynamodb:GetItem","Resource":"*"}}`)
	for _, c := range []struct {
		name   string
		caller smithy.Caller
		owner  string
		policy *policy.Document
		reason string // end of the refusal; empty if the caller is allowed
	}{
		{name: "the root of the account", caller: smithy.Caller{Account: here, Verified: true}, owner: here},
		{name: "the caller's account is meant", caller: smithy.Caller{Account: here, Verified: true}},
		{name: "another account's root", caller: smithy.Caller{Account: there, Verified: true}, owner: here, reason: "because no resource-based policy allows the dynamodb:GetItem action"},
		{name: "an operator's key is bound to its account too", caller: smithy.Caller{Account: there, Verified: true, Operator: true}, owner: here,
			reason: "because no resource-based policy allows the dynamodb:GetItem action"},
		{name: "without credentials", caller: smithy.Caller{Account: "000000000000"}, owner: here},
		{name: "without credentials, denied by the table", caller: smithy.Caller{Account: "000000000000"}, owner: here, policy: denyRoot,
			reason: "with an explicit deny in a resource-based policy"},
		{name: "a user without policies", caller: smithy.Caller{Account: here, Verified: true, Identity: user(here)}, owner: here,
			reason: "because no identity-based policy allows the dynamodb:GetItem action"},
		{name: "a user with a policy", caller: smithy.Caller{Account: here, Verified: true, Identity: user(here, get)}, owner: here},
		{name: "a user with a policy, denied by the table", caller: smithy.Caller{Account: here, Verified: true, Identity: user(here, get)}, owner: here, policy: denyRoot,
			reason: "with an explicit deny in a resource-based policy"},
	} {
		err := Authorize(&Question{Call: &smithy.Call{Caller: c.caller}, Action: "dynamodb:GetItem", Resource: tab, Owner: c.owner, Policy: c.policy})
		want := "AccessDeniedException: User: " + Principal(&c.caller) + " is not authorized to perform: dynamodb:GetItem on resource: " + tab + " " + c.reason
		if c.reason == "" && err != nil || c.reason != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: got %v, want %s", c.name, err, want)
		}
	}
}

func TestByARN(t *testing.T) {
	stranger := &smithy.Call{Caller: smithy.Caller{Account: there, Verified: true}}
	for _, c := range []struct {
		name, text, own string
		allowed         bool
	}{
		{"no ARN", "T", there, true},
		{"another account's", tab, there, false},
		{"in a shared namespace", tab, here, true},
	} {
		q := ByARN(&stranger.Caller, c.text, c.own)
		q.Call, q.Action = stranger, "dynamodb:GetItem"
		if err := Authorize(&q); (err == nil) != c.allowed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAuthorizeOperator(t *testing.T) {
	metrics := parsed(t, policy.OfIdentity, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"stator:GetMetrics","Resource":"*"}}`)
	for _, c := range []struct {
		name   string
		caller smithy.Caller
		action string
		want   string // the end of the refusal
	}{
		{"an operator", smithy.Caller{Account: here, Operator: true}, "stator:X", ""},
		{"another key", smithy.Caller{Account: here, Verified: true}, "stator:X", "because its access key is not an operator's"},
		{"a user of an operator's account", smithy.Caller{Account: here, Verified: true, Operator: true, Identity: user(here, metrics)}, "stator:GetMetrics", ""},
		{"a user of an operator's account, without the action", smithy.Caller{Account: here, Verified: true, Operator: true, Identity: user(here, metrics)}, "stator:X",
			"because no identity-based policy allows the stator:X action"},
		{"a user of another account", smithy.Caller{Account: here, Verified: true, Identity: user(here, metrics)}, "stator:GetMetrics", "because its access key is not an operator's"},
	} {
		err := AuthorizeOperator(&smithy.Call{Caller: c.caller}, c.action)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// client is the origin of a request.
type client struct{}

func (client) Address() string   { return "192.0.2.1" }
func (client) Secure() bool      { return true }
func (client) UserAgent() string { return "aws-cli/2" }
func (client) Referer() string   { return "" }

func TestKeys(t *testing.T) {
	session := *user(here)
	session.ARN, session.Role, session.Type = "arn:aws:sts::"+here+":assumed-role/r/s", "arn:aws:iam::"+here+":role/path/r", "AssumedRole"
	session.UserID, session.UserName = "AROAR:s", ""
	session.Issued = time.Unix(1, 0)
	for _, c := range []struct {
		id        *policy.Identity
		key, want string // an empty want: the request does not have the key
	}{
		{nil, "aws:principalarn", "arn:aws:iam::" + here + ":root"},
		{nil, "aws:principaltype", "Account"},
		{nil, "aws:username", ""},
		{nil, "aws:tokenissuetime", ""},
		{user(here), "aws:principalarn", "arn:aws:iam::" + here + ":user/ann"},
		{user(here), "aws:principalaccount", here},
		{user(here), "aws:username", "ann"},
		{user(here), "aws:userid", "AIDAANN"},
		{user(here), "aws:principaltag/team", "shop"},
		{user(here), "aws:principaltag/other", ""},
		{&session, "aws:principalarn", "arn:aws:iam::" + here + ":role/path/r"},
		{&session, "aws:userid", "AROAR:s"},
		{&session, "aws:username", ""},
		{&session, "aws:tokenissuetime", "1970-01-01T00:00:01Z"},
		{nil, "aws:currenttime", "2026-12-01T00:00:00Z"},
		{nil, "aws:epochtime", "1796083200"},
		{nil, "aws:requestedregion", "us-east-1"},
		{nil, "aws:resourceaccount", here},
		{nil, "aws:sourceip", "192.0.2.1"},
		{nil, "aws:securetransport", "true"},
		{nil, "aws:useragent", "aws-cli/2"},
		{nil, "aws:referer", ""},
		{nil, "aws:viaawsservice", ""},
		{nil, "dynamodb:select", ""},
	} {
		call := &smithy.Call{Caller: smithy.Caller{Account: here, Region: "us-east-1", Identity: c.id}, Origin: client{}, Time: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
		_, r := (&Question{Call: call}).ask(here)
		v, ok := r.Context.Lookup(c.key)
		if ok != (c.want != "") || ok && (len(v.List) != 1 || v.List[0] != c.want || v.Multiple) {
			t.Errorf("%s: %v %v, want %q", c.key, v, ok, c.want)
		}
	}
	call := &smithy.Call{Caller: smithy.Caller{Account: here, Identity: user(here)}}
	_, r := (&Question{Call: call}).ask(here)
	if v, ok := r.Context.Lookup("aws:principaltag/empty"); !ok || len(v.List) != 1 || v.List[0] != "" {
		t.Errorf("an empty tag: %v %v", v, ok)
	}
	if _, ok := r.Context.Lookup("aws:sourceip"); ok {
		t.Error("the server's own request has an address")
	}
}
