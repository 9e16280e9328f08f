package node

import (
	"encoding/binary"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/dax/cache"
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
	c.key = t.appendItemKey(c.key[:0], key)
	item, flight, leads := c.node.Caches.Items.Get(c.key)
	c.counters.item(flight == nil)
	var capacity *api.ConsumedCapacity
	if flight != nil {
		c.watch.begin(c)
		defer c.watch.end(c)
	}
	switch {
	case leads:
		item, err = c.node.Caches.Items.Fly(c.ctx, flight, func() (item []byte, err error) {
			item, capacity, err = c.readItemOf(t, in)
			return item, err
		})
	case flight != nil:
		if item, err = flight.Wait(c.ctx); errors.Is(err, cache.ErrUnread) {
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
	t, err := c.tableFor(c.needs.dynamodb, name, p.index)
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
	if queries := c.node.Caches.Queries; p.consistent || t.foreign || queries.TTL() == 0 {
		payload, capacity, err = read()
	} else {
		c.key = p.appendKey(c.key[:0], method, t.ID, condition)
		var f *cache.Flight
		var leads bool
		payload, f, leads = queries.Get(c.key)
		c.counters.page(method == methodScan, f == nil)
		switch {
		case leads:
			payload, err = queries.Fly(c.ctx, f, func() (payload []byte, err error) {
				payload, capacity, err = read()
				return payload, err
			})
		case f != nil:
			if payload, err = f.Wait(c.ctx); errors.Is(err, cache.ErrUnread) {
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
