package ops

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/partiql"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// asks is what a request, or a part of it, asks of a table: what policies may make conditions about ("Using IAM policy conditions for
// fine-grained access control"). It says only what the request says. Nothing has been read when policies are evaluated.
type asks struct {
	// key is the item's key, or the whole item to put; keys are those of a batch.
	key  attribute.Item
	keys []attribute.Item
	// e are the request's expressions; nil without any.
	e *expressions
	// conditions are a Query's conditions on the keys.
	conditions []keyCondition
	// statement is the PartiQL statement; nil for others.
	statement *statement
	// selected, returned and consumed are the parameters Select, ReturnValues and ReturnConsumedCapacity.
	selected, returned, consumed smithy.Opt[string]
	// returnOld says that a failed condition returns the item: ReturnValuesOnConditionCheckFailure is ALL_OLD.
	returnOld bool
	// enclosing is the operation that has the request as a part; empty for a request of its own.
	enclosing string
	// tags are the tags that a request adds, untagged the keys of the tags that it removes.
	tags     []api.Tag
	untagged []string
}

// itemKeys are the condition keys that the requests of an action have.
type itemKeys uint8

const (
	hasLeading itemKeys = 1 << iota
	hasAttributes
	hasSelect
	hasReturnValues
	hasConsumed
	hasEnclosing
	hasFullScan
)

// itemActions are the actions whose requests have condition keys about items ("Actions, resources, and condition keys for Amazon DynamoDB").
var itemActions = map[string]itemKeys{
	"dynamodb:GetItem":            hasLeading | hasAttributes | hasSelect | hasConsumed | hasEnclosing,
	"dynamodb:BatchGetItem":       hasLeading | hasAttributes | hasSelect | hasConsumed,
	"dynamodb:Query":              hasLeading | hasAttributes | hasSelect | hasReturnValues | hasConsumed,
	"dynamodb:Scan":               hasAttributes | hasSelect | hasReturnValues | hasConsumed,
	"dynamodb:PutItem":            hasLeading | hasAttributes | hasReturnValues | hasConsumed | hasEnclosing,
	"dynamodb:UpdateItem":         hasLeading | hasAttributes | hasReturnValues | hasConsumed | hasEnclosing,
	"dynamodb:DeleteItem":         hasLeading | hasAttributes | hasReturnValues | hasConsumed | hasEnclosing,
	"dynamodb:ConditionCheckItem": hasLeading | hasAttributes | hasReturnValues | hasConsumed | hasEnclosing,
	"dynamodb:BatchWriteItem":     hasLeading | hasAttributes | hasConsumed,
	"dynamodb:PartiQLSelect":      hasLeading | hasAttributes | hasSelect | hasEnclosing | hasFullScan,
	"dynamodb:PartiQLInsert":      hasLeading | hasAttributes | hasEnclosing,
	"dynamodb:PartiQLUpdate":      hasLeading | hasAttributes | hasReturnValues | hasEnclosing,
	"dynamodb:PartiQLDelete":      hasLeading | hasAttributes | hasReturnValues | hasEnclosing,
}

// conditionKeys implements policy.Context for a request on a table.
type conditionKeys struct {
	*asks
	has   itemKeys
	table *catalog.Table // nil if no table has the name
	index string
	tags  []catalog.Tag // of the resource

	names  []string     // see attributes; nil until a policy asks for them
	clause *whereClause // see where; likewise
}

// Lookup implements policy.Context.
func (k *conditionKeys) Lookup(key string) (v policy.Values, ok bool) {
	if name, ok := strings.CutPrefix(key, "dynamodb:"); ok {
		return k.item(name)
	}
	if name, ok := strings.CutPrefix(key, "aws:resourcetag/"); ok {
		for _, tag := range k.tags {
			if strings.EqualFold(tag.Key, name) {
				return one(tag.Value), true
			}
		}
		return v, false
	}
	if name, ok := strings.CutPrefix(key, "aws:requesttag/"); ok {
		for _, tag := range k.asks.tags {
			if strings.EqualFold(tag.Key.Value, name) {
				return one(tag.Value.Value), true
			}
		}
		return v, false
	}
	if key == "aws:tagkeys" {
		names := slices.Clone(k.untagged)
		for _, tag := range k.asks.tags {
			names = append(names, tag.Key.Value)
		}
		return policy.Values{List: names, Multiple: true}, names != nil
	}
	return v, false
}

// one is the value of a condition key with a single value.
func one(text string) policy.Values { return policy.Values{List: []string{text}} }

// item returns the values of a condition key about items. name is in lower case and without its prefix.
func (k *conditionKeys) item(name string) (v policy.Values, ok bool) {
	several := func(list []string) (policy.Values, bool) {
		return policy.Values{List: list, Multiple: true}, list != nil
	}
	switch name {
	case "leadingkeys", "firstpartitionkeyvalues":
		return several(k.partitionValues(0))
	case "secondpartitionkeyvalues":
		return several(k.partitionValues(1))
	case "thirdpartitionkeyvalues":
		return several(k.partitionValues(2))
	case "fourthpartitionkeyvalues":
		return several(k.partitionValues(3))
	case "attributes":
		if k.has&hasAttributes != 0 {
			return several(k.attributes())
		}
	case "select":
		if k.has&hasSelect != 0 {
			return one(k.selection()), true
		}
	case "returnvalues":
		if k.has&hasReturnValues != 0 {
			return one(k.returns()), true
		}
	case "returnconsumedcapacity":
		if k.has&hasConsumed != 0 {
			return one(k.consumed.Or(api.ReturnConsumedCapacityNone)), true
		}
	case "enclosingoperation":
		if k.has&hasEnclosing != 0 && k.enclosing != "" {
			return one(k.enclosing), true
		}
	case "fulltablescan": // true if WHERE names no partition key
		if k.has&hasFullScan != 0 && k.statement != nil && k.table != nil {
			return one(strconv.FormatBool(!k.where().keyed)), true
		}
	}
	return v, false
}

// schema returns the key schema of the table, or of the index that the request reads; nil if either is missing.
func (k *conditionKeys) schema() *catalog.KeySchema {
	switch {
	case k.table == nil:
		return nil
	case k.index == "":
		return &k.table.Key
	}
	if x := k.table.Index(k.index); x != nil {
		return &x.Key
	}
	return nil
}

// partitionValues returns the values that the request names for the attribute at a position of the partition key.
func (k *conditionKeys) partitionValues(at int) (values []string) {
	schema := k.schema()
	if k.has&hasLeading == 0 || schema == nil || at >= len(schema.Partition) {
		return nil
	}
	name := schema.Partition[at].Name
	add := func(v attribute.Value) {
		if text, ok := keyText(v); ok {
			values = append(values, text)
		}
	}
	add(k.key.Get(name))
	for _, key := range k.keys {
		add(key.Get(name))
	}
	for _, c := range k.conditions {
		if c.name == name && c.op == expr.OpEQ {
			add(c.args[0])
		}
	}
	if k.statement != nil {
		add(k.statement.Item.Get(name))
		if w := k.where(); w.keyed && at == 0 {
			for _, b := range w.branches {
				add(b.partition)
			}
		}
	}
	return values
}

// where returns what the statement's WHERE says about the keys.
func (k *conditionKeys) where() *whereClause {
	if k.clause == nil {
		st := *k.statement
		st.table = k.table
		k.clause = readWhere(&st, k.table.Index(k.index))
	}
	return k.clause
}

// keyText returns a key attribute's value as policies write it: a number in canonical form, binary data in Base64. ok is false for values of
// other types, which no key has.
func keyText(v attribute.Value) (text string, ok bool) {
	switch v.Type() {
	case attribute.TypeS, attribute.TypeN:
		return v.Text(), true
	case attribute.TypeB:
		return base64.StdEncoding.EncodeToString(v.Bytes()), true
	}
	return "", false
}

// attributes returns the top-level attributes that the request names. A name may be there several times: removing the second ones of a large
// batch would take longer than comparing them.
func (k *conditionKeys) attributes() []string {
	if k.names != nil {
		return k.names
	}
	add := func(name string) { k.names = append(k.names, name) }
	addNames(k.key, add)
	for _, it := range k.keys {
		addNames(it, add)
	}
	for _, c := range k.conditions {
		add(c.name)
	}
	k.e.attributes(add)
	if st := k.statement; st != nil {
		addNames(st.Item, add)
		for _, o := range st.Order {
			add(o.Name)
		}
		e := expressions{scope: st.scope, update: st.Update}
		if st.Where != nil {
			e.condition = &expr.Condition{Root: st.Where}
		}
		if st.Columns != nil {
			e.project = st.columns()
		}
		e.attributes(add)
	}
	return k.names
}

// addNames calls add with the names of an item's attributes, which are valid as long as the item.
func addNames(it attribute.Item, add func(name string)) {
	for name := range it.Fields {
		add(wirejson.View(name))
	}
}

// attributes calls add with the top-level attributes that the expressions name.
func (e *expressions) attributes(add func(name string)) {
	if e == nil {
		return
	}
	tree := func(n *expr.Node) {
		e.scope.Attributes(n, func(name string, _ expr.Path) bool {
			add(name)
			return true
		})
	}
	for _, c := range []*expr.Condition{e.condition, e.key, e.filter} {
		if c != nil {
			tree(c.Root)
		}
	}
	if e.update != nil {
		for _, a := range e.update.Actions {
			add(e.scope.First(a.Path))
			if a.Operand != nil {
				tree(a.Operand)
			}
		}
	}
	if e.project != nil {
		for _, p := range e.project.Paths {
			add(e.scope.First(p))
		}
	}
}

// selection returns what a read selects. A read that does not say it gets all attributes, unless it lists some ("Query").
func (k *conditionKeys) selection() string {
	switch {
	case k.selected.Set:
		return k.selected.Value
	case k.e != nil && k.e.project != nil, k.statement != nil && k.statement.Columns != nil:
		return api.SelectSpecificAttributes
	case k.index != "":
		return api.SelectAllProjectedAttributes
	}
	return api.SelectAllAttributes
}

// returningValues maps RETURNING to the ReturnValues that say the same.
var returningValues = map[string]string{
	"": api.ReturnValueNone, partiql.AllOld: api.ReturnValueAllOld, partiql.AllNew: api.ReturnValueAllNew,
	partiql.ModifiedOld: api.ReturnValueUpdatedOld, partiql.ModifiedNew: api.ReturnValueUpdatedNew,
}

// returns returns the request's ReturnValues, which a statement gives as RETURNING. A request that gets the whole item where its condition
// fails returns ALL_OLD: otherwise such requests would read the attributes that a policy hides. AWS documents nothing about them.
func (k *conditionKeys) returns() string {
	value, old := k.returned.Or(api.ReturnValueNone), k.returnOld
	if k.statement != nil {
		value, old = returningValues[k.statement.Returning], k.statement.returnOld
	}
	if old && value != api.ReturnValueAllNew {
		return api.ReturnValueAllOld
	}
	return value
}
