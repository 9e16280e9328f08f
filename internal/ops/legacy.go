package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/smithy"
)

// Legacy parameters are lowered to the same trees that expressions parse to, so that there is one evaluator. Sources: "Legacy
// conditional parameters".

// legacyOps maps comparison operators to the operators of expressions.
var legacyOps = map[string]expr.Op{
	api.ComparisonOperatorEq: expr.OpEQ, api.ComparisonOperatorNe: expr.OpNE, api.ComparisonOperatorLe: expr.OpLE,
	api.ComparisonOperatorLt: expr.OpLT, api.ComparisonOperatorGe: expr.OpGE, api.ComparisonOperatorGt: expr.OpGT,
	api.ComparisonOperatorNotNull: expr.OpExists, api.ComparisonOperatorNull: expr.OpNotExists,
	api.ComparisonOperatorContains: expr.OpContains, api.ComparisonOperatorNotContains: expr.OpNotContains,
	api.ComparisonOperatorBeginsWith: expr.OpBeginsWith, api.ComparisonOperatorIn: expr.OpIn,
	api.ComparisonOperatorBetween: expr.OpBetween,
}

// checkOperator rejects unknown comparison operators.
func checkOperator(operator string) error {
	if _, known := legacyOps[operator]; !known {
		return awserr.InvalidRequest("Invalid comparison operator")
	}
	return nil
}

// checkName rejects a name that no attribute can have.
func checkName(name string) error {
	switch {
	case name == "":
		return awserr.EmptyName()
	case len(name) > attribute.MaxName:
		return awserr.LongName()
	}
	return nil
}

// checkValues rejects values that were decoded from invalid JSON.
func checkValues(values []attribute.Value) error {
	for _, v := range values {
		if problem, invalid := v.Invalid(); invalid {
			return valueError(problem)
		}
	}
	return nil
}

// checkComparison validates the operator of a legacy comparison, and the number and types of its arguments.
func checkComparison(operator string, args []attribute.Value) error {
	if err := checkOperator(operator); err != nil {
		return err
	}
	if err := checkValues(args); err != nil {
		return err
	}
	count := len(args) == 1
	switch operator {
	case api.ComparisonOperatorNull, api.ComparisonOperatorNotNull:
		count = len(args) == 0
	case api.ComparisonOperatorBetween:
		count = len(args) == 2
	case api.ComparisonOperatorIn:
		count = len(args) > 0
	}
	if !count {
		return awserr.InvalidRequest("Invalid number of argument(s) for the " + operator + " ComparisonOperator")
	}
	for _, v := range args {
		ok := true
		switch t := v.Type(); operator {
		case api.ComparisonOperatorLt, api.ComparisonOperatorLe, api.ComparisonOperatorGt, api.ComparisonOperatorGe,
			api.ComparisonOperatorBetween, api.ComparisonOperatorIn, api.ComparisonOperatorContains, api.ComparisonOperatorNotContains:
			ok = t == attribute.TypeS || t == attribute.TypeN || t == attribute.TypeB
		case api.ComparisonOperatorBeginsWith:
			ok = t == attribute.TypeS || t == attribute.TypeB
		}
		if !ok {
			return awserr.InvalidRequest("ComparisonOperator " + operator + " is not valid for " + v.Type().String() + " AttributeValue type")
		}
		if (operator == api.ComparisonOperatorBetween || operator == api.ComparisonOperatorIn) && v.Type() != args[0].Type() {
			return awserr.InvalidRequest("AttributeValues inside AttributeValueList must be of same type")
		}
	}
	if operator == api.ComparisonOperatorBetween {
		if c, ok := attribute.Compare(args[0], args[1]); ok && c > 0 {
			return awserr.RequestError("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
		}
	}
	return nil
}

func literal(v attribute.Value) *expr.Node { return &expr.Node{Op: expr.OpValue, Lit: v} }

func attributePath(name string) *expr.Node {
	return &expr.Node{Op: expr.OpPath, Path: expr.Path{{Name: name}}}
}

// comparison returns the tree of a legacy comparison, whose operator and arguments are already checked.
func comparison(name, operator string, args []attribute.Value) *expr.Node {
	n := &expr.Node{Op: legacyOps[operator], Args: []*expr.Node{attributePath(name)}}
	for _, v := range args {
		n.Args = append(n.Args, literal(v))
	}
	return n
}

// combine joins conditions with ConditionalOperator (default AND), or returns nil if there are none.
func combine(conditions []*expr.Node, operator smithy.Opt[string]) *expr.Condition {
	if len(conditions) == 0 {
		return nil
	}
	op := expr.OpAnd
	if operator.Value == api.ConditionalOperatorOr {
		op = expr.OpOr
	}
	return &expr.Condition{Root: balanced(op, conditions)}
}

// balanced joins conditions in a balanced tree. There may be thousands, and trees are walked recursively, so a chain would need
// a deep stack.
func balanced(op expr.Op, conditions []*expr.Node) *expr.Node {
	if len(conditions) == 1 {
		return conditions[0]
	}
	half := len(conditions) / 2
	return &expr.Node{Op: op, Args: []*expr.Node{balanced(op, conditions[:half]), balanced(op, conditions[half:])}}
}

// checkConditionalOperator rejects an operator unless there are at least two conditions to combine.
func checkConditionalOperator(operator smithy.Opt[string], conditions int) error {
	if operator.Set && conditions == 0 {
		return awserr.RequestError("ConditionalOperator cannot be used without Filter or Expected")
	}
	if operator.Set && conditions == 1 {
		return awserr.RequestError("ConditionalOperator can only be used when Filter or Expected has two or more elements")
	}
	if operator.Set && operator.Value != api.ConditionalOperatorAnd && operator.Value != api.ConditionalOperatorOr {
		return smithy.NotInSet("[ALL, OR]")
	}
	return nil
}

// lowerExpected converts the legacy parameter Expected to a condition.
func (e *expressions) lowerExpected(expected smithy.Map[api.ExpectedAttributeValue], operator smithy.Opt[string]) error {
	if err := checkConditionalOperator(operator, len(expected)); err != nil {
		return err
	}
	var conditions []*expr.Node
	for i := range expected {
		name, x := expected[i].Key, &expected[i].Value
		where := " for Attribute: " + name
		if err := checkName(name); err != nil {
			return err
		}
		if x.ComparisonOperator.Set {
			if err := checkOperator(x.ComparisonOperator.Value); err != nil {
				return err
			}
			args := x.AttributeValueList
			switch {
			case x.Exists.Set:
				return awserr.InvalidRequest("Exists and ComparisonOperator cannot be used together" + where)
			case x.Value != nil && args != nil:
				return awserr.InvalidRequest("Value and AttributeValueList cannot be used together" + where)
			case x.Value != nil:
				args = []attribute.Value{x.Value}
			case args == nil && legacyOps[x.ComparisonOperator.Value] != expr.OpExists && legacyOps[x.ComparisonOperator.Value] != expr.OpNotExists:
				return awserr.InvalidRequest("Value or AttributeValueList must be used with ComparisonOperator: " + x.ComparisonOperator.Value + where)
			}
			if err := checkComparison(x.ComparisonOperator.Value, args); err != nil {
				return err
			}
			conditions = append(conditions, comparison(name, x.ComparisonOperator.Value, args))
			continue
		}
		if problem, invalid := x.Value.Invalid(); invalid {
			return valueError(problem)
		}
		switch {
		case x.AttributeValueList != nil:
			return awserr.InvalidRequest("AttributeValueList can only be used with a ComparisonOperator" + where)
		case x.Value == nil && !x.Exists.Set:
			return awserr.InvalidRequest("Value must be provided when Exists is null" + where)
		case x.Value == nil && x.Exists.Value:
			return awserr.InvalidRequest("Value must be provided when Exists is true" + where)
		case x.Value != nil && x.Exists.Set && !x.Exists.Value:
			return awserr.InvalidRequest("Value cannot be used when Exists is false" + where)
		case x.Value == nil:
			conditions = append(conditions, &expr.Node{Op: expr.OpNotExists, Args: []*expr.Node{attributePath(name)}})
		default:
			conditions = append(conditions, comparison(name, api.ComparisonOperatorEq, []attribute.Value{x.Value}))
		}
	}
	if c := combine(conditions, operator); c != nil {
		e.condition = c
		return e.needScope()
	}
	return nil
}

// needScope ensures that there is a scope. Legacy parameters have no placeholders, so it can be empty.
func (e *expressions) needScope() (err error) {
	if e.scope == nil {
		e.scope, err = expr.NewScope(nil, nil)
	}
	return err
}

// lowerFilter converts the legacy parameters QueryFilter and ScanFilter to a filter.
func (e *expressions) lowerFilter(filter smithy.Map[api.Condition], operator smithy.Opt[string]) error {
	if err := checkConditionalOperator(operator, len(filter)); err != nil {
		return err
	}
	var conditions []*expr.Node
	for i := range filter {
		c := &filter[i].Value
		if err := checkName(filter[i].Key); err != nil {
			return err
		}
		if err := checkComparison(c.ComparisonOperator.Value, c.AttributeValueList); err != nil {
			return err
		}
		conditions = append(conditions, comparison(filter[i].Key, c.ComparisonOperator.Value, c.AttributeValueList))
	}
	if c := combine(conditions, operator); c != nil {
		e.filter = c
		return e.needScope()
	}
	return nil
}

// lowerProjection converts the legacy parameter AttributesToGet to a projection.
func (e *expressions) lowerProjection(names []string) error {
	if names == nil {
		return nil
	}
	e.project = &expr.Projection{}
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		if err := checkName(name); err != nil {
			return err
		}
		if _, twice := seen[name]; twice {
			return awserr.InvalidRequest("Duplicate value in attribute name: " + name)
		}
		seen[name] = struct{}{}
		e.project.Paths = append(e.project.Paths, expr.Path{{Name: name}})
	}
	if err := e.needScope(); err != nil {
		return err
	}
	e.projector = e.scope.NewProjector(e.project.Paths)
	return nil
}

// lowerUpdates converts the legacy parameter AttributeUpdates to an update.
func (e *expressions) lowerUpdates(updates smithy.Map[api.AttributeValueUpdate]) error {
	e.update = &expr.Update{}
	for i := range updates {
		u := &updates[i].Value
		if err := checkName(updates[i].Key); err != nil {
			return err
		}
		if problem, invalid := u.Value.Invalid(); invalid {
			return valueError(problem)
		}
		a := expr.Action{Path: expr.Path{{Name: updates[i].Key}}}
		action := u.Action.Or(api.AttributeActionPut)
		t := u.Value.Type()
		switch {
		case action != api.AttributeActionPut && action != api.AttributeActionAdd && action != api.AttributeActionDelete:
			return awserr.RequestError("Member must satisfy enum value set: [ADD, DELETE, PUT]' for Action") // as AWS prints it
		case u.Value == nil && action != api.AttributeActionDelete:
			return awserr.InvalidRequest("Only DELETE action is allowed when no attribute value is specified")
		case u.Value == nil:
			a.Section = expr.SectionRemove
		case action == api.AttributeActionPut:
			a.Section, a.Operand = expr.SectionSet, literal(u.Value)
		case action == api.AttributeActionDelete:
			switch t {
			case attribute.TypeSS, attribute.TypeNS, attribute.TypeBS:
			default:
				return awserr.InvalidRequest("DELETE action with value is not supported for the type " + expr.JavaTypeName(t))
			}
			a.Section, a.Operand = expr.SectionDelete, literal(u.Value)
		default:
			switch t {
			case attribute.TypeL:
				orEmpty := &expr.Node{Op: expr.OpIfNotExists, Args: []*expr.Node{attributePath(updates[i].Key), literal(attribute.NewList(nil))}}
				a.Section, a.Operand = expr.SectionSet, &expr.Node{Op: expr.OpListAppend, Args: []*expr.Node{orEmpty, literal(u.Value)}}
			case attribute.TypeN, attribute.TypeSS, attribute.TypeNS, attribute.TypeBS:
				a.Section, a.Operand = expr.SectionAdd, literal(u.Value)
			default:
				return awserr.InvalidRequest("ADD action is not supported for the type " + expr.JavaTypeName(t))
			}
		}
		e.update.Actions = append(e.update.Actions, a)
	}
	return e.needScope()
}
