package ops

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/partiql"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/wirejson"
)

// executeStatement runs one statement. EXISTS only makes sense in a transaction.
func (s *Service) executeStatement(ctx context.Context, req *Request, in *api.ExecuteStatementInput) (*api.ExecuteStatementOutput, error) {
	st, err := parseStatement(in.Statement.Value, in.Parameters, in.ReturnValuesOnConditionCheckFailure)
	if err != nil {
		return nil, err
	}
	switch st.Kind {
	case partiql.Exists:
		return nil, awserr.ValidationError("EXISTS can only be used in ExecuteTransaction write requests.")
	case partiql.Select:
		return s.executeSelect(ctx, req, st, in)
	}
	res, err := s.executeWrite(ctx, req, st)
	if err != nil {
		return nil, err
	}
	out := &api.ExecuteStatementOutput{
		Items: []attribute.Item{}, ConsumedCapacity: consumedCapacity(in.ReturnConsumedCapacity, st.table.Name, &res.Units, plainUnits),
	}
	if it := st.returned(res); it != nil {
		out.Items = append(out.Items, it)
	}
	return out, nil
}

// executeWrite executes a single writing statement.
func (s *Service) executeWrite(ctx context.Context, req *Request, st *statement) (table.Result, error) {
	var err error
	if st.table, err = s.serving(ctx, req, st.reference()); err != nil {
		return table.Result{}, err
	}
	m, err := st.mutation()
	if err != nil {
		return table.Result{}, err
	}
	res, err := s.Tables.WriteOne(ctx, m, table.WriteOpt{KeepOld: st.keepOld()})
	return res, clientError(err)
}

// executeSelect reads a page of the items with the partition keys that WHERE names, or else of the whole table or index.
func (s *Service) executeSelect(ctx context.Context, req *Request, st *statement, in *api.ExecuteStatementInput) (*api.ExecuteStatementOutput, error) {
	r, ranges, err := s.selection(ctx, req, st, in.ConsistentRead.Value)
	if err != nil {
		return nil, err
	}
	at, start, err := readToken(in, r, ranges)
	if err != nil {
		return nil, err
	}
	out := &api.ExecuteStatementOutput{Items: []attribute.Item{}}
	// A page ends like Query's: at Limit items read, or at table.MaxPage bytes, counted over all ranges.
	var units capacity.Consumed
	left, bytes := int(in.Limit.Value), 0
	for i := at; i < len(ranges); i++ {
		q := r.page
		q.Range, q.Limit, q.Start = ranges[i], left, start
		start = nil
		p, consumed, err := s.readPage(ctx, req, r, q)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, p.Items...)
		units.Add(consumed, 1)
		left -= p.Scanned
		bytes += p.Bytes
		if p.Last != nil {
			out.LastEvaluatedKey = p.Last
			out.NextToken = smithy.Some(token(in, i, p.Last))
			break
		}
		if i+1 < len(ranges) && (in.Limit.Set && left == 0 || bytes >= table.MaxPage) {
			out.NextToken = smithy.Some(token(in, i+1, nil))
			break
		}
	}
	req.items = len(out.Items)
	out.ConsumedCapacity = consumedCapacity(in.ReturnConsumedCapacity, r.table.Name, &units, plainUnits)
	return out, nil
}

// selection returns what a SELECT reads: the table or index, and the ranges of partition keys that WHERE names.
func (s *Service) selection(ctx context.Context, req *Request, st *statement, consistent bool) (*reading, []kv.Range, error) {
	if len(st.Order) > 0 && st.Where == nil {
		return nil, nil, awserr.ValidationError("Must have WHERE clause in the statement when using ORDER BY clause.")
	}
	t, err := s.serving(ctx, req, st.reference())
	if err != nil {
		return nil, nil, err
	}
	st.table = t
	var x *catalog.Index
	schema, id := &t.Key, uint8(0)
	indexName := smithy.Opt[string]{Value: st.Index, Set: st.Index != ""}
	if indexName.Set {
		if x = t.Index(st.Index); x == nil {
			return nil, nil, awserr.IndexNotFound(st.Index)
		}
		schema, id = &x.Key, x.ID
	}
	ranges, rest, err := keyRanges(t, x, schema, partiql.Conjuncts(st.Where), st.scope)
	if err != nil {
		return nil, nil, err
	}
	e := &expressions{scope: st.scope}
	if filter := partiql.Join(rest); filter != nil {
		e.filter = &expr.Condition{Root: filter}
	}
	if st.Columns != nil {
		e.project = &expr.Projection{}
		for _, c := range st.Columns {
			e.project.Paths = append(e.project.Paths, c.Path)
		}
	}
	r, err := s.reading(ctx, req, st.reference(), indexName, consistent, "", e)
	if err != nil {
		return nil, nil, err
	}
	r.page.Project = st.project()
	if err := r.order(st.Order, schema, ranges != nil); err != nil {
		return nil, nil, err
	}
	if ranges == nil {
		r.scan = true
		ranges = []kv.Range{table.SegmentRange(t, id, 0, 1)}
	}
	return r, ranges, nil
}

// order applies ORDER BY, which must name key attributes.
func (r *reading) order(by []partiql.Order, schema *catalog.KeySchema, hasKey bool) error {
	if len(by) == 0 {
		return nil
	}
	if !hasKey {
		return awserr.ValidationError("Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.")
	}
	for _, o := range by {
		if !schema.Has(o.Name) {
			return awserr.ValidationError("Variable reference " + o.Name + " in ORDER BY clause must be part of the primary key")
		}
		if slices.ContainsFunc(schema.Sort, func(a catalog.KeyAttribute) bool { return a.Name == o.Name }) {
			r.page.Reverse = o.Descending
		}
	}
	return nil
}

// keyRanges extracts the conditions that limit the part of a table or index to read: the possible values of each partition key
// attribute, and conditions on sort key attributes that a Query supports. ranges has one entry per partition key; nil means
// that WHERE does not limit the partition key, so everything must be read. rest are the conditions that remain as a filter.
func keyRanges(t *catalog.Table, x *catalog.Index, schema *catalog.KeySchema, conditions []*expr.Node, scope *expr.Scope) (ranges []kv.Range, rest []*expr.Node, err error) {
	rest = slices.Clone(conditions)
	keys := [][]keyCondition{nil} // the Cartesian product of the values
	for _, a := range schema.Partition {
		i := slices.IndexFunc(rest, func(n *expr.Node) bool {
			name, _, ok := partiql.Alternatives(n)
			return ok && name == a.Name
		})
		if i < 0 {
			return nil, conditions, nil
		}
		_, values, _ := partiql.Alternatives(rest[i])
		rest = slices.Delete(rest, i, i+1)
		var more [][]keyCondition
		seen := map[string]bool{}
		for _, v := range values {
			if v.Type() != a.Type {
				return nil, nil, errKeyType(a.Name)
			}
			if seen[string(v)] || len(more) > maxSelectKeys {
				continue
			}
			seen[string(v)] = true
			for _, k := range keys {
				more = append(more, append(slices.Clone(k), keyCondition{a.Name, expr.OpEQ, []attribute.Value{v}}))
			}
		}
		if keys = more; len(keys) > maxSelectKeys {
			return nil, nil, awserr.ValidationError("Too many key values in WHERE clause")
		}
	}
	var sort []keyCondition
	for _, a := range schema.Sort {
		i := slices.IndexFunc(rest, func(n *expr.Node) bool { return onKey(n, a.Name) })
		if i < 0 {
			break
		}
		c, err := readKeyExpression(scope, rest[i])
		if err != nil {
			break // not a condition that a Query supports
		}
		for _, v := range c[0].args {
			if v.Type() != a.Type {
				return nil, nil, errKeyType(a.Name)
			}
		}
		rest = slices.Delete(rest, i, i+1)
		sort = append(sort, c...)
		if c[0].op != expr.OpEQ {
			break
		}
	}
	for _, k := range keys {
		selected, err := resolveKeyConditions(t, x, append(k, sort...))
		if err != nil {
			return nil, nil, err
		}
		ranges = append(ranges, selected.Range)
	}
	return ranges, rest, nil
}

// maxSelectKeys is the maximum of partition keys in a SELECT ("PartiQL select statements for DynamoDB").
const maxSelectKeys = 50

// onKey reports whether n is a condition on the attribute name that a Query supports.
func onKey(n *expr.Node, name string) bool {
	switch n.Op {
	case expr.OpEQ, expr.OpLT, expr.OpLE, expr.OpGT, expr.OpGE, expr.OpBetween, expr.OpBeginsWith:
	default:
		return false
	}
	on, ok := partiql.KeyName(n)
	if !ok || on != name {
		return false
	}
	values := 0
	for _, a := range n.Args {
		if a.Op == expr.OpValue {
			values++
		}
	}
	return values == len(n.Args)-1
}

// nextToken is the position at which a SELECT continues. Clients receive it as base64 of its JSON.
type nextToken struct {
	Statement uint64          // hash of the statement, which must not change between pages
	Range     int             // index into the ranges that the statement reads
	Key       json.RawMessage `json:",omitempty"` // key of the last item read in that range
}

// token returns the NextToken for the range with index i, after the key last, or at the range's beginning if last is nil.
func token(in *api.ExecuteStatementInput, i int, last attribute.Item) string {
	t := nextToken{Statement: xxhash.Sum64String(in.Statement.Value), Range: i}
	if last != nil {
		t.Key = last.AppendJSON(nil)
	}
	raw, err := json.Marshal(t)
	if err != nil {
		panic(err) // can't happen: an item's JSON is valid
	}
	return smithy.EncodeToken(string(raw))
}

// readToken returns where a request continues: the index of the range, and the storage key of the last item read in it.
func readToken(in *api.ExecuteStatementInput, r *reading, ranges []kv.Range) (at int, start []byte, err error) {
	if !in.NextToken.Set {
		return 0, nil, nil
	}
	invalid := awserr.ValidationError("Invalid NextToken")
	text, err := smithy.DecodeToken(in.NextToken.Value)
	if err != nil {
		return 0, nil, invalid
	}
	var t nextToken
	if err := json.Unmarshal([]byte(text), &t); err != nil || t.Statement != xxhash.Sum64String(in.Statement.Value) || t.Range < 0 || t.Range >= len(ranges) {
		return 0, nil, invalid
	}
	if t.Key == nil {
		return t.Range, nil, nil
	}
	var reader wirejson.Reader
	reader.Reset(t.Key)
	key := attribute.ReadItem(&reader)
	if _, _, bad := key.Invalid(); key == nil || bad {
		return 0, nil, invalid
	}
	if start, err = r.startKey(key); err != nil || !inRange(ranges[t.Range].Start, ranges[t.Range].End, start) {
		return 0, nil, invalid
	}
	return t.Range, start, nil
}
