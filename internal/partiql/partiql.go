// Package partiql parses PartiQL statements for DynamoDB into the trees of package expr, so that the same code executes statements and
// API operations.
//
// It works in two phases, in the order in which AWS reports errors: Read finds the syntax (lexer.go, syntax.go, clauses.go), which is that of
// the whole of PartiQL; Syntax.Statement finds its meaning, and refuses what DynamoDB doesn't support (meaning.go, expression.go, values.go).
// Neither needs the table. Finding the conditions on keys does, so callers do that, with Conjuncts, KeyName and Alternatives.
//
// Sources: the pages "PartiQL select/insert/update/delete statements for DynamoDB", "Use PartiQL functions with DynamoDB", "PartiQL
// arithmetic, comparison, and logical operators for DynamoDB"; for the grammar, its words, precedences and reasons of refusal, the PartiQL
// specification and its reference parser, partiql-lang-kotlin 0.6, whose reasons AWS prints; for the sentences about meaning, AWS's recorded
// answers, and DynamoDB Local 3.3.1 where there is no record.
package partiql

import (
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/expr"
)

// Kind is the kind of a statement.
type Kind uint8

// The kinds of statements. Exists is EXISTS(SELECT …), a condition of a transaction. Unsupported is another operation or function
// call, about which operations disagree.
const (
	Select Kind = iota
	Insert
	Update
	Delete
	Exists
	Unsupported
)

// Values of Statement.Returning.
const (
	AllOld      = "ALL OLD"
	AllNew      = "ALL NEW"
	ModifiedOld = "MODIFIED OLD"
	ModifiedNew = "MODIFIED NEW"
)

// Statement is a parsed statement, with its parameters substituted.
type Statement struct {
	Kind      Kind
	Table     string
	Index     string // "" for the table itself
	Columns   []Column
	Where     *expr.Node // nil if there is none
	Order     []Order
	Item      attribute.Item // the item to insert
	Update    *expr.Update
	Returning string // "" if there is no RETURNING
	// BadColumns, if not nil, is why the columns of SELECT are invalid. AWS reports it after problems of the table and index.
	BadColumns *Error
}

// Column is a column of SELECT: a path, and the name of its value in the result. SELECT * has no columns.
type Column struct {
	Path expr.Path
	Name string
}

// Order is an element of ORDER BY.
type Order struct {
	Name       string
	Descending bool
}

// Error is an invalid statement, with AWS's sentence.
type Error struct {
	Message string
	// Value means that AWS's sentence about invalid parameter values begins the message.
	Value bool
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// MaxSize is the largest statement in bytes ("ExecuteStatement").
const MaxSize = 8192

// maxDepth bounds the nesting of a statement's expressions.
const maxDepth = 600

// Syntax is the syntax of a statement whose meaning is not yet known.
type Syntax struct {
	text string
	root *node
}

// Read parses the syntax of a statement.
func Read(text string) (s *Syntax, err error) {
	defer caught(&err)
	return &Syntax{text: text, root: parse(text)}, nil
}

// Statement returns the statement that a syntax means, with its parameters substituted.
func (s *Syntax) Statement(params []attribute.Value) (st *Statement, err error) {
	defer caught(&err)
	m := &meaning{text: s.text, params: params}
	return m.statement(s.root), nil
}

// caught recovers an *Error that ended a phase.
func caught(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(*Error)
		if !ok {
			panic(r)
		}
		*err = e
	}
}

// Conjuncts returns the conditions joined by AND at the top of a tree; none for nil.
func Conjuncts(n *expr.Node) []*expr.Node {
	switch {
	case n == nil:
		return nil
	case n.Op == expr.OpAnd:
		return append(Conjuncts(n.Args[0]), Conjuncts(n.Args[1])...)
	}
	return []*expr.Node{n}
}

// Join is the inverse of Conjuncts.
func Join(conditions []*expr.Node) *expr.Node {
	var out *expr.Node
	for _, c := range conditions {
		if out == nil {
			out = c
		} else {
			out = &expr.Node{Op: expr.OpAnd, Args: []*expr.Node{out, c}}
		}
	}
	return out
}

// KeyName returns the attribute that a comparison is about, if one of its operands is a whole attribute: key = value, key IN list.
func KeyName(n *expr.Node) (name string, ok bool) {
	for _, a := range n.Args {
		if a.Op == expr.OpPath && len(a.Path) == 1 {
			return a.Path[0].Name, true
		}
	}
	return "", false
}

// Alternatives returns the values that a condition allows for an attribute: by =, by IN, or by OR of those on the same attribute.
func Alternatives(n *expr.Node) (name string, values []attribute.Value, ok bool) {
	switch n.Op {
	case expr.OpEQ, expr.OpIn:
		if name, ok = KeyName(n); !ok {
			return "", nil, false
		}
		for _, a := range n.Args {
			switch {
			case a.Op == expr.OpValue:
				values = append(values, a.Lit)
			case a.Op != expr.OpPath:
				return "", nil, false
			}
		}
		return name, values, len(values) == len(n.Args)-1
	case expr.OpOr:
		name, values, ok = Alternatives(n.Args[0])
		if !ok {
			return "", nil, false
		}
		other, more, ok := Alternatives(n.Args[1])
		return name, append(values, more...), ok && other == name
	}
	return "", nil, false
}

// redacted replaces a literal, as in CloudTrail ("Understanding DynamoDB log file entries").
const redacted = "***(Redacted)"

// Redact returns a statement without the values of its literals and without its comments, and the name of its table as the statement has it:
// a name or an ARN, or "" for a statement without a table. A text that can't be split into tokens is redacted as a whole. The result is for logs.
func Redact(text string) (statement, table string) {
	tokens, ok := lex(text)
	if !ok {
		return redacted, ""
	}
	var b strings.Builder
	at := 0
	for i, t := range tokens {
		gap := text[at:t.start]
		if strings.Contains(gap, "--") || strings.Contains(gap, "/*") {
			gap = " "
		}
		b.WriteString(gap)
		switch t.kind {
		case tokString, tokNumber, tokBool, tokNull, tokIon:
			b.WriteString(redacted)
		default:
			b.WriteString(text[t.start:t.end])
		}
		at = t.end
		if named := t.kind == tokIdentifier || t.kind == tokQuoted; named && i > 0 && table == "" {
			switch tokens[i-1].word {
			case "from", "into", "update", "insert_into":
				table = t.text
			}
		}
	}
	return b.String(), table
}
