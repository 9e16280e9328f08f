package ops

import (
	"errors"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
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
	refused       attribute.Item
	returnOld     bool
	inTransaction bool
	// attempted is what the write consumes even if it is refused.
	attempted float64
	// absent reports that a DELETE with a condition found no item.
	absent bool
}

// parseStatement parses a statement and runs all checks that do not need the table. Problems of the statement are *partiql.Error, those of
// parameters are not: AWS looks at the parameters first.
func parseStatement(text string, params []attribute.Value, onFailure smithy.Opt[string]) (*statement, error) {
	if err := checkParameters(params); err != nil {
		return nil, err
	}
	syntax, err := partiql.Read(text)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Statement(params)
	if err != nil {
		return nil, err
	}
	st := &statement{Statement: parsed, returnOld: allOld(onFailure)}
	if st.scope, err = expr.NewScope(literalNames(parsed), nil); err != nil {
		return nil, statementError(err)
	}
	st.scope.PartiQL, st.scope.Problem = true, partiql.OperandProblem
	if parsed.Where != nil {
		err = st.scope.BindCondition(&expr.Condition{Root: parsed.Where})
	}
	if err == nil && parsed.Update != nil {
		err = st.scope.BindUpdate(parsed.Update)
	}
	if err == nil && parsed.Columns != nil {
		err = st.scope.BindProjection(st.columns())
	}
	return st, statementError(err)
}

// columns returns the paths that the statement selects.
func (st *statement) columns() *expr.Projection {
	p := &expr.Projection{}
	for _, c := range st.Columns {
		p.Paths = append(p.Paths, c.Path)
	}
	return p
}

// checkParameters returns the error for an invalid parameter.
func checkParameters(params []attribute.Value) error {
	for _, v := range params {
		if problem, invalid := v.InvalidOlder(); invalid {
			return awserr.ValidationError(problem)
		}
	}
	return nil
}

// statementProblem converts a problem of a statement to the error of an operation. prefix says in which statement it is.
func statementProblem(err error, prefix string) error {
	var problem *partiql.Error
	if !errors.As(err, &problem) {
		return err
	}
	message := problem.Message
	if problem.Value {
		message = awserr.Invalid(message).Message
	}
	return awserr.ValidationError(prefix + message)
}

// misplacedExists is AWS's sentence for EXISTS, other function calls and operations where a statement belongs.
const misplacedExists = "EXISTS can only be used in ExecuteTransaction write requests."

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
	return &partiql.Error{Message: e.Reason}
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
	a := asks{statement: st}
	if st.inTransaction {
		a.enclosing = "ExecuteTransaction"
	}
	return reference{action: st.action(), kind: kindTable, given: st.Table, asks: a}.index(st.Index)
}

// keyTypeError is a key attribute whose value is not of the table's type.
type keyTypeError struct {
	name  string
	given attribute.Type
}

// Error implements error with the sentence of ExecuteStatement.
func (e *keyTypeError) Error() string {
	if e.never() {
		return "Key value must be of type S, N, or B. Key name: " + e.name + ", Key type: " + e.given.String()
	}
	return wrongKeyType + e.name
}

// wrongKeyType begins AWS's sentence for a key attribute whose value is not of the table's type.
const wrongKeyType = "Key attribute's data type should match its data type in table's schema: Key "

// never reports whether no key can be of the type.
func (e *keyTypeError) never() bool {
	return e.given != attribute.TypeS && e.given != attribute.TypeN && e.given != attribute.TypeB
}

// checkKeyType returns a *keyTypeError unless a value is of the key attribute's type.
func checkKeyType(a catalog.KeyAttribute, v attribute.Value) error {
	if v.Type() != a.Type {
		return &keyTypeError{a.Name, v.Type()}
	}
	return nil
}

// keyTypeProblem words a *keyTypeError for ExecuteStatement and batches.
func keyTypeProblem(err error) error {
	if e, ok := errors.AsType[*keyTypeError](err); ok {
		return awserr.ValidationError(e.Error())
	}
	return err
}

// wholeKey extracts from WHERE the equalities on all attributes of the table's key; if in is true, IN with a single value counts as an equality. rest is the remaining
// condition, or nil. twice is the name of a key attribute that must equal two values. ok is false if the key is incomplete.
func (st *statement) wholeKey(in bool) (key attribute.Item, rest *expr.Node, twice string, ok bool, err error) {
	left := partiql.Conjuncts(st.Where)
	var fields []attribute.Field
	for a := range st.table.Key.Attributes {
		var value attribute.Value
		left = slices.DeleteFunc(left, func(n *expr.Node) bool {
			name, values, ok := partiql.Alternatives(n)
			if !ok || name != a.Name || len(values) != 1 || n.Op != expr.OpEQ && !(in && n.Op == expr.OpIn) {
				return false
			}
			if value != nil && !value.Equal(values[0]) {
				twice = a.Name
			}
			value = values[0]
			return true
		})
		if value == nil {
			return nil, nil, "", false, nil
		}
		fields = append(fields, attribute.Field{Name: a.Name, Value: value})
	}
	for i, a := range slices.Collect(st.table.Key.Attributes) {
		if err := checkKeyType(a, fields[i].Value); err != nil {
			return nil, nil, "", false, err
		}
	}
	key = attribute.NewItem(fields...)
	return key, partiql.Join(left), twice, true, checkKeyValues(st.table, key)
}

// mustWholeKey is wholeKey for statements that write: an incomplete key is an error.
func (st *statement) mustWholeKey() (key attribute.Item, rest *expr.Node, err error) {
	key, rest, twice, ok, err := st.wholeKey(false)
	switch {
	case err != nil:
	case !ok:
		err = awserr.ValidationError("Where clause does not contain a mandatory equality on all key attributes")
	case twice != "":
		err = awserr.ValidationError("Multiple conditions on same key " + twice + ". Only single item Update/Insert/Delete are supported")
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
		e := &expressions{scope: st.scope, update: st.Update}
		if err := e.checkUpdatedKeys(st.table); err != nil {
			return m, &updatedKeyError{err}
		}
		m, err = updateMutation(st.table, key, e, false)
	case partiql.Delete:
		m, err = deleteMutation(st.table, key)
		mustExist = false
	default: // EXISTS
		m = table.Mutation{Table: st.table, Key: key}
	}
	m.Check = func(old attribute.Item) error {
		st.attempted = capacity.Write(old.Size(), 0)
		st.absent = old == nil && st.Kind == partiql.Delete && condition != nil
		if old == nil && mustExist || old != nil && !st.matches(condition, old) {
			return st.refuse(old)
		}
		return nil
	}
	return m, err
}

// updatedKeyError is the error for an update of a key attribute. In a batch, AWS names the table with it, as with a key
// that is too large.
type updatedKeyError struct{ error }

// Unwrap returns the error itself.
func (e *updatedKeyError) Unwrap() error { return e.error }

// insertion returns the mutation of an INSERT, which fails if the item exists already. For a wrong key AWS has sentences for INSERT, and in
// transactions those of PutItem.
func (st *statement) insertion() (table.Mutation, error) {
	for a := range st.table.Key.Attributes {
		switch v := st.Item.Get(a.Name); {
		case st.inTransaction:
		case v == nil:
			return table.Mutation{}, awserr.ValidationError("Key attribute should be present in the item: Key " + a.Name)
		case v.Type() != a.Type:
			return table.Mutation{}, awserr.ValidationError(wrongKeyType + a.Name)
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
		st.attempted = capacity.Write(old.Size(), st.Item.Size())
		if old == nil {
			return nil
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
