package partiql

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/expr"
)

// meaning finds the meaning of a statement's syntax. The first error ends it by a panic with *Error.
type meaning struct {
	text   string
	params []attribute.Value
}

// place returns a node's place in the form of AWS's messages: line, column and length, in characters.
func (m *meaning) place(n *node) string {
	if !n.at {
		return ""
	}
	before := m.text[:n.tok.start]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	length := utf8.RuneCountInString(m.text[n.tok.start:n.tok.end])
	return " at " + strconv.Itoa(line) + ":" + strconv.Itoa(column) + ":" + strconv.Itoa(length)
}

const (
	noAliases  = "Aliasing is not supported"
	oneSource  = "Only select from a single table or index is supported."
	noIndex    = "This operation is not supported on an index"
	longSource = "A path may contain at most 2 components in the FROM clause"
)

// statement finds the meaning of a whole statement.
func (m *meaning) statement(n *node) *Statement {
	switch n.form {
	case formSelect:
		return m.selection(n.statement)
	case formChange:
		return m.change(n)
	case formInsertValue:
		return m.insertion(n)
	case formSet, formRemove:
		fail(oneSource)
	case formOperator:
		return &Statement{Kind: Unsupported}
	case formCall:
		if name := strings.ToLower(n.tok.text); name == "exists" && len(n.operands) == 1 && n.operands[0].form == formSelect {
			st := m.selection(n.operands[0].statement)
			st.Kind = Exists
			return st
		}
		return &Statement{Kind: Unsupported}
	}
	fail("Unsupported operation: ", operationName(n))
	return nil
}

// operationName returns the reference parser's name for an expression that stands where a statement belongs.
func operationName(n *node) string {
	switch n.form {
	case formLiteral:
		if n.tok.kind == tokMissing {
			return "Missing"
		}
		return "Lit"
	case formName:
		return "Id"
	case formCase:
		if len(n.operands)%2 == 1 {
			return "SimpleCase"
		}
		return "SearchedCase"
	case formCast:
		return map[string]string{"cast": "Cast", "can_cast": "CanCast", "can_lossless_cast": "CanLosslessCast"}[n.kind]
	case formSchema:
		return n.kind
	}
	return map[form]string{
		formIs: "IsType", formParameter: "Parameter", formPath: "Path", formAggregate: "CallAgg", formList: "List", formBag: "Bag", formTuple: "Struct", formInsert: "Insert",
	}[n.form]
}

// selection finds the meaning of a SELECT.
func (m *meaning) selection(s *statement) *Statement {
	st := &Statement{Kind: Select}
	switch {
	case s.group:
		fail("Unsupported clause: GROUP BY")
	case s.having != nil:
		fail("Unsupported clause: HAVING", m.place(s.having))
	case s.limit != nil:
		fail("Unsupported clause: LIMIT", m.place(s.limit))
	case s.offset != nil:
		fail("Unsupported clause: OFFSET", m.place(s.offset))
	}
	st.Table, st.Index = m.source(s.from)
	switch {
	case s.value:
		fail("Select projection doesn't support value or pivot keywords")
	case s.distinct:
		fail("Unsupported token in expression: DISTINCT")
	}
	m.columns(st, s)
	if s.where != nil {
		st.Where = m.condition(s.where)
	}
	for i, n := range s.order {
		if n.form != formName {
			what := n.tok.text
			if n.form == formPath {
				what = "PATH"
			}
			fail("Argument to ORDER BY must be of type VariableReference. Type: ", what, m.place(n))
		}
		st.Order = append(st.Order, Order{Name: n.tok.text, Descending: s.descending[i]})
	}
	return st
}

// columns finds the columns of SELECT. Their problem waits in BadColumns.
func (m *meaning) columns(st *Statement, s *statement) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			st.BadColumns = e
		}
	}()
	seen := map[string]bool{}
	for _, n := range s.columns {
		if n.alias {
			fail(noAliases)
		}
		if n.form == formPath && n.operands[len(n.operands)-1].form == formUnpivot {
			fail("Changing item's hierarchy while reading isn't supported")
		}
		c := Column{Path: m.path(n)}
		c.Name = columnName(c.Path)
		if seen[c.Name] {
			fail("Duplicate identifiers in select clause: ", c.Name)
		}
		seen[c.Name] = true
		st.Columns = append(st.Columns, c)
	}
}

// columnName returns the name of a column's value: the path's last name, with the indexes behind it.
func columnName(p expr.Path) string {
	i := len(p) - 1
	for i > 0 && p[i].IsIndex {
		i--
	}
	name := p[i].Name
	for _, e := range p[i+1:] {
		name += "[" + strconv.Itoa(e.Index) + "]"
	}
	return name
}

// source returns the table and the index that a statement names.
func (m *meaning) source(n *node) (table, index string) {
	switch {
	case n.form == formOperator:
		fail(oneSource)
	case n.alias:
		fail(noAliases)
	case n.form == formName:
		return m.component(n.tok.text), ""
	case n.form != formPath || n.operands[0].form != formName:
		fail("Unexpected from source")
	case len(n.operands) > 2:
		fail(longSource)
	case n.operands[1].form == formLiteral && n.operands[1].tok.kind == tokNumber:
		fail("Invalid list expression in source.")
	}
	p := m.path(n)
	return p[0].Name, p[1].Name
}

// component returns a name in a path, which must not be empty.
func (m *meaning) component(name string) string {
	if name == "" {
		fail("Path component cannot be an empty string")
	}
	return name
}

// path returns the document path that a node means.
func (m *meaning) path(n *node) expr.Path {
	steps := []*node{n}
	if n.form == formPath {
		steps = n.operands
	}
	switch root := steps[0]; root.form {
	case formName:
	case formList:
		if len(steps) > 1 {
			fail("A path cannot start with a list index", m.place(root))
		}
		fallthrough
	default:
		fail("Unexpected path component", m.place(root))
	}
	path := expr.Path{{Name: m.component(steps[0].tok.text)}}
	for _, s := range steps[1:] {
		path = append(path, m.step(s))
	}
	if len(path) > expr.MaxPathLevels {
		fail("The document path has too many nesting elements; nesting levels: ", strconv.Itoa(len(path)))
	}
	return path
}

// step returns an element of a document path. A string in brackets is an attribute's name.
func (m *meaning) step(n *node) expr.PathElem {
	switch n.form {
	case formDot, formName:
		return expr.PathElem{Name: m.component(n.tok.text)}
	case formUnpivot:
		fail("Unpivot path component like a.*.b are not supported", m.place(n))
	case formWildcard:
		fail("Wildcard path component like a[*].b are not supported", m.place(n))
	case formLiteral:
		switch {
		case n.tok.kind == tokString:
			return expr.PathElem{Name: m.component(n.tok.text)}
		case n.tok.kind == tokNumber && strings.IndexFunc(n.tok.text, func(r rune) bool { return r < '0' || r > '9' }) < 0:
			text := n.tok.text
			if n.negative {
				text = "-" + text
			}
			i, err := strconv.ParseInt(text, 10, 32)
			if err != nil || i < 0 {
				fail("List index is not within the allowable range; index: [", text, "]", m.place(n))
			}
			return expr.PathElem{Index: int(i), IsIndex: true}
		}
	}
	fail("Unexpected path component", m.place(n))
	return expr.PathElem{}
}

// insertion finds the meaning of an INSERT. DynamoDB inserts one item per statement.
func (m *meaning) insertion(n *node) *Statement {
	switch s := n.statement; {
	case s.position != nil:
		fail("AT is not supported in insert statements.", m.place(n))
	case s.conflict:
		fail("Unsupported clause: ON CONFLICT")
	case s.returning != nil:
		fail("RETURNING is not supported in INSERT")
	case s.from.form != formName && len(s.from.operands) > 2:
		fail(longSource)
	case s.from.form != formName:
		fail("FROM clause may only contain a single table name in data manipulation statements", m.place(s.from))
	}
	st := &Statement{Kind: Insert, Table: m.component(n.statement.from.tok.text)}
	item := n.operands[0]
	if item.form != formTuple {
		fail("Unsupported format in item expression. Please use struct format {...} to express item values for insert statement.", m.place(item))
	}
	st.Item = attribute.NewItem(m.tuple(item, rootPath, 0)...)
	return st
}

// change finds the meaning of an UPDATE or DELETE, in either order of clauses.
func (m *meaning) change(n *node) *Statement {
	s := n.statement
	st := &Statement{Kind: Update}
	if s.where != nil {
		st.Where = m.condition(s.where)
	}
	if s.actions[0].form == formDelete {
		st.Kind = Delete
	} else {
		st.Update = m.update(n)
	}
	st.Table, st.Index = m.source(s.from)
	if st.Index != "" {
		fail(noIndex)
	}
	for _, r := range s.returning {
		switch {
		case len(s.returning) > 1:
			fail("Invalid syntax with multiple returning elements in RETURNING clause")
		case !r.star:
			fail("Expected '*' after ( MODIFIED | ALL ) ( NEW | OLD ) in RETURNING clause")
		case st.Kind == Delete && r.what != AllOld:
			fail("Invalid returning clause: RETURNING ", r.what, " *. Only RETURNING ALL OLD * is allowed in DELETE statements.")
		}
		st.Returning = r.what
	}
	return st
}

// update finds the meaning of SET and REMOVE, which may alternate.
func (m *meaning) update(n *node) *expr.Update {
	out := &expr.Update{}
	for _, a := range n.statement.actions {
		switch a.form {
		case formRemove:
			out.Actions = append(out.Actions, expr.Action{Section: expr.SectionRemove, Path: m.path(a.operands[0])})
		case formSet:
			for i := 0; i < len(a.operands); i += 2 {
				out.Actions = append(out.Actions, m.assignment(a.operands[i], a.operands[i+1]))
			}
		default:
			if len(n.statement.actions) > 1 {
				fail("Only SET and REMOVE are supported in update expressions at this time")
			}
			fail("Unsupported FROM ... WHERE ... clause in INSERT statement.", m.place(n))
		}
	}
	return out
}
