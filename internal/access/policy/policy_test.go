package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestDecideAllocates checks that deciding allocates nothing without conditions and variables.
func TestDecideAllocates(t *testing.T) {
	set, r, id := benchmarkSet(t, false)
	if n := testing.AllocsPerRun(100, func() {
		if !Decide(r, id, set).Allowed {
			t.Error("denied")
		}
	}); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}

// TestNothing checks that requests and policies without the optional parts are denied rather than allowed.
func TestNothing(t *testing.T) {
	everybody := mustParse(t, `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"*","Resource":"*"}`, OfResource)
	alice := &Principal{Account: accountA, ARN: "arn:aws:iam::" + accountA + ":user/alice"}
	for _, c := range []struct {
		name string
		r    Request
		id   *Identity
	}{
		{"no principal", Request{Action: "dynamodb:GetItem", Resource: "*", Owner: accountA}, nil},
		{"no owner", Request{Principal: alice, Action: "dynamodb:GetItem", Resource: "*"}, &Identity{Type: "User"}},
		{"anonymous", Request{Principal: &Principal{}, Action: "dynamodb:GetItem", Resource: "*", Owner: accountA}, nil},
		{"root without owner", Request{Principal: &Principal{}, Action: "dynamodb:GetItem", Resource: "*"}, nil},
		{"empty", Request{Principal: &Principal{}}, &Identity{}},
	} {
		for _, set := range []Set{{}, {Identity: []*Document{nil}, Session: []*Document{nil}}, {Resource: everybody}} {
			if d := Decide(&c.r, c.id, set); d.Allowed {
				t.Errorf("%s: Decide allows", c.name)
			}
			if d := DecideTrust(&c.r, c.id, set); d.Allowed {
				t.Errorf("%s: DecideTrust allows", c.name)
			}
			if s := Simulate(&c.r, c.id, set); s.Allowed {
				t.Errorf("%s: Simulate allows", c.name)
			}
		}
	}
}

// TestWebSession checks that a session from a web identity is an AWS principal, which needs permissions of its own to assume a role.
func TestWebSession(t *testing.T) {
	trust := mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},
		"Action":"sts:*"}}`, OfTrust)
	id := &Identity{Type: "AssumedRole", Principal: Principal{
		Account: accountA, ARN: "arn:aws:sts::" + accountA + ":assumed-role/app/one", Role: "arn:aws:iam::" + accountA + ":role/app",
		Federated: "accounts.google.com",
	}}
	r := &Request{Principal: &id.Principal, Action: "sts:AssumeRole", Resource: "arn:aws:iam::" + accountA + ":role/other", Owner: accountA}
	if d := DecideTrust(r, id, Set{Resource: trust}); d.Allowed {
		t.Error("a session is allowed by a trust policy for web identities")
	}
}

// TestPatterns compares matching with regular expressions, on texts over a small alphabet.
func TestPatterns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func(alphabet []string, n int) string {
		var b strings.Builder
		for range rnd.IntN(n) {
			b.WriteString(alphabet[rnd.IntN(len(alphabet))])
		}
		return b.String()
	}
	for range 5_000 {
		p := text([]string{"*", "*", "?", "a", "b", "é"}, 12)
		s := text([]string{"a", "b", "é"}, 16)
		expr := strings.NewReplacer("*", ".*", "?", ".").Replace(p)
		want := regexp.MustCompile("^(?s:" + expr + ")$").MatchString(s)
		compiled, _ := newTemplate(p, wildcardText, false)
		if got := compiled.match(s, nil); got != want {
			t.Fatalf("%q matches %q: %t, want %t", p, s, got, want)
		}
		if compiled.pattern != nil {
			if got := compiled.pattern.matchUnits(s, false); got != want {
				t.Fatalf("%q matches %q by units: %t, want %t", p, s, got, want)
			}
		}
	}
	// ARNs: wildcards in the first five fields don't cross colons.
	for range 5_000 {
		var fields []string
		for i := range 5 {
			fields = append(fields, text([]string{"*", "?", "a"}, 4)+fmt.Sprint(i))
		}
		p := strings.Join(append(fields, text([]string{"*", "?", "a", ":"}, 5)), ":")
		s := text([]string{"a", "a", "0:", "1:", "2:", "3:", "4:", "5", ":"}, 20)
		if rnd.IntN(2) == 0 {
			s = strings.NewReplacer("*", "a", "?", "a").Replace(p) // likely to match
		}
		parts := strings.SplitN(p, ":", 6)
		for i, f := range parts {
			one := "[^:]"
			if i == 5 {
				one = "."
			}
			parts[i] = strings.NewReplacer("*", one+"*", "?", one).Replace(f)
		}
		want := regexp.MustCompile("^(?s:" + strings.Join(parts, ":") + ")$").MatchString(s)
		compiled, _ := newTemplate(p, arnText, false)
		if got := compiled.match(s, nil); got != want {
			t.Fatalf("ARN %q matches %q: %t, want %t", p, s, got, want)
		}
	}
}

// TestPatternSteps checks that no pattern takes exponential time. A matcher that backtracks would not end.
func TestPatternSteps(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	for _, p := range []string{
		strings.Repeat("*", 1000) + "b",
		strings.Repeat("*a", 1000) + "b",
		strings.Repeat("a*", 1000) + "b",
		"*" + strings.Repeat("a", 5000) + "b",
		strings.Repeat("*?", 1000) + "b",
		"*" + strings.Repeat("a?", 1000) + "b*",
		strings.Repeat("*?é", 300),
	} {
		compiled, _ := newTemplate(p, wildcardText, false)
		if compiled.match(long, nil) {
			t.Errorf("%.20q matches", p)
		}
		if compiled.match(long+"é", nil) {
			t.Errorf("%.20q matches", p)
		}
	}
	slow, _ := newTemplate("*"+strings.Repeat("a", 5000)+"b", wildcardText, false)
	if _, done := matchRuns(slow.pattern.tokens, long, false); done {
		t.Error("matchRuns does not give up")
	}
	arn, _ := newTemplate("arn:"+strings.Repeat("a*", 500)+"b:c:d:e:f", arnText, false)
	if arn.match("arn:"+long[:10_000]+":c:d:e:f", nil) {
		t.Error("the ARN matches")
	}
}

// TestLargeDocuments checks that Parse reads or refuses huge and deeply nested documents in bounded time and memory.
func TestLargeDocuments(t *testing.T) {
	statement := `{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"*"}`
	for name, c := range map[string]struct {
		text    string
		message string // empty for valid documents
	}{
		"deep lists":     {`{"Statement":` + strings.Repeat("[", 1_000_000), "Syntax errors in policy."},
		"deep objects":   {strings.Repeat(`{"Statement":`, 100_000), "Syntax errors in policy."},
		"deep action":    {`{"Statement":{"Action":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`, "Syntax errors in policy."},
		"deep condition": {`{"Statement":{"Condition":` + strings.Repeat(`{"Bool":`, 100_000), "Syntax errors in policy."},
		"statements":     {`{"Statement":[` + strings.Repeat(statement+",\n", 20_000) + statement + `]}`, ""},
		"actions":        {`{"Statement":{"Effect":"Allow","Action":[` + strings.Repeat(`"dynamodb:GetItem",`, 50_000) + `"a:b"],"Resource":"*"}}`, ""},
		"lines":          {strings.Repeat("\n", 1_000_000) + `{"Statement":` + statement + `}`, ""},
		"long principal": {`{"Statement":{"Effect":"Allow","Principal":"` + strings.Repeat("é", 100_000) + `"}}`, "Syntax errors in policy."},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse(c.text, OfIdentity)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(100*len(c.text)) {
				t.Errorf("Parse allocates %d bytes for a document of %d", n, len(c.text))
			}
			var e *Error
			switch {
			case c.message == "" && err != nil:
				t.Error(err)
			case c.message != "" && !errors.As(err, &e):
				t.Errorf("error %v", err)
			case c.message != "" && len(e.Message) > 2*maxQuoted:
				t.Errorf("message of %d bytes", len(e.Message))
			}
		})
	}
}

// TestPositions checks lines and columns, which count from 1; columns count bytes.
func TestPositions(t *testing.T) {
	_, err := Parse("{\n\"Version\": \"2012-10-17\",\r\n\t\"Statement\": {\"Sid\": \"é\", \"X\": 1}}", OfIdentity)
	var e *Error
	if !errors.As(err, &e) || e.Position != (Position{3, 34}) {
		t.Fatalf("error %v", err)
	}
	if want := "line 3, column 34: Syntax errors in policy."; e.Error() != want {
		t.Errorf("%q, want %q", e.Error(), want)
	}
}

// mustParse parses a document, or a statement of one.
func mustParse(t testing.TB, text string, kind Kind) *Document {
	t.Helper()
	if !strings.Contains(text, `"Statement"`) {
		text = `{"Version":"2012-10-17","Statement":` + text + `}`
	}
	d, err := Parse(text, kind)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// benchmarkSet returns a policy of ten statements and a GetItem that its last one allows, with or without a condition.
func benchmarkSet(t testing.TB, condition bool) (Set, *Request, *Identity) {
	var list []string
	for i, actions := range []string{
		`"iam:GetUser"`, `"cloudwatch:*"`, `["dax:GetItem","dax:Query"]`, `["dynamodb:PutItem","dynamodb:UpdateItem"]`, `"dynamodb:Describe*"`,
		`"dynamodb:List*"`, `"application-autoscaling:*"`, `["dynamodb:BatchGetItem","dynamodb:Query"]`, `"sts:AssumeRole"`,
	} {
		list = append(list, fmt.Sprintf(`{"Effect":"Allow","Action":%s,"Resource":["arn:aws:dynamodb:*:111122223333:table/T%d*","*"]}`, actions, i))
	}
	last := `{"Effect":"Allow","Action":["dynamodb:GetItem","dynamodb:Query"],"Resource":"arn:aws:dynamodb:us-east-1:111122223333:table/books*"`
	if condition {
		last += `,"Condition":{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["user-1","user-2"]}}`
	}
	doc := mustParse(t, "["+strings.Join(append(list, last+"}"), ",")+"]", OfIdentity)
	id := &Identity{Type: "User", Principal: Principal{Account: accountA, ARN: "arn:aws:iam::" + accountA + ":user/alice"}}
	r := &Request{
		Principal: &id.Principal, Action: "dynamodb:GetItem", Resource: "arn:aws:dynamodb:us-east-1:111122223333:table/books", Owner: accountA,
		Context: contextMap{"dynamodb:leadingkeys": {List: []string{"user-2"}, Multiple: true}},
	}
	return Set{Identity: []*Document{doc}}, r, id
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name      string
		condition bool
	}{{"plain", false}, {"LeadingKeys", true}} {
		b.Run(c.name, func(b *testing.B) {
			set, r, id := benchmarkSet(b, c.condition)
			b.ReportAllocs()
			for b.Loop() {
				if !Decide(r, id, set).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := `{"Version":"2012-10-17","Statement":[` + strings.Repeat(`{"Effect":"Allow","Action":["dynamodb:GetItem","dynamodb:Query"],
		"Resource":"arn:aws:dynamodb:us-east-1:111122223333:table/books*","Condition":{"StringLike":{"aws:username":"a*"}}},`, 9) +
		`{"Effect":"Deny","Action":"dynamodb:*","Resource":"*"}]}`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text, OfIdentity); err != nil {
			b.Fatal(err)
		}
	}
}
