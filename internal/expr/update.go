package expr

import (
	"github.com/statordb/stator/internal/attribute"
)

// AWS's sentences for updates that don't fit the item.
const (
	msgMissingOperand = "The provided expression refers to an attribute that does not exist in the item"
	msgOperandType    = "An operand in the update expression has an incorrect data type"
	msgTooLarge       = "Item size to update has exceeded the maximum allowed size"
	msgInvalidPath    = "The document path provided in the update expression is invalid for update"
)

// evalError returns an error of the evaluation, which AWS prints without a prefix.
func evalError(reason string) *Error { return &Error{Reason: reason, Bare: true} }

// edit is what an update does at a path: set a value, or remove the existing one. In PartiQL, the value may be missing.
type edit struct {
	val    attribute.Value
	remove bool
}

// Apply returns the item after a bound update. All operands are evaluated against the original item, whatever the order of the actions.
// A nil item has no attributes; the attributes of the key must be in it.
func (s *Scope) Apply(u *Update, it attribute.Item) (out attribute.Item, err error) {
	defer catch(&err)
	var root pathTree
	missing := false
	for _, a := range u.Actions {
		e := s.evaluate(a, it)
		missing = missing || e != nil && e.val == nil && !e.remove
		if e != nil {
			root.add(s, a.Path).edit = e
		} else {
			s.requireParent(a.Path, it)
		}
	}
	root.sort()
	var b attribute.Builder
	b.Grow(len(it) + 128)
	kids := root.kids
	for name, v := range it.Fields {
		for len(kids) > 0 && kids[0].name < string(name) {
			kids[0].create(&b)
			kids = kids[1:]
		}
		if len(kids) > 0 && kids[0].name == string(name) {
			if v := kids[0].apply(v); v != nil {
				b.Add(name, v)
			}
			kids = kids[1:]
			continue
		}
		b.Add(name, v)
	}
	for _, k := range kids {
		k.create(&b)
	}
	if missing {
		panic(evalError(msgMissingOperand))
	}
	return b.Item(), nil
}

// requireParent fails unless the item has the list or map that would contain the path's last element.
func (s *Scope) requireParent(p Path, it attribute.Item) {
	if len(p) == 1 {
		return
	}
	parent := s.Resolve(p[:len(p)-1], it)
	if last := p[len(p)-1]; last.IsIndex && parent.Type() == attribute.TypeL || !last.IsIndex && parent.Type() == attribute.TypeM {
		return
	}
	panic(evalError(msgInvalidPath))
}

// create adds an attribute that the item lacks.
func (t *pathTree) create(b *attribute.Builder) {
	switch {
	case t.edit == nil:
		panic(evalError(msgInvalidPath))
	case t.edit.val != nil:
		b.Add([]byte(t.name), t.edit.val)
	}
}

// apply returns a value after the edits at and below the node, or nil if it is removed.
func (t *pathTree) apply(v attribute.Value) attribute.Value {
	if t.edit != nil {
		if t.edit.remove {
			return nil
		}
		return t.edit.val
	}
	if t.kids[0].isIndex {
		return t.applyList(v)
	}
	if v.Type() != attribute.TypeM {
		panic(evalError(msgInvalidPath))
	}
	var fields []attribute.Field
	kids := t.kids
	create := func(k *pathTree) {
		switch {
		case k.edit == nil: // an edit below an attribute that doesn't exist
			panic(evalError(msgInvalidPath))
		case k.edit.val != nil:
			fields = append(fields, attribute.Field{Name: k.name, Value: k.edit.val})
		}
	}
	// Both the fields and the edits are sorted by name, so merge them.
	for name, e := range v.Fields {
		for len(kids) > 0 && kids[0].name < string(name) {
			create(kids[0])
			kids = kids[1:]
		}
		if len(kids) > 0 && kids[0].name == string(name) {
			e = kids[0].apply(e)
			kids = kids[1:]
		}
		if e != nil {
			fields = append(fields, attribute.Field{Name: string(name), Value: e})
		}
	}
	for _, k := range kids {
		create(k)
	}
	return attribute.NewMap(fields)
}

// applyList is apply for lists. Removals don't shift the indexes of other edits.
func (t *pathTree) applyList(v attribute.Value) attribute.Value {
	if v.Type() != attribute.TypeL {
		panic(evalError(msgInvalidPath))
	}
	var elems []attribute.Value
	kids := t.kids
	i := 0
	for e := range v.Values {
		if len(kids) > 0 && kids[0].index == i {
			e = kids[0].apply(e)
			kids = kids[1:]
		}
		if e != nil {
			elems = append(elems, e)
		}
		i++
	}
	// Indexes beyond the end append, in order of the indexes.
	for _, k := range kids {
		switch {
		case k.edit == nil:
			panic(evalError(msgInvalidPath))
		case k.edit.val != nil:
			elems = append(elems, k.edit.val)
		}
	}
	return attribute.NewList(elems)
}

// evaluate returns what an action does at its path, or nil for nothing.
func (s *Scope) evaluate(a Action, it attribute.Item) *edit {
	switch a.Section {
	case SectionRemove:
		return &edit{remove: true}
	case SectionSet:
		v := s.updateOperand(a.Operand, it)
		if v == nil && !s.PartiQL {
			panic(evalError(msgMissingOperand))
		}
		return &edit{val: v}
	}
	old, operand := s.Resolve(a.Path, it), s.Value(a.Operand)
	if a.Section == SectionDelete {
		if old == nil {
			return nil
		}
		if old.Type() != operand.Type() {
			panic(&Error{Reason: msgOperandType, Bare: true, WrongType: true})
		}
		left := attribute.Difference(old, operand)
		return &edit{val: left, remove: left == nil}
	}
	switch {
	case old == nil:
		return &edit{val: operand}
	case old.Type() != operand.Type():
		panic(&Error{Reason: msgOperandType, Bare: true, WrongType: true})
	case operand.Type() == attribute.TypeN:
		return &edit{val: sum(old, operand, false)}
	}
	return &edit{val: attribute.Union(old, operand)}
}

// sum returns a+b or a-b.
func sum(a, b attribute.Value, subtract bool) attribute.Value {
	if a.Type() != attribute.TypeN || b.Type() != attribute.TypeN {
		panic(&Error{Reason: msgOperandType, Bare: true, WrongType: true})
	}
	text, problem := attribute.AddNumbers(nil, a.Bytes(), b.Bytes(), subtract)
	if problem != "" {
		panic(evalError(problem))
	}
	return attribute.AppendScalar(nil, attribute.TypeN, text)
}

// operandTypes are the types of operands that operators and functions of SET take.
var operandTypes = map[Op]attribute.Type{OpPlus: attribute.TypeN, OpMinus: attribute.TypeN, OpListAppend: attribute.TypeL}

// updateOperand evaluates an operand of SET, or returns nil for a path without a value.
func (s *Scope) updateOperand(n *Node, it attribute.Item) attribute.Value {
	switch n.Op {
	case OpPath:
		return s.Resolve(n.Path, it)
	case OpValue:
		return s.Value(n)
	case OpIfNotExists:
		if v := s.Resolve(n.Args[0].Path, it); v != nil {
			return v
		}
		return s.updateOperand(n.Args[1], it) // not evaluated otherwise, so it may then refer to a missing path
	case OpEQ, OpNE, OpLT, OpLE, OpGT, OpGE: // PartiQL assigns comparisons
		return attribute.Bool(s.Matches(n, it))
	}
	a := s.updateOperand(n.Args[0], it)
	if s.PartiQL && a != nil && a.Type() != operandTypes[n.Op] {
		panic(&Error{Reason: msgOperandType, Bare: true, WrongType: true})
	}
	b := s.updateOperand(n.Args[1], it)
	if a == nil || b == nil {
		panic(evalError(msgMissingOperand))
	}
	switch n.Op {
	case OpListAppend:
		if a.Type() != attribute.TypeL || b.Type() != attribute.TypeL {
			panic(&Error{Reason: msgOperandType, Bare: true, WrongType: true})
		}
		// An expression of 4 KB can double a list dozens of times.
		if a.Size()+b.Size() > attribute.MaxItemSize {
			panic(evalError(msgTooLarge))
		}
		elems := make([]attribute.Value, 0, a.Len()+b.Len())
		for e := range a.Values {
			elems = append(elems, e)
		}
		for e := range b.Values {
			elems = append(elems, e)
		}
		return attribute.NewList(elems)
	default:
		return sum(a, b, n.Op == OpMinus)
	}
}
