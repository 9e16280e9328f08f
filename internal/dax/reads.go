package dax

import (
	"encoding/binary"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// getItem answers from the item cache if it can.
func (c *conn) getItem(r *wire.Reader) error {
	name, rawKey := r.Bytes(), r.Bytes()
	p := readParameters(r)
	if r.Err() != nil {
		return r.Err()
	}
	t, err := c.table(name)
	if err != nil {
		return err
	}
	key, err := wire.ReadKey(t.schema, rawKey)
	if err != nil {
		return err
	}
	in := &api.GetItemInput{
		TableName: smithy.Some(t.name), Key: key, ConsistentRead: smithy.Opt[bool]{Value: p.consistent, Set: p.consistent},
		ReturnConsumedCapacity: p.capacity,
	}
	var paths []wire.Path
	if p.projection != nil {
		var x expressions
		in.ProjectionExpression, paths = x.projection(p.projection)
		if in.ExpressionAttributeNames = x.names(); x.err != nil {
			return x.err
		}
	}
	if p.consistent || t.foreign {
		c.watch.begin(c)
		defer c.watch.end(c)
		item, capacity, err := c.readItemOf(t, in)
		if err != nil {
			return err
		}
		return c.appendGot(item, capacity, key, paths)
	}
	if paths != nil { // check here what the operation would check: on a hit nothing else does
		if err := c.node.service.opt.Database.CheckProjection(in.ProjectionExpression.Value, in.ExpressionAttributeNames); err != nil {
			return err
		}
	}
	c.key = t.AppendItemKey(c.key[:0], key)
	item, flight, leads := c.node.items.get(c.key)
	c.counters.item(flight == nil)
	var capacity *api.ConsumedCapacity
	if flight != nil {
		c.watch.begin(c)
		defer c.watch.end(c)
	}
	switch {
	case leads:
		item, err = c.node.items.fly(c.ctx, flight, func() (item []byte, err error) {
			item, capacity, err = c.readItemOf(t, in)
			return item, err
		})
	case flight != nil:
		if item, err = flight.wait(c.ctx); errors.Is(err, errUnread) {
			item, capacity, err = c.readItemOf(t, in)
		}
	}
	if err != nil {
		return err
	}
	return c.appendGot(item, capacity, key, paths)
}

// readItemOf reads an item from the database, in the encoding of the cache.
func (c *conn) readItemOf(t *table, in *api.GetItemInput) (item []byte, capacity *api.ConsumedCapacity, err error) {
	ops.RequestOf(&c.call).Unprojected = true
	out, err := smithy.Invoke(c.ctx, c.node.service.getItem, api.GetItem, &c.call, in)
	if err != nil {
		return nil, nil, err
	}
	if out.Item != nil {
		item, err = c.appendItem(nil, t, out.Item)
	}
	return item, out.ConsumedCapacity, err
}

// appendGot appends the answer of GetItem.
func (c *conn) appendGot(item []byte, capacity *api.ConsumedCapacity, key attribute.Item, paths []wire.Path) error {
	if item == nil && capacity == nil {
		c.out = wire.AppendNull(c.out)
		return nil
	}
	c.out = wire.BeginMap(c.out)
	if item != nil {
		c.out = wire.AppendInt(c.out, resultItem)
		if err := c.appendProjected(item, key, paths); err != nil {
			return err
		}
	}
	if capacity != nil {
		c.out = appendCapacity(wire.AppendInt(c.out, resultCapacity), capacity)
	}
	c.out = wire.AppendEnd(c.out)
	return nil
}

// appendProjected appends a cached item, or only its values at the paths.
func (c *conn) appendProjected(item []byte, key attribute.Item, paths []wire.Path) error {
	if paths == nil {
		c.out = append(c.out, item...)
		return nil
	}
	list, values, err := c.listOf(wire.NewReader(item).Bytes())
	if err != nil {
		return err
	}
	it, err := wire.ReadItem(list, values, key)
	c.out = wire.AppendProjected(c.out, paths, it)
	return err
}

// query answers from the query cache if it can.
func (c *conn) query(r *wire.Reader) error {
	name, condition := r.Bytes(), r.Bytes()
	p := readParameters(r)
	if r.Err() != nil {
		return r.Err()
	}
	return c.page(methodQuery, name, condition, &p)
}

// scan answers from the query cache if it can.
func (c *conn) scan(r *wire.Reader) error {
	name := r.Bytes()
	p := readParameters(r)
	if r.Err() != nil {
		return r.Err()
	}
	return c.page(methodScan, name, nil, &p)
}

// page answers a query or, with a nil key condition, a scan.
func (c *conn) page(method int64, name, condition []byte, p *parameters) error {
	t, err := c.table(name)
	if err != nil {
		return err
	}
	read := func() (payload []byte, capacity *api.ConsumedCapacity, err error) {
		if method == methodScan {
			return c.readScan(t, p)
		}
		return c.readQuery(t, condition, p)
	}
	var payload []byte
	var capacity *api.ConsumedCapacity
	if cache := c.node.queries; p.consistent || t.foreign || cache.ttl.Load() == 0 {
		payload, capacity, err = read()
	} else {
		c.key = p.appendKey(c.key[:0], method, t.ID, condition)
		var f *flight
		var leads bool
		payload, f, leads = cache.get(c.key)
		c.counters.page(method == methodScan, f == nil)
		switch {
		case leads:
			payload, err = cache.fly(c.ctx, f, func() (payload []byte, err error) {
				payload, capacity, err = read()
				return payload, err
			})
		case f != nil:
			if payload, err = f.wait(c.ctx); errors.Is(err, errUnread) {
				payload, capacity, err = read()
			}
		}
	}
	if err != nil {
		return err
	}
	c.out = wire.BeginMap(c.out)
	if capacity != nil {
		c.out = appendCapacity(wire.AppendInt(c.out, resultCapacity), capacity)
	}
	c.out = wire.AppendEnd(append(c.out, payload...))
	return nil
}

// appendKey appends the cache key of a query or scan: everything that determines its result, so not ReturnConsumedCapacity.
func (p *parameters) appendKey(dst []byte, method int64, table uint32, condition []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, table)
	dst = wire.AppendInt(dst, method)
	for _, b := range [...][]byte{condition, p.projection, p.filter, p.start, p.index} {
		if b == nil {
			dst = wire.AppendNull(dst)
		} else {
			dst = wire.AppendBytes(dst, b)
		}
	}
	for _, n := range [...]smithy.Opt[int64]{p.limit, p.segment, p.segments} {
		if n.Set {
			dst = wire.AppendInt(dst, n.Value)
		} else {
			dst = wire.AppendNull(dst)
		}
	}
	if p.forward.Set && !p.forward.Value { // true is the default
		dst = append(dst, '-')
	}
	return append(dst, p.sel.Value...)
}

// pageRequest is what Query and Scan have in common, in the API's terms.
type pageRequest struct {
	key, filter, projection smithy.Opt[string]
	index                   smithy.Opt[string]
	consistent              smithy.Opt[bool]
	names                   smithy.Map[string]
	values, start           attribute.Item
	paths                   []wire.Path
}

// request translates parameters to a pageRequest.
func (p *parameters) request(t *table, condition []byte) (q pageRequest, err error) {
	var x expressions
	q.key, q.filter = x.condition(condition), x.condition(p.filter)
	q.projection, q.paths = x.projection(p.projection)
	q.names, q.values = x.names(), x.values()
	q.consistent = smithy.Opt[bool]{Value: p.consistent, Set: p.consistent}
	if p.index != nil {
		q.index = smithy.Some(wirejson.View(p.index))
	}
	if x.err != nil {
		return q, x.err
	}
	q.start, err = t.startKey(p)
	return q, err
}

// readQuery runs a query. It returns the cacheable part of the result, and the capacity, which isn't cached.
func (c *conn) readQuery(t *table, condition []byte, p *parameters) ([]byte, *api.ConsumedCapacity, error) {
	q, err := p.request(t, condition)
	if err != nil {
		return nil, nil, err
	}
	ops.RequestOf(&c.call).Unprojected = true
	out, err := smithy.Invoke(c.ctx, c.node.service.query, api.Query, &c.call, &api.QueryInput{
		TableName: smithy.Some(t.name), IndexName: q.index, Select: p.sel, Limit: p.limit, ConsistentRead: q.consistent, ScanIndexForward: p.forward,
		ExclusiveStartKey: q.start, ReturnConsumedCapacity: p.capacity, ProjectionExpression: q.projection, FilterExpression: q.filter,
		KeyConditionExpression: q.key, ExpressionAttributeNames: q.names, ExpressionAttributeValues: q.values,
	})
	if err != nil {
		return nil, nil, err
	}
	payload, err := c.appendPage(t, p, q.paths, out.Items, out.Count.Value, out.ScannedCount.Value, out.LastEvaluatedKey)
	return payload, out.ConsumedCapacity, err
}

// readScan is readQuery for scans.
func (c *conn) readScan(t *table, p *parameters) ([]byte, *api.ConsumedCapacity, error) {
	q, err := p.request(t, nil)
	if err != nil {
		return nil, nil, err
	}
	ops.RequestOf(&c.call).Unprojected = true
	out, err := smithy.Invoke(c.ctx, c.node.service.scan, api.Scan, &c.call, &api.ScanInput{
		TableName: smithy.Some(t.name), IndexName: q.index, Select: p.sel, Limit: p.limit, ConsistentRead: q.consistent, Segment: p.segment, TotalSegments: p.segments,
		ExclusiveStartKey: q.start, ReturnConsumedCapacity: p.capacity, ProjectionExpression: q.projection, FilterExpression: q.filter,
		ExpressionAttributeNames: q.names, ExpressionAttributeValues: q.values,
	})
	if err != nil {
		return nil, nil, err
	}
	payload, err := c.appendPage(t, p, q.paths, out.Items, out.Count.Value, out.ScannedCount.Value, out.LastEvaluatedKey)
	return payload, out.ConsumedCapacity, err
}

// startKey reads ExclusiveStartKey.
func (t *table) startKey(p *parameters) (attribute.Item, error) {
	switch {
	case p.start == nil:
		return nil, nil
	case p.index != nil:
		return wire.ReadCompoundKey(p.start)
	}
	return wire.ReadKey(t.schema, p.start)
}

// appendPage returns the cacheable part of a page's result: all of it except the consumed capacity.
func (c *conn) appendPage(t *table, p *parameters, paths []wire.Path, items []attribute.Item, count, scanned int64, last attribute.Item) (out []byte, err error) {
	if p.sel.Value != api.SelectCount {
		out = wire.AppendArray(wire.AppendInt(out, resultItems), len(items))
		for _, it := range items {
			if paths != nil {
				out = wire.AppendProjected(out, paths, it)
				continue
			}
			out = wire.AppendKey(wire.AppendArray(out, 2), t.schema, it)
			if out, err = c.appendItem(out, t, it); err != nil {
				return nil, err
			}
		}
	}
	out = wire.AppendInt(wire.AppendInt(out, resultCount), count)
	if last != nil {
		out = wire.AppendInt(out, resultLastKey)
		if p.index != nil {
			out = wire.AppendCompoundKey(out, last)
		} else {
			out = wire.AppendKey(out, t.schema, last)
		}
	}
	return wire.AppendInt(wire.AppendInt(out, resultScannedCount), scanned), nil
}

// batchGet is the part of a BatchGetItem that concerns one table. The slices below are parallel to keys.
type batchGet struct {
	*table
	consistent bool
	text       smithy.Opt[string]
	names      smithy.Map[string]
	paths      []wire.Path
	keys       []attribute.Item
	storage    [][]byte // storage keys
	items      [][]byte // in the encoding of the cache; nil if there is none
	unread     []bool   // not read because capacity ran out
	flights    []*flight
	led        []bool // which of the flights this request leads
}

// batchGetItem answers each item from the item cache if it can, and reads the rest with one BatchGetItem.
func (c *conn) batchGetItem(r *wire.Reader) error {
	gets, p, err := c.readBatchGet(r)
	if err != nil {
		return err
	}
	landed := error(awserr.Internal(nil)) // what waiters get if this panics
	in := &api.BatchGetItemInput{ReturnConsumedCapacity: p.capacity}
	cached := c.cacheable(gets)
	// Land whatever this request leads and hasn't landed, on every path: waiters would hang.
	defer func() {
		for _, g := range gets {
			for i, f := range g.flights {
				if f != nil && g.led[i] {
					c.node.items.land(f, nil, landed)
				}
			}
		}
	}()
	for _, g := range gets {
		// asked are the keys that this request has to read itself: not cached, and not being read by another request.
		asked := api.KeysAndAttributes{
			ProjectionExpression: g.text, ExpressionAttributeNames: g.names,
			ConsistentRead: smithy.Opt[bool]{Value: g.consistent, Set: g.consistent},
		}
		for i := range g.keys {
			if cached && !g.consistent && !g.foreign {
				g.items[i], g.flights[i], g.led[i] = c.node.items.get(g.storage[i])
				c.counters.item(g.flights[i] == nil)
				if !g.led[i] {
					continue
				}
			}
			asked.Keys = append(asked.Keys, g.keys[i])
		}
		// An uncacheable request goes to the database unchanged, even without keys, for its error.
		if asked.Keys != nil || !cached {
			in.RequestItems = append(in.RequestItems, smithy.Entry[api.KeysAndAttributes]{Key: g.name, Value: asked})
		}
	}
	var capacity []api.ConsumedCapacity
	if in.RequestItems != nil || len(gets) == 0 {
		ops.RequestOf(&c.call).Unprojected = true
		out, err := smithy.Invoke(c.ctx, c.node.service.batchGetItem, api.BatchGetItem, &c.call, in)
		if err != nil {
			landed = sharedError(c.ctx, err)
			return err
		}
		capacity = out.ConsumedCapacity
		for _, g := range gets {
			if err := c.takeItems(g, out); err != nil {
				landed = sharedError(c.ctx, err)
				return err
			}
		}
	}
	for _, g := range gets {
		for i, f := range g.flights {
			if f != nil && !g.led[i] {
				var err error
				g.items[i], err = f.wait(c.ctx)
				g.unread[i] = err != nil
			}
		}
	}
	return c.appendBatch(gets, capacity)
}

// readBatchGet reads the request. It keeps at most one key too many, for which the database refuses the request.
func (c *conn) readBatchGet(r *wire.Reader) (gets []*batchGet, p parameters, err error) {
	found := 0
	for n := r.Map(); r.Next(&n); {
		name := r.Text()
		if elements := r.Array(); elements != 3 {
			r.Malformed()
		}
		consistent, projection := r.Int() != 0, r.BytesOrNull()
		var keys [][]byte
		for m := r.Array(); r.Next(&m); {
			if key := r.Bytes(); found <= maxBatchGet { // one too many is enough for the database to refuse
				keys = append(keys, key)
				found++
			}
		}
		if r.Err() != nil {
			break
		}
		if len(gets) > maxBatchGet {
			continue
		}
		t, err := c.table(name)
		if err != nil {
			return nil, p, err
		}
		g := &batchGet{table: t, consistent: consistent}
		var x expressions
		g.text, g.paths = x.projection(projection)
		if g.names = x.names(); x.err != nil {
			return nil, p, x.err
		}
		for _, raw := range keys {
			key, err := wire.ReadKey(t.schema, raw)
			if err != nil {
				return nil, p, err
			}
			g.keys = append(g.keys, key)
			g.storage = append(g.storage, t.AppendItemKey(nil, key))
		}
		g.items, g.unread = make([][]byte, len(keys)), make([]bool, len(keys))
		g.flights, g.led = make([]*flight, len(keys)), make([]bool, len(keys))
		gets = append(gets, g)
	}
	p = readParameters(r)
	return gets, p, r.Err()
}

// cacheable reports whether the database would accept the request's keys and projections. Requests that it would refuse go to the
// database unchanged, for its error.
func (c *conn) cacheable(gets []*batchGet) bool {
	seen, keys := map[string]struct{}{}, 0
	for _, g := range gets {
		for _, s := range g.storage {
			seen[wirejson.View(s)] = struct{}{}
		}
		keys += len(g.keys)
		if len(g.keys) == 0 || g.text.Set && c.node.service.opt.Database.CheckProjection(g.text.Value, g.names) != nil {
			return false
		}
	}
	return len(seen) == keys && keys > 0 && keys <= maxBatchGet
}

// errUnread lands a flight whose leader failed for a reason that doesn't concern the waiters: a batch left the key unprocessed, the
// leader's client has gone, or a refill failed. The waiters then read the key themselves.
var errUnread = errors.New("dax: the key was not read")

// maxBatchGet is the number of keys that a BatchGetItem may have ("BatchGetItem").
const maxBatchGet = 100

// maxBatchAnswer is how many bytes of items a BatchGetItem returns ("BatchGetItem").
const maxBatchAnswer = 16 << 20

// takeItems takes over what the database has read of a table, and lands this request's flights.
func (c *conn) takeItems(g *batchGet, out *api.BatchGetItemOutput) error {
	found := map[string][]byte{}
	items, _ := out.Responses.Get(g.name)
	for _, it := range items {
		b, err := c.appendItem(nil, g.table, it)
		if err != nil {
			return err
		}
		found[string(g.AppendItemKey(nil, it))] = b
	}
	left, _ := out.UnprocessedKeys.Get(g.name)
	unread := map[string]bool{}
	for _, key := range left.Keys {
		unread[string(g.AppendItemKey(nil, key))] = true
	}
	for i, s := range g.storage {
		switch {
		case g.flights[i] == nil && g.items[i] != nil, g.flights[i] != nil && !g.led[i]:
			continue // a cache hit, or another request reads it
		case unread[wirejson.View(s)]:
			g.unread[i] = true
			if g.led[i] {
				c.node.items.land(g.flights[i], nil, errUnread)
			}
		default:
			g.items[i] = found[wirejson.View(s)]
			if g.led[i] {
				c.node.items.land(g.flights[i], g.items[i], nil)
			}
		}
		g.led[i], g.flights[i] = false, nil
	}
	return nil
}

// bound marks items as unprocessed that exceed the size of an answer. The database bounds only what it reads itself, not cache hits.
func bound(gets []*batchGet) {
	total := 0
	for _, g := range gets {
		for i, item := range g.items {
			if total += len(item); total > maxBatchAnswer {
				g.items[i], g.unread[i] = nil, g.unread[i] || item != nil
			}
		}
	}
}

// appendBatch appends the answer of BatchGetItem.
func (c *conn) appendBatch(gets []*batchGet, capacity []api.ConsumedCapacity) error {
	bound(gets)
	c.out = wire.AppendMap(wire.AppendArray(c.out, 2), len(gets))
	left := 0
	for _, g := range gets {
		n, unread := 0, false
		for i := range g.items {
			if g.items[i] != nil {
				n++
			}
			unread = unread || g.unread[i]
		}
		if unread {
			left++
		}
		if g.paths == nil { // keys and items alternate
			n *= 2
		}
		c.out = wire.AppendArray(wire.AppendText(c.out, g.name), n)
		for i, item := range g.items {
			if item == nil {
				continue
			}
			if g.paths == nil {
				c.out = wire.AppendKey(c.out, g.schema, g.keys[i])
			}
			if err := c.appendProjected(item, g.keys[i], g.paths); err != nil {
				return err
			}
		}
	}
	// The unprocessed keys follow, again by table.
	c.out = wire.AppendMap(c.out, left)
	for _, g := range gets {
		n := 0
		for _, u := range g.unread {
			if u {
				n++
			}
		}
		if n == 0 {
			continue
		}
		c.out = wire.AppendArray(wire.AppendText(c.out, g.name), n)
		for i, u := range g.unread {
			if u {
				c.out = wire.AppendKey(c.out, g.schema, g.keys[i])
			}
		}
	}
	c.out = appendCapacities(c.out, capacity, appendCapacity)
	return nil
}
