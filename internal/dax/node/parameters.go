package node

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// Numbers of the optional parameters on the wire.
const (
	optProjection   = 0
	optConsistent   = 2
	optCapacity     = 3
	optCondition    = 4
	optMetrics      = 6
	optReturnValues = 7
	optUpdate       = 8
	optStart        = 9
	optFilter       = 10
	optIndex        = 11
	optLimit        = 13
	optForward      = 14
	optSelect       = 15
	optSegment      = 16
	optSegments     = 17
	optToken        = 19
)

// Enumerations, by their numbers on the wire. An empty string means: not given.
var (
	capacities   = []string{api.ReturnConsumedCapacityNone, api.ReturnConsumedCapacityTotal, api.ReturnConsumedCapacityIndexes}
	metricModes  = []string{api.ReturnItemCollectionMetricsNone, api.ReturnItemCollectionMetricsSize}
	returnValues = []string{"", api.ReturnValueNone, api.ReturnValueAllOld, api.ReturnValueUpdatedOld, api.ReturnValueAllNew, api.ReturnValueUpdatedNew}
	onFailure    = []string{"", api.ReturnValuesOnConditionCheckFailureNone, api.ReturnValuesOnConditionCheckFailureAllOld}
	// Some clients always send ALL_ATTRIBUTES, even where DynamoDB rejects it, so it means: not given.
	selects = []string{"", "", api.SelectAllProjectedAttributes, api.SelectCount, api.SelectSpecificAttributes}
)

// parameters are the optional parameters of a request. Absent byte strings are nil.
type parameters struct {
	projection, condition, update, filter []byte
	start, index                          []byte
	consistent                            bool
	capacity, metrics, returnValues, sel  smithy.Opt[string]
	limit, segment, segments              smithy.Opt[int64]
	forward                               smithy.Opt[bool]
	token                                 smithy.Opt[string]
}

// enum reads a member of an enumeration.
func enum(r *wire.Reader, values []string) smithy.Opt[string] {
	i := r.Int()
	if r.Err() != nil || i < 0 || i >= int64(len(values)) {
		r.Malformed()
		return smithy.Opt[string]{}
	}
	return smithy.Opt[string]{Value: values[i], Set: values[i] != ""}
}

// readParameters reads the optional parameters. The last occurrence of a repeated one wins: the Python client sends a condition as
// text first, and then in its binary form.
func readParameters(r *wire.Reader) (p parameters) {
	if r.Null() {
		return p
	}
	for n := r.Map(); r.Next(&n); {
		switch r.Int() {
		case optProjection:
			p.projection = r.BytesOrNull()
		case optConsistent:
			p.consistent = r.Int() != 0
		case optCapacity:
			p.capacity = enum(r, capacities)
		case optCondition:
			p.condition = r.BytesOrNull()
		case optMetrics:
			p.metrics = enum(r, metricModes)
		case optReturnValues:
			p.returnValues = enum(r, returnValues)
		case optUpdate:
			p.update = r.BytesOrNull()
		case optStart:
			p.start = r.BytesOrNull()
		case optFilter:
			p.filter = r.BytesOrNull()
		case optIndex:
			p.index = r.BytesOrNull()
		case optLimit:
			p.limit = smithy.Some(r.Int())
		case optForward:
			p.forward = smithy.Some(r.Int() != 0)
		case optSelect:
			p.sel = enum(r, selects)
		case optSegment:
			p.segment = smithy.Some(r.Int())
		case optSegments:
			p.segments = smithy.Some(r.Int())
		case optToken:
			p.token = smithy.Some(wirejson.View(r.Text()))
		default: // names and values of expressions: the binary forms contain them already
			r.Skip()
		}
	}
	return p
}

// expressions translates a request's expressions to the API's text with placeholders.
type expressions struct {
	wire.Expressions
	err error
}

// text returns an expression's text; not set if b is nil.
func (x *expressions) text(b []byte, read func(*wire.Expressions, []byte) (string, error)) smithy.Opt[string] {
	if b == nil || x.err != nil {
		return smithy.Opt[string]{}
	}
	text, err := read(&x.Expressions, b)
	x.err = err
	return smithy.Some(text)
}

func (x *expressions) condition(b []byte) smithy.Opt[string] {
	return x.text(b, (*wire.Expressions).Condition)
}

func (x *expressions) update(b []byte) smithy.Opt[string] {
	return x.text(b, (*wire.Expressions).Update)
}

// projection returns the text of a projection, and its paths.
func (x *expressions) projection(b []byte) (text smithy.Opt[string], paths []wire.Path) {
	text = x.text(b, func(w *wire.Expressions, b []byte) (s string, err error) {
		s, paths, err = w.Projection(b)
		return s, err
	})
	return text, paths
}

// names returns ExpressionAttributeNames; nil if there are none.
func (x *expressions) names() (m smithy.Map[string]) {
	for _, p := range x.Names {
		m = append(m, smithy.Entry[string]{Key: p.Name, Value: p.Value})
	}
	return m
}

// values returns ExpressionAttributeValues; nil if there are none.
func (x *expressions) values() attribute.Item {
	if len(x.Values) == 0 {
		return nil
	}
	fields := make([]attribute.Field, len(x.Values))
	for i, p := range x.Values {
		fields[i] = attribute.Field{Name: p.Name, Value: p.Value}
	}
	return attribute.NewItem(fields...)
}
