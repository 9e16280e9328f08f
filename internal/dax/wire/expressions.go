package wire

import (
	"errors"
	"strconv"

	"github.com/statordb/stator/internal/attribute"
)

// Opcodes of expressions.
const (
	opEqual = iota
	opNotEqual
	opLess
	opGreaterEqual
	opGreater
	opLessEqual
	opAnd
	opOr
	opNot
	opBetween
	opIn
	opExists
	opNotExists
	opType
	opBeginsWith
	opContains
	opSize
	opValue
	opPath
	opSet
	opAdd
	opDelete
	opRemove
	opIfNotExists
	opListAppend
	opPlus
	opMinus
)

const (
	// expressionVersion opens every expression.
	expressionVersion = 1
	// maxTree bounds the depth of an expression: DynamoDB allows 300 operators.
	maxTree = 400
	// maxText bounds the text made from an expression, in bytes, and maxValues the number of its values. DynamoDB allows texts of 4
	// KB, in which a name or value takes at least three bytes ("Quotas in Amazon DynamoDB"). Placeholders may be longer than the
	// names that they replace.
	maxText   = 16 << 10
	maxValues = 4096
)

// Path is a document path: names and list indexes.
type Path []Element

// Element is a step of a Path.
type Element struct {
	Name  string
	Index int // -1 if the step is a name
}

// In returns the value at the path in an item, or nil.
func (p Path) In(it attribute.Item) attribute.Value {
	v := it.Get(p[0].Name)
	for _, e := range p[1:] {
		if e.Index >= 0 {
			v = v.Index(e.Index)
		} else {
			v = v.Get(e.Name)
		}
	}
	return v
}

// Expressions translates a request's binary expressions to the API's text with placeholders. Clients have already substituted their
// own placeholders, so these are new ones. The zero value is ready to use.
type Expressions struct {
	names  map[string]string
	Names  []Placeholder[string]
	Values []Placeholder[attribute.Value]
}

// Placeholder is #0 or :0, and what it stands for.
type Placeholder[T any] struct {
	Name  string
	Value T
}

// tree is the state of reading one expression.
type tree struct {
	Reader
	all    *Expressions
	values int    // index in all.Values of the expression's first value
	most   int64  // highest value index used; -1 for none
	out    []byte // the text so far
}

// Condition translates a condition, filter or key condition.
func (x *Expressions) Condition(b []byte) (string, error) {
	return x.read(b, func(t *tree) { t.condition(0, 0) })
}

// Update translates an update expression.
func (x *Expressions) Update(b []byte) (string, error) {
	return x.read(b, (*tree).update)
}

// read translates an expression with values: its version, its body, and its values.
func (x *Expressions) read(b []byte, body func(*tree)) (string, error) {
	t := tree{Reader: Reader{b: b}, all: x, values: len(x.Values), most: -1}
	t.begin(3)
	body(&t)
	count := int64(0)
	for n := t.Array(); t.Next(&n); count++ {
		if count == maxValues {
			t.Malformed()
		}
		v := t.Value()
		x.Values = append(x.Values, Placeholder[attribute.Value]{":" + strconv.FormatInt(int64(t.values)+count, 36), v})
	}
	if t.More() || t.most >= count {
		t.Malformed()
	}
	return t.text()
}

// errLong stops the translation of an expression whose text is too long.
var errLong = errors.New("DAX expression of too many bytes")

// text returns the expression's text. If that is too long, the part read so far is still long enough for the database to refuse it.
func (t *tree) text() (string, error) {
	if t.err == errLong {
		return string(t.out), nil
	}
	return string(t.out), t.err
}

// Projection translates a projection. It also returns the paths.
func (x *Expressions) Projection(b []byte) (string, []Path, error) {
	t := tree{Reader: Reader{b: b}, all: x}
	t.begin(2)
	var paths []Path
	for n := t.Array(); t.Next(&n); {
		if paths != nil {
			t.out = append(t.out, ',')
		}
		args, op := t.node()
		if op != opPath {
			t.Malformed()
		}
		paths = append(paths, t.path(args))
	}
	if t.More() {
		t.Malformed()
	}
	text, err := t.text()
	return text, paths, err
}

// begin takes the head and the version of an expression.
func (t *tree) begin(elements Count) {
	if t.Array() != elements || t.Int() != expressionVersion {
		t.Malformed()
	}
}

// fits fails if the text is too long. It is called for each operation and each path element, which add only a few bytes besides names.
func (t *tree) fits() {
	if len(t.out) > maxText {
		t.fail(errLong)
	}
}

// node takes the head of an operation, and returns its opcode and its number of arguments.
func (t *tree) node() (args Count, op int64) {
	t.fits()
	n := t.Array()
	if n < 1 {
		t.Malformed()
		return 0, -1
	}
	return n - 1, t.Int()
}

// arity fails unless an operation has the expected number of arguments.
func (t *tree) arity(have, want Count) {
	if have != want {
		t.Malformed()
	}
}

func (t *tree) write(s string) { t.out = append(t.out, s...) }

// comparators are the comparison operators in the API's syntax.
var comparators = [...]string{opEqual: "=", opNotEqual: "<>", opLess: "<", opGreaterEqual: ">=", opGreater: ">", opLessEqual: "<="}

// functions are the API's functions, with their number of arguments.
var functions = map[int64]struct {
	name string
	args Count
}{
	opExists: {"attribute_exists", 1}, opNotExists: {"attribute_not_exists", 1}, opType: {"attribute_type", 2},
	opBeginsWith: {"begins_with", 2}, opContains: {"contains", 2}, opSize: {"size", 1}, opIfNotExists: {"if_not_exists", 2},
	opListAppend: {"list_append", 2},
}

// Binding strength of operators. An operator that binds less than its surroundings gets parentheses.
const (
	bindsOr = iota
	bindsAnd
	bindsNot
)

// condition translates a boolean expression. It gets parentheses if its operator binds less than binding.
func (t *tree) condition(depth, binding int) {
	if depth > maxTree {
		t.Malformed()
	}
	if t.err != nil {
		return
	}
	args, op := t.node()
	switch {
	case op >= opEqual && op <= opLessEqual:
		t.arity(args, 2)
		t.operand(depth + 1)
		t.write(comparators[op])
		t.operand(depth + 1)
	case op == opAnd || op == opOr:
		t.arity(args, 2)
		own, word := bindsOr, " OR "
		if op == opAnd {
			own, word = bindsAnd, " AND "
		}
		t.inParentheses(own < binding, func() {
			t.condition(depth+1, own)
			t.write(word)
			t.condition(depth+1, own+1) // the parser is left-associative
		})
	case op == opNot:
		t.arity(args, 1)
		t.write("NOT ")
		t.condition(depth+1, bindsNot)
	case op == opBetween:
		t.arity(args, 3)
		t.operand(depth + 1)
		t.write(" BETWEEN ")
		t.operand(depth + 1)
		t.write(" AND ")
		t.operand(depth + 1)
	case op == opIn:
		t.arity(args, 2)
		t.operand(depth + 1)
		t.write(" IN (")
		first := true
		for n := t.Array(); t.Next(&n); first = false {
			if !first {
				t.write(",")
			}
			t.operand(depth + 1)
		}
		t.write(")")
	default:
		t.call(op, args, depth)
	}
}

// inParentheses runs body, in parentheses if really is true.
func (t *tree) inParentheses(really bool, body func()) {
	if really {
		t.write("(")
	}
	body()
	if really {
		t.write(")")
	}
}

// call translates a function call.
func (t *tree) call(op int64, args Count, depth int) {
	f, known := functions[op]
	if !known {
		t.Malformed()
		return
	}
	t.arity(args, f.args)
	t.write(f.name)
	t.write("(")
	for i := range args {
		if i > 0 {
			t.write(",")
		}
		t.operand(depth + 1)
	}
	t.write(")")
}

// operand translates an expression with a value.
func (t *tree) operand(depth int) {
	if depth > maxTree {
		t.Malformed()
	}
	if t.err != nil {
		return
	}
	switch args, op := t.node(); op {
	case opPath:
		t.path(args)
	case opValue:
		t.arity(args, 1)
		i := t.Int()
		if i < 0 || i > int64(len(t.b)) {
			t.Malformed()
			return
		}
		t.most = max(t.most, i)
		t.out = strconv.AppendInt(append(t.out, ':'), int64(t.values)+i, 36)
	case opPlus, opMinus:
		t.arity(args, 2)
		t.operand(depth + 1)
		if op == opPlus {
			t.write("+")
		} else {
			t.write("-")
		}
		t.operand(depth + 1)
	default:
		t.call(op, args, depth)
	}
}

// path translates a document path with the given number of elements.
func (t *tree) path(elements Count) (p Path) {
	if elements < 1 {
		t.Malformed()
	}
	for t.Next(&elements) {
		t.fits()
		if t.peek()>>5 == majorText {
			name := string(t.utf8())
			if p != nil {
				t.write(".")
			}
			t.write(t.all.name(name))
			p = append(p, Element{name, -1})
			continue
		}
		i := int64(0)
		if t.tag() != tagListIndex {
			t.Malformed()
		} else if i = t.Int(); i < 0 || p == nil || i > 1<<31 {
			t.Malformed()
		}
		t.out = append(strconv.AppendInt(append(t.out, '['), i, 10), ']')
		p = append(p, Element{Index: int(i)})
	}
	return p
}

// name returns the placeholder of a name, the same one for the same name.
func (x *Expressions) name(name string) string {
	if p, known := x.names[name]; known {
		return p
	}
	if x.names == nil {
		x.names = map[string]string{}
	}
	p := "#" + strconv.FormatInt(int64(len(x.Names)), 36)
	x.names[name] = p
	x.Names = append(x.Names, Placeholder[string]{p, name})
	return p
}

// sections are the clauses of an update expression, by the opcode of their actions.
var sections = map[int64]string{opSet: "SET ", opAdd: "ADD ", opDelete: "DELETE ", opRemove: "REMOVE "}

// update translates actions, and groups them by clause: the API allows each clause once.
func (t *tree) update() {
	texts := map[int64][]byte{}
	var order []int64
	for n := t.Array(); t.Next(&n); {
		args, op := t.node()
		if sections[op] == "" {
			t.Malformed()
			return
		}
		if op == opRemove {
			t.arity(args, 1)
		} else {
			t.arity(args, 2)
		}
		if texts[op] == nil {
			order = append(order, op)
			t.out = nil
			t.write(sections[op])
		} else {
			t.out = append(texts[op], ',')
		}
		t.operand(0)
		switch op {
		case opSet:
			t.write("=")
			t.operand(0)
		case opAdd, opDelete:
			t.write(" ")
			t.operand(0)
		}
		texts[op] = t.out
	}
	t.out = nil
	for i, op := range order {
		if i > 0 {
			t.write(" ")
		}
		t.out = append(t.out, texts[op]...)
	}
}
