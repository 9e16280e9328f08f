package node

import (
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/cache"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
)

// Kinds of writes in a transaction, by their numbers on the wire.
const (
	transactPut    = 2
	transactDelete = 7
	transactUpdate = 9
	transactCheck  = 12
)

// transactPermissions are the permissions that the writes of a TransactWriteItems need.
var transactPermissions = map[int64]permission{
	transactPut: mayPut, transactDelete: mayDelete, transactUpdate: mayUpdate, transactCheck: mayCheck,
}

// maxTransaction is the number of items that a transaction may have ("TransactWriteItems").
const maxTransaction = 100

// byteStrings reads an array of byte strings or nulls. A null in place of the array stands for a null per item, and returns nil. It
// keeps at most one element too many, for which the database refuses the transaction.
func byteStrings(r *wire.Reader) (list [][]byte) {
	if r.Null() {
		return nil
	}
	for n := r.Array(); r.Next(&n); {
		if b := r.BytesOrNull(); len(list) <= maxTransaction {
			list = append(list, b)
		}
	}
	return list
}

// at returns an element of a list that byteStrings returned.
func at(list [][]byte, i int) []byte {
	if list == nil {
		return nil
	}
	return list[i]
}

// transactGetItems bypasses the caches, as in DAX: its result is neither cached nor answered from the cache.
func (c *conn) transactGetItems(r *wire.Reader) error {
	names, keys, projections := byteStrings(r), byteStrings(r), byteStrings(r)
	p := readParameters(r)
	if len(keys) != len(names) || projections != nil && len(projections) != len(names) {
		r.Malformed()
	}
	if r.Err() != nil {
		return r.Err()
	}
	in := &api.TransactGetItemsInput{ReturnConsumedCapacity: p.capacity}
	tables, paths := make([]*table, len(names)), make([][]wire.Path, len(names))
	for i := range names {
		t, err := c.target(names[i], keys[i])
		if err != nil {
			return err
		}
		var x expressions
		get := &api.Get{TableName: smithy.Some(t.name), Key: t.key}
		get.ProjectionExpression, paths[i] = x.projection(at(projections, i))
		if get.ExpressionAttributeNames = x.names(); x.err != nil {
			return x.err
		}
		in.TransactItems = append(in.TransactItems, api.TransactGetItem{Get: get})
		tables[i] = t.table
	}
	// The operation checks the projections but returns whole items; wire.AppendProjected picks the values for DAX's encoding.
	ops.RequestOf(&c.call).Unprojected = true
	out, err := smithy.Invoke(c.ctx, c.node.service.transactGetItems, api.TransactGetItems, &c.call, in)
	if err != nil {
		return c.refusal(err, tables)
	}
	c.out = wire.AppendArray(wire.AppendArray(c.out, 2), len(out.Responses))
	for i, got := range out.Responses {
		switch {
		case got.Item == nil:
			c.out = wire.AppendNull(c.out)
		case paths[i] != nil:
			c.out = wire.AppendProjected(c.out, paths[i], got.Item)
		default:
			if c.out, err = c.appendItem(c.out, tables[i], got.Item); err != nil {
				return err
			}
		}
	}
	c.out = appendCapacities(c.out, out.ConsumedCapacity, appendExtended)
	return nil
}

// refusal adds the reasons of a canceled transaction in DAX's encoding.
func (c *conn) refusal(err error, tables []*table) error {
	var known *awserr.Error
	if errors.As(err, &known) && len(known.Reasons) == len(tables) {
		return c.canceled(known, tables)
	}
	return err
}

// transactWriteItems writes through to the database. Afterwards a transactional read in the background fills the item cache.
func (c *conn) transactWriteItems(r *wire.Reader) error {
	var operations []int64
	for n := r.Array(); r.Next(&n); {
		if o := r.Int(); len(operations) <= maxTransaction { // one too many is enough for the database to refuse
			operations = append(operations, o)
		}
	}
	names, keys, items := byteStrings(r), byteStrings(r), byteStrings(r)
	r.Skip() // ReturnValues, which no client sends
	var failures []smithy.Opt[string]
	if !r.Null() {
		for n := r.Array(); r.Next(&n); {
			if f := enum(r, onFailure); len(failures) <= maxTransaction {
				failures = append(failures, f)
			}
		}
	}
	conditions, updates := byteStrings(r), byteStrings(r)
	p := readParameters(r)
	n := len(operations)
	for _, list := range [...][][]byte{items, conditions, updates} {
		if list != nil && len(list) != n {
			r.Malformed()
		}
	}
	if len(names) != n || len(keys) != n || failures != nil && len(failures) != n {
		r.Malformed()
	}
	if r.Err() != nil {
		return r.Err()
	}
	in := &api.TransactWriteItemsInput{
		ReturnConsumedCapacity: p.capacity, ReturnItemCollectionMetrics: p.metrics, ClientRequestToken: p.token,
	}
	targets, tables := make([]target, n), make([]*table, n)
	for i := range n {
		needs, known := transactPermissions[operations[i]]
		if !known {
			return wire.ErrMalformed
		}
		if err := c.allow(needs.dax, "TransactWriteItems"); err != nil {
			return err
		}
		if err := c.act(needs.dax); err != nil {
			return err
		}
		t, err := c.targetFor(needs.dynamodb, names[i], keys[i])
		if err != nil {
			return err
		}
		targets[i], tables[i] = t, t.table
		var failure smithy.Opt[string]
		if failures != nil {
			failure = failures[i]
		}
		item, err := c.transactItem(operations[i], t, at(items, i), at(conditions, i), at(updates, i), failure)
		if err != nil {
			return err
		}
		in.TransactItems = append(in.TransactItems, item)
	}
	out, err := c.writeTransaction(in, operations, targets)
	if err != nil {
		return c.refusal(err, tables)
	}
	c.out = wire.AppendArray(wire.AppendArray(c.out, 3), 0) // no returned values, since none are asked for
	c.out = appendCapacities(c.out, out.ConsumedCapacity, appendExtended)
	c.out = appendAllMetrics(c.out, out.ItemCollectionMetrics)
	return nil
}

// transactItem builds one write of a transaction.
func (c *conn) transactItem(operation int64, t target, content, condition, update []byte, failure smithy.Opt[string]) (item api.TransactWriteItem, err error) {
	var x expressions
	updateText, conditionText := x.update(update), x.condition(condition)
	names, values := x.names(), x.values()
	if x.err != nil {
		return item, x.err
	}
	name := smithy.Some(t.name)
	switch operation {
	case transactPut:
		if content == nil {
			return item, wire.ErrMalformed
		}
		it, err := c.readItem(content, t.key)
		if err != nil {
			return item, err
		}
		item.Put = &api.Put{
			TableName: name, Item: it, ConditionExpression: conditionText, ExpressionAttributeNames: names,
			ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: failure,
		}
	case transactDelete:
		item.Delete = &api.Delete{
			TableName: name, Key: t.key, ConditionExpression: conditionText, ExpressionAttributeNames: names,
			ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: failure,
		}
	case transactUpdate:
		item.Update = &api.Update{
			TableName: name, Key: t.key, UpdateExpression: updateText, ConditionExpression: conditionText, ExpressionAttributeNames: names,
			ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: failure,
		}
	case transactCheck:
		item.ConditionCheck = &api.ConditionCheck{
			TableName: name, Key: t.key, ConditionExpression: conditionText, ExpressionAttributeNames: names,
			ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: failure,
		}
	default:
		return item, wire.ErrMalformed
	}
	return item, nil
}

// writeTransaction runs a TransactWriteItems and keeps the item cache coherent.
func (c *conn) writeTransaction(in *api.TransactWriteItemsInput, operations []int64, targets []target) (*api.TransactWriteItemsOutput, error) {
	var written []target
	for i, t := range targets {
		if operations[i] != transactCheck {
			written = append(written, t)
		}
	}
	items := c.node.Caches.Items
	for _, t := range written {
		items.BeginWrite(t.cacheKey)
	}
	unchanged := false
	defer func() {
		for _, t := range written {
			if unchanged {
				items.CancelWrite(t.cacheKey)
			} else {
				items.EndWrite(t.cacheKey, nil, false)
			}
		}
		if !unchanged {
			c.node.refill(c, written)
		}
	}()
	out, err := smithy.Invoke(c.ctx, c.node.service.transactWriteItems, api.TransactWriteItems, &c.call, in)
	unchanged = err != nil && changedNothing(err)
	return out, err
}

// refill reads the items that a transaction has written into the cache, in the background, as DAX does ("DAX: How it works"); this
// consumes read units. If it fails, requests that wait for such an item read it themselves: they didn't ask for this transaction.
func (n *Node) refill(from *conn, targets []target) {
	select {
	case n.service.refills <- struct{}{}:
	default:
		return // too many refills run; the items are read when a client asks for them
	}
	// A conn without a client provides what reading needs: the one whom the database has seen, and the client's attribute lists.
	reader := &conn{node: n, ctx: n.ctx, identity: identity{caller: from.call.Caller, lists: from.lists}}
	in := &api.TransactGetItemsInput{}
	var flights []*cache.Flight
	var tables []*table
	for _, t := range targets {
		if t.foreign {
			continue
		}
		if f := n.Caches.Items.Lead(t.cacheKey); f != nil {
			flights, tables = append(flights, f), append(tables, t.table)
			in.TransactItems = append(in.TransactItems, api.TransactGetItem{Get: &api.Get{TableName: smithy.Some(t.name), Key: t.key.Clone()}})
		}
	}
	if len(flights) == 0 {
		<-n.service.refills
		return
	}
	n.running.Add(1)
	guard.Go(n.service.opt.Logger, "reading a transaction's items into the cache", func() {
		defer n.running.Done()
		defer func() { <-n.service.refills }()
		landed := 0
		failed := func(err error) {
			var known *awserr.Error
			if errors.As(err, &known) && known.Code == awserr.AccessDenied {
				return // a role that may write need not be allowed to read
			}
			n.service.opt.Logger.Warn("items of a transaction were not read into the cache", "protocol", "dax", "error", err)
		}
		defer func() {
			for _, f := range flights[landed:] {
				n.Caches.Items.Land(f, nil, cache.ErrUnread)
			}
			reader.call.Release()
		}()
		reader.call.Caller = reader.caller
		ops.RequestOf(&reader.call).Coarse = true
		out, err := smithy.Invoke(n.ctx, n.service.transactGetItems, api.TransactGetItems, &reader.call, in)
		if err != nil {
			failed(err)
			return
		}
		for i, got := range out.Responses {
			var item []byte
			if got.Item != nil {
				if item, err = reader.appendItem(nil, tables[i], got.Item); err != nil {
					failed(err)
					return
				}
			}
			n.Caches.Items.Land(flights[i], item, nil)
			landed++
		}
	})
}
