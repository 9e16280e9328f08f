package declared

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/iam"
	"github.com/statordb/stator/internal/wirejson"
)

// kinds parse files of each kind.
var kinds = map[string]func(*file, *iam.Declared){
	"user": func(f *file, to *iam.Declared) {
		u := iam.DeclaredUser{Holder: iam.Holder{Name: f.name}}
		p := newParser(f)
		m := p.holder(&u.Holder, members{
			iam.MemberTags: p.tags(&u.Tags), iam.MemberBoundary: p.text(iam.MemberBoundary, &u.Boundary), iam.MemberGroups: p.texts(iam.MemberGroups, &u.Groups),
		})
		p.whole(func() { p.object(m) })
		to.Users = append(to.Users, u)
	},
	"group": func(f *file, to *iam.Declared) {
		g := iam.DeclaredGroup{Holder: iam.Holder{Name: f.name}}
		p := newParser(f)
		p.whole(func() { p.object(p.holder(&g.Holder, members{})) })
		to.Groups = append(to.Groups, g)
	},
	"role": func(f *file, to *iam.Declared) {
		r := iam.DeclaredRole{Holder: iam.Holder{Name: f.name}}
		p := newParser(f)
		m := p.holder(&r.Holder, members{
			iam.MemberTags: p.tags(&r.Tags), iam.MemberBoundary: p.text(iam.MemberBoundary, &r.Boundary),
			iam.MemberDescription: p.text(iam.MemberDescription, &r.Description),
			iam.MemberTrust:       p.trust(&r.Trust), iam.MemberMaxSession: p.seconds(&r.MaxSession),
		})
		p.whole(func() { p.object(m) })
		if r.Trust == nil && len(f.problems) == 0 {
			f.fail(0, "%s is missing: who may assume the role", iam.MemberTrust)
		}
		to.Roles = append(to.Roles, r)
	},
	"policy": func(f *file, to *iam.Declared) {
		f.document(0, f.text, policy.OfIdentity)
		to.Policies = append(to.Policies, iam.DeclaredPolicy{Name: f.name, Document: f.text})
	},
}

// members are what an object may have: functions that read their values.
type members map[string]func()

// parser parses a file. After a syntax error it reads nothing more; other faults are recorded, and their values skipped.
type parser struct {
	*file
	json wirejson.Reader
}

func newParser(f *file) *parser {
	p := &parser{file: f}
	p.json.Reset(f.text)
	return p
}

// offset is the current place.
func (p *parser) offset() int { return len(p.file.text) - len(p.json.Rest()) }

// whole parses the whole file by a function that reads its value.
func (p *parser) whole(read func()) {
	read()
	if p.json.Done(); p.json.Err() != nil {
		p.fail(p.offset(), "it is not JSON from here on")
	}
}

// next reports whether the next value is of a kind, and returns its offset. Otherwise it records what is wanted, and skips the value.
func (p *parser) next(want wirejson.Kind, wanted string) (at int, ok bool) {
	kind := p.json.Peek()
	at = p.offset()
	if p.json.Err() != nil { // whole reports it
		return at, false
	}
	if kind != want {
		p.fail(at, "it must be %s", wanted)
		p.json.Skip()
		return at, false
	}
	return at, true
}

// object reads an object with these members.
func (p *parser) object(m members) {
	if _, ok := p.next(wirejson.KindObject, "a JSON object"); !ok || !p.json.BeginObject("") {
		return
	}
	seen := map[string]bool{}
	for {
		before := p.offset()
		raw, ok := p.json.NextField()
		if !ok {
			return
		}
		at := before + bytes.IndexByte(p.file.text[before:], '"')
		name := string(raw)
		read, known := m[name]
		switch {
		case !known:
			p.fail(at, "unknown member %q: it may have %s", name, strings.Join(slices.Sorted(maps.Keys(m)), ", "))
			p.json.Skip()
		case seen[name]:
			p.fail(at, "member %q is there twice", name)
			p.json.Skip()
		default:
			seen[name] = true
			read()
		}
	}
}

// list reads a list.
func (p *parser) list(element func()) {
	if _, ok := p.next(wirejson.KindArray, "a list"); !ok || !p.json.BeginArray() {
		return
	}
	for p.json.NextElem() {
		element()
	}
}

// string reads a string.
func (p *parser) string() (text string, at int) {
	at, ok := p.next(wirejson.KindString, "a string")
	if ok {
		raw, _ := p.json.Bytes()
		text = string(raw)
	}
	return text, at
}

// mark remembers where a member begins.
func (p *parser) mark(member string) {
	p.json.Peek()
	p.file.at[place{member, ""}] = p.offset()
}

// text reads a member that is a string.
func (p *parser) text(member string, to *string) func() {
	return func() { *to, p.file.at[place{member, ""}] = p.string() }
}

// texts reads a member that is a list of strings.
func (p *parser) texts(member string, to *[]string) func() {
	return func() {
		p.mark(member)
		p.list(func() {
			text, at := p.string()
			*to = append(*to, text)
			p.file.at[place{member, text}] = at
		})
	}
}

// seconds reads MaxSessionDuration.
func (p *parser) seconds(to *int64) func() {
	return func() {
		at, ok := p.next(wirejson.KindNumber, "a number of seconds")
		p.file.at[place{iam.MemberMaxSession, ""}] = at
		if !ok {
			return
		}
		p.json.Skip()
		if raw := p.file.text[at:p.offset()]; p.json.Err() == nil && json.Unmarshal(raw, to) != nil {
			p.fail(at, "it must be a whole number of seconds")
		}
	}
}

// trust reads AssumeRolePolicyDocument.
func (p *parser) trust(to *json.RawMessage) func() {
	return func() { *to, p.file.at[place{iam.MemberTrust, ""}] = p.policy(policy.OfTrust) }
}

// policy reads a policy document.
func (p *parser) policy(of policy.Kind) (json.RawMessage, int) {
	at, ok := p.next(wirejson.KindObject, "a policy: a JSON object")
	if !ok {
		return nil, at
	}
	p.json.Skip()
	text := p.file.text[at:p.offset()]
	if p.json.Err() == nil {
		p.file.document(at, text, of)
	}
	return json.RawMessage(text), at
}

// tags reads Tags: a list of {"Key": …, "Value": …}.
func (p *parser) tags(to *map[string]string) func() {
	return func() {
		p.mark(iam.MemberTags)
		*to = map[string]string{}
		p.list(func() {
			p.json.Peek()
			at, key, value := p.offset(), "", ""
			before := len(p.problems)
			p.object(members{"Key": p.text("", &key), "Value": p.text("", &value)})
			if _, twice := (*to)[key]; twice {
				p.fail(at, "the key %q is there twice", key)
			}
			if len(p.problems) == before {
				(*to)[key] = value
			}
		})
		delete(p.file.at, place{})
	}
}

// holder adds the members that users, groups and roles have in common.
func (p *parser) holder(h *iam.Holder, m members) members {
	m[iam.MemberPath] = p.text(iam.MemberPath, &h.Path)
	m[iam.MemberAttached] = p.texts(iam.MemberAttached, &h.Attached)
	m[iam.MemberInline] = func() {
		p.mark(iam.MemberInline)
		h.Inline = map[string]json.RawMessage{}
		p.list(func() {
			p.json.Peek()
			at, name := p.offset(), ""
			before := len(p.problems)
			var document json.RawMessage
			inside := at
			p.object(members{
				"PolicyName":     p.text("", &name),
				"PolicyDocument": func() { document, inside = p.policy(policy.OfIdentity) },
			})
			delete(p.file.at, place{})
			_, twice := h.Inline[name]
			switch {
			case p.json.Err() != nil || len(p.problems) > before:
			case name == "" || document == nil:
				p.fail(at, "an inline policy needs PolicyName and PolicyDocument")
			case twice:
				p.fail(at, "the policy %q is there twice", name)
			default:
				h.Inline[name], p.file.at[place{iam.MemberInline, name}] = document, inside
			}
		})
	}
	return m
}
