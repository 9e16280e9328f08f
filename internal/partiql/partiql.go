// Package partiql reads statements of PartiQL for DynamoDB into the trees of package expr, so that what a statement says is
// done by the same code as the operations of the API.
//
// It depends on the statement and its parameters alone: which conditions are on keys is for those to find who know the table.
// Sources: the pages "PartiQL select/insert/update/delete statements for DynamoDB", "Use PartiQL functions with DynamoDB", "PartiQL
// arithmetic, comparison, and logical operators for DynamoDB"; sentences are those of DynamoDB Local 3.3.1, which seems to share AWS's parser.
package partiql

import (
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/expr"
)

// Kind is what a statement does.
type Kind uint8

// The kinds of statements. Exists is EXISTS(SELECT …), a condition of a transaction.
const (
	Select Kind = iota
	Insert
	Update
	Delete
	Exists
)

// What RETURNING gives.
const (
	AllOld      = "ALL OLD"
	AllNew      = "ALL NEW"
	ModifiedOld = "MODIFIED OLD"
	ModifiedNew = "MODIFIED NEW"
)

// Statement is a parsed statement. Its parameters are in it.
type Statement struct {
	Kind      Kind
	Table     string
	Index     string // "" for the table itself
	Columns   []Column
	Where     *expr.Node // nil for none
	Order     []Order
	Item      attribute.Item // to be inserted
	Update    *expr.Update
	Returning string // "" for nothing
}

// Column is what SELECT gives of an item, and the name under which it does; there is none for SELECT *.
type Column struct {
	Path expr.Path
	Name string
}

// Order is an element of ORDER BY.
type Order struct {
	Name       string
	Descending bool
}

// Error is what is wrong with a statement, as AWS says it.
type Error struct{ Message string }

// Error implements error.
func (e *Error) Error() string { return e.Message }

// MaxSize is the largest statement in bytes ("ExecuteStatement").
const MaxSize = 8192

// maxDepth bounds how deep a statement's expressions are nested.
const maxDepth = 250

// Conjuncts returns the conditions that AND joins at the top of a tree; none for nil.
func Conjuncts(n *expr.Node) []*expr.Node {
	switch {
	case n == nil:
		return nil
	case n.Op == expr.OpAnd:
		return append(Conjuncts(n.Args[0]), Conjuncts(n.Args[1])...)
	}
	return []*expr.Node{n}
}

// Join is the opposite of Conjuncts.
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

// KeyName returns the attribute with which a condition is about, if that is the whole attribute: key = value and the like.
func KeyName(n *expr.Node) (name string, ok bool) {
	for _, a := range n.Args {
		if a.Op == expr.OpPath && len(a.Path) == 1 {
			return a.Path[0].Name, true
		}
	}
	return "", false
}

// Alternatives returns the values of which an attribute must be one: by =, by IN, or by OR of these on the same attribute.
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
