package partiql

import (
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/expr"
)

// node returns an operation.
func node(op expr.Op, args ...*expr.Node) *expr.Node { return &expr.Node{Op: op, Args: args} }

// value returns a literal.
func value(v attribute.Value) *expr.Node { return &expr.Node{Op: expr.OpValue, Lit: v} }

// boolean reports whether a node is a condition rather than a value.
func boolean(n *expr.Node) bool {
	switch n.Op {
	case expr.OpPath, expr.OpValue, expr.OpSize, expr.OpPlus, expr.OpMinus, expr.OpIfNotExists, expr.OpListAppend:
		return false
	}
	return true
}

// condition parses the condition after WHERE.
func (p *parser) condition() *expr.Node {
	n := p.mustBe(p.or())
	p.checkCondition(n)
	return n
}

// mustBe fails unless n is a condition.
func (p *parser) mustBe(n *expr.Node) *expr.Node {
	if !boolean(n) {
		if n.Op == expr.OpPlus || n.Op == expr.OpMinus {
			p.checkCondition(n)
		}
		fail("WHERE clause must contain an expression that resolves to a boolean")
	}
	return n
}

// checkCondition fails for operations that only updates have.
func (p *parser) checkCondition(n *expr.Node) {
	switch n.Op {
	case expr.OpPlus, expr.OpMinus:
		fail("Unsupported operator in Condition Expression. Operator: ", n.Op.String())
	case expr.OpIfNotExists, expr.OpListAppend:
		fail("The function is not allowed in a condition expression; function: ", n.Op.String())
	}
	for _, a := range n.Args {
		p.checkCondition(a)
	}
}

// or, and, not parse the boolean operators, the weakest first. Parentheses may turn out to contain a value, so the operators check their
// operands with mustBe.
func (p *parser) or() *expr.Node {
	p.enter()
	defer p.leave()
	n := p.and()
	for p.word("OR") {
		n = node(expr.OpOr, p.mustBe(n), p.mustBe(p.and()))
	}
	return n
}

func (p *parser) and() *expr.Node {
	n := p.not()
	for p.word("AND") {
		n = node(expr.OpAnd, p.mustBe(n), p.mustBe(p.not()))
	}
	return n
}

func (p *parser) not() *expr.Node {
	if p.word("NOT") {
		p.enter()
		defer p.leave()
		return node(expr.OpNot, p.mustBe(p.not()))
	}
	return p.comparison()
}

// enter counts a level of nesting.
func (p *parser) enter() {
	if p.depth++; p.depth > maxDepth {
		fail("Statement wasn't well formed, can't be processed: too many nested expressions")
	}
}

func (p *parser) leave() { p.depth-- }

var comparisons = map[string]expr.Op{
	"=": expr.OpEQ, "<>": expr.OpNE, "!=": expr.OpNE, "<": expr.OpLT, "<=": expr.OpLE, ">": expr.OpGT, ">=": expr.OpGE,
}

// comparison parses a comparison, BETWEEN, IN or IS, or a single operand.
func (p *parser) comparison() *expr.Node {
	left := p.sum()
	if t := p.peek(); t.kind == tokSymbol {
		op, ok := comparisons[t.text]
		if !ok {
			return left
		}
		p.next()
		return node(op, left, p.sum())
	}
	if p.word("IS") {
		negated := p.word("NOT")
		return negate(p.is(left), negated)
	}
	negated := p.word("NOT")
	switch {
	case p.word("BETWEEN"):
		low := p.sum()
		p.mustWord("AND")
		return negate(node(expr.OpBetween, left, low, p.sum()), negated)
	case p.word("IN"):
		return negate(p.in(left), negated)
	case p.word("LIKE"):
		fail("Unsupported operator in Condition Expression. Operator: like")
	case negated:
		p.malformed()
	}
	return left
}

// negate wraps n in NOT if negated is true.
func negate(n *expr.Node, negated bool) *expr.Node {
	if negated {
		return node(expr.OpNot, n)
	}
	return n
}

// isTypes maps the types that IS tests for from PartiQL's names to DynamoDB's.
var isTypes = map[string]string{"NULL": "NULL", "STRING": "S", "BOOLEAN": "BOOL", "BOOL": "BOOL", "LIST": "L", "STRUCT": "M", "TUPLE": "M", "BLOB": "B"}

// is parses the type after IS.
func (p *parser) is(left *expr.Node) *expr.Node {
	if left.Op != expr.OpPath {
		p.malformed()
	}
	t := p.next()
	if t.kind != tokWord {
		p.malformed()
	}
	name := strings.ToUpper(t.text)
	if name == "MISSING" {
		return node(expr.OpNotExists, left)
	}
	letter, ok := isTypes[name]
	if !ok {
		p.malformed()
	}
	return node(expr.OpType, left, value(attribute.String(letter)))
}

// in parses the list after IN.
func (p *parser) in(left *expr.Node) *expr.Node {
	end := "]"
	if !p.symbol("[") {
		p.mustSymbol("(")
		end = ")"
	}
	n := node(expr.OpIn, left)
	if !p.symbol(end) {
		for {
			n.Args = append(n.Args, p.sum())
			if p.symbol(end) {
				break
			}
			p.mustSymbol(",")
		}
	}
	if len(n.Args) == 1 || left.Op != expr.OpPath {
		fail("IN operator must have a left hand argument of type Variable Reference and right hand argument of type Seq with at least one member")
	}
	if len(n.Args)-1 > expr.MaxInOperands {
		fail("Invalid IN clause: too many operands; number of operands: ", strconv.Itoa(len(n.Args)-1))
	}
	return n
}

// sum parses + and - between operands.
func (p *parser) sum() *expr.Node {
	n := p.operand()
	for {
		switch {
		case p.symbol("+"):
			n = node(expr.OpPlus, n, p.operand())
		case p.symbol("-"):
			n = node(expr.OpMinus, n, p.operand())
		default:
			return n
		}
	}
}

// functions are the supported functions and their number of operands.
var functions = map[string]struct {
	op expr.Op
	n  int
}{
	"begins_with": {expr.OpBeginsWith, 2}, "contains": {expr.OpContains, 2}, "attribute_type": {expr.OpType, 2}, "size": {expr.OpSize, 1},
	"attribute_exists": {expr.OpExists, 1}, "attribute_not_exists": {expr.OpNotExists, 1},
	"list_append": {expr.OpListAppend, 2}, "if_not_exists": {expr.OpIfNotExists, 2},
}

// operand parses parentheses, a function call, a path or a literal.
func (p *parser) operand() *expr.Node {
	t := p.peek()
	switch {
	case t.kind == tokSymbol && t.text == "(":
		p.next()
		n := p.or()
		p.mustSymbol(")")
		return n
	case t.kind == tokWord && p.tokens[p.at+1].kind == tokSymbol && p.tokens[p.at+1].text == "(":
		return p.call()
	case t.kind == tokQuoted, t.kind == tokWord && !isLiteral(t):
		return &expr.Node{Op: expr.OpPath, Path: p.path()}
	}
	return value(p.literal("root"))
}

// isLiteral reports whether a word is a value rather than a name.
func isLiteral(t token) bool {
	switch strings.ToUpper(t.text) {
	case "TRUE", "FALSE", "NULL":
		return true
	}
	return false
}

// call parses a function call.
func (p *parser) call() *expr.Node {
	p.enter()
	defer p.leave()
	t := p.next()
	name := strings.ToLower(t.text)
	if name == "exists" {
		fail("EXISTS can only be used in ExecuteTransaction write requests.")
	}
	f, ok := functions[name]
	if !ok {
		if keywords[strings.ToUpper(name)] {
			p.malformed()
		}
		fail("Unrecognized function: ", t.text)
	}
	args := p.arguments()
	if len(args) != f.n {
		fail("Incorrect number of operands for operator or function; operator or function: ", name, ", number of operands: ", strconv.Itoa(len(args)))
	}
	if (f.op == expr.OpExists || f.op == expr.OpNotExists || f.op == expr.OpIfNotExists) && args[0].Op != expr.OpPath {
		fail("Operator or function requires a document path; operator or function: ", name)
	}
	for _, a := range args {
		if boolean(a) {
			p.malformed()
		}
	}
	return node(f.op, args...)
}

// arguments parses the arguments of a function, in parentheses.
func (p *parser) arguments() []*expr.Node {
	p.mustSymbol("(")
	var args []*expr.Node
	if p.symbol(")") {
		return nil
	}
	for {
		args = append(args, p.sum())
		if p.symbol(")") {
			return args
		}
		p.mustSymbol(",")
	}
}

// assignment parses path = operand, after SET.
func (p *parser) assignment() expr.Action {
	a := expr.Action{Section: expr.SectionSet, Path: p.path()}
	p.mustSymbol("=")
	if t := p.peek(); t.kind == tokWord && p.tokens[p.at+1].kind == tokSymbol && p.tokens[p.at+1].text == "(" {
		switch strings.ToLower(t.text) {
		case "set_add":
			return p.setFunction(a, expr.SectionAdd)
		case "set_delete":
			return p.setFunction(a, expr.SectionDelete)
		}
	}
	a.Operand = p.sum()
	p.checkUpdate(a.Operand)
	return a
}

// checkUpdate fails for operations that only conditions have.
func (p *parser) checkUpdate(n *expr.Node) {
	switch n.Op {
	case expr.OpPath, expr.OpValue, expr.OpPlus, expr.OpMinus, expr.OpListAppend, expr.OpIfNotExists:
	case expr.OpSize, expr.OpBeginsWith, expr.OpContains, expr.OpType, expr.OpExists, expr.OpNotExists:
		fail("The function is not allowed in an update expression; function: ", n.Op.String())
	default:
		p.malformed()
	}
	for _, a := range n.Args {
		p.checkUpdate(a)
	}
}

// setFunction parses set_add(path, set) or set_delete(path, set). The path must be the assigned one.
func (p *parser) setFunction(a expr.Action, section expr.Section) expr.Action {
	t := p.next()
	name := strings.ToUpper(t.text)
	p.mustSymbol("(")
	at := p.peek()
	first := p.path()
	if !samePath(first, a.Path) {
		fail("The first argument to ", name, " must equal the assignment value")
	}
	p.mustSymbol(",")
	v := p.literal("root")
	switch v.Type() {
	case attribute.TypeSS, attribute.TypeNS, attribute.TypeBS:
	default:
		fail("The second argument to ", name, " must be a value with type SET", p.place(at))
	}
	p.mustSymbol(")")
	a.Section, a.Operand = section, value(v)
	return a
}

func samePath(a, b expr.Path) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// literal parses a value: a scalar, a parameter, a list, a tuple or a bag. key is its place, for messages.
func (p *parser) literal(key string) attribute.Value {
	p.nested++
	defer func() { p.nested-- }()
	if p.nested > attribute.MaxDepth {
		fail("Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit")
	}
	t := p.next()
	switch t.kind {
	case tokString:
		return attribute.String(t.text)
	case tokNumber:
		return p.number(t.text)
	case tokIon:
		fail("Ion Literals are not supported", p.place(t))
	case tokQuoted:
		p.unsupported(t, key)
	case tokWord:
		switch strings.ToUpper(t.text) {
		case "TRUE":
			return attribute.True
		case "FALSE":
			return attribute.False
		case "NULL":
			return attribute.Null
		}
		if !keywords[strings.ToUpper(t.text)] {
			p.unsupported(t, key)
		}
	case tokSymbol:
		switch t.text {
		case "-", "+":
			if n := p.next(); n.kind == tokNumber {
				sign := ""
				if t.text == "-" {
					sign = "-"
				}
				return p.number(sign + n.text)
			}
		case "?":
			return p.parameter()
		case "[":
			return p.list(key)
		case "<<":
			return p.bag(t)
		case "{":
			p.at-- // tuple takes the brace itself
			return sized(attribute.NewMap(p.tuple(key, key+".")))
		}
	}
	p.malformed()
	return nil
}

// unsupported is the error for a token that isn't a value.
func (p *parser) unsupported(t token, key string) {
	fail("Unsupported data type: ", t.text, " under key ", key, p.place(t))
}

func (p *parser) number(text string) attribute.Value {
	n, problem := attribute.AppendNumber(nil, []byte(text))
	if problem != "" {
		fail(problem)
	}
	return attribute.AppendScalar(nil, attribute.TypeN, n)
}

// parameter returns the next parameter.
func (p *parser) parameter() attribute.Value {
	if p.used >= len(p.params) {
		p.wrongParameters()
	}
	p.used++
	return p.params[p.used-1]
}

// list parses the rest of a list, after its bracket.
func (p *parser) list(key string) attribute.Value {
	var elems []attribute.Value
	if p.symbol("]") {
		return attribute.NewList(nil)
	}
	for {
		elems = append(elems, p.literal(key+"."+strconv.Itoa(len(elems))))
		p.noOperator(key)
		if p.symbol("]") {
			return sized(attribute.NewList(elems))
		}
		p.mustSymbol(",")
	}
}

// sized fails for a list or map that no item can hold. Each level of a nested value copies what is below, and a parameter may be large even
// if the statement is short.
func sized(v attribute.Value) attribute.Value {
	if v.Size() > attribute.MaxItemSize {
		fail("Item size has exceeded the maximum allowed size")
	}
	return v
}

// noOperator fails for arithmetic within values.
func (p *parser) noOperator(key string) {
	if p.isSymbol("+") || p.isSymbol("-") {
		p.unsupported(p.peek(), key)
	}
}

// tuple parses {'name': value, …}. In messages, a value is called prefix and its name or, without a prefix, key.
func (p *parser) tuple(key, prefix string) []attribute.Field {
	p.mustSymbol("{")
	fields := []attribute.Field{}
	if p.symbol("}") {
		return fields
	}
	seen := map[string]bool{}
	for {
		t := p.next()
		switch {
		case t.kind == tokQuoted || t.kind == tokWord:
			fail("Tuple keys must be of type String. Actual type: VariableReference under ", key, p.place(t))
		case t.kind != tokString:
			p.malformed()
		case seen[t.text]:
			fail("Duplicate keys in tuple. Key: ", t.text, " under ", key, p.place(t))
		}
		seen[t.text] = true
		p.mustSymbol(":")
		where := key
		if prefix != "" {
			where = prefix + t.text
		}
		fields = append(fields, attribute.Field{Name: t.text, Value: p.literal(where)})
		p.noOperator(key)
		if p.symbol("}") {
			return fields
		}
		p.mustSymbol(",")
	}
}

// bag parses a set, << … >>.
func (p *parser) bag(first token) attribute.Value {
	if p.symbol(">>") {
		fail("Empty bags are not supported", p.place(first))
	}
	var kind attribute.Type
	var elems [][]byte
	seen := map[string]bool{}
	for {
		v := p.literal("root")
		t := setTypes[v.Type()]
		if t == attribute.TypeNone || kind != attribute.TypeNone && t != kind {
			fail("Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags")
		}
		kind = t
		if seen[string(v.Bytes())] {
			fail("Input collection contains duplicates")
		}
		seen[string(v.Bytes())] = true
		elems = append(elems, v.Bytes())
		if p.symbol(">>") {
			return attribute.NewSet(kind, elems)
		}
		p.mustSymbol(",")
	}
}

// setTypes are the types of sets, by the type of their elements.
var setTypes = map[attribute.Type]attribute.Type{
	attribute.TypeS: attribute.TypeSS, attribute.TypeN: attribute.TypeNS, attribute.TypeB: attribute.TypeBS,
}
