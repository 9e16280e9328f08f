package expr

import (
	"strconv"
	"strings"
)

// parser is a recursive descent parser. Its recursion is bounded by the size of the expression. The first error ends it by a panic with
// *Error, which the exported functions recover.
type parser struct {
	text      string
	tokens    []token
	pos       int
	closes    []int // position that closes the parenthesis at each position, or -1; nil until it is needed
	operators int
	problem   *Error // first violation of a rule other than the grammar; a syntax error takes precedence
}

// violated records a violation of a rule other than the grammar.
func (p *parser) violated(err *Error) {
	if p.problem == nil {
		p.problem = err
	}
}

// finish fails unless the whole text was parsed without a violation.
func (p *parser) finish() {
	if p.peek().kind != tokEOF {
		p.syntaxError()
	}
	if p.problem != nil {
		panic(p.problem)
	}
}

// newParser checks the size of an expression and tokenizes it.
func newParser(text string) *parser {
	if text == "" {
		panic(errorf("The expression can not be empty;"))
	}
	if len(text) > MaxSize {
		panic(tooLong())
	}
	return &parser{text: text, tokens: lex(text)}
}

func tooLong() *Error { return errorf("Expression size has exceeded the maximum allowed size;") }

// catch turns a panic with *Error into an error.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Error:
		*err = p
	default:
		panic(p)
	}
}

// ParseCondition parses a condition or filter expression.
func ParseCondition(text string) (c *Condition, err error) {
	defer catch(&err)
	if len(text) > MaxSize {
		e := tooLong()
		e.Older = e.Reason + " expression size: " + strconv.Itoa(len(text))
		return nil, e
	}
	p := newParser(text)
	root := p.or()
	p.finish()
	p.checkCondition(root)
	return &Condition{Root: root}, nil
}

// ParseProjection parses a projection expression.
func ParseProjection(text string) (pr *Projection, err error) {
	defer catch(&err)
	p := newParser(text)
	pr = &Projection{}
	for {
		pr.Paths = append(pr.Paths, p.path())
		if !p.accept(",") {
			break
		}
	}
	p.finish()
	return pr, nil
}

// ParseUpdate parses an update expression.
func ParseUpdate(text string) (u *Update, err error) {
	defer catch(&err)
	p := newParser(text)
	u = &Update{}
	var seen [4]bool
	for first := true; first || p.peek().kind != tokEOF; first = false {
		section, ok := p.section()
		if !ok {
			p.syntaxError()
		}
		if seen[section] {
			p.violated(errorf("The \"", sectionNames[section], "\" section can only be used once in an update expression;"))
		}
		seen[section] = true
		p.next()
		for {
			u.Actions = append(u.Actions, p.action(section))
			if !p.accept(",") {
				break
			}
		}
	}
	p.finish()
	for _, a := range u.Actions {
		if a.Operand != nil {
			checkUpdate(a.Operand)
		}
	}
	return u, nil
}

// section returns the clause whose keyword comes next.
func (p *parser) section() (Section, bool) {
	t := p.peek()
	if t.kind != tokIdent {
		return 0, false
	}
	for i, name := range sectionNames {
		if strings.EqualFold(t.text, name) {
			return Section(i), true
		}
	}
	return 0, false
}

// peek returns the current token.
func (p *parser) peek() token { return p.tokens[p.pos] }

// next consumes and returns the current token.
func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

// accept consumes a punctuation mark or keyword, if it comes next.
func (p *parser) accept(text string) bool {
	t := p.peek()
	if t.kind == tokPunct && t.text == text || t.kind == tokIdent && strings.EqualFold(t.text, text) && isKeyword(text) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(text string) {
	if !p.accept(text) {
		p.syntaxError()
	}
}

// syntaxError reports the current token and its neighbors.
func (p *parser) syntaxError() {
	t := p.peek()
	from, to := t.start, t.end
	if p.pos > 0 {
		from = p.tokens[p.pos-1].start
	}
	if t.kind == tokEOF {
		if p.pos == 0 {
			from = 0
		}
	} else if n := p.tokens[p.pos+1]; n.kind != tokEOF {
		to = n.end
	}
	panic(errorf("Syntax error; token: \"", t.text, "\", near: \"", p.text[from:to], "\""))
}

// isKeyword reports whether a word is part of the grammar. Such words can't be names, not even in contexts where they have no meaning.
func isKeyword(s string) bool {
	switch strings.ToUpper(s) {
	case "AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE":
		return true
	}
	return false
}

// node makes a node that counts against MaxOperators.
func (p *parser) node(op Op, args ...*Node) *Node {
	p.operators++
	if p.operators > MaxOperators {
		p.violated(errorf("The expression contains too many operators; operator count: ", strconv.Itoa(p.operators)))
	}
	return &Node{Op: op, Args: args}
}

// or, and, not parse the boolean operators, the weakest first.
func (p *parser) or() *Node {
	left := p.and()
	for p.accept("OR") {
		left = p.node(OpOr, left, p.and())
	}
	return left
}

func (p *parser) and() *Node {
	left := p.not()
	for p.accept("AND") {
		left = p.node(OpAnd, left, p.not())
	}
	return left
}

func (p *parser) not() *Node {
	if p.accept("NOT") {
		return p.node(OpNot, p.not())
	}
	return p.comparison()
}

var comparators = map[string]Op{"=": OpEQ, "<>": OpNE, "<": OpLT, "<=": OpLE, ">": OpGT, ">=": OpGE}

// isOperand reports whether a node is a value rather than a condition.
func (n *Node) isOperand() bool {
	switch n.Op {
	case OpPath, OpValue, OpSize, OpIfNotExists, OpListAppend, OpPlus, OpMinus:
		return true
	}
	return false
}

// comparison parses an operand of NOT, AND and OR: a comparison, BETWEEN, IN, a function or parentheses.
func (p *parser) comparison() *Node {
	left := p.primary(true)
	t := p.peek()
	if op, ok := comparators[t.text]; ok && t.kind == tokPunct {
		p.comparable(left)
		p.next()
		return p.node(op, left, p.operand())
	}
	if p.peekKeyword("BETWEEN") {
		p.comparable(left)
		p.next()
		low := p.operand()
		p.expect("AND")
		return p.node(OpBetween, left, low, p.operand())
	}
	if p.peekKeyword("IN") {
		p.comparable(left)
		p.next()
		p.expect("(")
		args := []*Node{left}
		for {
			args = append(args, p.operand())
			if !p.accept(",") {
				break
			}
		}
		p.expect(")")
		if n := len(args) - 1; n > MaxInOperands {
			p.violated(errorf("The IN operator is provided with too many operands; number of operands: ", strconv.Itoa(n)))
		}
		return p.node(OpIn, args...)
	}
	// No operator follows, so left must be a condition by itself, which an operand isn't.
	if left.isOperand() {
		if left.Op != OpSize {
			p.syntaxError()
		}
		p.misused(left.Op)
	}
	return left
}

// misused records that a function is used where it isn't allowed.
func (p *parser) misused(op Op) {
	p.violated(errorf("The function is not allowed to be used this way in an expression; function: ", op.String()))
}

// comparable fails unless the node may be the left side of a comparison.
func (p *parser) comparable(n *Node) {
	switch {
	case n.isOperand():
	case n.Op >= OpExists && n.Op <= OpContains:
		p.misused(n.Op)
	default:
		p.syntaxError()
	}
}

func (p *parser) peekKeyword(k string) bool {
	t := p.peek()
	return t.kind == tokIdent && strings.EqualFold(t.text, k)
}

// operand parses a value: a path, a placeholder, a function, or one of these in parentheses.
func (p *parser) operand() *Node {
	n := p.primary(false)
	if !n.isOperand() {
		if n.Op < OpExists || n.Op > OpContains {
			p.syntaxError()
		}
		p.misused(n.Op)
	}
	return n
}

// primary parses an operand or, if conditions is true, also a condition in parentheses or a boolean function.
func (p *parser) primary(conditions bool) *Node {
	t := p.peek()
	switch {
	case t.kind == tokPunct && t.text == "(":
		p.parentheses()
		var n *Node
		if conditions {
			n = p.orOrOperand()
		} else {
			n = p.primary(false)
		}
		p.expect(")")
		return n
	case t.kind == tokValue:
		p.next()
		return &Node{Op: OpValue, Name: t.text}
	case t.kind == tokIdent && p.tokens[p.pos+1].text == "(" && !isKeyword(t.text):
		return p.function()
	}
	return &Node{Op: OpPath, Path: p.path()}
}

// parentheses consumes an opening parenthesis. It records a violation if the next one spans the same text.
func (p *parser) parentheses() {
	outer := p.pos
	p.next()
	if t := p.peek(); t.kind == tokPunct && t.text == "(" && p.problem == nil {
		if end := p.closedAt(outer); end > 0 && p.closedAt(p.pos) == end-1 {
			p.violated(errorf("The expression has redundant parentheses;"))
		}
	}
}

// closedAt returns the position of the parenthesis that closes the one at pos, or -1.
func (p *parser) closedAt(pos int) int {
	if p.closes == nil {
		p.closes = make([]int, len(p.tokens))
		var open []int
		for i, t := range p.tokens {
			p.closes[i] = -1
			switch {
			case t.kind == tokPunct && t.text == "(":
				open = append(open, i)
			case t.kind == tokPunct && t.text == ")" && len(open) > 0:
				p.closes[open[len(open)-1]] = i
				open = open[:len(open)-1]
			}
		}
	}
	return p.closes[pos]
}

// orOrOperand parses the content of parentheses, which may turn out to be an operand: (a) = :b.
func (p *parser) orOrOperand() *Node {
	if t := p.peek(); t.kind == tokPunct && t.text == "(" {
		// Nested parentheses may contain an operand too, which or would refuse: ((a)) = :b.
		if end := p.closedAt(p.pos); end > 0 && p.tokens[end+1].text == ")" {
			return p.primary(true)
		}
	}
	start, count := p.pos, p.operators
	if n, ok := p.tryOperand(); ok {
		return n
	}
	p.pos, p.operators = start, count
	return p.or()
}

// tryOperand parses an operand if a closing parenthesis follows it.
func (p *parser) tryOperand() (n *Node, ok bool) {
	t := p.peek()
	switch {
	case t.kind == tokValue, t.kind == tokName, t.kind == tokIdent && !isKeyword(t.text):
	default:
		return nil, false
	}
	depth := 0
	for i := p.pos; ; i++ {
		switch t := p.tokens[i]; {
		case t.kind == tokEOF:
			return nil, false
		case t.text == "(":
			depth++
		case t.text == ")" && depth > 0:
			depth--
		case t.text == ")":
			n = p.primary(true)
			return n, p.pos == i
		case depth == 0 && (t.kind == tokPunct && t.text != "." && t.text != "[" && t.text != "]" || t.kind == tokIdent && isKeyword(t.text)):
			return nil, false
		}
	}
}

var functions = map[string]Op{
	"attribute_exists": OpExists, "attribute_not_exists": OpNotExists, "attribute_type": OpType, "begins_with": OpBeginsWith,
	"contains": OpContains, "size": OpSize, "if_not_exists": OpIfNotExists, "list_append": OpListAppend,
}

// function parses a function call. An unknown name is a violation, not a syntax error.
func (p *parser) function() *Node {
	name := p.next().text
	p.expect("(")
	var args []*Node
	for {
		args = append(args, p.primary(false))
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	op, ok := functions[name]
	if !ok {
		p.violated(errorf("Invalid function name; function: ", name))
		op = OpExists // any operation will do: the expression is refused
	}
	return p.node(op, args...)
}

// operandCount returns the number of operands of a function.
func operandCount(op Op) int {
	switch op {
	case OpExists, OpNotExists, OpSize:
		return 1
	}
	return 2
}

// checkFunction checks a function's operands as far as they don't depend on values.
func checkFunction(n *Node) {
	if len(n.Args) != operandCount(n.Op) {
		panic(errorf("Incorrect number of operands for operator or function; operator or function: ", n.Op.String(),
			", number of operands: ", strconv.Itoa(len(n.Args))))
	}
	switch n.Op {
	case OpExists, OpNotExists, OpIfNotExists:
		if n.Args[0].Op != OpPath {
			panic(errorf("Operator or function requires a document path; operator or function: ", n.Op.String()))
		}
	}
	for i, a := range n.Args {
		switch a.Op {
		case OpExists, OpNotExists, OpType, OpBeginsWith, OpContains:
			panic(errorf("The function is not allowed to be used this way in an expression; function: ", a.Op.String()))
		case OpListAppend:
			if n.Op == OpListAppend {
				panic(errorf("The function is not allowed to be used this way in an expression; function: ", a.Op.String()))
			}
		case OpSize:
			if n.Op == OpType || n.Op == OpBeginsWith && i == 0 || n.Op == OpSize {
				panic(wrongType(n.Op, "N"))
			}
		}
	}
}

// wrongType is AWS's sentence for an operand of the wrong type.
func wrongType(op Op, operand string) *Error {
	return errorf("Incorrect operand type for operator or function; operator or function: ", op.String(), ", operand type: ", operand)
}

// checkCondition checks the functions of a condition expression.
func (p *parser) checkCondition(n *Node) {
	switch {
	case n.Op == OpIfNotExists || n.Op == OpListAppend:
		panic(errorf("The function is not allowed in a condition expression; function: ", n.Op.String()))
	case n.Op >= OpExists && n.Op <= OpSize:
		checkFunction(n)
	}
	for _, a := range n.Args {
		p.checkCondition(a)
	}
}

// path parses a document path.
func (p *parser) path() Path {
	var out Path
	name := func() {
		t := p.peek()
		switch {
		case t.kind == tokName:
		case t.kind == tokIdent && !isKeyword(t.text):
			if Reserved(t.text) {
				p.violated(errorf("Attribute name is a reserved keyword; reserved keyword: ", t.text))
			}
		default:
			p.syntaxError()
		}
		p.next()
		out = append(out, PathElem{Name: t.text})
	}
	name()
	for {
		switch {
		case p.accept("."):
			name()
		case p.accept("["):
			t := p.peek()
			if t.kind != tokNumber {
				p.syntaxError()
			}
			p.next()
			// Indexes are Java ints.
			i, err := strconv.ParseInt(t.text, 10, 32)
			if err != nil {
				p.violated(errorf("List index is not within the allowable range; index: [", t.text, "]"))
			}
			p.expect("]")
			out = append(out, PathElem{Index: int(i), IsIndex: true})
		default:
			if len(out) > MaxPathLevels {
				p.violated(errorf("The document path has too many nesting levels; nesting levels: ", strconv.Itoa(len(out))))
			}
			return out
		}
	}
}

// action parses an action of a clause of an update expression.
func (p *parser) action(s Section) Action {
	a := Action{Section: s, Path: p.path()}
	switch s {
	case SectionSet:
		p.expect("=")
		a.Operand = p.setValue()
		p.operators++
	case SectionAdd, SectionDelete:
		t := p.peek()
		if t.kind != tokValue {
			p.syntaxError()
		}
		p.next()
		a.Operand = &Node{Op: OpValue, Name: t.text}
	}
	return a
}

// setValue parses the right side of SET: an operand, or the sum or difference of two.
func (p *parser) setValue() *Node {
	left := p.setOperand()
	switch {
	case p.accept("+"):
		return p.node(OpPlus, left, p.setOperand())
	case p.accept("-"):
		return p.node(OpMinus, left, p.setOperand())
	}
	return left
}

// setOperand parses an operand of SET.
func (p *parser) setOperand() *Node {
	if t := p.peek(); t.kind == tokPunct && t.text == "(" {
		p.parentheses()
		n := p.setValue()
		p.expect(")")
		return n
	}
	return p.primary(false)
}

// checkUpdate checks the functions of an update expression.
func checkUpdate(n *Node) {
	switch n.Op {
	case OpExists, OpNotExists, OpType, OpBeginsWith, OpContains, OpSize:
		panic(errorf("The function is not allowed in an update expression; function: ", n.Op.String()))
	case OpIfNotExists, OpListAppend:
		checkFunction(n)
	}
	for _, a := range n.Args {
		checkUpdate(a)
	}
}
