package cloudwatch

import (
	"fmt"
	"strconv"
	"strings"
)

// Metric math ("Using math expressions with CloudWatch metrics"). parseMath parses an expression into a tree of nodes. check then
// verifies functions and types before anything is computed, so that eval, which runs over the results of other queries, can rely on
// them. A budget bounds what may be computed.

// mathError is a mistake in an expression.
type mathError struct{ message string }

func (e *mathError) Error() string { return e.message }

// wrong returns a mathError.
func wrong(format string, args ...any) error { return &mathError{fmt.Sprintf(format, args...)} }

// node is a node of an expression's syntax tree.
type node struct {
	op     string // number, text, name, call, neg, [ for an array, or an operator
	text   string // content of a text, or a name
	number float64
	args   []*node
	kind   kind // set by check
}

// mathParser is a recursive-descent parser for expressions.
type mathParser struct {
	text string
	at   int
}

const (
	maxExpression      = 2048 // in bytes ("MetricDataQuery")
	maxAlarmExpression = 1024 // of an alarm, in bytes ("MetricDataQuery")
	// maxExpressionDepth bounds the parser's recursion. AWS documents no such bound.
	maxExpressionDepth = 64
)

// parseMath parses an expression. Chains of operators nest to the left without counting as depth, so the tree may be as deep as the
// expression is long.
func parseMath(text string) (*node, error) {
	if len(text) > maxExpression {
		return nil, wrong("The expression is longer than %d characters", maxExpression)
	}
	p := &mathParser{text: text}
	n, err := p.binary(0, 0)
	if err != nil {
		return nil, err
	}
	if p.skip(); p.at < len(text) {
		return nil, wrong("Unexpected %q at position %d", text[p.at:p.at+1], p.at)
	}
	return n, nil
}

// skip skips white space.
func (p *mathParser) skip() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// levels are the binary operators by precedence, the weakest first.
var levels = [][]string{{"OR", "||"}, {"AND", "&&"}, {"==", "!=", "<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/"}, {"^"}}

// operator takes an operator of a level, or returns "".
func (p *mathParser) operator(level int) string {
	p.skip()
	for _, op := range levels[level] {
		rest := p.text[p.at:]
		if len(rest) < len(op) || !strings.EqualFold(rest[:len(op)], op) {
			continue
		}
		if isNameByte(op[0]) && len(rest) > len(op) && isNameByte(rest[len(op)]) {
			continue
		}
		p.at += len(op)
		return op
	}
	return ""
}

// isNameByte reports whether ids and names of functions may contain the byte.
func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// binary parses an expression of operators of a level and stronger ones. depth counts nested parentheses, calls and exponents.
func (p *mathParser) binary(level, depth int) (*node, error) {
	if depth > maxExpressionDepth {
		return nil, wrong("The expression is nested too deep")
	}
	if level == len(levels) {
		return p.unary(depth)
	}
	left, err := p.binary(level+1, depth)
	for err == nil {
		op := p.operator(level)
		if op == "" {
			return left, nil
		}
		var right *node
		if op == "^" { // right-associative
			right, err = p.binary(level, depth+1)
		} else {
			right, err = p.binary(level+1, depth)
		}
		left = &node{op: op, args: []*node{left, right}}
	}
	return nil, err
}

// unary parses a number, text, name, call, array, or an expression in parentheses.
func (p *mathParser) unary(depth int) (*node, error) {
	p.skip()
	if p.at == len(p.text) {
		return nil, wrong("Unexpected end of the expression")
	}
	switch c := p.text[p.at]; {
	case c == '-':
		p.at++
		// ^ binds more tightly than the sign: -2^2 is -4.
		arg, err := p.binary(len(levels)-1, depth+1)
		return &node{op: "neg", args: []*node{arg}}, err
	case c == '(':
		p.at++
		n, err := p.binary(0, depth+1)
		if err != nil {
			return nil, err
		}
		return n, p.expect(')')
	case c == '[':
		p.at++
		args, err := p.list(']', depth)
		return &node{op: "[", args: args}, err
	case c == '"' || c == '\'':
		return p.quoted(c)
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	case isNameByte(c):
		return p.name(depth)
	}
	return nil, wrong("Unexpected %q at position %d", p.text[p.at:p.at+1], p.at)
}

// quoted parses a text in quotes.
func (p *mathParser) quoted(quote byte) (*node, error) {
	end := strings.IndexByte(p.text[p.at+1:], quote)
	if end < 0 {
		return nil, wrong("Unterminated string at position %d", p.at)
	}
	text := p.text[p.at+1 : p.at+1+end]
	p.at += end + 2
	return &node{op: "text", text: text}, nil
}

// number parses a number.
func (p *mathParser) number() (*node, error) {
	start := p.at
	// Take everything that looks like part of the number; ParseFloat refuses the rest. A sign belongs to it only after an e.
	for p.at < len(p.text) && (isNameByte(p.text[p.at]) || p.text[p.at] == '.' ||
		(p.text[p.at] == '-' || p.text[p.at] == '+') && strings.IndexByte("eE", p.text[p.at-1]) >= 0) {
		p.at++
	}
	v, err := strconv.ParseFloat(p.text[start:p.at], 64)
	if err != nil {
		return nil, wrong("%q is not a number", p.text[start:p.at])
	}
	return &node{op: "number", number: v}, nil
}

// name parses a name: of a query, of a function with its arguments, or of a truth value.
func (p *mathParser) name(depth int) (*node, error) {
	start := p.at
	for p.at < len(p.text) && isNameByte(p.text[p.at]) {
		p.at++
	}
	name := p.text[start:p.at]
	if p.skip(); p.at < len(p.text) && p.text[p.at] == '(' {
		function := strings.ToUpper(name)
		if _, ok := functions[function]; !ok {
			return nil, wrong("The function %s is not supported", function)
		}
		p.at++
		args, err := p.list(')', depth)
		return &node{op: "call", text: function, args: args}, err
	}
	// Truth values are numbers: comparisons return 1 and 0, too.
	switch strings.ToUpper(name) {
	case "TRUE":
		return &node{op: "number", number: 1}, nil
	case "FALSE":
		return &node{op: "number", number: 0}, nil
	}
	return &node{op: "name", text: name}, nil
}

// expect takes a character.
func (p *mathParser) expect(c byte) error {
	if p.skip(); p.at == len(p.text) || p.text[p.at] != c {
		return wrong("Missing %q at position %d", string(c), p.at)
	}
	p.at++
	return nil
}

// list parses comma-separated expressions up to and including the closing character.
func (p *mathParser) list(end byte, depth int) (out []*node, err error) {
	if p.skip(); p.at < len(p.text) && p.text[p.at] == end {
		p.at++
		return nil, nil
	}
	for {
		n, err := p.binary(0, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
		if p.skip(); p.at < len(p.text) && p.text[p.at] == ',' {
			p.at++
			continue
		}
		return out, p.expect(end)
	}
}

// names visits the id of each query that the expression refers to. METRICS() counts as "".
func (n *node) names(visit func(id string)) {
	switch n.op {
	case "name":
		visit(n.text)
	case "call":
		if n.text == "METRICS" {
			visit("")
		}
		for i, a := range n.args {
			if a.op != "name" || !isWord(n.text, i, a.text) {
				a.names(visit)
			}
		}
	default:
		for _, a := range n.args {
			a.names(visit)
		}
	}
}

// kind is the type of an expression. AWS's documentation calls the first three S, TS and TS[]. Kinds are bits, so that a function can
// accept several.
type kind uint8

const (
	aNumber kind = 1 << iota
	aSeries
	aList // an array of time series
	aText // a string, or a word such as REPEAT as an argument
)

func (k kind) String() string {
	return map[kind]string{aNumber: "number", aSeries: "time series", aList: "array of time series", aText: "string"}[k]
}

// check verifies functions and types, and sets each node's kind. kindOf returns the kind of another query.
func (n *node) check(kindOf func(id string) (kind, error)) (_ kind, err error) {
	defer func() {
		if n.kind == 0 && err == nil {
			err = wrong("Unsupported expression")
		}
	}()
	switch n.op {
	case "number":
		n.kind = aNumber
		return n.kind, nil
	case "text":
		n.kind = aText
		return n.kind, nil
	case "name":
		n.kind, err = kindOf(n.text)
		return n.kind, err
	}
	kinds := make([]kind, len(n.args))
	for i, a := range n.args {
		// A bare word such as REPEAT parses as a name. Only the function that takes it shows that it is text.
		if n.op == "call" && a.op == "name" && isWord(n.text, i, a.text) {
			a.op, a.text = "text", strings.ToUpper(a.text)
		}
		if kinds[i], err = a.check(kindOf); err != nil {
			return 0, err
		}
	}
	switch n.op {
	case "call":
		f := functions[n.text] // the parser has verified that it exists
		if len(kinds) < f.min || len(kinds) > len(f.args) {
			return 0, wrong("The function %s was given %d arguments", n.text, len(kinds))
		}
		for i, k := range kinds {
			if k&f.args[i] == 0 {
				return 0, wrong("Argument %d of the function %s can't be a %s", i+1, n.text, k)
			}
			if k == aText && !f.takes(i, n.args[i].text) {
				return 0, wrong("Argument %d of the function %s can't be %q", i+1, n.text, n.args[i].text)
			}
		}
		n.kind = f.result(kinds)
	case "[":
		n.kind = aList
		for _, k := range kinds {
			if k&(aSeries|aList) == 0 {
				return 0, wrong("An array can contain only time series")
			}
		}
	case "neg":
		n.kind, err = operands("-", kinds[0], aNumber)
	default:
		n.kind, err = operands(n.op, kinds[0], kinds[1])
	}
	return n.kind, err
}

// operands returns the kind of an operation on two kinds.
func operands(op string, a, b kind) (kind, error) {
	switch both := a | b; {
	case both&aText != 0 || a == aList && b == aList:
		return 0, wrong("Unsupported operand type(s) for %s: %s and %s", op, a, b)
	case both&aList != 0:
		return aList, nil
	case both&aSeries != 0:
		return aSeries, nil
	}
	return aNumber, nil
}
