package ops

import (
	"context"
	"errors"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

// exprError converts an error in an expression to AWS's, which names the parameter.
func exprError(parameter string, err error) error {
	e, ok := errors.AsType[*expr.Error](err)
	switch {
	case !ok:
		return err
	case e.Bare:
		return awserr.RequestError(e.Reason)
	}
	return awserr.InvalidExpression(parameter, e.Reason)
}

// param is the name of a request's parameter, and whether the request has it.
type param struct {
	name string
	set  bool
}

// present returns the names of the parameters that are set.
func present(params []param) []string {
	var out []string
	for _, p := range params {
		if p.set {
			out = append(out, p.name)
		}
	}
	return out
}

// checkMixed rejects a request that mixes legacy parameters with expressions.
func checkMixed(legacy, expressions []param) error {
	l := present(legacy)
	if l == nil {
		return nil
	}
	if e := present(expressions); e != nil {
		return awserr.MixedParameters(l, e)
	}
	return nil
}

// expressions are a request's parsed and bound expressions.
type expressions struct {
	scope     *expr.Scope
	update    *expr.Update
	condition *expr.Condition
	key       *expr.Condition
	filter    *expr.Condition
	project   *expr.Projection
	projector *expr.Projector
	scan      bool // for a read that is not limited to one partition key
	deep      bool // for an update by values that nest deeper than an item may, as those of transactions can
}

// expressionTexts are a request's expressions in text form, with the values of their placeholders.
type expressionTexts struct {
	update, condition, key, filter, projection smithy.Opt[string]
	names                                      smithy.Map[string]
	values                                     attribute.Item
	// valuesFor are the parameters that AWS names if there are values and no expressions. Only its older request reader names them:
	// that of transactions and Scan.
	valuesFor []string
	// older is set for operations that go through AWS's older layer of validation.
	older bool
	// untyped says for which problems (no type, several types) the operation's error names the placeholder.
	untyped attribute.Typing
}

// fail converts an expression's error to AWS's in the words of the operation's layer of validation.
func (in *expressionTexts) fail(parameter string, err error) error {
	if e, ok := errors.AsType[*expr.Error](err); ok && in.older && e.Older != "" {
		worded := *e
		worded.Reason = e.Older
		err = &worded
	}
	return exprError(parameter, err)
}

// checkValues rejects ExpressionAttributeValues that were decoded from invalid JSON. AWS's older layer names the placeholder.
func (in *expressionTexts) checkValues() error {
	name, problem, invalid := in.values.Invalid()
	if !invalid {
		return nil
	}
	if err := expr.CheckValueKey(name); err != nil {
		return exprError("", err)
	}
	typing := attribute.TypingOf(problem)
	switch {
	case typing != 0 && in.untyped&typing == 0:
		return awserr.ValidationError(problem)
	case typing == 0 && !in.older:
		return awserr.RequestError(problem)
	case typing == 0:
		_, problem, _ = in.values.InvalidOlder()
	}
	return awserr.ValidationError("ExpressionAttributeValues contains invalid value: " + problem + " for key " + name)
}

// parseExpressions parses all expressions, then resolves placeholders, then rejects unused ones. AWS reports errors in this
// order.
func (s *Service) parseExpressions(in expressionTexts) (*expressions, error) {
	any := in.update.Set || in.condition.Set || in.key.Set || in.filter.Set
	if in.names != nil && !any && !in.projection.Set {
		return nil, awserr.NamesWithoutExpression()
	}
	if in.values != nil && !any {
		return nil, awserr.ValuesWithoutExpression(in.valuesFor...)
	}
	e := &expressions{}
	if !any && !in.projection.Set {
		return e, nil
	}
	if err := in.checkValues(); err != nil {
		return nil, err
	}
	var err error
	if e.scope, err = expr.NewScope(in.names, in.values); err != nil {
		return nil, exprError("", err)
	}
	if in.update.Set {
		if e.update, err = s.cache.Update(in.update.Value); err != nil {
			return nil, in.fail("UpdateExpression", err)
		}
		if err = e.scope.BindUpdate(e.update); err != nil {
			return nil, exprError("UpdateExpression", err)
		}
		e.deep = in.older && tooDeep(in.values)
	}
	for _, c := range []struct {
		name string
		text smithy.Opt[string]
		dst  **expr.Condition
	}{
		{"ConditionExpression", in.condition, &e.condition},
		{"FilterExpression", in.filter, &e.filter},
		{"KeyConditionExpression", in.key, &e.key},
	} {
		if !c.text.Set {
			continue
		}
		if *c.dst, err = s.cache.Condition(c.text.Value); err != nil {
			return nil, in.fail(c.name, err)
		}
		if c.dst == &e.key {
			err = e.scope.BindKeyCondition(*c.dst)
		} else {
			err = e.scope.BindCondition(*c.dst)
		}
		if err != nil {
			return nil, exprError(c.name, err)
		}
	}
	if in.projection.Set {
		if e.project, err = s.cache.Projection(in.projection.Value); err != nil {
			return nil, exprError("ProjectionExpression", err)
		}
		if err = e.scope.BindProjection(e.project); err != nil {
			return nil, exprError("ProjectionExpression", err)
		}
		e.projector = e.scope.NewProjector(e.project.Paths)
	}
	return e, exprError("", e.scope.Unused())
}

// check returns a Mutation's Check for the request's condition, or nil if there is none. With returnOld, a refusal carries the
// item.
func (e *expressions) check(returnOld bool) func(old attribute.Item) error {
	if e.condition == nil {
		return nil
	}
	return func(old attribute.Item) error {
		if e.scope.Matches(e.condition.Root, old) {
			return nil
		}
		var item []byte
		if returnOld && old != nil {
			item = old.AppendJSON(nil)
		}
		return awserr.ConditionFailed(item)
	}
}

// checkUpdatedKeys rejects updates of the table's key attributes.
func (e *expressions) checkUpdatedKeys(t *catalog.Table) error {
	for _, a := range e.update.Actions {
		if name := e.scope.First(a.Path); t.Key.Has(name) {
			return awserr.KeyUpdate(name)
		}
	}
	return nil
}

// conditional holds the parameters that make PutItem and DeleteItem conditional.
type conditional struct {
	expected             smithy.Map[api.ExpectedAttributeValue]
	operator, expression smithy.Opt[string]
	names                smithy.Map[string]
	values               attribute.Item
	untyped              attribute.Typing
}

// parseConditional validates and parses the parameters. subject is the request's item or key, which AWS checks after the mix of
// parameters and before the expressions.
func (s *Service) parseConditional(c conditional, subject attribute.Item) (*expressions, error) {
	if err := checkMixed(
		[]param{{"ConditionalOperator", c.operator.Set}, {"Expected", c.expected != nil}},
		[]param{{"ConditionExpression", c.expression.Set}},
	); err != nil {
		return nil, err
	}
	if err := checkItem(subject); err != nil {
		return nil, err
	}
	e, err := s.parseExpressions(expressionTexts{
		condition: c.expression, names: c.names, values: c.values, untyped: c.untyped,
	})
	if err != nil {
		return nil, err
	}
	return e, e.lowerExpected(c.expected, c.operator)
}

// written is the part of a single write's answer that does not depend on ReturnValues.
type written struct {
	table.Result
	consumed *api.ConsumedCapacity
	metrics  *api.ItemCollectionMetrics
}

// writeModes are the parameters that decide what a single write returns.
type writeModes struct {
	onFailure, consumed, metrics smithy.Opt[string]
	keepOld                      bool
	now                          time.Time
}

// writeOne applies the mutation if the request's condition holds.
func (s *Service) writeOne(ctx context.Context, m table.Mutation, e *expressions, modes writeModes) (w written, err error) {
	m.Check = e.check(allOld(modes.onFailure))
	if w.Result, err = s.Tables.WriteOne(ctx, m, table.WriteOpt{KeepOld: modes.keepOld, Now: modes.now}); err != nil {
		return w, clientError(err)
	}
	w.consumed = consumedCapacity(modes.consumed, m.Table.Name, &w.Units, plainUnits)
	w.metrics, err = s.collectionMetrics(ctx, modes.metrics, m.Table, m.Key)
	return w, err
}

// allOld reports whether ReturnValuesOnConditionCheckFailure asks for the item.
func allOld(mode smithy.Opt[string]) bool {
	return mode.Value == api.ReturnValuesOnConditionCheckFailureAllOld
}
