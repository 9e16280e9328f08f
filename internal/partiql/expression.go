package partiql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/expr"
)

// operation returns an operation.
func operation(op expr.Op, args ...*expr.Node) *expr.Node { return &expr.Node{Op: op, Args: args} }

// literalNode returns a literal.
func literalNode(v attribute.Value) *expr.Node { return &expr.Node{Op: expr.OpValue, Lit: v} }

// boolean reports whether a node is a condition rather than a value.
func boolean(n *expr.Node) bool {
	switch n.Op {
	case expr.OpPath, expr.OpValue, expr.OpSize, expr.OpPlus, expr.OpMinus, expr.OpIfNotExists, expr.OpListAppend:
		return false
	}
	return true
}

// condition finds the meaning of the condition after WHERE.
func (m *meaning) condition(n *node) *expr.Node {
	out := m.operand(n, false)
	if !boolean(out) {
		fail("WHERE clause must contain an expression that resolves to a boolean")
	}
	if n := operators(out); n > expr.MaxOperators {
		fail("The expression contains too many operators; operator count: ", strconv.Itoa(expr.MaxOperators+1))
	}
	return out
}

// operators counts the operators and functions in a tree.
func operators(n *expr.Node) int {
	if n.Op == expr.OpPath || n.Op == expr.OpValue {
		return 0
	}
	count := 1
	for _, a := range n.Args {
		count += operators(a)
	}
	return count
}

// functions are the supported functions, their number of operands, and where they are allowed.
var functions = map[string]struct {
	op     expr.Op
	n      int
	update bool
}{
	"begins_with": {expr.OpBeginsWith, 2, false}, "contains": {expr.OpContains, 2, false}, "attribute_type": {expr.OpType, 2, false},
	"size": {expr.OpSize, 1, false}, "attribute_exists": {expr.OpExists, 1, false}, "attribute_not_exists": {expr.OpNotExists, 1, false},
	"list_append": {expr.OpListAppend, 2, true}, "if_not_exists": {expr.OpIfNotExists, 2, true},
}

// OperandProblem returns the sentence for an operator or function with the wrong operands, as far as expr's own checks don't find it. AWS
// reports the first in the order in which they are written.
func OperandProblem(n *expr.Node) string {
	switch n.Op {
	case expr.OpIn:
		if len(n.Args)-1 > expr.MaxInOperands && !ownMember(n) {
			return "The IN operator is provided with too many operands; number of operands: " + strconv.Itoa(len(n.Args)-1)
		}
		return ""
	case expr.OpAnd, expr.OpOr, expr.OpNot:
		for _, a := range n.Args {
			if !boolean(a) { // a size
				return "Incorrect operand type for operator or function; operator or function: " + n.Op.String() + ", operand type: N"
			}
		}
		return ""
	}
	f, ok := functions[n.Op.String()]
	switch {
	case !ok:
	case len(n.Args) != f.n:
		return wrongNumber(n.Op.String(), len(n.Args))
	case (n.Op == expr.OpExists || n.Op == expr.OpNotExists || n.Op == expr.OpIfNotExists) && n.Args[0].Op != expr.OpPath:
		return "Operator or function requires a document path; operator or function: " + n.Op.String()
	}
	return ""
}

// ownMember reports whether IN looks for a path among operands that include it. Binding refuses that.
func ownMember(n *expr.Node) bool {
	for _, a := range n.Args[1:] {
		if a.Op == expr.OpPath && n.Args[0].Op == expr.OpPath && slices.Equal(a.Path, n.Args[0].Path) {
			return true
		}
	}
	return false
}

// wrongNumber is the sentence for a wrong number of operands.
func wrongNumber(name string, n int) string {
	return "Incorrect number of operands for operator or function; operator or function: " + name + ", number of operands: " + strconv.Itoa(n)
}

var comparisons = map[string]expr.Op{
	"=": expr.OpEQ, "<>": expr.OpNE, "<": expr.OpLT, "<=": expr.OpLE, ">": expr.OpGT, ">=": expr.OpGE,
}

// operand finds the meaning of an expression in a condition or, if update is true, behind SET.
func (m *meaning) operand(n *node, update bool) *expr.Node {
	switch n.form {
	case formName, formPath:
		return &expr.Node{Op: expr.OpPath, Path: m.path(n)}
	case formOperator:
		return m.operator(n, update)
	case formIs:
		if update {
			fail("IS operator is not supported in update expressions")
		}
		return m.isType(n)
	case formCall:
		return m.call(n, update)
	case formAggregate, formCase:
		fail("Unsupported token in expression: ", n.tok.text, m.place(n))
	case formCast:
		fail("Unsupported token in expression: ", n.kind, m.place(n))
	case formSelect:
		fail("Unsupported token in expression: SELECT", m.place(n))
	case formLiteral:
		if n.tok.kind == tokMissing {
			fail("MISSING must be compared using IS operator")
		}
	}
	return literalNode(m.value(n, rootPath, 0))
}

// operator finds the meaning of an operation.
func (m *meaning) operator(n *node, update bool) *expr.Node {
	word, negated := n.tok.word, false
	if rest, ok := strings.CutPrefix(word, "not_"); ok {
		word, negated = rest, true
	}
	op, comparison := comparisons[word]
	arithmetic := word == "+" || word == "-"
	switch {
	case update && arithmetic && len(n.operands) == 1:
		fail(wrongNumber(word, 1))
	case update && !arithmetic && !comparison:
		fail("Unsupported operator in Update Expression. Operator: ", word)
	case update && word == "+":
		op = expr.OpPlus
	case update && word == "-":
		op = expr.OpMinus
	case comparison:
	case word == "and", word == "or", word == "not":
		return m.logical(n, word)
	case word == "in":
		return negate(m.in(n), negated)
	case word == "between":
		op = expr.OpBetween
	default:
		fail("Unsupported operator in Condition Expression. Operator: ", word)
	}
	args := make([]*expr.Node, len(n.operands))
	for i, o := range n.operands {
		args[i] = m.operand(o, update)
	}
	return negate(operation(op, args...), negated)
}

// negate wraps n in NOT if negated is true.
func negate(n *expr.Node, negated bool) *expr.Node {
	if negated {
		return operation(expr.OpNot, n)
	}
	return n
}

// logical finds the meaning of AND, OR and NOT.
func (m *meaning) logical(n *node, word string) *expr.Node {
	args := make([]*expr.Node, len(n.operands))
	for i, o := range n.operands {
		args[i] = m.operand(o, false)
		if args[i].Op != expr.OpPath && args[i].Op != expr.OpValue {
			continue
		}
		if word == "not" {
			fail("The argument to NOT must be a Type or Expression")
		}
		fail("The arguments to AND/OR must be Expressions")
	}
	return operation(map[string]expr.Op{"and": expr.OpAnd, "or": expr.OpOr, "not": expr.OpNot}[word], args...)
}

// in finds the meaning of IN.
func (m *meaning) in(n *node) *expr.Node {
	out := operation(expr.OpIn, m.operand(n.operands[0], false))
	list := n.operands[1]
	if list.form != formList && list.form != formBag || len(list.operands) == 0 {
		fail("IN operator must have a left hand argument of type Variable Reference and right hand argument of type Seq with at least one member")
	}
	for _, o := range list.operands {
		out.Args = append(out.Args, m.operand(o, false))
	}
	return out
}

// isTypes maps the types that IS tests for from PartiQL's names to DynamoDB's.
var isTypes = map[string]string{
	"null": "NULL", "string": "S", "boolean": "BOOL", "list": "L", "struct": "M", "tuple": "M", "blob": "B", "numeric": "N",
}

// typeClass returns a type's name in the reference parser's syntax tree: double_precision is DoublePrecisionType.
func typeClass(name string) string {
	var out strings.Builder
	for _, word := range strings.Split(name, "_") {
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String() + "Type"
}

// isType finds the meaning of IS.
func (m *meaning) isType(n *node) *expr.Node {
	left := n.operands[0]
	switch {
	case left.form == formName, left.form == formPath, left.form == formLiteral && left.tok.kind != tokMissing:
	default:
		fail("The left hand side argument to IS must be a Variable Reference, Literal, or Path")
	}
	negated := n.tok.word == "is_not"
	letter, ok := isTypes[n.kind]
	if n.kind != "missing" && !ok {
		fail("Unsupported data type for IS operator: ", typeClass(n.kind),
			". Supported data types are [MISSING, NULL, BOOLEAN, BLOB, STRING, NUMERIC, STRUCT, TUPLE, LIST]", m.place(left))
	}
	operand := m.operand(left, false)
	if n.kind == "missing" {
		return negate(operation(expr.OpNotExists, operand), negated)
	}
	return negate(operation(expr.OpType, operand, literalNode(attribute.String(letter))), negated)
}

// call finds the meaning of a function call.
func (m *meaning) call(n *node, update bool) *expr.Node {
	args := make([]*expr.Node, len(n.operands))
	for i, o := range n.operands {
		args[i] = m.operand(o, update)
	}
	name := strings.ToLower(n.tok.text)
	f, ok := functions[name]
	switch {
	case !ok:
		fail("Unrecognized function: ", name, m.place(n))
	case update && !f.update:
		fail("The function is not allowed in an update expression; function: ", name)
	case !update && f.update:
		fail("The function is not allowed in a condition expression; function: ", name)
	}
	return operation(f.op, args...)
}

// setFunctions are the functions that change sets.
var setFunctions = map[string]expr.Section{"set_add": expr.SectionAdd, "set_delete": expr.SectionDelete}

// assignment finds the meaning of target = operand, after SET.
func (m *meaning) assignment(target, value *node) expr.Action {
	a := expr.Action{Section: expr.SectionSet, Path: m.path(target)}
	if value.form == formCall {
		if section, ok := setFunctions[strings.ToLower(value.tok.text)]; ok {
			a.Section, a.Operand = section, literalNode(m.setOperand(a.Path, value))
			return a
		}
	}
	a.Operand = m.operand(value, true)
	return a
}

// setOperand returns the set in set_add(path, set) or set_delete(path, set). The path must be the assigned one.
func (m *meaning) setOperand(target expr.Path, n *node) attribute.Value {
	name := strings.ToUpper(n.tok.text)
	if len(n.operands) != 2 {
		fail(name, " must have exactly two arguments", m.place(n))
	}
	first, second := n.operands[0], m.operand(n.operands[1], true)
	if first.form != formName && first.form != formPath || !slices.Equal(m.path(first), target) {
		fail("The first argument to ", name, " must equal the assignment value", m.place(n))
	}
	if second.Op == expr.OpValue {
		switch second.Lit.Type() {
		case attribute.TypeSS, attribute.TypeNS, attribute.TypeBS:
			return second.Lit
		}
	}
	fail("The second argument to ", name, " must be a value with type SET", m.place(first))
	return nil
}
