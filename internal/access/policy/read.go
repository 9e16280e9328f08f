package policy

import (
	"sort"
	"strings"

	"github.com/statordb/stator/internal/wirejson"
)

// text is a string of a document.
type text struct {
	value string
	at    int // its offset in the document
}

// rawDocument is a document whose form has been checked, but not its meaning.
type rawDocument struct {
	version    text
	hasVersion bool
	statements []rawStatement
	at         int // where the list of statements is
}

// rawStatement is a statement whose form has been checked. A list is nil if the element is absent.
type rawStatement struct {
	start, end                                   int // offsets of the opening brace and behind the closing one
	sid, effect                                  text
	elements                                     map[string]int // the offsets of the elements' values
	actions, notActions, resources, notResources []text
	principals, notPrincipals                    []rawPrincipal
	principalText                                bool // Principal is a string, not an object
	conditions                                   []rawCondition
}

// has reports whether the statement has an element.
func (s *rawStatement) has(element string) bool {
	_, ok := s.elements[element]
	return ok
}

// rawPrincipal is a principal of one of the kinds AWS, Service, Federated and CanonicalUser; the kind is "*" for the text "*".
type rawPrincipal struct {
	kind  text
	value text
}

// rawCondition is an operator with one key.
type rawCondition struct {
	operator, key text
	values        []text
}

// reader reads a document. After the first error its methods read no further.
type reader struct {
	json  wirejson.Reader
	size  int // of the document, in bytes
	kind  Kind
	lines []int // offsets of the lines' beginnings
	err   *Error
}

func newReader(document string, kind Kind) *reader {
	r := &reader{size: len(document), kind: kind, lines: []int{0}}
	for i := range len(document) {
		if document[i] == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	r.json.Reset([]byte(document))
	return r
}

// position returns the place of an offset.
func (r *reader) position(at int) Position {
	line := sort.SearchInts(r.lines, at+1)
	return Position{line, at - r.lines[line-1] + 1}
}

// fail records an error, unless there is one.
func (r *reader) fail(at int, message string) {
	if r.err == nil {
		r.err = &Error{message, r.position(at)}
	}
}

// syntax records that the form of the document is wrong.
func (r *reader) syntax(at int) { r.fail(at, r.kind.sentences().syntax(r.position(at))) }

// at returns the current offset.
func (r *reader) at() int { return r.size - len(r.json.Rest()) }

// next returns the kind and offset of the next value. It is KindNone after an error.
func (r *reader) next() (wirejson.Kind, int) {
	if r.err != nil {
		return wirejson.KindNone, r.at()
	}
	kind := r.json.Peek()
	r.checkJSON()
	return kind, r.at()
}

// checkJSON records an error of the JSON.
func (r *reader) checkJSON() {
	if r.json.Err() != nil {
		r.fail(r.at(), r.kind.sentences().json)
	}
}

// string reads a string.
func (r *reader) string() text {
	kind, at := r.next()
	if kind != wirejson.KindString {
		r.syntax(at)
		return text{}
	}
	b, _ := r.json.Bytes()
	r.checkJSON()
	return text{string(b), at}
}

// strings reads a string or a list of strings. It never returns nil.
func (r *reader) strings() []text {
	if kind, _ := r.next(); kind != wirejson.KindArray {
		return []text{r.string()}
	}
	list := []text{}
	r.list(func() { list = append(list, r.string()) })
	return list
}

// values reads a condition's value or list of values. Numbers and booleans stand for their texts.
func (r *reader) values(document string) []text {
	if kind, _ := r.next(); kind != wirejson.KindArray {
		return []text{r.value(document)}
	}
	list := []text{}
	r.list(func() { list = append(list, r.value(document)) })
	return list
}

func (r *reader) value(document string) text {
	switch kind, at := r.next(); kind {
	case wirejson.KindNumber, wirejson.KindTrue, wirejson.KindFalse:
		r.json.Skip()
		r.checkJSON()
		return text{document[at:r.at()], at}
	}
	return r.string()
}

// list reads a list's elements with a function.
func (r *reader) list(element func()) {
	if !r.json.BeginArray() {
		r.checkJSON()
	}
	for r.err == nil && r.json.NextElem() {
		element()
	}
	r.checkJSON()
}

// object reads an object's fields with a function, which must consume the value. It refuses a name that occurs twice.
func (r *reader) object(field func(name text)) {
	if kind, at := r.next(); kind != wirejson.KindObject {
		r.syntax(at)
		return
	}
	r.json.BeginObject("")
	seen := map[string]bool{}
	for r.err == nil {
		before := r.at()
		b, ok := r.json.NextField()
		r.checkJSON()
		if !ok {
			return
		}
		name := text{value: string(b), at: before}
		if seen[name.value] {
			_, at := r.next()
			r.syntax(at)
			return
		}
		seen[name.value] = true
		field(name)
	}
}

// unknown refuses a field.
func (r *reader) unknown(name text) {
	_, at := r.next()
	r.fail(at, r.kind.sentences().unknown(name.value))
}

// document reads all of the text.
func (r *reader) document(document string) (d rawDocument) {
	found := false
	switch kind, at := r.next(); kind {
	case wirejson.KindObject:
	case wirejson.KindArray:
		r.fail(at, r.kind.sentences().json)
	default:
		r.fail(at, r.kind.sentences().noPolicy)
	}
	r.object(func(name text) {
		switch name.value {
		case "Version":
			d.version, d.hasVersion = r.string(), true
		case "Id":
			r.string()
		case "Statement":
			found = true
			var kind wirejson.Kind
			if kind, d.at = r.next(); kind != wirejson.KindArray {
				d.statements = append(d.statements, r.statement(document))
				return
			}
			r.list(func() { d.statements = append(d.statements, r.statement(document)) })
		default:
			r.unknown(name)
		}
	})
	if r.err == nil && !r.json.Done() {
		r.checkJSON()
	}
	if r.err == nil && !found {
		r.syntax(r.size)
	}
	return d
}

// statement reads a statement.
func (r *reader) statement(document string) (s rawStatement) {
	_, s.start = r.next()
	s.elements = map[string]int{}
	r.object(func(name text) {
		_, s.elements[name.value] = r.next()
		switch name.value {
		case "Sid":
			s.sid = r.string()
		case "Effect":
			s.effect = r.string()
		case "Action":
			s.actions = r.strings()
		case "NotAction":
			s.notActions = r.strings()
		case "Resource":
			s.resources = r.strings()
		case "NotResource":
			s.notResources = r.strings()
		case "Principal":
			kind, _ := r.next()
			s.principalText = kind == wirejson.KindString
			s.principals = r.principals()
		case "NotPrincipal":
			s.notPrincipals = r.principals()
		case "Condition":
			r.object(func(operator text) {
				_, operator.at = r.next()
				r.object(func(key text) {
					_, key.at = r.next()
					s.conditions = append(s.conditions, rawCondition{operator, key, r.values(document)})
				})
			})
		default:
			r.unknown(name)
		}
	})
	s.end = r.at()
	return s
}

// principals reads the text "*", or an object with a list for each kind of principal. It never returns nil.
func (r *reader) principals() []rawPrincipal {
	list := []rawPrincipal{}
	if kind, at := r.next(); kind == wirejson.KindString {
		if star := r.string(); star.value != "*" {
			r.fail(at, `Invalid principal in policy: `+quoted(star.value))
		}
		return append(list, rawPrincipal{kind: text{"*", at}, value: text{"*", at}})
	}
	r.object(func(kind text) {
		_, kind.at = r.next()
		for _, value := range r.strings() {
			list = append(list, rawPrincipal{kind, value})
		}
	})
	return list
}

// quoted puts a text of the document between quotes, for a message. It cuts long texts, so that messages stay short.
func quoted(s string) string { return `"` + cut(s) + `"` }

// maxQuoted is the longest text of a document that a message repeats, in bytes.
const maxQuoted = 256

func cut(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "…"
}
