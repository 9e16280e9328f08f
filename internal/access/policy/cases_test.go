package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// The accounts of the cases.
const (
	accountA = "111122223333" // owns the resources
	accountB = "444455556666"
)

// TestCases runs the cases in testdata. Each case has the expected decision in front of each request, so that a passing case prints
// nothing. The exception is parse, which prints the parser's answer. A line that begins with # is a comment.
//
// In requests, NAME=VALUE is a condition key with one value, and NAME=[VALUE,VALUE] one with several. A resource such as table/T stands
// for the ARN of that table in account A. In policies, an object without Statement is a statement of a document of version 2012-10-17.
//
// Commands:
//
//	parse [kind=identity|managed|resource|trust]
//	DOCUMENT
//		compiles a document and prints "valid", or the position and the message of the error
//
//	condition
//	CONDITION
//	yes|no KEY=VALUE …
//		evaluates a Condition element
//
//	evaluate [kind=…] [as=PRINCIPAL]
//	POLICY
//	allow|deny|none ACTION RESOURCE KEY=VALUE …
//		evaluates one policy
//
//	policy NAME [kind=…]
//	POLICY
//		names a policy for decide
//
//	decide as=PRINCIPAL [owner=A|B] [identity=NAME,NAME] [boundary=NAME] [session=NAME,NAME|none] [resource=NAME] [trust=NAME]
//	DECISION ACTION RESOURCE KEY=VALUE …
//		decides; with trust, about assuming a role. A decision is "allowed", or implicit or explicit with the type of policy.
//
//	message as=… …
//	ACTION RESOURCE
//		prints the end of AWS's sentence
//
//	simulate as=… …
//	ACTION RESOURCE
//		prints a decision with its reasons
//
//	keys
//	POLICY
//		prints the condition keys of a policy
//
// A PRINCIPAL is A:root, A:user/NAME, A:session/ROLE/NAME, A:federated-user/NAME, or web:PROVIDER.
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata/cases", func(t *testing.T, file string) {
		s := &session{policies: map[string]*Document{}}
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.d = t, d
			return s.run()
		})
	})
}

// session has the policies of a file.
type session struct {
	t        *testing.T
	d        *datadriven.TestData
	policies map[string]*Document
}

func (s *session) run() string {
	switch s.d.Cmd {
	case "parse":
		if _, err := Parse(s.d.Input, s.kind()); err != nil {
			e := err.(*Error)
			return fmt.Sprintf("%d:%d %s\n", e.Line, e.Column, e.Message)
		}
		return "valid\n"
	case "policy":
		s.policies[s.d.CmdArgs[0].Key] = s.parse(s.d.Input, s.kind())
		return ""
	case "keys":
		return strings.Join(s.parse(s.d.Input, OfIdentity).ContextKeys(), "\n") + "\n"
	case "condition":
		head, lines := s.split()
		doc := s.parse(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+head+`}`, OfIdentity)
		return s.each(lines, func(want, rest string) (string, bool) {
			got := "no"
			if doc.Evaluate(s.request("x:Y * "+rest)) == Allow {
				got = "yes"
			}
			return got, got == want
		})
	case "evaluate":
		head, lines := s.split()
		doc := s.parse(head, s.kind())
		return s.each(lines, func(want, rest string) (string, bool) {
			r := s.request(rest)
			r.Owner = accountA
			r.Principal, _ = s.principal()
			got := [...]string{"none", "allow", "deny"}[doc.Evaluate(r)]
			return got, got == want
		})
	case "decide":
		return s.each(strings.Split(s.d.Input, "\n"), func(want, rest string) (string, bool) {
			d, _ := s.decide(rest)
			got := describe(d)
			return got, got == want
		})
	case "message":
		d, r := s.decide(s.d.Input)
		return cmp.Or(d.Reason(r.Action), "no reason") + "\n"
	case "simulate":
		r, id, set := s.prepare(s.d.Input)
		sim := Simulate(r, id, set)
		out := describe(sim.Decision) + " " + sim.Decision.String() + "\n"
		for _, m := range sim.Matched {
			out += fmt.Sprintf("matched: %s %d, %d:%d to %d:%d\n", words[m.Source], m.Index, m.Start.Line, m.Start.Column, m.End.Line, m.End.Column)
		}
		if sim.Missing != nil {
			out += "missing: " + strings.Join(sim.Missing, " ") + "\n"
		}
		return out + fmt.Sprintf("by boundary: %t\n", sim.ByBoundary)
	}
	s.d.Fatalf(s.t, "unknown command")
	return ""
}

var words = [...]string{"identity", "boundary", "session", "resource", "trust"}

func describe(d Decision) string {
	switch {
	case d.Allowed:
		return "allowed"
	case d.Explicit:
		return "explicit-" + words[d.Source]
	}
	return "implicit-" + words[d.Source]
}

// split divides the input into a policy and the lines that follow it. Requests begin in the first column with a word.
func (s *session) split() (head string, lines []string) {
	all := strings.Split(s.d.Input, "\n")
	i := slices.IndexFunc(all, func(l string) bool { return l != "" && l[0] >= 'a' && l[0] <= 'z' || strings.HasPrefix(l, "#") })
	if i < 0 {
		s.d.Fatalf(s.t, "no requests")
	}
	return strings.Join(all[:i], "\n"), all[i:]
}

// each runs a check on lines, and returns those that fail with what they got.
func (s *session) each(lines []string, check func(want, rest string) (got string, ok bool)) string {
	var out strings.Builder
	for _, line := range lines {
		if strings.HasPrefix(line, "#") {
			continue
		}
		want, rest, _ := strings.Cut(line, " ")
		if got, ok := check(want, strings.TrimSpace(rest)); !ok {
			fmt.Fprintf(&out, "got %s: %s\n", got, line)
		}
	}
	return out.String()
}

func (s *session) arg(name string) (string, bool) {
	for _, a := range s.d.CmdArgs {
		if a.Key == name {
			return strings.Join(a.Vals, ","), true
		}
	}
	return "", false
}

func (s *session) kind() Kind {
	name, _ := s.arg("kind")
	return map[string]Kind{"": OfIdentity, "identity": OfIdentity, "managed": OfManaged, "resource": OfResource, "trust": OfTrust}[name]
}

func (s *session) parse(text string, kind Kind) *Document {
	if !strings.Contains(text, `"Statement"`) {
		text = `{"Version":"2012-10-17","Statement":` + text + `}`
	}
	d, err := Parse(text, kind)
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return d
}

// principal returns the principal of the argument as.
func (s *session) principal() (*Principal, *Identity) {
	name, ok := s.arg("as")
	if !ok {
		return nil, nil
	}
	letter, rest, _ := strings.Cut(name, ":")
	account := map[string]string{"A": accountA, "B": accountB}[letter]
	id := &Identity{Principal: Principal{Account: account}}
	kind, name, _ := strings.Cut(rest, "/")
	switch {
	case letter == "web":
		return &Principal{Federated: rest}, nil
	case kind == "root":
		id.Type, id.ARN = "Account", "arn:aws:iam::"+account+":root"
	case kind == "user":
		id.Type, id.ARN = "User", "arn:aws:iam::"+account+":user/"+name
	case kind == "session":
		role, _, _ := strings.Cut(name, "/")
		id.Type, id.ARN, id.Role = "AssumedRole", "arn:aws:sts::"+account+":assumed-role/"+name, "arn:aws:iam::"+account+":role/"+role
	case kind == "federated-user":
		id.Type, id.ARN = "FederatedUser", "arn:aws:sts::"+account+":federated-user/"+name
	default:
		s.d.Fatalf(s.t, "unknown principal")
	}
	return &id.Principal, id
}

// prepare reads the arguments and a request.
func (s *session) prepare(line string) (*Request, *Identity, Set) {
	r := s.request(line)
	var id *Identity
	r.Principal, id = s.principal()
	r.Owner = accountA
	if owner, _ := s.arg("owner"); owner == "B" {
		r.Owner = accountB
	}
	list := func(name string) []*Document {
		names, ok := s.arg(name)
		if !ok {
			return nil
		}
		docs := []*Document{}
		for _, n := range strings.Split(names, ",") {
			if n == "none" {
				continue
			}
			d := s.policies[n]
			if d == nil {
				s.d.Fatalf(s.t, "no policy %q", n)
			}
			docs = append(docs, d)
		}
		return docs
	}
	only := func(name string) *Document {
		if docs := list(name); len(docs) > 0 {
			return docs[0]
		}
		return nil
	}
	set := Set{Identity: list("identity"), Boundary: only("boundary"), Session: list("session"), Resource: only("resource")}
	if trust := only("trust"); trust != nil {
		set.Resource = trust
	}
	return r, id, set
}

func (s *session) decide(line string) (Decision, *Request) {
	r, id, set := s.prepare(line)
	if _, ok := s.arg("trust"); ok {
		return DecideTrust(r, id, set), r
	}
	d := Decide(r, id, set)
	if sim := Simulate(r, id, set); sim.Decision != d {
		s.d.Fatalf(s.t, "Simulate decides %v, Decide %v", sim.Decision, d)
	}
	return d, r
}

// request reads an action, a resource and condition keys. In the latter, \s is a space, and \n a line feed.
func (s *session) request(line string) *Request {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		s.d.Fatalf(s.t, "a request needs an action and a resource: %q", line)
	}
	r := &Request{Action: fields[0], Resource: fields[1]}
	if strings.HasPrefix(r.Resource, "table/") {
		r.Resource = "arn:aws:dynamodb:us-east-1:" + accountA + ":" + r.Resource
	}
	keys := contextMap{}
	for _, f := range fields[2:] {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			s.d.Fatalf(s.t, "no key=value: %q", f)
		}
		unescape := strings.NewReplacer(`\s`, " ", `\n`, "\n")
		key, value = unescape.Replace(key), unescape.Replace(value)
		v := Values{List: []string{value}}
		if inner, ok := strings.CutPrefix(value, "["); ok {
			inner = strings.TrimSuffix(inner, "]")
			v = Values{List: strings.Split(inner, ","), Multiple: true}
			if inner == "" {
				v.List = nil
			}
		}
		keys[strings.ToLower(key)] = v
	}
	r.Context = keys
	return r
}

// contextMap is a Context of a test.
type contextMap map[string]Values

// Lookup implements Context.
func (c contextMap) Lookup(key string) (Values, bool) {
	v, ok := c[key]
	return v, ok
}
