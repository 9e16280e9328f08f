package expr

import (
	"bytes"
	"strconv"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
)

// Resolve returns the item's value at a path, or nil.
func (s *Scope) Resolve(p Path, it attribute.Item) attribute.Value {
	v := it.Get(s.name(p[0].Name))
	for _, e := range p[1:] {
		if v == nil {
			return nil
		}
		if e.IsIndex {
			v = v.Index(e.Index)
		} else {
			v = v.Get(s.name(e.Name))
		}
	}
	return v
}

// Matches evaluates a bound condition. A nil item has no attributes.
func (s *Scope) Matches(n *Node, it attribute.Item) bool {
	switch n.Op {
	case OpAnd:
		return s.Matches(n.Args[0], it) && s.Matches(n.Args[1], it)
	case OpOr:
		return s.Matches(n.Args[0], it) || s.Matches(n.Args[1], it)
	case OpNot:
		return !s.Matches(n.Args[0], it)
	case OpExists:
		return s.Resolve(n.Args[0].Path, it) != nil
	case OpNotExists:
		return s.Resolve(n.Args[0].Path, it) == nil
	}
	left := s.operand(n.Args[0], it)
	switch n.Op {
	case OpNE:
		// A missing value differs from everything, even from another missing one.
		right := s.operand(n.Args[1], it)
		return left == nil || right == nil || !left.Equal(right)
	case OpNotContains:
		right := s.operand(n.Args[1], it)
		return left != nil && !contains(left, right)
	}
	// Every other comparison with a missing value is false.
	if left == nil {
		return false
	}
	if n.Op == OpIn {
		for _, a := range n.Args[1:] {
			if right := s.operand(a, it); right != nil && left.Equal(right) {
				return true
			}
		}
		return false
	}
	right := s.operand(n.Args[1], it)
	if right == nil {
		return false
	}
	switch n.Op {
	case OpEQ:
		return left.Equal(right)
	case OpLT, OpLE, OpGT, OpGE:
		c, ok := attribute.Compare(left, right)
		return ok && (n.Op == OpLT && c < 0 || n.Op == OpLE && c <= 0 || n.Op == OpGT && c > 0 || n.Op == OpGE && c >= 0)
	case OpBetween:
		high := s.operand(n.Args[2], it)
		c1, ok1 := attribute.Compare(left, right)
		c2, ok2 := attribute.Compare(left, high)
		return ok1 && ok2 && c1 >= 0 && c2 <= 0
	case OpType:
		return left.Type().String() == right.Text() // type names such as SS
	case OpBeginsWith:
		return left.Type() == right.Type() && (left.Type() == attribute.TypeS || left.Type() == attribute.TypeB) &&
			bytes.HasPrefix(left.Bytes(), right.Bytes())
	case OpContains:
		return contains(left, right)
	}
	return false
}

// contains reports whether a string or binary has the operand as a part, or a set or list has it as an element.
func contains(v, operand attribute.Value) bool {
	t := operand.Type()
	switch v.Type() {
	case attribute.TypeS, attribute.TypeB:
		return t == v.Type() && bytes.Contains(v.Bytes(), operand.Bytes())
	case attribute.TypeSS:
		return t == attribute.TypeS && v.Contains(operand.Bytes())
	case attribute.TypeNS:
		return t == attribute.TypeN && v.Contains(operand.Bytes())
	case attribute.TypeBS:
		return t == attribute.TypeB && v.Contains(operand.Bytes())
	case attribute.TypeL:
		for e := range v.Values {
			if e.Equal(operand) {
				return true
			}
		}
	}
	return false
}

// operand evaluates an operand of a condition, or returns nil if there is no value.
func (s *Scope) operand(n *Node, it attribute.Item) attribute.Value {
	switch n.Op {
	case OpPath:
		return s.Resolve(n.Path, it)
	case OpValue:
		return s.Value(n)
	case OpSize:
		v := s.operand(n.Args[0], it)
		if size, ok := sizeOf(v); ok {
			return attribute.AppendScalar(nil, attribute.TypeN, strconv.AppendInt(nil, int64(size), 10))
		}
		return nil
	}
	return attribute.Bool(s.Matches(n, it)) // PartiQL compares conditions
}

// sizeOf is the function size: the length of strings in UTF-16 code units, as Java counts it, that of binaries in bytes, or else the number of
// elements.
func sizeOf(v attribute.Value) (int, bool) {
	switch v.Type() {
	case attribute.TypeS:
		return smithy.Length(v.Text()), true
	case attribute.TypeB:
		return len(v.Bytes()), true
	case attribute.TypeSS, attribute.TypeNS, attribute.TypeBS, attribute.TypeL, attribute.TypeM:
		return v.Len(), true
	}
	return 0, false
}
