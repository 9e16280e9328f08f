package iam

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

const account = "111122223333"

// TestIAM runs the cases in testdata. Each file is a session with a new store, whose clock starts at 2026-05-01T00:00:00Z.
//
// Commands:
//
//	call OPERATION [as=PRINCIPAL] [show=ELEMENT,…]
//	PARAMETER=VALUE
//	…
//		sends a form with these parameters, and prints the answer: its XML as a tree, or those elements of it. PRINCIPAL is the name of a user, an
//		access key of a session, or an account for its root, by default 111122223333. Random ids are numbered in the order in which they appear, and named
//		so in later parameters. In a value, 'POLICY' stands for a policy that allows dynamodb:GetItem, and ~ for the account's ARN prefix
//		arn:aws:iam::111122223333.
//
//	may PRINCIPAL
//	ACTION RESOURCE
//	…
//		prints the principal, and for each line whether it may take the action on a table. PRINCIPAL is an access key.
//
//	clock add=DURATION
//		moves the clock
//
//	reopen
//		opens the service anew over the same store
//
// <text*n> is n times the text.
func TestIAM(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "fuzz") || strings.HasSuffix(path, ".json") {
			t.Skip("no cases")
		}
		s := newSession(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			d.Input = smithytest.Expand(d.Input)
			switch d.Cmd {
			case "call":
				as, show := account, ""
				d.MaybeScanArgs(t, "as", &as)
				d.MaybeScanArgs(t, "show", &show)
				return smithytest.Shorten(s.call(t, as, d.CmdArgs[0].Key, d.Input, show))
			case "may":
				return s.may(t, d.CmdArgs[0].Key, d.Input)
			case "clock":
				var text string
				d.ScanArgs(t, "add", &text)
				by, err := time.ParseDuration(text)
				if err != nil {
					t.Fatal(err)
				}
				s.clock = s.clock.Add(by)
				return "ok\n"
			case "reopen":
				s.open(t)
				return "ok\n"
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// session is a service, its clock, and what it has made up at random.
type tester struct {
	*Service
	db      kv.Store
	clock   time.Time
	secrets Keyring
	caller  *policy.Identity
	ids     []string          // in the order in which they appeared
	tokens  map[string]string // of sessions, by access key
}

func newSession(t testing.TB) *tester {
	t.Helper()
	s := &tester{
		clock: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), secrets: Keyring{slices.Repeat([]byte{1}, 32)}, tokens: map[string]string{},
	}
	db, err := pebblekv.Open(pebblekv.Options{Now: func() time.Time { return s.clock }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s.db = kv.Checked(db)
	s.open(t)
	return s
}

func (s *tester) open(t testing.TB) {
	t.Helper()
	s.Service = s.another(t)
}

// another opens one more service over the same store.
func (s *tester) another(t testing.TB) *Service {
	t.Helper()
	out, err := New(t.Context(), Options{
		Records: registry.Storage{KV: s.db, Coordinator: cluster.NewSolo(t.Context(), nil)}, Now: func() time.Time { return s.clock }, Secrets: s.secrets,
		Caller: func(*smithy.Call) *policy.Identity { return s.caller },
		Authorize: func(_ *smithy.Call, action, resource string, context policy.Context) *awserr.Error {
			return s.decide(s.caller, action, resource, context)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// decide evaluates a request as the server will.
func (s *tester) decide(id *policy.Identity, action, resource string, context policy.Context) *awserr.Error {
	d := policy.Decide(&policy.Request{Principal: &id.Principal, Action: action, Resource: resource, Owner: id.Account, Context: context}, id, id.Policies)
	if d.Allowed {
		return nil
	}
	return denied(id, action, resource, d.Reason(action))
}

// principal returns the identity of a principal of a test.
func (s *tester) principal(t testing.TB, name string) *policy.Identity {
	t.Helper()
	var id *policy.Identity
	var refused *awserr.Error
	switch {
	case len(name) == accountLength:
		return rootIdentity(name)
	case strings.HasPrefix(name, "A") && strings.Contains(name, "#"):
		key := s.real(name)
		_, id, refused = s.Credential(key, s.tokens[key], s.clock)
	default:
		u := s.users.find(account, name)
		if u == nil {
			t.Fatalf("there is no user %s", name)
		}
		id, refused = s.Identity(account, u.arn("user"))
	}
	if refused != nil {
		t.Fatal(name, refused, refused.Unwrap())
	}
	return id
}

var (
	randomIDs = regexp.MustCompile(`\bA(?:IDA|GPA|ROA|NPA|IPA|KIA|SIA)[A-Z2-7]{16,17}\b`)
	fakeIDs   = regexp.MustCompile(`\bA[A-Z]{3}#\d+\b`)
)

// fake numbers the random ids in a text.
func (s *tester) fake(text string) string {
	return randomIDs.ReplaceAllStringFunc(text, func(id string) string {
		i := slices.Index(s.ids, id)
		if i < 0 {
			i, s.ids = len(s.ids), append(s.ids, id)
		}
		return fmt.Sprintf("%s#%d", id[:4], i+1)
	})
}

// real undoes fake.
func (s *tester) real(text string) string {
	return fakeIDs.ReplaceAllStringFunc(text, func(name string) string {
		var i int
		if _, err := fmt.Sscanf(name[5:], "%d", &i); err != nil || i > len(s.ids) {
			return name
		}
		return s.ids[i-1]
	})
}

const somePolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"*"}]}`

// form encodes parameters, one a line.
func (s *tester) form(input string) string {
	values := url.Values{}
	for line := range strings.Lines(input) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		value = strings.ReplaceAll(strings.ReplaceAll(value, "'POLICY'", somePolicy), "~", "arn:aws:iam::"+account)
		values.Set(name, s.real(value))
	}
	return values.Encode()
}

// call sends a request through the Query protocol.
func (s *tester) call(t *testing.T, as, operation, input, show string) string {
	t.Helper()
	s.caller = s.principal(t, as)
	for _, h := range s.Operations() {
		if !strings.HasSuffix(h.Target, "."+operation) {
			continue
		}
		of := API
		if h.Service == STS.Name {
			of = STS
		}
		codec := protocol.Query{Service: of, Operation: operation}
		var e *awserr.Error
		switch body, err := s.run(t.Context(), &h, codec, s.form(input)); {
		case errors.As(err, &e):
			a := codec.Error(e, "id")
			return fmt.Sprintf("%d %s", a.Status, s.tree(t, a.Body, of, "ErrorResponse", "Code,Message"))
		case err != nil:
			t.Fatal(err)
		default:
			a, err := codec.Answer(body, "id")
			if err != nil {
				t.Fatal(err)
			}
			return s.tree(t, a.Body, of, operation+"Response", show)
		}
	}
	t.Fatalf("there is no operation %s", operation)
	return ""
}

// run decodes and executes a request, and returns its answer in JSON.
func (s *tester) run(ctx context.Context, h *smithy.Handler, codec protocol.Codec, form string) ([]byte, error) {
	body, refused := codec.Request([]byte(form))
	if refused != nil {
		return nil, refused
	}
	call := &smithy.Call{Caller: smithy.Caller{Account: s.caller.Account, Verified: true}}
	defer call.Release()
	in, refused := h.Decode(call, body)
	if refused != nil {
		return nil, refused
	}
	out, err := h.Run(ctx, call, in)
	if err != nil {
		return nil, err
	}
	return out.AppendJSON(nil), nil
}

// node is an element of an answer.
type node struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
	Nodes   []node `xml:",any"`
}

// tree prints an answer: the elements below its root and result, or those of some names.
func (s *tester) tree(t *testing.T, body []byte, of *protocol.Service, root, show string) string {
	t.Helper()
	var top node
	if err := xml.Unmarshal(body, &top); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if top.XMLName.Local != root || top.XMLName.Space != of.XMLNamespace {
		t.Errorf("the answer is %v", top.XMLName)
	}
	s.remember(&top)
	var out strings.Builder
	names := strings.Split(show, ",")
	var print func(n *node, depth int)
	print = func(n *node, depth int) {
		fmt.Fprintf(&out, "%s%s", strings.Repeat("  ", depth), n.XMLName.Local)
		if len(n.Nodes) == 0 {
			text := n.Text
			if plain, err := url.PathUnescape(text); err == nil && strings.HasPrefix(text, "%7B") {
				text = plain
			}
			switch n.XMLName.Local {
			case "SecretAccessKey":
				if text = "<secret>"; len(n.Text) != secretLength {
					t.Errorf("a secret has %d characters", len(n.Text))
				}
			case "SessionToken":
				text = "<token>"
			}
			out.WriteString(": " + s.fake(text))
		}
		out.WriteString("\n")
		for i := range n.Nodes {
			print(&n.Nodes[i], depth+1)
		}
	}
	var visit func(n *node)
	visit = func(n *node) {
		for i := range n.Nodes {
			switch e := &n.Nodes[i]; {
			case e.XMLName.Local == "ResponseMetadata", e.XMLName.Local == "RequestId":
			case show == "" && e.XMLName.Local != strings.TrimSuffix(root, "Response")+"Result", slices.Contains(names, e.XMLName.Local):
				print(e, 0)
			default:
				visit(e)
			}
		}
	}
	visit(&top)
	if out.Len() == 0 {
		return "ok\n"
	}
	return out.String()
}

// remember keeps the tokens of sessions in an answer.
func (s *tester) remember(n *node) {
	values := map[string]string{}
	for i := range n.Nodes {
		values[n.Nodes[i].XMLName.Local] = n.Nodes[i].Text
		s.remember(&n.Nodes[i])
	}
	if token := values["SessionToken"]; token != "" {
		s.tokens[values["AccessKeyId"]] = token
	}
}

// may prints what a principal may do.
func (s *tester) may(t *testing.T, key, input string) string {
	t.Helper()
	key = s.real(key)
	_, id, refused := s.Credential(key, s.tokens[key], s.clock)
	if refused != nil {
		return refused.Error() + "\n"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s %s", id.Type, id.ARN, id.UserID)
	if id.UserName != "" {
		out.WriteString(" name=" + id.UserName)
	}
	if id.Role != "" {
		out.WriteString(" role=" + id.Role)
	}
	if id.SourceIdentity != "" {
		out.WriteString(" source=" + id.SourceIdentity)
	}
	if len(id.Tags) > 0 {
		fmt.Fprintf(&out, " %v", id.Tags)
	}
	if len(id.TransitiveTags) > 0 {
		fmt.Fprintf(&out, " transitive=%v", id.TransitiveTags)
	}
	if !id.Issued.IsZero() {
		fmt.Fprintf(&out, " for %v", id.Expires.Sub(id.Issued))
	}
	out.WriteString("\n")
	for line := range strings.Lines(input) {
		action, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		verdict := "yes"
		if e := s.decide(id, action, "arn:aws:dynamodb:eu-west-1:"+account+":table/"+name, keys{}); e != nil {
			_, verdict, _ = strings.Cut(e.Message, " because ")
			if verdict == "" {
				_, verdict, _ = strings.Cut(e.Message, "table/"+name+" ")
			}
		}
		fmt.Fprintf(&out, "%s %s: %s\n", action, name, verdict)
	}
	return s.fake(out.String())
}
