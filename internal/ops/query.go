package ops

import (
	"bytes"
	"context"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

// query checks in AWS's order: parameters, expressions, table, key conditions, filter, start key.
func (s *Service) query(ctx context.Context, req *Request, in *api.QueryInput) (*api.QueryOutput, error) {
	if err := checkMixed(
		[]param{
			{"AttributesToGet", in.AttributesToGet != nil},
			{"ConditionalOperator", in.ConditionalOperator.Set},
			{"QueryFilter", in.QueryFilter != nil},
		},
		[]param{
			{"ProjectionExpression", in.ProjectionExpression.Set},
			{"FilterExpression", in.FilterExpression.Set},
			{"KeyConditionExpression", in.KeyConditionExpression.Set},
		},
	); err != nil {
		return nil, err
	}
	// KeyConditions may stand beside the other expressions.
	if err := checkMixed(
		[]param{{"KeyConditions", in.KeyConditions != nil}},
		[]param{{"KeyConditionExpression", in.KeyConditionExpression.Set}},
	); err != nil {
		return nil, err
	}
	if err := checkItem(in.ExclusiveStartKey); err != nil {
		return nil, err
	}
	e, err := s.parseExpressions(expressionTexts{
		key: in.KeyConditionExpression, filter: in.FilterExpression, projection: in.ProjectionExpression,
		names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues,
		valuesFor: []string{"FilterExpression", "KeyConditionExpression"}, untyped: attribute.NoType,
	})
	if err != nil {
		return nil, err
	}
	if err := e.lowerFilter(in.QueryFilter, in.ConditionalOperator); err != nil {
		return nil, err
	}
	if err := e.lowerProjection(in.AttributesToGet); err != nil {
		return nil, err
	}
	if err := req.Late("select"); err != nil {
		return nil, err
	}
	if err := checkSelect(in.Select, in.IndexName.Set, in.ProjectionExpression.Set, in.AttributesToGet != nil); err != nil {
		return nil, err
	}
	var conditions []keyCondition
	switch {
	case e.key != nil:
		conditions, err = readKeyExpression(e.scope, e.key.Root)
	case in.KeyConditions != nil:
		conditions, err = lowerKeyConditions(in.KeyConditions)
	default:
		err = awserr.KeyConditionsRequired()
	}
	if err != nil {
		return nil, err
	}
	on := req.index(in.TableName.Value, in.IndexName.Value).asking(asks{
		e: e, conditions: conditions, selected: in.Select, consumed: in.ReturnConsumedCapacity,
	})
	r, err := s.reading(ctx, req, on, in.IndexName, in.ConsistentRead.Value, in.Select.Value, e)
	if err != nil {
		return nil, err
	}
	selected, err := resolveKeyConditions(r.table, r.index, conditions)
	if err != nil {
		return nil, err
	}
	parameter := "Filter Expression"
	if in.QueryFilter != nil {
		parameter = "QueryFilter"
	}
	if err := r.checkFilter(e, parameter); err != nil {
		return nil, err
	}
	q := r.page
	q.Range = selected.Range
	q.Reverse = in.ScanIndexForward.Set && !in.ScanIndexForward.Value
	q.Limit = int(in.Limit.Value)
	q.CountOnly = in.Select.Value == api.SelectCount
	if in.ExclusiveStartKey != nil {
		if q.Start, err = r.startKey(in.ExclusiveStartKey); err != nil {
			return nil, err
		}
		if !inRange(selected.partition.Start, selected.partition.End, q.Start) {
			return nil, awserr.StartKeyOutside()
		}
		if !inRange(q.Range.Start, q.Range.End, q.Start) {
			return nil, awserr.StartKeyRange()
		}
	}
	if bytes.Compare(q.Range.Start, q.Range.End) >= 0 {
		q.Range.End = q.Range.Start // an empty range, e.g. where a condition's bounds cross
	}
	return s.page(ctx, req, r, q, in.ReturnConsumedCapacity)
}

// page reads a page and returns the output that Query and Scan share.
func (s *Service) page(ctx context.Context, req *Request, r *reading, q table.PageQuery, consumed smithy.Opt[string]) (*api.QueryOutput, error) {
	p, units, err := s.readPage(ctx, req, r, q)
	if err != nil {
		return nil, err
	}
	req.items = p.Count
	out := &api.QueryOutput{
		Count:            smithy.Some(int64(p.Count)),
		ScannedCount:     smithy.Some(int64(p.Scanned)),
		LastEvaluatedKey: p.Last,
		ConsumedCapacity: consumedCapacity(consumed, r.table.Name, units, plainUnits),
	}
	if !q.CountOnly {
		out.Items = items(p)
	}
	return out, nil
}

// readPage reads a page if there is capacity, and charges what it consumed. The result is released with the request.
func (s *Service) readPage(ctx context.Context, req *Request, r *reading, q table.PageQuery) (*table.Page, *capacity.Consumed, error) {
	first := q.Start
	if first == nil {
		first = q.Range.Start
	}
	use := r.use(first)
	if err := s.admit(ctx, r.table, use, req.Time); err != nil {
		return nil, nil, clientError(err)
	}
	if s.Faults != nil {
		q.From = func(ctx context.Context) (kv.Snapshot, error) { return s.reader(ctx, r.table, r.consistent) }
	}
	p, err := s.Tables.ReadPage(ctx, q)
	if err != nil {
		return nil, nil, clientError(err)
	}
	req.OnRelease(p)
	if !r.scan {
		use.Key = p.First
	}
	units := r.units(p)
	s.charge(r, use, units, req.Time)
	return p, units, nil
}

// items returns a page's items as a non-nil slice: AWS's answer has Items even if there are none.
func items(p *table.Page) []attribute.Item {
	if p.Items == nil {
		return []attribute.Item{}
	}
	return p.Items
}

func inRange(start, end, key []byte) bool {
	return bytes.Compare(key, start) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
}

// checkSelect checks that Select agrees with the parameters that name attributes.
func checkSelect(sel smithy.Opt[string], hasIndex, hasProjection, hasAttributes bool) error {
	which := "AttributesToGet"
	if hasProjection {
		which = "ProjectionExpression"
	}
	named := hasProjection || hasAttributes
	switch sel.Value {
	case api.SelectAllProjectedAttributes:
		if !hasIndex {
			return awserr.ValidationError("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName").In(awserr.Selection)
		}
		if named {
			return awserr.ValidationError("Cannot specify the " + which + " when choosing to get ALL_PROJECTED_ATTRIBUTES").In(awserr.Selection)
		}
	case api.SelectAllAttributes:
		if named {
			return awserr.ValidationError("Cannot specify the " + which + " when choosing to get ALL_ATTRIBUTES").In(awserr.Selection)
		}
	case api.SelectCount:
		if named {
			return awserr.ValidationError("Cannot specify the " + which + " when choosing to get only the Count").In(awserr.Selection)
		}
	case api.SelectSpecificAttributes:
		if !named {
			return awserr.ValidationError("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES").In(awserr.Selection)
		}
	}
	return nil
}

// reading is a Query or Scan of a table or index.
type reading struct {
	table      *catalog.Table
	index      *catalog.Index
	consistent bool
	scan       bool // not limited to one partition key
	page       table.PageQuery
}

// reading looks up the table and index, rejects what the index can't serve, and prepares filter and projection.
func (s *Service) reading(ctx context.Context, req *Request, on reference, indexName smithy.Opt[string], consistent bool, sel string, e *expressions) (*reading, error) {
	t, err := s.serving(ctx, req, on)
	if err != nil {
		return nil, err
	}
	if indexName.Set && !t.Index(indexName.Value).Readable() {
		// Another server may already have shown that the index is active: wait for pending changes before refusing.
		if t, err = s.Tables.Catalog.Settled(ctx, t); err != nil {
			return nil, clientError(err)
		}
		if t == nil {
			return nil, awserr.NotFound()
		}
	}
	r := &reading{table: t, consistent: consistent, scan: e.scan, page: table.PageQuery{Table: t, Stale: !consistent, Memory: req.Memory, Turn: req.Turn}}
	if indexName.Set {
		if r.index = t.Index(indexName.Value); r.index == nil {
			return nil, awserr.IndexNotFound(indexName.Value)
		}
		switch r.index.State {
		case catalog.Creating:
			return nil, awserr.ValidationError("Cannot read from backfilling global secondary index: " + r.index.Name)
		case catalog.Deleting:
			return nil, awserr.IndexNotFound(indexName.Value)
		}
		if err := r.checkIndex(sel, e); err != nil {
			return nil, err
		}
		r.page.Index = r.index
	}
	if e.filter != nil {
		r.page.Filter = func(it attribute.Item) bool { return e.scope.Matches(e.filter.Root, it) }
	}
	if e.projector != nil && !req.Unprojected {
		r.page.Project = e.projector.Project
	}
	return r, nil
}

// checkIndex handles requests for attributes that the index does not project. A GSI rejects them, but a Scan's filter meets no item that has
// them; an LSI fetches the items from the table.
func (r *reading) checkIndex(sel string, e *expressions) error {
	x := r.index
	if x.Global && r.consistent {
		return awserr.ConsistentIndexRead()
	}
	if x.HoldsAll() {
		return nil
	}
	if sel == api.SelectAllAttributes {
		if x.Global {
			return awserr.Invalid("Select type ALL_ATTRIBUTES is not supported for global secondary index " + x.Name + " because its projection type is not ALL")
		}
		r.page.FetchItem = true
	}
	var missing []string
	note := func(name string) {
		if !x.Holds(name) {
			missing = append(missing, name)
		}
	}
	if e.project != nil {
		for _, p := range e.project.Paths {
			note(e.scope.First(p))
		}
	}
	if missing != nil {
		if x.Global {
			return awserr.Invalid("Global secondary index " + x.Name + " does not project [" + strings.Join(missing, ", ") + "]")
		}
		r.page.FetchItem = true
		missing = nil
	}
	if e.filter != nil {
		e.scope.Attributes(e.filter.Root, func(name string, _ expr.Path) bool {
			note(name)
			return true
		})
	}
	switch {
	case missing == nil || x.Global && r.scan:
	case x.Global:
		return awserr.Invalid("Secondary index " + x.Name + " does not project one or more filter attributes: [" + strings.Join(missing, ", ") + "]")
	default:
		r.page.FetchItem = true
	}
	return nil
}

// checkFilter rejects a query's filter on a key attribute.
func (r *reading) checkFilter(e *expressions, parameter string) error {
	if e.filter == nil {
		return nil
	}
	schema := &r.table.Key
	if r.index != nil {
		schema = &r.index.Key
	}
	var err error
	e.scope.Attributes(e.filter.Root, func(name string, _ expr.Path) bool {
		if schema.Has(name) {
			err = awserr.FilterHasKey(parameter, name)
		}
		return err == nil
	})
	return err
}

// startKey checks an ExclusiveStartKey, which must have the key attributes of table and index and no others, and returns its
// storage key.
func (r *reading) startKey(key attribute.Item) ([]byte, error) {
	want := map[string]attribute.Type{}
	for a := range r.table.Key.Attributes {
		want[a.Name] = a.Type
	}
	if r.index != nil {
		for a := range r.index.Key.Attributes {
			want[a.Name] = a.Type
		}
	}
	if key.Len() != len(want) {
		return nil, r.invalidStartKey()
	}
	for name, t := range want {
		if key.Get(name).Type() != t {
			return nil, r.invalidStartKey()
		}
	}
	if err := checkKeyValues(r.table, key); err != nil {
		return nil, err
	}
	storage, ok := table.StorageKey(r.table, r.index, key)
	if !ok {
		return nil, r.invalidStartKey()
	}
	return storage, nil
}

func (r *reading) invalidStartKey() error {
	if r.scan {
		return awserr.InvalidScanStart()
	}
	return awserr.InvalidStartKey()
}

// units returns the capacity that reading the page consumed. For an index, the table's share is the items fetched from the
// table.
func (r *reading) units(p *table.Page) *capacity.Consumed {
	var c capacity.Consumed
	units := capacity.Page(p.Bytes, r.consistent)
	if r.index == nil {
		c.Table = units
		return &c
	}
	c.AddIndex(r.index.Name, r.index.Global, units)
	for _, size := range p.Fetched {
		c.Table += capacity.Read(size, r.consistent)
	}
	return &c
}
