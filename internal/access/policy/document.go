package policy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Effect is what a policy says about a request.
type Effect uint8

// The effects. A Deny outweighs any Allow.
const (
	None Effect = iota // no statement applies
	Allow
	Deny
)

// Position is a place in a policy's text. Lines and columns count from 1, columns in bytes.
type Position struct{ Line, Column int }

// Document is a compiled policy. It is immutable and safe for concurrent use.
type Document struct {
	statements []*statement
	// The index: a statement is under its actions without wildcards, under the services of actions with some, or among the rest.
	// Statements keep their order.
	byAction  map[string][]*statement
	byService map[string][]*statement
	rest      []*statement
}

// Error is the fault for which Parse refuses a document.
type Error struct {
	// Message is the sentence that IAM answers with MalformedPolicyDocument.
	Message string
	// Position is where the fault is.
	Position
}

// Error implements error: the position and IAM's sentence, for policies that are kept in files.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Evaluate returns what the document by itself says about a request. Use Decide to learn whether a request is allowed.
func (d *Document) Evaluate(r *Request) Effect {
	var buffer [maxAction]byte
	q := newQuery(r, buffer[:0])
	switch deny, allow := d.evaluate(&q); {
	case deny:
		return Deny
	case allow != notNamed:
		return Allow
	}
	return None
}

// ContextKeys returns the condition keys that the document refers to, in conditions and variables, sorted and as first written. Names that
// differ only in case are the same key ("GetContextKeysForCustomPolicy").
func (d *Document) ContextKeys() []string {
	keys := keySet{}
	for _, s := range d.statements {
		s.keys(keys.add)
	}
	return keys.names()
}

// keySet has the names of condition keys, by their names in lower case.
type keySet map[string]string

func (k keySet) add(key, name string) {
	if _, ok := k[key]; !ok {
		k[key] = name
	}
}

func (k keySet) names() []string { return slices.Sorted(maps.Values(k)) }

// query is a request, prepared for the index.
type query struct {
	*Request
	action  []byte // in lower case
	service []byte // the part of action before the colon
}

// maxAction is the longest action, in bytes, for which newQuery does not allocate.
const maxAction = 64

// newQuery prepares a request. It appends the action to buffer.
func newQuery(r *Request, buffer []byte) query {
	for i := range len(r.Action) {
		buffer = append(buffer, lower(r.Action[i]))
	}
	return query{r, buffer, buffer[:max(bytes.IndexByte(buffer, ':'), 0)]}
}

// buildIndex fills the index of a document.
func (d *Document) buildIndex() {
	d.byAction, d.byService = map[string][]*statement{}, map[string][]*statement{}
	for _, s := range d.statements {
		if s.notActions {
			d.rest = append(d.rest, s)
			continue
		}
		for _, a := range s.actions {
			switch service, _, _ := strings.Cut(a.name, ":"); {
			case a.pattern == nil:
				d.byAction[a.name] = appendNew(d.byAction[a.name], s)
			case strings.ContainsAny(service, "*?"):
				d.rest = appendNew(d.rest, s)
			default:
				d.byService[service] = appendNew(d.byService[service], s)
			}
		}
	}
}

// appendNew appends a statement unless it is the last one already.
func appendNew(list []*statement, s *statement) []*statement {
	if n := len(list); n > 0 && list[n-1] == s {
		return list
	}
	return append(list, s)
}

// evaluate returns whether a statement denies the request and, if none does, how closely a statement that allows it names the principal.
// A nil document says nothing.
func (d *Document) evaluate(q *query) (deny bool, allow naming) {
	if d == nil {
		return false, notNamed
	}
	for _, list := range [...][]*statement{d.byAction[string(q.action)], d.byService[string(q.service)], d.rest} {
		for _, s := range list {
			if s.effect == Allow && allow == byItself {
				continue
			}
			switch named := s.applies(q.Request); {
			case named == notNamed:
			case s.effect == Deny:
				return true, notNamed
			default:
				allow = max(allow, named)
			}
		}
	}
	return false, allow
}
