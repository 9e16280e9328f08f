package ops

import (
	"errors"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/partiql"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

// statement is a PartiQL statement with the table that it is about.
type statement struct {
	*partiql.Statement
	table *catalog.Table
	scope *expr.Scope
	// refused is the item that failed a condition, kept only if returnOld is set.
	refused   attribute.Item
	returnOld bool
}

// parseStatement parses a statement and runs all checks that do not need the table.
func parseStatement(text string, params []attribute.Value, onFailure smithy.Opt[string]) (*statement, error) {
	for _, v := range params {
		if problem, invalid := v.Invalid(); invalid {
			return nil, awserr.ValidationError(problem)
		}
	}
	parsed, err := partiql.Parse(text, params)
	var problem *partiql.Error
	if errors.As(err, &problem) {
		return nil, awserr.ValidationError(problem.Message)
	}
	if err != nil {
		return nil, err
	}
	st := &statement{Statement: parsed, returnOld: onFailure.Value == api.ReturnValuesOnConditionCheckFailureAllOld}
	if st.scope, err = expr.NewScope(literalNames(parsed), nil); err != nil {
		return nil, statementError(err)
	}
	if parsed.Where != nil {
		err = st.scope.BindCondition(&expr.Condition{Root: parsed.Where})
	}
	if err == nil && parsed.Update != nil {
		err = st.scope.BindUpdate(parsed.Update)
	}
	return st, statementError(err)
}

// literalNames maps names that look like placeholders ("#x") to themselves, because PartiQL has no placeholders for names.
func literalNames(st *partiql.Statement) smithy.Map[string] {
	var out smithy.Map[string]
	var seen map[string]bool
	path := func(p expr.Path) {
		for _, e := range p {
			if strings.HasPrefix(e.Name, "#") && !seen[e.Name] {
				if seen == nil {
					seen = map[string]bool{}
				}
				seen[e.Name] = true
				out = append(out, smithy.Entry[string]{Key: e.Name, Value: e.Name})
			}
		}
	}
	var tree func(n *expr.Node)
	tree = func(n *expr.Node) {
		if n == nil {
			return
		}
		path(n.Path)
		for _, a := range n.Args {
			tree(a)
		}
	}
	tree(st.Where)
	for _, c := range st.Columns {
		path(c.Path)
	}
	if st.Update != nil {
		for _, a := range st.Update.Actions {
			path(a.Path)
			tree(a.Operand)
		}
	}
	return out
}

// statementError words an expression's error as PartiQL does: without a parameter's name.
func statementError(err error) error {
	var e *expr.Error
	if !errors.As(err, &e) {
		return err
	}
	return awserr.ValidationError(strings.Replace(e.Reason, "operator or function; operator: ", "operator or function; operator or function: ", 1))
}

// writes reports whether the statement belongs into a batch or transaction of writes. EXISTS does.
func (st *statement) writes() bool { return st.Kind != partiql.Select }

// action returns the IAM action that the statement needs ("IAM security policies with PartiQL for DynamoDB"). EXISTS reads.
func (st *statement) action() string {
	switch st.Kind {
	case partiql.Insert:
		return "dynamodb:PartiQLInsert"
	case partiql.Update:
		return "dynamodb:PartiQLUpdate"
	case partiql.Delete:
		return "dynamodb:PartiQLDelete"
	}
	return "dynamodb:PartiQLSelect"
}

// reference returns the table or index that the statement is about.
func (st *statement) reference() reference {
	return reference{action: st.action(), kind: kindTable, given: st.Table, index: st.Index}
}

// errKeyType is AWS's error for a key attribute whose type differs from the table's.
func errKeyType(name string) error {
	return awserr.ValidationError("Key attribute's data type should match its data type in table's schema: Key " + name)
}

// wholeKey extracts from WHERE the equalities on all attributes of the table's key. rest is the remaining condition, or nil. ok
// is false if the key is incomplete.
func (st *statement) wholeKey() (key attribute.Item, rest *expr.Node, ok bool, err error) {
	left := partiql.Conjuncts(st.Where)
	var fields []attribute.Field
	for a := range st.table.Key.Attributes {
		i := slices.IndexFunc(left, func(n *expr.Node) bool {
			name, values, ok := partiql.Alternatives(n)
			return ok && n.Op == expr.OpEQ && name == a.Name && len(values) == 1
		})
		if i < 0 {
			return nil, nil, false, nil
		}
		_, values, _ := partiql.Alternatives(left[i])
		if values[0].Type() != a.Type {
			return nil, nil, false, errKeyType(a.Name)
		}
		fields = append(fields, attribute.Field{Name: a.Name, Value: values[0]})
		left = slices.Delete(left, i, i+1)
	}
	key = attribute.NewItem(fields...)
	return key, partiql.Join(left), true, checkKeyValues(st.table, key)
}

// mustWholeKey is wholeKey for statements that write: an incomplete key is an error.
func (st *statement) mustWholeKey() (key attribute.Item, rest *expr.Node, err error) {
	key, rest, ok, err := st.wholeKey()
	if err == nil && !ok {
		err = awserr.ValidationError("Where clause does not contain a mandatory equality on all key attributes")
	}
	return key, rest, err
}

func (st *statement) matches(condition *expr.Node, it attribute.Item) bool {
	return condition == nil || st.scope.Matches(condition, it)
}

// refuse returns the error for a failed condition, with the old item if the statement asks for it.
func (st *statement) refuse(old attribute.Item) error {
	if !st.returnOld || old == nil {
		return awserr.ConditionFailed(nil)
	}
	st.refused = old.Clone()
	return awserr.ConditionFailed(old.AppendJSON(nil))
}

// mutation returns the mutation that a writing statement describes. EXISTS only checks.
func (st *statement) mutation() (table.Mutation, error) {
	if st.Kind == partiql.Insert {
		return st.insertion()
	}
	key, condition, err := st.mustWholeKey()
	if err != nil {
		return table.Mutation{}, err
	}
	var m table.Mutation
	mustExist := true
	switch st.Kind {
	case partiql.Update:
		m, err = updateMutation(st.table, key, &expressions{scope: st.scope, update: st.Update}, false)
	case partiql.Delete:
		m, err = deleteMutation(st.table, key)
		mustExist = false
	default: // EXISTS
		m = table.Mutation{Table: st.table, Key: key}
	}
	m.Check = func(old attribute.Item) error {
		if old == nil && mustExist || old != nil && !st.matches(condition, old) {
			return st.refuse(old)
		}
		return nil
	}
	return m, err
}

// insertion returns the mutation of an INSERT, which fails if the item exists already.
func (st *statement) insertion() (table.Mutation, error) {
	for a := range st.table.Key.Attributes {
		switch v := st.Item.Get(a.Name); {
		case v == nil:
			return table.Mutation{}, awserr.ValidationError("Key attribute should be present in the item: Key " + a.Name)
		case v.Type() != a.Type:
			return table.Mutation{}, errKeyType(a.Name)
		}
	}
	switch {
	case st.Item.Size() > attribute.MaxItemSize:
		return table.Mutation{}, awserr.ItemTooLarge()
	case tooDeep(st.Item):
		return table.Mutation{}, awserr.TooDeep()
	}
	m, err := putMutation(st.table, st.Item)
	m.Check = func(old attribute.Item) error {
		if old == nil {
			return nil
		}
		if st.returnOld {
			st.refused = old.Clone()
		}
		return awserr.New(awserr.DuplicateItem, "Duplicate primary key exists in table")
	}
	return m, err
}

// returnMode maps RETURNING clauses to values of ReturnValues.
var returnMode = map[string]string{
	partiql.AllOld: api.ReturnValueAllOld, partiql.AllNew: api.ReturnValueAllNew,
	partiql.ModifiedOld: api.ReturnValueUpdatedOld, partiql.ModifiedNew: api.ReturnValueUpdatedNew,
}

// returned returns the attributes that RETURNING asks for, or nil.
func (st *statement) returned(res table.Result) attribute.Item {
	return returnedAttributes(returnMode[st.Returning], &expressions{scope: st.scope, update: st.Update}, res)
}

// keepOld reports whether RETURNING needs the old item.
func (st *statement) keepOld() bool {
	return st.Returning == partiql.AllOld || st.Returning == partiql.ModifiedOld
}

// project returns a function that reduces an item to SELECT's columns, or nil for SELECT *.
func (st *statement) project() func(attribute.Item) attribute.Item {
	if st.Columns == nil {
		return nil
	}
	return func(it attribute.Item) attribute.Item {
		var fields []attribute.Field
		for _, c := range st.Columns {
			if v := st.scope.Resolve(c.Path, it); v != nil {
				fields = append(fields, attribute.Field{Name: c.Name, Value: v})
			}
		}
		return attribute.NewItem(fields...)
	}
}
