package expr

import "strconv"

// Bytes that AWS charges an UpdateItem for its statement, measured on AWS in October 2026.
const (
	chargeUpdate      = 3  // once
	chargeWrite       = 19 // SET, ADD: plus the path, and the operand
	chargeClear       = 1  // REMOVE, DELETE: plus the path; the elements to delete are free
	chargeStep        = 4  // each element of such a path after the first
	chargeOperand     = 1  // a path as an operand, whatever its value
	chargeOperandStep = 14 // each element of such a path
	chargePlus        = 34 // plus both operands, and so on
	chargeMinus       = 37
	chargeListAppend  = 37
	chargeIfNotExists = 39
)

// Charge returns the bytes that AWS charges UpdateItem for a bound update. It depends on the request alone, and is bounded like an item. The
// legacy parameter AttributeUpdates, transactions and PartiQL have no such charge.
func (s *Scope) Charge(u *Update) int {
	size := chargeUpdate
	for _, a := range u.Actions {
		for i, e := range a.Path {
			if i > 0 {
				size += chargeStep
			}
			size += s.stepSize(e)
		}
		switch a.Section {
		case SectionSet, SectionAdd:
			size += chargeWrite + s.operandCharge(a.Operand)
		default:
			size += chargeClear
		}
	}
	return size
}

// stepSize returns the length of an attribute's name, or of an index's digits.
func (s *Scope) stepSize(e PathElem) int {
	if e.IsIndex {
		var digits [20]byte
		return len(strconv.AppendInt(digits[:0], int64(e.Index), 10))
	}
	return len(s.name(e.Name))
}

// operandCharge returns the charge for an operand of SET or ADD.
func (s *Scope) operandCharge(n *Node) int {
	size := 0
	switch n.Op {
	case OpPath:
		size = chargeOperand
		for _, e := range n.Path {
			size += chargeOperandStep + s.stepSize(e)
		}
	case OpValue:
		size = s.Value(n).Size()
	case OpPlus:
		size = chargePlus
	case OpMinus:
		size = chargeMinus
	case OpListAppend:
		size = chargeListAppend
	case OpIfNotExists:
		size = chargeIfNotExists
	}
	for _, a := range n.Args {
		size += s.operandCharge(a)
	}
	return size
}
