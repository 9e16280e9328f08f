package audit

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed operations.txt
var operationsText string

// form says how a member is shown.
type form uint8

const (
	whole form = iota
	names
	key
	item
	statement
	statements
	gets
	writes
	transact
	parts
)

// forms are the words for forms in operations.txt.
var forms = map[string]form{
	"names": names, "key": key, "item": item, "statement": statement, "statements": statements, "gets": gets, "writes": writes, "transact": transact,
}

// members are the members of a structure that may be shown, by name.
type members map[string]member

type member struct {
	form  form
	parts members // for the form parts
}

// operation is what operations.txt says about one.
type operation struct {
	name, source, version string
	write                 bool
	// resource is the type of a data event's resource, such as AWS::DynamoDB::Table; empty for a management event.
	resource        string
	request, answer members
}

// unlisted is an operation that operations.txt lacks. Its events show nothing of the request.
func unlisted(target string) *operation {
	prefix, name, _ := strings.Cut(target, ".")
	return &operation{name: name, source: prefix, write: true}
}

// operations returns the content of operations.txt, by target.
var operations = sync.OnceValue(func() map[string]*operation {
	list, err := parseOperations(operationsText)
	if err != nil {
		panic(err) // the text is part of the program
	}
	return list
})

// Listed reports whether the package knows which members of an operation events may show, given its X-Amz-Target.
func Listed(target string) bool { return operations()[target] != nil }

// resourceTypes are the types of data events' resources, by their words in operations.txt.
var resourceTypes = map[string]string{"Table": "AWS::DynamoDB::Table", "Stream": "AWS::DynamoDB::Stream", "Metric": "AWS::CloudWatch::Metric"}

func parseOperations(text string) (map[string]*operation, error) {
	out := map[string]*operation{}
	prefix, source, version := "", "", ""
	for number, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(line, "#"):
			continue
		case len(words) == 4 && words[0] == "service":
			prefix, source, version = words[1], words[2], words[3]
			continue
		}
		op, err := parseOperation(words)
		if target := prefix + "." + words[0]; err == nil && out[target] != nil {
			err = fmt.Errorf("%s is listed twice", target)
		}
		if err != nil {
			return nil, fmt.Errorf("operations.txt, line %d: %w", number+1, err)
		}
		op.source, op.version = source, version
		out[prefix+"."+op.name] = op
	}
	return out, nil
}

func parseOperation(words []string) (*operation, error) {
	if len(words) < 2 {
		return nil, fmt.Errorf("%s has no class", words[0])
	}
	access, resource, data := strings.Cut(words[1], ":")
	op := &operation{name: words[0], write: access == "write", resource: resourceTypes[resource]}
	if access != "read" && access != "write" || data && op.resource == "" {
		return nil, fmt.Errorf("%q is no class", words[1])
	}
	request, answer, _ := strings.Cut(strings.Join(words[2:], " "), "->")
	var err error
	if op.request, err = parseMembers(request); err == nil {
		op.answer, err = parseMembers(answer)
	}
	return op, err
}

// parseMembers parses a list of members, whose structures don't nest.
func parseMembers(text string) (members, error) {
	out := members{}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		name, rest := text, ""
		if i := strings.IndexAny(text, " {"); i >= 0 {
			name, rest = text[:i], text[i:]
		}
		m := member{}
		if inner, ok := strings.CutPrefix(rest, "{"); ok {
			inner, rest, ok = strings.Cut(inner, "}")
			if !ok {
				return nil, fmt.Errorf("the structure of %s has no end", name)
			}
			shown, err := parseMembers(inner)
			if err != nil {
				return nil, err
			}
			m = member{form: parts, parts: shown}
		}
		name, word, formed := strings.Cut(name, "=")
		if formed {
			form, known := forms[word]
			if !known {
				return nil, fmt.Errorf("%q is no form", word)
			}
			m.form = form
		}
		out[name] = m
		text = rest
	}
	return out, nil
}
