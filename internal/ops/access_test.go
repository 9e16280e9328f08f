package ops

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

const (
	ours   = "111111111111"
	theirs = "222222222222"
)

// accessCallers are the callers of TestAccess: the roots of two accounts, and a user of each.
var accessCallers = map[string]struct {
	account string
	user    string // empty for the root
}{"root": {account: ours}, "ann": {ours, "ann"}, "stranger": {account: theirs}, "bob": {theirs, "bob"}}

// TestAccess runs the cases in testdata/access: which requests policies allow. Each file is a session with a new, empty service.
//
// Commands:
//
//	policy
//	[…]
//		replaces the policy of ann and bob by one with these statements
//
//	allow [as=NAME]
//	OPERATION {…}
//		calls operations, one a line, by default as ann, and prints "ok", or the exception and its message; of statements in a batch, those of
//		each. NAME is a name in accessCallers. <T> stands for the ARN of the table T, <STREAM T> for that of its stream
func TestAccess(t *testing.T) {
	datadriven.Walk(t, "testdata/access", func(t *testing.T, path string) {
		var minutes atomic.Int64 // since the beginning
		now := func() time.Time {
			return time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC).Add(time.Duration(minutes.Load()) * time.Minute)
		}
		s := open(t, Options{Now: now, NoChangeLimits: true})
		var document *policy.Document
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "policy" {
				var err error
				if document, err = policy.Parse(`{"Version":"2012-10-17","Statement":`+s.withARNs(d.Input)+`}`, policy.OfIdentity); err != nil {
					d.Fatalf(t, "%v", err)
				}
				return ""
			}
			name := "ann"
			d.MaybeScanArgs(t, "as", &name)
			c := accessCallers[name]
			caller := smithy.Caller{Account: c.account, Region: "us-east-1", Verified: true}
			if c.user != "" {
				caller.Identity = &policy.Identity{
					Principal: policy.Principal{Account: c.account, ARN: "arn:aws:iam::" + c.account + ":user/" + c.user}, Type: "User", UserID: "AIDA" + c.user, UserName: c.user,
				}
				if document != nil {
					caller.Identity.Policies.Identity = []*policy.Document{document}
				}
			}
			var out strings.Builder
			for line := range strings.Lines(s.withARNs(d.Input)) {
				operation, in, _ := strings.Cut(strings.TrimSpace(line), " ")
				minutes.Add(1) // changes of a table have settled
				out.WriteString(s.verdict(t, caller, operation, in) + "\n")
			}
			return out.String()
		})
	})
}

// withARNs replaces what stands for ARNs.
func (s *service) withARNs(text string) string {
	for {
		before, rest, ok := strings.Cut(text, "<")
		name, after, closed := strings.Cut(rest, ">")
		if !ok || !closed {
			return text
		}
		arn := "arn:aws:dynamodb:us-east-1:" + ours + ":table/" + name
		if table, ok := strings.CutPrefix(name, "STREAM "); ok {
			d := s.must(smithy.Caller{Account: ours, Region: "us-east-1", Verified: true}, "DescribeTable", obj{"TableName": table})
			arn = d["Table"].(obj)["LatestStreamArn"].(string)
		}
		text = before + arn + after
	}
}

// verdict calls an operation and says whether it was allowed.
func (s *service) verdict(t *testing.T, caller smithy.Caller, operation, in string) string {
	t.Helper()
	var out struct {
		Responses []struct {
			Error *struct{ Code, Message string }
		}
	}
	err := smithytest.Do(t.Context(), s.handlers, caller, operation, json.RawMessage(in), &out)
	var e *awserr.Error
	switch {
	case errors.As(err, &e):
		return terse(string(e.Code) + ": " + e.Message)
	case err != nil && !strings.Contains(err.Error(), "cannot unmarshal"):
		t.Fatalf("%s %s: %v", operation, in, err)
	}
	if operation != "BatchExecuteStatement" {
		return "ok"
	}
	var all []string
	for _, r := range out.Responses {
		if r.Error == nil {
			all = append(all, "ok")
		} else {
			all = append(all, terse(r.Error.Code+": "+r.Error.Message))
		}
	}
	return strings.Join(all, "\n")
}

var refusal = regexp.MustCompile(`^(AccessDenied\w*): User: \S+(/\w+|:root) is not authorized to perform: (\S+) on resource: (?:arn:aws:dynamodb:us-east-1:\d+:)?(\S+) (with an explicit deny in|because no) (an? )?(.*?)( allows the (\S+) action)?$`)

// terse shortens AWS's sentences about denied requests, which the tests of package policy spell out.
func terse(text string) string {
	m := refusal.FindStringSubmatch(text)
	if m == nil || m[9] != "" && m[9] != m[3] {
		return stable(text)
	}
	return stable(strings.TrimSuffix(m[1], "Exception") + ": " + strings.Trim(m[2], "/:") + " " + m[3] + " on " + m[4] + ": " + strings.TrimPrefix(m[5], "because ") + " " + m[7])
}

// tenStatements returns a user's policy with ten statements. Only the last one is about GetItem.
func tenStatements(t testing.TB) *policy.Document {
	t.Helper()
	var list []string
	for _, letter := range "BCDPQRSTU" {
		list = append(list, `{"Effect":"Allow","Action":"dynamodb:`+string(letter)+`*","Resource":"arn:aws:dynamodb:*:*:table/*"}`)
	}
	list = append(list, `{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"arn:aws:dynamodb:us-east-1:*:table/Tab"}`)
	document, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+strings.Join(list, ",")+`]}`, policy.OfIdentity)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// askGetItem returns a function that asks whether a user may read an item, as GetItem does, and the request that asks.
func askGetItem(t testing.TB) (*Request, func() error) {
	t.Helper()
	user := &policy.Identity{Principal: policy.Principal{Account: ours, ARN: "arn:aws:iam::" + ours + ":user/ann"}, Type: "User"}
	user.Policies.Identity = []*policy.Document{tenStatements(t)}
	req := RequestOf(&smithy.Call{Caller: smithy.Caller{Account: ours, Region: "us-east-1", Verified: true, Identity: user}})
	s, r := &Service{}, &resource{Namespace: catalog.Namespace{Account: ours, Region: "us-east-1"}, table: "Tab", found: &catalog.Table{}}
	a := asks{}
	return req, func() error {
		err := s.authorize(req, "dynamodb:GetItem", r, &a)
		req.Release()
		return err
	}
}

// TestAuthorizeMemory checks that policies without conditions take no memory of a request.
func TestAuthorizeMemory(t *testing.T) {
	req, ask := askGetItem(t)
	if n := testing.AllocsPerRun(100, func() {
		req.allowed = allowed{}
		if err := ask(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAuthorize measures a question that a policy of ten statements answers: for the first time, and again.
func BenchmarkAuthorize(b *testing.B) {
	for name, first := range map[string]bool{"first": true, "again": false} {
		b.Run(name, func(b *testing.B) {
			req, ask := askGetItem(b)
			b.ReportAllocs()
			for b.Loop() {
				if first {
					req.allowed = allowed{}
				}
				if err := ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAllowed checks that a Request remembers what it was allowed for the same identity, table, index and action only, and nothing that a
// condition allowed.
func TestAllowed(t *testing.T) {
	parse := func(statement string) *policy.Identity {
		d, err := policy.Parse(`{"Version":"2012-10-17","Statement":`+statement+`}`, policy.OfIdentity)
		if err != nil {
			t.Fatal(err)
		}
		who := policy.Principal{Account: ours, ARN: "arn:aws:iam::" + ours + ":user/ann"}
		return &policy.Identity{Principal: who, Type: "User", UserName: "ann", Policies: policy.Set{Identity: []*policy.Document{d}}}
	}
	all := parse(`{"Effect":"Allow","Action":["dynamodb:GetItem","dynamodb:Query"],"Resource":"*"}`)
	get := parse(`{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"arn:aws:dynamodb:*:*:table/Tab"}`)
	total := parse(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"dynamodb:ReturnConsumedCapacity":"TOTAL"}}}`)
	own := parse(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:dynamodb:*:*:table/${dynamodb:ReturnConsumedCapacity}"}`)
	ns := catalog.Namespace{Account: ours, Region: "us-east-1"}
	tab, other := &catalog.Table{Namespace: ns, Name: "Tab"}, &catalog.Table{Namespace: ns, Name: "Other"}
	req, s := RequestOf(&smithy.Call{}), &Service{}
	for i, c := range []struct {
		id            *policy.Identity
		table         *catalog.Table
		index, action string
		consumed      string
		allowed       bool
	}{
		{all, tab, "", "GetItem", "", true},
		{all, tab, "", "GetItem", "", true},
		{all, tab, "", "PutItem", "", false},
		{all, tab, "x", "Query", "", true},
		{get, tab, "", "GetItem", "", true},
		{get, other, "", "GetItem", "", false},
		{get, tab, "x", "GetItem", "", false},
		{total, tab, "", "GetItem", "TOTAL", true},
		{total, tab, "", "GetItem", "NONE", false},
		{own, tab, "", "GetItem", "Tab", true},
		{own, tab, "", "GetItem", "NONE", false},
		{all, tab, "", "GetItem", "", true},
		{get, tab, "", "Query", "", false},
	} {
		req.Caller = smithy.Caller{Account: ours, Region: "us-east-1", Verified: true, Identity: c.id}
		r := &resource{Namespace: ns, table: c.table.Name, found: c.table}
		if c.index != "" {
			r.kind, r.name = kindIndex, c.index
		}
		if err := s.authorize(req, "dynamodb:"+c.action, r, &asks{consumed: smithy.Some(c.consumed)}); (err == nil) != c.allowed {
			t.Errorf("%d: %v", i, err)
		}
		req.Release()
	}
}
