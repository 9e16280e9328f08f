package expr

import (
	"slices"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
)

// Scope is the meaning of placeholders in a request's expressions. It records which of them are used.
// Small scopes, which are nearly all, need no maps: placeholders are found by a linear search, and uses are recorded in bits.
type Scope struct {
	names      smithy.Map[string]
	values     attribute.Item
	usedNames  uint64 // a bit for each of the first 64; the others are in many
	usedValues uint64
	many       *many // nil while there are few placeholders
	// PartiQL is set for statements. AWS words some of their problems differently, and reports others first: the sentence about two paths
	// that meet names the later one first, the left operand's type comes before the right one's absence, and a wrong path before a missing
	// operand.
	PartiQL bool
	// Problem returns the sentence that refuses an operator or function before its operands' types are checked, or "".
	Problem func(*Node) string
}

// refuse panics with the problem that s.Problem finds, if any.
func (s *Scope) refuse(n *Node) {
	if s.Problem == nil {
		return
	}
	if problem := s.Problem(n); problem != "" {
		panic(errorf(problem))
	}
}

// many is the state of a scope with many placeholders.
type many struct {
	// names and values index the placeholders, if there are more than scanned.
	names  map[string]int
	values map[string]placed
	used   map[string]struct{} // those without a bit
}

// large returns s.many, creating it if need be.
func (s *Scope) large() *many {
	if s.many == nil {
		s.many = &many{}
	}
	return s.many
}

// placed is a value and its index among the values.
type placed struct {
	i int
	v attribute.Value
}

// scanned is the number of names or values, and of a node's kids, up to which a linear search is used.
const scanned = 16

// NewScope checks ExpressionAttributeNames and ExpressionAttributeValues, whose values must be valid. Pass nil for what the request doesn't
// have.
func NewScope(names smithy.Map[string], values attribute.Item) (*Scope, error) {
	if names != nil {
		if err := checkNames(names); err != nil {
			return nil, err
		}
	}
	if values != nil {
		if err := checkValues(values); err != nil {
			return nil, err
		}
	}
	s := &Scope{names: names, values: values}
	if len(names) > scanned {
		at := make(map[string]int, len(names))
		for i := range names {
			at[names[i].Key] = i
		}
		s.large().names = at
	}
	if n := values.Len(); n > scanned {
		at := make(map[string]placed, n)
		for key, v := range values.Fields {
			at[string(key)] = placed{len(at), v}
		}
		s.large().values = at
	}
	return s, nil
}

// findName returns the index of a placeholder among the names, or -1.
func (s *Scope) findName(n string) int {
	if s.many != nil && s.many.names != nil {
		if i, ok := s.many.names[n]; ok {
			return i
		}
		return -1
	}
	for i := range s.names {
		if s.names[i].Key == n {
			return i
		}
	}
	return -1
}

// findValue returns a placeholder's value and its index among the values, or nil.
func (s *Scope) findValue(n string) (v attribute.Value, i int) {
	if s.many != nil && s.many.values != nil {
		at := s.many.values[n]
		return at.v, at.i
	}
	for key, v := range s.values.Fields {
		if string(key) == n {
			return v, i
		}
		i++
	}
	return nil, 0
}

// checkNames checks ExpressionAttributeNames.
func checkNames(names smithy.Map[string]) *Error {
	const where = "ExpressionAttributeNames"
	if len(names) == 0 {
		return bare(where, " must not be empty")
	}
	for _, n := range names {
		switch {
		case !validPlaceholder(n.Key, '#'):
			return bare(where, " contains invalid key: Syntax error; key: \"", n.Key, "\"")
		case len(n.Key) > MaxPlaceholder:
			return bare(where, " contains invalid key: The expression attribute map contains a key that is too long; size of key: ", strconv.Itoa(len(n.Key)))
		case n.Value == "":
			return bare(where, " contains invalid value: Empty attribute name for key ", n.Key)
		case len(n.Value) > attribute.MaxName:
			return bare(where, " contains invalid value: Attribute name is too large, must be less than 65536 bytes for key ", n.Key)
		}
	}
	return nil
}

// checkValues checks ExpressionAttributeValues.
func checkValues(values attribute.Item) *Error {
	const where = "ExpressionAttributeValues"
	if values.Len() == 0 {
		return bare(where, " must not be empty")
	}
	for key := range values.Fields {
		if err := checkValueKey(key); err != nil {
			return err
		}
	}
	if values.Size() > MaxValuesSize {
		return bare(where, " exceeds max size")
	}
	return nil
}

// checkValueKey checks a placeholder among ExpressionAttributeValues.
func checkValueKey(key []byte) *Error {
	switch {
	case !validPlaceholder(string(key), ':'):
		return bare("ExpressionAttributeValues contains invalid key: Syntax error; key: \"", string(key), "\"")
	case len(key) > MaxPlaceholder:
		return bare("ExpressionAttributeValues contains invalid key: The expression attribute map contains a key that is too long; size of key: ", strconv.Itoa(len(key)))
	}
	return nil
}

// CheckValueKey is the part of NewScope that checks a placeholder among ExpressionAttributeValues.
func CheckValueKey(key string) error {
	if err := checkValueKey([]byte(key)); err != nil {
		return err
	}
	return nil
}

// bare returns an error that AWS prints without a prefix.
func bare(parts ...string) *Error { return &Error{Reason: strings.Join(parts, ""), Bare: true} }

// validPlaceholder reports whether key is the sigil followed by letters, digits and underscores.
func validPlaceholder(key string, sigil byte) bool {
	if len(key) < 2 || key[0] != sigil {
		return false
	}
	for i := 1; i < len(key); i++ {
		if !isWord(key[i]) {
			return false
		}
	}
	return true
}

// Unused returns the error for placeholders that no expression used, or nil.
func (s *Scope) Unused() error {
	var unused []string
	for i, n := range s.names {
		if !s.used(s.usedNames, i, n.Key) {
			unused = append(unused, n.Key)
		}
	}
	if len(unused) > 0 {
		return bare("Value provided in ExpressionAttributeNames unused in expressions: keys: {", strings.Join(unused, ", "), "}")
	}
	i := 0
	for key := range s.values.Fields {
		if !s.used(s.usedValues, i, string(key)) {
			unused = append(unused, string(key))
		}
		i++
	}
	if len(unused) > 0 {
		return bare("Value provided in ExpressionAttributeValues unused in expressions: keys: {", strings.Join(unused, ", "), "}")
	}
	return nil
}

// used reports whether placeholder i was used.
func (s *Scope) used(bits uint64, i int, key string) bool {
	if i < 64 {
		return bits&(1<<i) != 0
	}
	if s.many == nil {
		return false
	}
	_, ok := s.many.used[key]
	return ok
}

// use records the use of placeholder i.
func (s *Scope) use(bits *uint64, i int, key string) {
	if i < 64 {
		*bits |= 1 << i
		return
	}
	if s.large().used == nil {
		s.many.used = map[string]struct{}{}
	}
	s.many.used[key] = struct{}{}
}

// name resolves the name in a path element.
func (s *Scope) name(n string) string {
	if placeholder(n) {
		if i := s.findName(n); i >= 0 {
			return s.names[i].Value
		}
	}
	return n
}

// bindPath records the names that a path uses, and panics with an *Error if one is undefined.
func (s *Scope) bindPath(p Path) {
	for _, e := range p {
		if !placeholder(e.Name) {
			continue
		}
		i := s.findName(e.Name)
		if i < 0 {
			panic(errorf("An expression attribute name used in the document path is not defined; attribute name: ", e.Name))
		}
		s.use(&s.usedNames, i, e.Name)
	}
}

// bindNode records the placeholders that a tree uses, and panics with an *Error if one is undefined.
func (s *Scope) bindNode(n *Node) {
	switch n.Op {
	case OpPath:
		s.bindPath(n.Path)
	case OpValue:
		if n.Lit != nil {
			return
		}
		v, i := s.findValue(n.Name)
		if v == nil {
			panic(errorf("An expression attribute value used in expression is not defined; attribute value: ", n.Name))
		}
		s.use(&s.usedValues, i, n.Name)
	}
	for _, a := range n.Args {
		s.bindNode(a)
	}
}

// BindCondition resolves a condition's placeholders and checks its static types.
func (s *Scope) BindCondition(c *Condition) (err error) {
	defer catch(&err)
	s.bindNode(c.Root)
	s.typeCheck(c.Root)
	return nil
}

// BindKeyCondition is BindCondition for key conditions. AWS reports the first problem in the order in which the conditions are written.
func (s *Scope) BindKeyCondition(c *Condition) (err error) {
	defer catch(&err)
	s.bindKeyNode(c.Root)
	return nil
}

// bindKeyNode binds and checks each of the conditions that AND joins.
func (s *Scope) bindKeyNode(n *Node) {
	if n.Op == OpAnd {
		s.bindKeyNode(n.Args[0])
		s.bindKeyNode(n.Args[1])
		return
	}
	s.bindNode(n)
	s.typeCheck(n)
}

// samePath reports whether two paths name the same attribute.
func (s *Scope) samePath(a, b Path) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].IsIndex != b[i].IsIndex || a[i].Index != b[i].Index || s.name(a[i].Name) != s.name(b[i].Name) {
			return false
		}
	}
	return true
}

// typeCheck checks a condition's operands as far as their types are known without an item.
func (s *Scope) typeCheck(n *Node) {
	for _, a := range n.Args {
		s.typeCheck(a)
	}
	s.refuse(n)
	switch n.Op {
	case OpEQ, OpNE, OpIn:
		s.distinct(n)
	case OpLT, OpLE, OpGT, OpGE:
		s.ordered(n)
		s.distinct(n)
	case OpBetween:
		s.ordered(n)
		s.distinct(n)
		s.bounds(n)
	case OpBeginsWith:
		s.distinct(n)
		for _, a := range n.Args {
			if t := s.static(a); t != attribute.TypeNone && t != attribute.TypeS && t != attribute.TypeB {
				panic(wrongType(n.Op, t.String()))
			}
		}
	case OpContains:
		s.distinct(n)
	case OpSize:
		switch t := s.static(n.Args[0]); t {
		case attribute.TypeN, attribute.TypeTrue, attribute.TypeFalse, attribute.TypeNull:
			panic(wrongType(n.Op, t.String()))
		}
	case OpType:
		s.attributeType(n)
	}
}

// distinct panics if a path is compared with itself.
func (s *Scope) distinct(n *Node) {
	first := n.Args[0]
	if first.Op != OpPath {
		return
	}
	for _, a := range n.Args[1:] {
		if a.Op == OpPath && s.samePath(first.Path, a.Path) {
			panic(errorf("The first operand must be distinct from the remaining operands for this operator or function; operator: ",
				n.Op.String(), ", first operand: ", first.Path.text(s)))
		}
	}
}

// static returns an operand's type if it is known without an item, and TypeNone otherwise. A condition has TypeTrue.
func (s *Scope) static(n *Node) attribute.Type {
	switch n.Op {
	case OpPath:
		return attribute.TypeNone
	case OpValue:
		return s.Value(n).Type()
	case OpSize:
		return attribute.TypeN
	}
	return attribute.TypeTrue
}

// ordered panics if an operand has a type without an order.
func (s *Scope) ordered(n *Node) {
	for _, a := range n.Args {
		switch t := s.static(a); t {
		case attribute.TypeNone, attribute.TypeS, attribute.TypeN, attribute.TypeB:
		default:
			panic(wrongType(n.Op, t.String()))
		}
	}
}

// bounds panics if the constant bounds of BETWEEN have different types or the wrong order.
func (s *Scope) bounds(n *Node) {
	low, high := n.Args[1], n.Args[2]
	if low.Op != OpValue || high.Op != OpValue {
		return
	}
	l, h := s.Value(low), s.Value(high)
	operands := "; lower bound operand: AttributeValue: " + l.String() + ", upper bound operand: AttributeValue: " + h.String()
	if l.Type() != h.Type() {
		panic(errorf("The BETWEEN operator requires same data type for lower and upper bounds", operands))
	}
	if c, ok := attribute.Compare(l, h); ok && c > 0 {
		panic(errorf("The BETWEEN operator requires upper bound to be greater than or equal to lower bound", operands))
	}
}

// attributeType panics unless the second operand of attribute_type names a type.
func (s *Scope) attributeType(n *Node) {
	t := n.Args[1]
	if t.Op != OpValue {
		panic(wrongType(n.Op, "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}"))
	}
	v := s.Value(t)
	if v.Type() != attribute.TypeS {
		panic(wrongType(n.Op, v.Type().String()))
	}
	switch v.Text() {
	case "S", "N", "B", "SS", "NS", "BS", "L", "M", "NULL", "BOOL":
	default:
		valid := "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}"
		if s.PartiQL {
			valid = "{N,BS,L,B,NULL,M,S,SS,NS,BOOL}"
		}
		panic(errorf("Invalid attribute type name found; type: ", v.Text(), ", valid types: ", valid))
	}
}

// BindProjection resolves a projection's placeholders and checks that no two paths overlap.
func (s *Scope) BindProjection(p *Projection) (err error) {
	defer catch(&err)
	for _, path := range p.Paths {
		s.bindPath(path)
	}
	s.checkOverlap(p.Paths)
	return nil
}

// checkOverlap panics if a path is the beginning of another, or has an index where another has a name.
func (s *Scope) checkOverlap(paths []Path) {
	if s.PartiQL {
		paths = slices.Clone(paths)
		slices.Reverse(paths)
	}
	var tree *pathTree // of many paths: only those that meet an earlier one in the tree are compared pair by pair
	if len(paths) > scanned {
		tree = &pathTree{}
	}
	for i := range paths {
		if tree != nil && !tree.meets(s, paths[i]) {
			continue
		}
		for j := 0; j < i; j++ {
			s.checkPair(paths[j], paths[i])
		}
	}
}

// checkPair panics if two paths overlap or conflict.
func (s *Scope) checkPair(a, b Path) {
	how := "overlap"
	for k := 0; k < len(a) && k < len(b); k++ {
		if a[k].IsIndex != b[k].IsIndex {
			how = "conflict"
			break
		}
		if a[k].Index != b[k].Index || s.name(a[k].Name) != s.name(b[k].Name) {
			return
		}
	}
	panic(errorf("Two document paths ", how, " with each other; must remove or rewrite one of these paths; path one: ",
		a.text(s), ", path two: ", b.text(s)))
}

// BindUpdate resolves an update's placeholders and checks its paths and static types.
func (s *Scope) BindUpdate(u *Update) (err error) {
	defer catch(&err)
	paths := make([]Path, len(u.Actions))
	for i, a := range u.Actions {
		s.bindPath(a.Path)
		if a.Operand != nil {
			s.bindNode(a.Operand)
		}
		paths[i] = a.Path
	}
	s.checkOverlap(paths)
	for _, a := range u.Actions {
		switch a.Section {
		case SectionSet:
			s.updateTypes(a.Operand)
		case SectionAdd:
			s.actionType(a, "ADD", attribute.TypeN, attribute.TypeSS, attribute.TypeNS, attribute.TypeBS)
		case SectionDelete:
			s.actionType(a, "DELETE", attribute.TypeSS, attribute.TypeNS, attribute.TypeBS)
		}
	}
	return nil
}

// javaTypeNames are the names of types in some of AWS's sentences.
var javaTypeNames = map[attribute.Type]string{
	attribute.TypeS: "STRING", attribute.TypeN: "NUMBER", attribute.TypeB: "BINARY", attribute.TypeTrue: "BOOLEAN",
	attribute.TypeFalse: "BOOLEAN", attribute.TypeNull: "NULL", attribute.TypeL: "LIST", attribute.TypeM: "MAP",
	attribute.TypeSS: "STRING_SET", attribute.TypeNS: "NUMBER_SET", attribute.TypeBS: "BINARY_SET",
}

// JavaTypeName returns a type's name as in AWS's sentences about ADD and DELETE.
func JavaTypeName(t attribute.Type) string { return javaTypeNames[t] }

// actionType panics unless an action's operand has one of the allowed types.
func (s *Scope) actionType(a Action, name string, allowed ...attribute.Type) {
	t := s.Value(a.Operand).Type()
	for _, ok := range allowed {
		if t == ok {
			return
		}
	}
	what := "operator: "
	if s.PartiQL {
		what = "operator or function: "
	}
	panic(errorf("Incorrect operand type for operator or function; ", what, name, ", operand type: ", JavaTypeName(t),
		", typeSet: ALLOWED_FOR_", name, "_OPERAND"))
}

// updateTypes checks the operands of +, - and list_append as far as their types are known without an item.
func (s *Scope) updateTypes(n *Node) {
	for _, a := range n.Args {
		s.updateTypes(a)
	}
	s.refuse(n)
	want := attribute.TypeNone
	switch n.Op {
	case OpPlus, OpMinus:
		want = attribute.TypeN
	case OpListAppend:
		want = attribute.TypeL
	default:
		return
	}
	for _, a := range n.Args {
		switch t := s.updateStatic(a); t {
		case attribute.TypeNone, want:
		default:
			panic(wrongType(n.Op, t.String()))
		}
	}
}

// updateStatic returns the type of an operand in SET if it is known without an item.
func (s *Scope) updateStatic(n *Node) attribute.Type {
	switch n.Op {
	case OpValue:
		return s.Value(n).Type()
	case OpPlus, OpMinus:
		return attribute.TypeN
	case OpListAppend:
		return attribute.TypeL
	}
	return attribute.TypeNone
}

// Attributes yields each path in a tree, with the attribute name that it begins with. It returns false if yield stopped it.
func (s *Scope) Attributes(n *Node, yield func(name string, path Path) bool) bool {
	if n.Op == OpPath && !yield(s.name(n.Path[0].Name), n.Path) {
		return false
	}
	for _, a := range n.Args {
		if !s.Attributes(a, yield) {
			return false
		}
	}
	return true
}

// First returns the attribute name that a path begins with.
func (s *Scope) First(p Path) string { return s.name(p[0].Name) }

// Value returns the value of an OpValue node.
func (s *Scope) Value(n *Node) attribute.Value {
	if n.Lit != nil {
		return n.Lit
	}
	v, _ := s.findValue(n.Name)
	return v
}
