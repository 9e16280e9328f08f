package policy

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzDecide checks, for any documents and requests: Parse and Decide don't panic; the index finds the statements that a search finds;
// neither the order of statements nor Simulate changes a decision; one more Deny never turns a denial into an allowance, and one more
// Allow never turns an allowance into an implicit denial; statements that deny allow nothing.
func FuzzDecide(f *testing.F) {
	files, err := filepath.Glob("testdata/cases/*.txt")
	if err != nil || files == nil {
		f.Fatal("no cases", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for block := range strings.SplitSeq(string(text), "\n----\n") {
			if i := strings.Index(block, "\n{"); i >= 0 {
				f.Add(block[i+1:], `{"Effect":"Deny","Action":"*","Resource":"*"}`, "dynamodb:GetItem", "arn:aws:dynamodb:us-east-1:111122223333:table/T", "k:a", "x", uint64(0))
			}
		}
	}
	f.Add(`{"Effect":"Allow","NotAction":"a:*","NotResource":"arn:aws:s3:::${k:a}"}`, `{"Effect":"Allow","Action":"dynamodb:G?t*","Resource":"*"}`, "dynamodb:GetItem", "*", "k:a", "é😀", uint64(7))

	f.Fuzz(func(t *testing.T, first, second, action, resource, key, value string, choice uint64) {
		rnd := rand.New(rand.NewPCG(choice, 1))
		kind := Kind(choice % 4)
		one, ok := fuzzDocument(t, first, kind)
		if !ok {
			return
		}
		two, ok := fuzzDocument(t, second, kind)
		if !ok {
			two = &Document{}
		}
		id := &Identity{Type: "AssumedRole", Principal: Principal{
			Account: accountA, ARN: "arn:aws:sts::" + accountA + ":assumed-role/app/one", Role: "arn:aws:iam::" + accountA + ":role/app",
		}}
		r := &Request{Principal: &id.Principal, Action: action, Resource: resource, Owner: []string{accountA, accountB}[choice/4%2]}
		r.Context = contextMap{strings.ToLower(key): {List: strings.Split(value, ","), Multiple: choice/8%2 == 1}}
		// place puts a document where its kind belongs, next to policies that allow everything.
		all := mustParse(t, `{"Effect":"Allow","Action":"*","Resource":"*"}`, OfIdentity)
		place := func(d *Document) Set {
			switch {
			case kind.principals():
				return Set{Identity: []*Document{all}, Resource: d}
			case choice/16%2 == 1:
				return Set{Identity: []*Document{all}, Boundary: d}
			}
			return Set{Identity: []*Document{d}}
		}
		decide := Decide
		if kind == OfTrust {
			decide = DecideTrust
		}
		decision := decide(r, id, place(one))

		if got, want := one.Evaluate(r), search(one, r); got != want {
			t.Errorf("the index gives %v, a search %v", got, want)
		}
		if kind != OfTrust {
			if s := Simulate(r, id, place(one)); s.Decision != decision {
				t.Errorf("Simulate gives %v, Decide %v", s.Decision, decision)
			}
		}
		if keys := one.ContextKeys(); !slices.IsSorted(keys) {
			t.Errorf("keys %q", keys)
		}
		shuffled := slices.Clone(one.statements)
		rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if d := decide(r, id, place(document(shuffled))); d != decision {
			t.Errorf("after shuffling %v, before %v", d, decision)
		}
		denies, allows := split(two.statements)
		if d := decide(r, id, place(document(slices.Concat(one.statements, denies)))); d.Allowed && !decision.Allowed {
			t.Errorf("allowed after a denial was added")
		}
		if d := decide(r, id, place(document(slices.Concat(one.statements, allows)))); !d.Allowed && decision.Allowed {
			t.Errorf("denied after an allowance was added")
		}
		denies, _ = split(one.statements)
		if d := Decide(r, id, Set{Identity: []*Document{document(denies)}}); d.Allowed {
			t.Errorf("denials allow")
		}
	})
}

// fuzzDocument parses a document or a statement.
func fuzzDocument(t *testing.T, text string, kind Kind) (*Document, bool) {
	if !strings.Contains(text, `"Statement"`) {
		text = `{"Version":"2012-10-17","Statement":` + text + `}`
	}
	d, err := Parse(text, kind)
	if err != nil {
		if e, ok := err.(*Error); !ok || e.Message == "" || e.Line < 1 || e.Column < 1 || e.Line > 1+strings.Count(text, "\n") || e.Column > len(text)+1 {
			t.Errorf("error %#v", err)
		}
		return nil, false
	}
	return d, true
}

// document makes a document of statements.
func document(statements []*statement) *Document {
	d := &Document{statements: statements}
	d.buildIndex()
	return d
}

// split divides statements by their effect.
func split(statements []*statement) (denies, allows []*statement) {
	for _, s := range statements {
		if s.effect == Deny {
			denies = append(denies, s)
		} else {
			allows = append(allows, s)
		}
	}
	return denies, allows
}

// search is Evaluate without the index.
func search(d *Document, r *Request) Effect {
	effect := None
	for _, s := range d.statements {
		if s.applies(r) != notNamed {
			effect = max(effect, s.effect)
		}
	}
	return effect
}
