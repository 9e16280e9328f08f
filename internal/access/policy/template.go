package policy

import (
	"slices"
	"strings"
)

// syntax says how a policy's text is read.
type syntax uint8

const (
	plainText    syntax = iota // no wildcards
	wildcardText               // wildcards over all of the text
	arnText                    // an ARN whose first five fields are compared one by one ("ArnLike")
	// resourceText is an ARN as in the element Resource: a * at the end of a field runs on beyond the colon
	// ("IAM JSON policy elements: Resource").
	resourceText
)

// arnFields is the number of fields of an ARN; the last one may contain colons.
const arnFields = 6

// template is a policy's text that may have wildcards and variables. At most one of its fields is set.
type template struct {
	text    string   // without wildcards and variables
	pattern *pattern // without variables
	parts   []part   // with variables
}

// part is a stretch of literal text and wildcards, or a variable ("IAM policy elements: Variables and tags").
type part struct {
	tokens []token
	name   string // the variable as written; empty for a stretch
	key    string // its condition key in lower case
	// otherwise replaces the variable if the request does not have the key and hasDefault is set.
	otherwise  string
	hasDefault bool
	// field is whether the variable is within one of the first five fields of an ARN, so that its value can't have colons.
	field bool
}

// newTemplate reads a policy's text. variables is false for the version 2008-10-17, where they are plain text. ok is false for a
// malformed variable.
func newTemplate(text string, how syntax, variables bool) (t *template, ok bool) {
	var parts []part
	var tokens []token
	colons := 0
	complete := strings.Count(text, ":") >= arnFields-1
	for i := 0; i < len(text); i++ {
		inField := (how == arnText || how == resourceText) && complete && colons < arnFields-1
		switch c := text[i]; {
		case c == '$' && variables && strings.HasPrefix(text[i:], "${"):
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return nil, false
			}
			inner := text[i+2 : i+end]
			i += end
			if inner == "*" || inner == "?" || inner == "$" {
				tokens = append(tokens, token(inner[0]))
				continue
			}
			v, ok := newVariable(inner)
			if !ok {
				return nil, false
			}
			v.field = inField
			parts = append(parts, part{tokens: tokens}, v)
			tokens = nil
		case c == '*' && how != plainText:
			t := anyRun
			if inField && (how == arnText || i+1 < len(text) && text[i+1] != ':') {
				t = fieldRun
			}
			if n := len(tokens); n == 0 || tokens[n-1] != t {
				tokens = append(tokens, t)
			}
		case c == '?' && how != plainText:
			if inField {
				tokens = append(tokens, fieldOne)
			} else {
				tokens = append(tokens, anyOne)
			}
		default:
			if c == ':' {
				colons++
			}
			tokens = append(tokens, token(c))
		}
	}
	switch literal, only := bytesOf(tokens); {
	case parts != nil:
		return &template{parts: append(parts, part{tokens: tokens})}, true
	case only:
		return &template{text: literal}, true
	}
	wildcard := slices.IndexFunc(tokens, func(t token) bool { return t >= anyRun })
	prefix, _ := bytesOf(tokens[:wildcard])
	return &template{pattern: newPattern(tokens, prefix)}, true
}

// newVariable reads what is between the braces of a variable: a condition key and possibly a default in quotes.
func newVariable(inner string) (part, bool) {
	name, rest, hasDefault := strings.Cut(inner, ",")
	name = strings.TrimSpace(name)
	v := part{name: name, key: strings.ToLower(name), hasDefault: hasDefault}
	if hasDefault {
		rest = strings.TrimSpace(rest)
		if len(rest) < 2 || rest[0] != '\'' || rest[len(rest)-1] != '\'' {
			return part{}, false
		}
		v.otherwise = rest[1 : len(rest)-1]
	}
	return v, name != "" && !strings.ContainsAny(name, "'${*?") && !strings.ContainsRune(v.otherwise, '\'')
}

// bytesOf returns tokens as text. ok is false if there are wildcards.
func bytesOf(tokens []token) (text string, ok bool) {
	b := make([]byte, len(tokens))
	for i, t := range tokens {
		if t >= anyRun {
			return "", false
		}
		b[i] = byte(t)
	}
	return string(b), true
}

// match reports whether all of a text matches. A variable stands for its value literally. If the request does not have the variable's
// key, or the key has several values, nothing matches.
func (t *template) match(text string, ctx Context) bool {
	if t.parts == nil {
		if t.pattern == nil {
			return t.text == text
		}
		return t.pattern.match(text, false)
	}
	tokens, ok := t.expand(ctx)
	return ok && newPattern(tokens, "").match(text, false)
}

// expand replaces the variables by their values.
func (t *template) expand(ctx Context) (tokens []token, ok bool) {
	for i := range t.parts {
		p := &t.parts[i]
		if p.name == "" {
			tokens = append(tokens, p.tokens...)
			continue
		}
		value := p.otherwise
		if v, found := lookup(ctx, p.key); found {
			if v.Multiple || len(v.List) != 1 {
				return nil, false
			}
			value = v.List[0]
		} else if !p.hasDefault {
			return nil, false
		}
		if p.field && strings.Contains(value, ":") {
			return nil, false
		}
		for j := range len(value) {
			tokens = append(tokens, token(value[j]))
		}
	}
	return tokens, true
}

// value returns the text that the template of a plain text stands for.
func (t *template) value(ctx Context) (text string, ok bool) {
	if t.parts == nil {
		return t.text, true
	}
	tokens, ok := t.expand(ctx)
	if !ok {
		return "", false
	}
	return bytesOf(tokens)
}

// lookup returns the values of a condition key. A key with an empty list counts as absent.
func lookup(ctx Context, key string) (Values, bool) {
	if ctx == nil {
		return Values{}, false
	}
	v, ok := ctx.Lookup(key)
	return v, ok && len(v.List) > 0
}
