package node

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/cache"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// batchGet is the part of a BatchGetItem that concerns one table. The slices below are parallel to keys.
type batchGet struct {
	*table
	consistent bool
	text       smithy.Opt[string]
	names      smithy.Map[string]
	paths      []wire.Path
	keys       []attribute.Item
	cacheKeys  [][]byte
	items      [][]byte // in the encoding of the cache; nil for items that do not exist
	unread     []bool   // not read because capacity ran out
	flights    []*cache.Flight
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
					c.node.Caches.Items.Land(f, nil, landed)
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
				g.items[i], g.flights[i], g.led[i] = c.node.Caches.Items.Get(g.cacheKeys[i])
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
			landed = cache.SharedError(c.ctx, err)
			return err
		}
		capacity = out.ConsumedCapacity
		for _, g := range gets {
			if err := c.takeItems(g, out); err != nil {
				landed = cache.SharedError(c.ctx, err)
				return err
			}
		}
	}
	for _, g := range gets {
		for i, f := range g.flights {
			if f != nil && !g.led[i] {
				var err error
				g.items[i], err = f.Wait(c.ctx)
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
			g.cacheKeys = append(g.cacheKeys, t.appendItemKey(nil, key))
		}
		g.items, g.unread = make([][]byte, len(keys)), make([]bool, len(keys))
		g.flights, g.led = make([]*cache.Flight, len(keys)), make([]bool, len(keys))
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
		for _, s := range g.cacheKeys {
			seen[wirejson.View(s)] = struct{}{}
		}
		keys += len(g.keys)
		if len(g.keys) == 0 || g.text.Set && c.node.service.opt.Database.CheckProjection(g.text.Value, g.names) != nil {
			return false
		}
	}
	return len(seen) == keys && keys > 0 && keys <= maxBatchGet
}

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
		found[string(g.appendItemKey(nil, it))] = b
	}
	left, _ := out.UnprocessedKeys.Get(g.name)
	unread := map[string]bool{}
	for _, key := range left.Keys {
		unread[string(g.appendItemKey(nil, key))] = true
	}
	for i, s := range g.cacheKeys {
		switch {
		case g.flights[i] == nil && g.items[i] != nil, g.flights[i] != nil && !g.led[i]:
			continue // a cache hit, or another request reads it
		case unread[wirejson.View(s)]:
			g.unread[i] = true
			if g.led[i] {
				c.node.Caches.Items.Land(g.flights[i], nil, cache.ErrUnread)
			}
		default:
			g.items[i] = found[wirejson.View(s)]
			if g.led[i] {
				c.node.Caches.Items.Land(g.flights[i], g.items[i], nil)
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
