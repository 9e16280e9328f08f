package partiql

import (
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/attribute"
)

// rootPath is the path of a value in messages: the names and indexes of what it is in follow.
const rootPath = "root"

// value finds the value that a node means. where is its path, for messages, and depth the number of values around it.
func (m *meaning) value(n *node, where string, depth int) attribute.Value {
	if depth >= attribute.MaxDepth {
		fail("Nesting Levels have exceeded supported limits under ", where)
	}
	switch n.form {
	case formLiteral:
		return m.literal(n, where)
	case formParameter:
		if depth > 0 {
			fail("Unsupported data type: Parameter under key ", where, m.place(n))
		}
		return m.parameter(n)
	case formList:
		elems := make([]attribute.Value, len(n.operands))
		for i, o := range n.operands {
			elems[i] = m.value(o, where+"["+strconv.Itoa(i)+"]", depth+1)
		}
		return attribute.NewList(elems)
	case formBag:
		return m.bag(n, where)
	case formTuple:
		return attribute.NewMap(m.tuple(n, where, depth+1))
	}
	m.unsupported(n, where)
	return nil
}

// unsupported fails for an expression that isn't a value. The message quotes its text if it is an attribute's value, and names its kind if it
// is within another value.
func (m *meaning) unsupported(n *node, where string) {
	what := n.tok.text
	switch {
	case where == rootPath && n.form == formPath:
		what = "PATH"
	case where == rootPath && n.form == formLiteral:
		what = "MISSING"
	case where == rootPath:
	case n.form == formPath:
		what = "Path"
	case n.form == formName:
		what = "VariableReference"
	case n.form == formLiteral:
		what = "LiteralMissing"
	default:
		what = "NAry"
	}
	fail("Unsupported data type: ", what, " under key ", where, m.place(n))
}

// literal finds the value of a literal.
func (m *meaning) literal(n *node, where string) attribute.Value {
	switch n.tok.kind {
	case tokString:
		return attribute.String(n.tok.text)
	case tokNumber:
		text := n.tok.text
		if n.negative {
			text = "-" + text
		}
		number, problem := attribute.AppendNumberOlder(nil, []byte(text))
		if problem != "" {
			fail(problem, " under ", where)
		}
		return attribute.AppendScalar(nil, attribute.TypeN, number)
	case tokBool:
		return attribute.Bool(strings.EqualFold(n.tok.text, "true"))
	case tokNull:
		return attribute.Null
	case tokIon:
		fail("Ion Literals are not supported: ", ionType(n.tok.text), " under key ", where, m.place(n))
	}
	m.unsupported(n, where)
	return nil
}

// ionType returns the type of an Ion literal, as far as its first character tells.
func ionType(text string) string {
	text = strings.TrimSpace(text)
	switch {
	case text == "true" || text == "false":
		return "BOOL"
	case text == "" || strings.HasPrefix(text, "null"):
		return "NULL"
	case text[0] == '"' || strings.HasPrefix(text, "'''"):
		return "STRING"
	case text[0] == '[':
		return "LIST"
	case text[0] == '(':
		return "SEXP"
	case strings.HasPrefix(text, `{{"`):
		return "CLOB"
	case strings.HasPrefix(text, "{{"):
		return "BLOB"
	case text[0] == '{':
		return "STRUCT"
	case !isDigit(text[0]) && text[0] != '-' && text[0] != '+':
		return "SYMBOL"
	case strings.ContainsAny(text, "eE"):
		return "FLOAT"
	case len(text) > 4 && (text[4] == '-' || text[4] == 'T'):
		return "TIMESTAMP"
	case strings.ContainsAny(text, ".dD"):
		return "DECIMAL"
	}
	return "INT"
}

// parameter returns the value of a question mark.
func (m *meaning) parameter(n *node) attribute.Value {
	if n.tok.number >= len(m.params) {
		fail("Number of parameters in request and statement don't match.")
	}
	return m.params[n.tok.number]
}

// tuple finds the fields of a tuple whose values are depth levels deep. At depth 0 the tuple is an item, and messages give its values the
// root's path, because AWS doesn't name the attribute.
func (m *meaning) tuple(n *node, where string, depth int) []attribute.Field {
	fields := []attribute.Field{}
	seen := map[string]bool{}
	for i := 0; i < len(n.operands); i += 2 {
		name := n.operands[i]
		if name.form != formLiteral || name.tok.kind != tokString {
			fail("Tuple keys must be of type String. Actual type: ", tupleKeyType(name), " under ", where, m.place(name))
		}
		key := m.component(name.tok.text)
		if seen[key] {
			at := n
			if depth == 0 {
				at = name
			}
			fail("Duplicate keys in tuple. Key: ", key, " under ", where, m.place(at))
		}
		seen[key] = true
		inner := where
		if depth > 0 {
			inner += "." + key
		}
		fields = append(fields, attribute.Field{Name: key, Value: m.value(n.operands[i+1], inner, depth)})
	}
	return fields
}

// tupleKeyType names what stands in the place of a tuple's key.
func tupleKeyType(n *node) string {
	switch n.form {
	case formName:
		return "VariableReference"
	case formParameter:
		return "Parameter"
	case formPath:
		return "Path"
	case formList, formBag:
		return "Seq"
	case formTuple:
		return "Struct"
	case formLiteral:
		switch n.tok.kind {
		case tokNumber:
			if strings.ContainsAny(n.tok.text, ".eE") {
				return "DECIMAL"
			}
			return "INT"
		case tokBool:
			return "BOOL"
		case tokNull:
			return "NULL"
		case tokMissing:
			return "LiteralMissing"
		case tokIon:
			return ionType(n.tok.text)
		}
	}
	return "NAry"
}

const badBag = "Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags"

// bag returns the set that << … >> stands for. The type of its first element is the type of the set.
func (m *meaning) bag(n *node, where string) attribute.Value {
	if len(n.operands) == 0 {
		fail("Empty bags are not supported")
	}
	first := n.operands[0]
	kind := attribute.TypeSS
	switch {
	case first.form == formLiteral && first.tok.kind == tokNumber:
		kind = attribute.TypeNS
	case first.form != formLiteral || first.tok.kind != tokString:
		fail(badBag, m.place(first))
	}
	elems := make([][]byte, len(n.operands))
	shown := make([]string, len(n.operands))
	for i, o := range n.operands {
		elems[i], shown[i] = m.element(o, kind, where), o.tok.text
		if o.negative {
			shown[i] = "-" + shown[i]
		}
	}
	seen := map[string]bool{}
	for _, e := range elems {
		if seen[string(e)] {
			after := "] contains duplicates."
			if kind == attribute.TypeNS {
				after = "] contains duplicates! under " + where
			}
			panic(&Error{Message: "Input collection [" + strings.Join(shown, ", ") + after, Value: true})
		}
		seen[string(e)] = true
	}
	return attribute.NewSet(kind, elems)
}

// element returns an element of a set.
func (m *meaning) element(n *node, kind attribute.Type, where string) []byte {
	switch n.form {
	case formLiteral:
		switch n.tok.kind {
		case tokString, tokNumber, tokIon:
			v := m.literal(n, where)
			if (v.Type() == attribute.TypeN) == (kind == attribute.TypeNS) {
				return v.Bytes()
			}
		}
	case formParameter:
		fail("Unsupported data type: Parameter under key ", where, m.place(n))
	}
	if kind == attribute.TypeNS {
		fail(badBag)
	}
	fail(badBag, m.place(n))
	return nil
}
