package partiql

import "strings"

// form is what a node of the syntax is.
type form uint8

const (
	formName form = iota
	formLiteral
	formParameter
	formOperator // prefix, infix, BETWEEN and LIKE; tok is the operator
	formIs       // tok is IS or IS NOT, kind the type
	formPath     // the operands are the root and the steps: literals or names in brackets, formDot, or wildcards
	formDot      // a name behind a dot
	formWildcard // [*]
	formUnpivot  // .*
	formCall
	formAggregate
	formList
	formBag
	formTuple // names and values alternate
	formCase
	formCast
	formSelect
	formInsert      // INSERT INTO t values
	formInsertValue // INSERT INTO t VALUE value
	formSet
	formRemove
	formDelete
	formChange // FROM or UPDATE or DELETE: statement has the parts
	formSchema // CREATE, DROP and EXEC
)

// node is a node of a syntax tree. The grammar is all of PartiQL's; DynamoDB refuses most of it after parsing.
type node struct {
	form form
	tok  token // where the node stands
	// at is true if the node has a place, which messages show.
	at        bool
	negative  bool // a number with a minus sign
	alias     bool // the node has an alias
	operands  []*node
	statement *statement
	kind      string // of formIs the type, of formSchema the operation
}

// statement are the clauses of a statement.
type statement struct {
	distinct, value bool // SELECT DISTINCT, SELECT VALUE or PIVOT
	star            bool
	columns         []*node
	from            *node // a join has the form of an operator
	where           *node
	order           []*node
	descending      []bool
	group           bool
	having, limit   *node
	offset          *node
	actions         []*node // of formChange
	position        *node   // AT of INSERT
	conflict        bool    // ON CONFLICT
	returning       []returning
}

// returning is an element of RETURNING.
type returning struct {
	what string
	star bool
}

// parser is a recursive descent parser with precedences. The first error ends it by a panic with *Error, which Parse recovers.
type parser struct {
	text   string
	tokens []token
	at     int
	depth  int // nesting
}

// notWellFormed begins the sentences about what the grammar doesn't allow.
const notWellFormed = "Statement wasn't well formed, can't be processed: "

// fail ends parsing with an error.
func fail(parts ...string) { panic(&Error{Message: strings.Join(parts, "")}) }

// malformed fails for what the grammar doesn't allow. The reasons are those of the PartiQL library.
func malformed(parts ...string) { fail(notWellFormed + strings.Join(parts, "")) }

// Reasons that several places give.
const (
	unexpectedTerm     = "Unexpected term"
	unexpectedKeyword  = "Unexpected keyword"
	unexpectedOperator = "Unexpected operator"
	leftoverToken      = "Unexpected token after expression"
	noDataManipulation = "Expected data manipulation"
	noSimplePath       = "Expected identifier for simple path"
)

func (p *parser) peek() token { return p.tokens[p.at] }

// after returns the token behind the next one.
func (p *parser) after() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokEnd {
		p.at++
	}
	return t
}

// ends reports whether only the end of the statement is left.
func (p *parser) ends() bool {
	return p.peek().kind == tokEnd || p.peek().word == ";" && p.after().kind == tokEnd
}

// word takes a keyword, an operator or a symbol, if it comes next.
func (p *parser) word(w string) bool {
	if p.peek().word != w {
		return false
	}
	p.at++
	return true
}

// symbolNames are the names of symbols in messages.
var symbolNames = map[string]string{
	")": "RIGHT_PAREN", "]": "RIGHT_BRACKET", ">>": "RIGHT_DOUBLE_ANGLE_BRACKET", "}": "RIGHT_CURLY", ":": "COLON", "as": "AS", "at": "AT", "by": "BY", ",": "COMMA",
}

// mustSymbol takes a symbol, and fails if another token comes next.
func (p *parser) mustSymbol(s string) {
	if !p.word(s) {
		malformed("Expected ", symbolNames[s])
	}
}

// mustWord takes a keyword, and fails if another token comes next.
func (p *parser) mustWord(w string) {
	if !p.word(w) {
		malformed("Expected ", strings.ToUpper(w), " keyword")
	}
}

// enter counts a level of nesting.
func (p *parser) enter() {
	if p.depth++; p.depth > maxDepth {
		malformed()
	}
}

func (p *parser) leave() { p.depth-- }

// parse parses a statement's syntax.
func parse(text string) *node {
	tokens, ok := lex(text)
	if !ok {
		malformed()
	}
	p := &parser{text: text, tokens: tokens}
	n := p.expression(-1)
	if !p.ends() {
		if p.peek().word == ";" {
			malformed("Unexpected token after semicolon. (Only one query is allowed.)")
		}
		malformed(leftoverToken)
	}
	topOnly(n, true)
	return n
}

// topOnly fails for statements that change something within other expressions.
func topOnly(n *node, top bool) {
	switch n.form {
	case formInsert, formInsertValue, formSet, formRemove, formDelete, formChange, formSchema:
		if !top {
			word := n.tok.word
			if n.form == formChange && n.statement.actions[0].form != formDelete {
				word = "null"
			}
			malformed("Keyword ", word, " only expected at the top level in the query")
		}
	}
	for _, o := range n.operands {
		topOnly(o, false)
	}
	if st := n.statement; st != nil {
		for _, list := range [][]*node{st.columns, {st.from, st.where, st.having, st.limit, st.offset, st.position}, st.order} {
			for _, o := range list {
				if o != nil {
					topOnly(o, false)
				}
			}
		}
		for _, a := range st.actions {
			for _, o := range a.operands {
				topOnly(o, false)
			}
		}
	}
}

// expression parses an expression whose infix operators bind stronger than rank.
func (p *parser) expression(rank int) *node {
	p.enter()
	defer p.leave()
	left := p.unary()
	for {
		op := p.peek()
		strength := ranks[op.word]
		if op.kind != tokOperator && op.kind != tokStar || strength <= rank || strength == 0 {
			return left
		}
		p.next()
		n := &node{form: formOperator, tok: op, at: true, operands: []*node{left}}
		switch op.word {
		case "is", "is_not":
			n.form, n.kind = formIs, p.typeName(op.word)
		case "in", "not_in":
			n.operands = append(n.operands, p.collection(strength))
		case "between", "not_between":
			n.operands = append(n.operands, p.right(strength))
			n.operands = append(n.operands, p.third("and", strength))
		case "like", "not_like":
			n.operands = append(n.operands, p.right(strength))
			if p.peek().word == "escape" {
				n.operands = append(n.operands, p.third("escape", strength))
			}
		default:
			n.operands = append(n.operands, p.right(strength))
		}
		left = n
	}
}

// right parses the operand behind an infix operator.
func (p *parser) right(rank int) *node {
	if p.peek().kind == tokEnd {
		malformed("Missing right-hand side expression of infix operator")
	}
	return p.expression(rank)
}

// third parses a keyword and the operand behind it.
func (p *parser) third(word string, rank int) *node {
	p.mustWord(word)
	if p.ends() {
		malformed("Expected expression after ", strings.ToUpper(word))
	}
	return p.expression(rank)
}

// collection parses what follows IN: a list in parentheses, or an expression.
func (p *parser) collection(rank int) *node {
	if next := p.after().word; p.peek().word != "(" || next == "select" || next == "values" {
		return p.right(rank)
	}
	p.next()
	return &node{form: formList, operands: p.list(")")}
}

// list parses expressions up to the closing symbol. There must be one at least.
func (p *parser) list(end string) []*node {
	var out []*node
	for {
		out = append(out, p.expression(-1))
		if !p.word(",") {
			break
		}
	}
	p.mustSymbol(end)
	return out
}

// typeName parses a type, behind IS or in CAST.
func (p *parser) typeName(operator string) string {
	name := p.peek().word
	most, ok := typeParameters[name]
	if !ok {
		malformed("Expected type name")
	}
	p.next()
	given := 0
	if p.word("(") {
		for {
			n := p.expression(-1)
			if n.form != formLiteral || n.tok.kind != tokNumber || n.negative {
				malformed("Type parameter must be an unsigned integer literal")
			}
			given++
			if !p.word(",") {
				break
			}
		}
		p.mustSymbol(")")
	}
	if given > most {
		malformed(operator, " type argument ", name, " must have arity of 0..", string(rune('0'+most)))
	}
	if name == "time" && p.word("with") {
		p.mustWord("time")
		p.mustWord("zone")
	}
	return name
}

// unary parses an operand with its prefix operators.
func (p *parser) unary() *node {
	op := p.peek()
	if op.kind != tokOperator {
		return p.pathTerm()
	}
	p.enter()
	defer p.leave()
	switch op.word {
	case "not":
		return p.not()
	case "+", "-":
		p.next()
		n := p.unary()
		if n.form == formLiteral && n.tok.kind == tokNumber {
			n.negative = n.negative != (op.word == "-")
			return n
		}
		return &node{form: formOperator, tok: op, at: true, operands: []*node{n}}
	}
	return p.pathTerm()
}

// not parses a run of NOTs and what they negate. The run counts as one level of nesting.
func (p *parser) not() *node {
	outer := &node{form: formOperator, tok: p.next(), at: true}
	inner := outer
	for t := p.peek(); t.kind == tokOperator && t.word == "not"; t = p.peek() {
		n := &node{form: formOperator, tok: p.next(), at: true}
		inner.operands = []*node{n}
		inner = n
	}
	inner.operands = []*node{p.expression(rankNot)}
	return outer
}

// pathTerm parses a term, and the path that may follow it.
func (p *parser) pathTerm() *node { return p.path(p.term(), false) }

// simplePath parses a path that something is assigned to.
func (p *parser) simplePath() *node {
	if k := p.peek().kind; k != tokIdentifier && k != tokQuoted {
		malformed(noSimplePath)
	}
	t := p.next()
	return p.path(&node{form: formName, tok: t, at: true}, true)
}

// path parses the steps behind a path's root. A path without steps is its root.
func (p *parser) path(root *node, simple bool) *node {
	steps := []*node{root}
	for {
		switch {
		case p.word("."):
			t := p.next()
			switch {
			case t.kind == tokIdentifier || t.kind == tokQuoted:
				steps = append(steps, &node{form: formDot, tok: t, at: true})
			case t.kind == tokStar && !simple:
				steps = append(steps, &node{form: formUnpivot, tok: t, at: true})
			case t.kind == tokStar:
				malformed("Invalid path dot component for simple path")
			default:
				malformed("Invalid path dot component")
			}
		case p.word("["):
			steps = append(steps, p.bracket(simple))
		case len(steps) == 1:
			return root
		default:
			return &node{form: formPath, tok: root.tok, at: root.at, operands: steps}
		}
	}
}

// bracket parses the rest of a step in brackets.
func (p *parser) bracket(simple bool) *node {
	if t := p.peek(); t.kind == tokStar {
		p.next()
		p.mustSymbol("]")
		if simple {
			malformed("Invalid path component for simple path")
		}
		return &node{form: formWildcard, tok: t, at: true}
	}
	n := p.expression(-1)
	p.mustSymbol("]")
	if simple && n.form != formLiteral && n.form != formName {
		malformed("Invalid path component for simple path")
	}
	return n
}

// term parses an operand without operators or path. Messages locate an operand at its first token, unless it has a place already.
func (p *parser) term() *node {
	t := p.peek()
	switch t.kind {
	case tokOperator:
		if t.word != "@" {
			malformed(unexpectedOperator)
		}
		p.next()
		if k := p.peek().kind; k != tokIdentifier && k != tokQuoted {
			malformed("Identifier must follow @-operator")
		}
		return &node{form: formName, tok: p.next(), at: true}
	case tokKeyword:
		return p.keyword()
	case tokIdentifier, tokQuoted:
		p.next()
		if p.word("(") {
			return p.call(t)
		}
		return &node{form: formName, tok: t, at: true}
	case tokParameter:
		p.next()
		return &node{form: formParameter, tok: t, at: true}
	case tokString, tokNumber, tokBool, tokNull, tokMissing, tokIon:
		p.next()
		return &node{form: formLiteral, tok: t, at: true}
	}
	n := &node{tok: t, at: true}
	switch {
	case p.word("("):
		n.operands = p.list(")")
		if len(n.operands) == 1 {
			return n.operands[0]
		}
		n.form = formList
	case p.word("["):
		n.form, n.operands = formList, p.sequence("]")
	case p.word("<<"):
		n.form, n.operands = formBag, p.sequence(">>")
	case p.word("{"):
		n.form, n.operands = formTuple, p.fields()
	default:
		malformed(unexpectedTerm)
	}
	return n
}

// sequence parses the elements of a list or bag; there may be none.
func (p *parser) sequence(end string) []*node {
	if p.word(end) {
		return nil
	}
	return p.list(end)
}

// fields parses the rest of a tuple.
func (p *parser) fields() []*node {
	var out []*node
	if p.word("}") {
		return nil
	}
	for {
		name := p.expression(-1)
		p.mustSymbol(":")
		out = append(out, name, p.expression(-1))
		if !p.word(",") {
			break
		}
	}
	p.mustSymbol("}")
	return out
}

// keyword parses a term that begins with a keyword.
func (p *parser) keyword() *node {
	t := p.next()
	switch t.word {
	case "insert_into", "set", "remove":
		p.at--
		return p.action()
	case "update", "delete", "from":
		return p.change(t)
	case "select":
		return p.selection(t)
	case "pivot":
		return p.pivot(t)
	case "case":
		return p.caseWhen(t)
	case "cast", "can_cast", "can_lossless_cast":
		return p.cast(t)
	case "create", "drop":
		return p.schema(t)
	case "exec":
		return p.exec(t)
	case "values":
		return p.rows(t)
	case "date", "time":
		return p.dateOrTime(t)
	}
	if !functionWords[t.word] {
		malformed(unexpectedKeyword)
	}
	if !p.word("(") {
		switch t.word {
		case "substring", "trim", "extract", "date_add", "date_diff":
			malformed("Expected LEFT_PAREN")
		case "nullif", "coalesce":
			malformed("Missing left parenthesis after ", t.word)
		}
		malformed(unexpectedKeyword)
	}
	return p.call(t)
}

// call parses the arguments of a function, behind the parenthesis.
func (p *parser) call(name token) *node {
	n := &node{form: formCall, tok: name, at: true}
	function := strings.ToLower(name.text)
	if aggregates[function] {
		n.form = formAggregate
		if !p.word("distinct") {
			p.word("all")
		}
	}
	switch t := p.peek(); {
	case t.kind == tokStar && function == "count":
		p.next()
		p.mustSymbol(")")
		return n
	case t.kind == tokStar:
		malformed(function, "(*) is not allowed")
	case t.word == ")":
		p.next()
	default:
		for {
			n.operands = append(n.operands, p.expression(-1))
			if next := p.peek().word; function == "substring" && len(n.operands) == 1 && next != "," && next != "from" {
				malformed("Expected KEYWORD 'from' OR COMMA")
			}
			// SUBSTRING, TRIM and EXTRACT have words between their operands
			if !p.word(",") && !(functionWords[function] && (p.word("from") || p.word("for"))) {
				break
			}
		}
		p.mustSymbol(")")
	}
	if n.form == formAggregate && len(n.operands) != 1 && (function != "count" || len(n.operands) == 0) {
		malformed("Aggregate functions are always unary")
	}
	return n
}

// caseWhen parses the rest of CASE.
func (p *parser) caseWhen(t token) *node {
	n := &node{form: formCase, tok: t, at: true}
	if p.peek().word != "when" {
		n.operands = append(n.operands, p.expression(-1))
	}
	if p.peek().word != "when" {
		malformed("Expected a WHEN clause in CASE")
	}
	for p.word("when") {
		n.operands = append(n.operands, p.expression(-1))
		p.mustWord("then")
		n.operands = append(n.operands, p.expression(-1))
	}
	if p.word("else") {
		n.operands = append(n.operands, p.expression(-1))
	}
	p.mustWord("end")
	return n
}

// cast parses the rest of CAST. Its place is the parenthesis.
func (p *parser) cast(t token) *node {
	n := &node{form: formCast, tok: p.peek(), at: true, kind: t.word}
	if !p.word("(") {
		malformed("Missing left parenthesis after ", t.word)
	}
	n.operands = []*node{p.expression(-1)}
	p.mustSymbol("as")
	p.typeName(t.word)
	p.mustSymbol(")")
	return n
}

// rows parses the rest of VALUES: lists in parentheses.
func (p *parser) rows(t token) *node {
	n := &node{form: formBag, tok: t, at: true}
	for {
		if !p.word("(") {
			malformed("Expected LEFT_PAREN for row value constructor")
		}
		n.operands = append(n.operands, &node{form: formList, operands: p.list(")")})
		if !p.word(",") {
			return n
		}
	}
}

// ionTypes are the names of tokens' types in messages about dates.
var ionTypes = map[kind]string{tokNumber: "INT", tokBool: "BOOL", tokNull: "NULL", tokMissing: "NULL"}

// dateOrTime parses the rest of a literal of a date or time.
func (p *parser) dateOrTime(t token) *node {
	if p.peek().kind != tokString {
		found := ionTypes[p.peek().kind]
		if found == "" {
			found = "SYMBOL"
		}
		what := "Expected date string followed by the keyword DATE"
		if t.word == "time" {
			what = "Expected time string followed by the keyword TIME OR TIME WITH TIME ZONE"
		}
		malformed(what, ", found ", found)
	}
	p.next()
	return &node{form: formLiteral, tok: t, at: true}
}

// schema parses the rest of CREATE or DROP.
func (p *parser) schema(t token) *node {
	n := &node{form: formSchema, tok: t, at: true}
	verb := strings.ToUpper(t.word[:1]) + t.word[1:]
	name := func(reason string) {
		if k := p.peek().kind; k != tokIdentifier && k != tokQuoted {
			malformed(reason)
		}
		p.next()
	}
	on := func() {
		if !p.word("on") {
			malformed("Expected ON")
		}
	}
	switch {
	case p.word("table"):
		n.kind = verb + "Table"
		name("Expected identifier!")
	case p.word("index") && t.word == "drop":
		n.kind = "DropIndex"
		name("Expected identifier!")
		on()
		name("Table target must be an identifier")
	case p.tokens[p.at-1].word == "index":
		n.kind = "CreateIndex"
		on()
		name("Index target must be an identifier")
		if !p.word("(") {
			malformed("Expected parenthesis for keys")
		}
		for p.simplePath(); p.word(","); p.simplePath() {
		}
		p.mustSymbol(")")
	default:
		malformed("Unexpected token following ", strings.ToUpper(t.word))
	}
	if !p.ends() {
		malformed("Unexpected tokens after ", strings.ToUpper(t.word), " statement!")
	}
	return n
}

// exec parses the rest of EXEC.
func (p *parser) exec(t token) *node {
	n := &node{form: formSchema, tok: t, at: true, kind: "Exec"}
	if p.next().kind == tokEnd {
		malformed("No stored procedure provided")
	}
	for _, later := range p.tokens[p.at-1:] {
		if later.word == "exec" {
			malformed("EXEC call found at unexpected location")
		}
	}
	if p.peek().word == "(" {
		malformed("Unexpected LEFT_PAREN found following stored procedure call")
	}
	for p.peek().kind != tokEnd {
		n.operands = append(n.operands, p.expression(-1))
		if !p.word(",") {
			break
		}
	}
	return n
}
