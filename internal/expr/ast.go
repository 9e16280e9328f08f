// Package expr is DynamoDB's expression language: condition, filter, key condition, projection and update expressions, and the legacy
// parameters, which are translated to the same trees.
//
// It works in phases, in the order in which AWS reports errors:
//
//  1. Parse: syntax, function names, numbers of operands, reserved words, limits. The result depends on the text alone, so it is cached
//     (Cache).
//  2. Bind: placeholders are resolved, and the static types of values checked (Scope).
//  3. Evaluate, against items as bytes. Only update expressions build new values.
//
// Errors are reasons without a prefix. The caller prepends "Invalid ConditionExpression: " or the like, since only it knows the
// parameter's name (see Error).
package expr

import (
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/attribute"
)

// Limits of expressions, from "Quotas in Amazon DynamoDB", section "Expression parameters".
const (
	// MaxSize is the largest expression in bytes.
	MaxSize = 4096
	// MaxOperators is the largest number of operators and functions in an expression.
	MaxOperators = 300
	// MaxInOperands is the largest number of operands after IN.
	MaxInOperands = 100
	// MaxPathLevels is the largest number of elements of a document path.
	MaxPathLevels = 32
	// MaxPlaceholder is the longest placeholder in bytes, including its # or : sign.
	MaxPlaceholder = 255
	// MaxValuesSize is the largest total size in bytes of ExpressionAttributeValues.
	MaxValuesSize = 2 * 1024 * 1024
)

// Error is the reason why an expression is invalid.
type Error struct {
	Reason string
	// Older is the reason in the words of AWS's older layer of validation, if they differ (see [attribute.Value.InvalidOlder]).
	Older string
	// Bare means that AWS prints the reason without the prefix "Invalid …Expression: ".
	Bare bool
	// WrongType means that an update met an attribute of a type that it can't change.
	WrongType bool
}

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// errorf concatenates a reason's parts.
func errorf(parts ...string) *Error { return &Error{Reason: strings.Join(parts, "")} }

// PathElem is an element of a document path: an attribute name, as literal or #placeholder, or a list index.
type PathElem struct {
	Name    string // "" for an index
	Index   int
	IsIndex bool
}

// Path is a document path.
type Path []PathElem

// placeholder reports whether a name must be looked up in ExpressionAttributeNames.
func placeholder(name string) bool { return len(name) > 0 && name[0] == '#' }

// Op is the operation of a node.
type Op uint8

// The operators and functions.
const (
	OpPath Op = iota
	OpValue
	OpAnd
	OpOr
	OpNot
	OpEQ
	OpNE
	OpLT
	OpLE
	OpGT
	OpGE
	OpBetween
	OpIn
	OpExists
	OpNotExists
	OpType
	OpBeginsWith
	OpContains
	OpSize
	OpIfNotExists
	OpListAppend
	OpPlus
	OpMinus
	// OpNotContains exists in legacy parameters only.
	OpNotContains
)

var opNames = [...]string{
	OpAnd: "AND", OpOr: "OR", OpNot: "NOT", OpEQ: "=", OpNE: "<>", OpLT: "<", OpLE: "<=", OpGT: ">", OpGE: ">=",
	OpBetween: "BETWEEN", OpIn: "IN", OpExists: "attribute_exists", OpNotExists: "attribute_not_exists",
	OpType: "attribute_type", OpBeginsWith: "begins_with", OpContains: "contains", OpSize: "size",
	OpIfNotExists: "if_not_exists", OpListAppend: "list_append", OpPlus: "+", OpMinus: "-", OpNotContains: "NOT_CONTAINS",
}

// String returns the operator as AWS prints it.
func (o Op) String() string { return opNames[o] }

// Node is a node of a condition or of an update's operand.
type Node struct {
	Op   Op
	Args []*Node
	Path Path   // OpPath
	Name string // OpValue: the :placeholder; "" for a literal
	Lit  attribute.Value
}

// Condition is a parsed condition, filter or key condition expression.
type Condition struct{ Root *Node }

// Projection is a parsed projection expression.
type Projection struct{ Paths []Path }

// Section is a clause of an update expression.
type Section uint8

// The clauses of an update expression.
const (
	SectionSet Section = iota
	SectionRemove
	SectionAdd
	SectionDelete
)

var sectionNames = [...]string{"SET", "REMOVE", "ADD", "DELETE"}

// Action is one action of an update expression.
type Action struct {
	Section Section
	Path    Path
	Operand *Node // nil for REMOVE
}

// Update is a parsed update expression.
type Update struct{ Actions []Action }

// text returns a path in the form of AWS's messages: [a, [0], b]. s, if not nil, resolves placeholders.
func (p Path) text(s *Scope) string {
	parts := make([]string, len(p))
	for i, e := range p {
		switch {
		case e.IsIndex:
			parts[i] = "[" + strconv.Itoa(e.Index) + "]"
		case s != nil:
			parts[i] = s.name(e.Name)
		default:
			parts[i] = e.Name
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
