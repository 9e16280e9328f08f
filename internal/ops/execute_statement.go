package ops

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
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
		return nil, statementProblem(err, "")
	}
	switch st.Kind {
	case partiql.Exists, partiql.Unsupported:
		return nil, awserr.ValidationError(misplacedExists)
	case partiql.Select:
		return s.executeSelect(ctx, req, st, in)
	}
	if in.NextToken.Set {
		return nil, awserr.ValidationError("NextToken is only valid on a SELECT statement")
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
		return table.Result{}, keyTypeProblem(err)
	}
	res, err := s.Tables.WriteOne(ctx, m, table.WriteOpt{KeepOld: st.keepOld()})
	return res, clientError(err)
}

// executeSelect reads a page of the items with the partition keys that WHERE names, or else of the whole table or index.
func (s *Service) executeSelect(ctx context.Context, req *Request, st *statement, in *api.ExecuteStatementInput) (*api.ExecuteStatementOutput, error) {
	r, ranges, err := s.selection(ctx, req, st, in.ConsistentRead.Value)
	if err != nil {
		return nil, statementProblem(err, "")
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

// selection returns what a SELECT reads: the table or index, and the ranges of keys that WHERE names.
func (s *Service) selection(ctx context.Context, req *Request, st *statement, consistent bool) (*reading, []kv.Range, error) {
	x, err := s.selected(ctx, req, st)
	if err != nil {
		return nil, nil, err
	}
	if x != nil && x.Global && consistent {
		return nil, nil, awserr.ValidationError("Strongly consistent read is not supported on Global Secondary Indexes")
	}
	where := readWhere(st, x)
	ranges, err := where.read()
	if err != nil {
		return nil, nil, keyTypeProblem(err)
	}
	e := &expressions{scope: st.scope}
	if st.Columns != nil {
		e.project = st.columns()
	}
	r, err := s.reading(ctx, req, st.reference(), smithy.Opt[string]{Value: st.Index, Set: st.Index != ""}, consistent, "", e)
	if err != nil {
		return nil, nil, err
	}
	if r.page.Filter, err = where.filter(); err != nil {
		return nil, nil, err
	}
	r.page.Project = st.project()
	r.page.Reverse = where.reverse
	if ranges == nil {
		r.scan = true
		ranges = []kv.Range{table.SegmentRange(st.table, where.id, 0, 1)}
	}
	return r, ranges, nil
}

// errUnknownIndex is AWS's error for an index that a SELECT names wrongly.
var errUnknownIndex = awserr.ValidationError("The table does not have the specified index")

// selected looks up the table and the index of a SELECT; x is nil for the table itself.
func (s *Service) selected(ctx context.Context, req *Request, st *statement) (x *catalog.Index, err error) {
	t, err := s.serving(ctx, req, st.reference())
	if err == nil && st.Index != "" && !t.Index(st.Index).Readable() {
		// Another server may already have shown that the index is active: wait for pending changes before refusing.
		if t, err = s.Tables.Catalog.Settled(ctx, t); err == nil && t == nil {
			err = awserr.NotFound()
		}
	}
	if err == nil && st.Index != "" {
		x = t.Index(st.Index)
	}
	if x != nil && (len(x.Key.Partition) > 1 || len(x.Key.Sort) > 1) {
		return nil, awserr.ValidationError("PartiQL statements cannot be executed on tables with multi-attribute HASH keys or multi-attribute RANGE keys.")
	}
	switch {
	case st.BadColumns != nil && (err == nil || isNotFound(err)):
		return nil, st.BadColumns
	case err != nil:
		return nil, clientError(err)
	case st.Index != "" && (x == nil || x.State == catalog.Deleting):
		st.table = t
		return nil, errUnknownIndex
	}
	st.table = t
	return x, nil
}

// isNotFound reports whether an error is that a table does not exist.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*awserr.Error](err)
	return ok && e.Code == awserr.ResourceNotFound
}

// nextToken is the position at which a SELECT continues. Clients receive it as base64 of its JSON.
type nextToken struct {
	Statement uint64          // hash of the statement and its parameters, which must not change between pages
	Range     int             // index into the ranges that the statement reads
	Key       json.RawMessage `json:",omitempty"` // key of the last item read in that range
}

// requestHash returns a hash of a statement and its parameters.
func requestHash(in *api.ExecuteStatementInput) uint64 {
	h := xxhash.New()
	h.WriteString(in.Statement.Value)
	for _, v := range in.Parameters {
		h.Write(v)
	}
	return h.Sum64()
}

// token returns the NextToken for the range with index i, after the key last, or at the range's beginning if last is nil.
func token(in *api.ExecuteStatementInput, i int, last attribute.Item) string {
	t := nextToken{Statement: requestHash(in), Range: i}
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
	if err := json.Unmarshal([]byte(text), &t); err != nil || t.Range < 0 {
		return 0, nil, invalid
	}
	if t.Statement != requestHash(in) || slices.ContainsFunc(in.Parameters, func(v attribute.Value) bool {
		return v.Type() == attribute.TypeL || v.Type() == attribute.TypeM // AWS matches no token to such parameters
	}) {
		return 0, nil, awserr.ValidationError("NextToken does not match request")
	}
	if t.Range >= len(ranges) {
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
