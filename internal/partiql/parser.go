package partiql

import (
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/expr"
)

// parser is a recursive descent parser. The first error ends it by a panic with *Error, which Parse recovers.
type parser struct {
	text   string
	tokens []token
	at     int
	params []attribute.Value
	used   int // parameters used so far
	depth  int // nesting of expressions
	nested int // nesting of values
}

// Parse parses a statement and substitutes its parameters.
func Parse(text string, params []attribute.Value) (st *Statement, err error) {
	p := &parser{text: text, tokens: lex(text), params: params}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			st, err = nil, e
		}
	}()
	return p.statement(), nil
}

// fail ends parsing with an error.
func fail(parts ...string) { panic(&Error{strings.Join(parts, "")}) }

// malformed fails for what the grammar doesn't allow.
func (p *parser) malformed() {
	fail("Statement wasn't well formed, can't be processed: ", p.text)
}

// wrongParameters fails for a number of parameters that differs from the number of question marks.
func (p *parser) wrongParameters() {
	fail("Number of parameters in request and statement don't match.")
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokEnd {
		p.at++
	}
	return t
}

// word takes a keyword, if it comes next.
func (p *parser) word(keyword string) bool {
	if t := p.peek(); t.kind == tokWord && strings.EqualFold(t.text, keyword) {
		p.at++
		return true
	}
	return false
}

func (p *parser) isSymbol(s string) bool {
	t := p.peek()
	return t.kind == tokSymbol && t.text == s
}

// symbol takes a symbol, if it comes next.
func (p *parser) symbol(s string) bool {
	if p.isSymbol(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) mustWord(keyword string) {
	if !p.word(keyword) {
		p.malformed()
	}
}

func (p *parser) mustSymbol(s string) {
	if !p.symbol(s) {
		p.malformed()
	}
}

func (p *parser) mustEnd() {
	if p.peek().kind != tokEnd {
		p.malformed()
	}
}

// otherOperations are statements of PartiQL that DynamoDB names in its refusal.
var otherOperations = map[string]string{"DROP": "Drop", "CREATE": "Create"}

// statement parses a whole statement.
func (p *parser) statement() *Statement {
	for _, t := range p.tokens {
		if t.kind == tokInvalid {
			p.malformed()
		}
	}
	var st *Statement
	switch {
	case p.word("SELECT"):
		st = p.selectStatement()
	case p.word("INSERT"):
		st = p.insert()
	case p.word("UPDATE"):
		st = p.update()
	case p.word("DELETE"):
		st = p.delete()
	case p.word("EXISTS"):
		p.mustSymbol("(")
		p.mustWord("SELECT")
		st = p.selectStatement()
		st.Kind = Exists
		p.mustSymbol(")")
	default:
		first := p.next()
		if op := otherOperations[strings.ToUpper(first.text)]; op != "" && first.kind == tokWord && p.peek().kind == tokWord {
			what := strings.ToLower(p.peek().text)
			fail("Unsupported operation: ", op, strings.ToUpper(what[:1])+what[1:])
		}
		p.malformed()
	}
	p.mustEnd()
	return st
}

// identifier parses a name.
func (p *parser) identifier() string {
	t := p.next()
	if t.kind != tokQuoted && (t.kind != tokWord || keywords[strings.ToUpper(t.text)]) {
		p.malformed()
	}
	return t.text
}

// keywords can be names only in quotes.
var keywords = map[string]bool{
	"SELECT": true, "FROM": true, "WHERE": true, "ORDER": true, "BY": true, "INSERT": true, "INTO": true, "UPDATE": true,
	"SET": true, "REMOVE": true, "DELETE": true, "RETURNING": true, "AND": true, "OR": true, "NOT": true, "IN": true,
	"IS": true, "BETWEEN": true, "MISSING": true, "NULL": true, "TRUE": true, "FALSE": true, "LIKE": true, "AS": true,
	"LIMIT": true, "GROUP": true, "HAVING": true, "EXISTS": true, "ASC": true, "DESC": true, "DISTINCT": true,
}

// target parses a table name, and the index name behind it if there is one.
func (p *parser) target() (table, index string) {
	table = p.identifier()
	if p.symbol(".") {
		index = p.identifier()
	}
	return table, index
}

// noAlias fails for an alias.
func (p *parser) noAlias() {
	if t := p.peek(); t.kind == tokQuoted || t.kind == tokWord && (strings.EqualFold(t.text, "AS") || !keywords[strings.ToUpper(t.text)]) {
		fail("Aliasing is not supported")
	}
}

// selectStatement parses the rest of a SELECT.
func (p *parser) selectStatement() *Statement {
	st := &Statement{Kind: Select}
	switch {
	case p.symbol("*"):
	case p.word("DISTINCT"):
		fail("Unsupported token in expression: DISTINCT")
	case p.peek().kind == tokWord && strings.EqualFold(p.peek().text, "VALUE") && p.tokens[p.at+1].kind == tokWord && !strings.EqualFold(p.tokens[p.at+1].text, "FROM"):
		fail("Select projection doesn't support value or pivot keywords")
	default:
		st.Columns = p.columns()
	}
	p.mustWord("FROM")
	st.Table, st.Index = p.target()
	p.noAlias()
	if p.word("WHERE") {
		st.Where = p.condition()
	}
	if p.word("ORDER") {
		p.mustWord("BY")
		for {
			o := Order{Name: p.identifier()}
			if p.word("DESC") {
				o.Descending = true
			} else {
				p.word("ASC")
			}
			st.Order = append(st.Order, o)
			if !p.symbol(",") {
				break
			}
		}
	}
	if t := p.peek(); t.kind == tokWord {
		switch name := strings.ToUpper(t.text); name {
		case "LIMIT", "GROUP", "HAVING": // PartiQL has them; DynamoDB doesn't
			p.next()
			fail("Unsupported clause: ", name, p.place(p.peek()))
		}
	}
	return st
}

// columns parses the columns of SELECT.
func (p *parser) columns() []Column {
	var out []Column
	seen := map[string]bool{}
	for {
		first := p.peek()
		if first.kind == tokWord && p.tokens[p.at+1].kind == tokSymbol && p.tokens[p.at+1].text == "(" {
			fail("Unexpected path component", p.place(first))
		}
		c := Column{Path: p.path()}
		last := c.Path[len(c.Path)-1]
		c.Name = last.Name
		if last.IsIndex { // named after its last steps: a[0]
			i := len(c.Path) - 1
			for i > 0 && c.Path[i].IsIndex {
				i--
			}
			c.Name = c.Path[i].Name
			for _, e := range c.Path[i+1:] {
				c.Name += "[" + strconv.Itoa(e.Index) + "]"
			}
		}
		if seen[c.Name] {
			fail("Duplicate identifiers in select clause: ", c.Name)
		}
		seen[c.Name] = true
		out = append(out, c)
		if t := p.peek(); t.kind == tokWord && strings.EqualFold(t.text, "AS") {
			fail("Aliasing is not supported")
		}
		if !p.symbol(",") {
			return out
		}
	}
}

// path parses a document path: a, a.b, a[0], a['b'].
func (p *parser) path() expr.Path {
	path := expr.Path{{Name: p.identifier()}}
	for {
		switch {
		case p.symbol("."):
			t := p.next()
			if t.kind != tokQuoted && t.kind != tokWord {
				p.malformed()
			}
			path = append(path, expr.PathElem{Name: t.text})
		case p.symbol("["):
			t := p.next()
			switch t.kind {
			case tokString:
				path = append(path, expr.PathElem{Name: t.text})
			case tokNumber:
				i, err := strconv.Atoi(t.text)
				if err != nil || i > 1<<31-1 {
					p.malformed()
				}
				path = append(path, expr.PathElem{Index: i, IsIndex: true})
			default:
				p.malformed()
			}
			p.mustSymbol("]")
		default:
			if len(path) > expr.MaxPathLevels {
				fail("The document path has too many nesting elements; nesting levels: ", strconv.Itoa(len(path)))
			}
			return path
		}
	}
}

// noIndex parses the table of a statement that writes. It fails with the message if an index is named.
func (p *parser) noIndex(message string) string {
	table, index := p.target()
	if index != "" {
		fail(message)
	}
	return table
}

// insert parses the rest of an INSERT. DynamoDB inserts one item per statement.
func (p *parser) insert() *Statement {
	p.mustWord("INTO")
	st := &Statement{Kind: Insert, Table: p.noIndex("FROM clause may only contain a single table name in data manipulation statements")}
	if p.isSymbol("{") || p.isSymbol("<<") {
		fail("Unsupported operation: InsertOp")
	}
	p.mustWord("VALUE")
	if !p.isSymbol("{") {
		fail("Unsupported format in item expression. Please use struct format {...} to express item values for insert statement.", p.place(p.peek()))
	}
	fields := p.tuple("root", "")
	st.Item = attribute.NewItem(fields...)
	return st
}

// update parses the rest of an UPDATE. SET and REMOVE may alternate.
func (p *parser) update() *Statement {
	st := &Statement{Kind: Update, Table: p.noIndex("This operation is not supported on an index"), Update: &expr.Update{}}
	for {
		switch {
		case p.word("SET"):
			for {
				st.Update.Actions = append(st.Update.Actions, p.assignment())
				if !p.symbol(",") {
					break
				}
			}
			continue
		case p.word("REMOVE"):
			for {
				st.Update.Actions = append(st.Update.Actions, expr.Action{Section: expr.SectionRemove, Path: p.path()})
				if !p.symbol(",") {
					break
				}
			}
			continue
		}
		break
	}
	if len(st.Update.Actions) == 0 {
		p.malformed()
	}
	if p.word("WHERE") {
		st.Where = p.condition()
	}
	st.Returning = p.returning()
	return st
}

// delete parses the rest of a DELETE.
func (p *parser) delete() *Statement {
	p.mustWord("FROM")
	st := &Statement{Kind: Delete, Table: p.noIndex("This operation is not supported on an index")}
	if p.word("WHERE") {
		st.Where = p.condition()
	}
	st.Returning = p.returning()
	if st.Returning != "" && st.Returning != AllOld {
		fail("Invalid returning clause: RETURNING ", st.Returning, " *. Only RETURNING ALL OLD * is allowed in DELETE statements.")
	}
	return st
}

// returning parses RETURNING, if it comes next.
func (p *parser) returning() string {
	if !p.word("RETURNING") {
		return ""
	}
	what := "ALL"
	if !p.word("ALL") {
		what = "MODIFIED"
		p.mustWord("MODIFIED")
	}
	switch {
	case p.word("OLD"):
		what += " OLD"
	case p.word("NEW"):
		what += " NEW"
	default:
		p.malformed()
	}
	if p.peek().kind == tokEnd {
		p.malformed()
	}
	if !p.symbol("*") {
		fail("Expected '*' after ( MODIFIED | ALL ) ( NEW | OLD ) in RETURNING clause")
	}
	return what
}
