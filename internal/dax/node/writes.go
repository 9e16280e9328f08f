package node

import (
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// changedNothing reports whether a write's error guarantees that the write has changed nothing. After an internal error it may have.
func changedNothing(err error) bool {
	var known *awserr.Error
	return errors.As(err, &known) && known.Status() < 500
}

// wrote is the outcome of a write of one item.
type wrote struct {
	stored attribute.Item // nil if there is no item now
	written
}

// write runs a write of one item, keeps the item cache coherent, and answers.
func (c *conn) write(t target, x *expressions, run func() (wrote, error)) error {
	if x.err != nil {
		return x.err
	}
	items := c.node.Caches.Items
	items.BeginWrite(t.cacheKey)
	ended := false
	defer func() {
		if !ended { // what is stored now is unknown
			items.EndWrite(t.cacheKey, nil, false)
		}
	}()
	w, err := run()
	if err != nil && changedNothing(err) {
		ended = true
		items.CancelWrite(t.cacheKey)
	}
	if err != nil {
		return err
	}
	var stored []byte
	if w.stored != nil {
		if stored, err = c.appendItem(nil, t.table, w.stored); err != nil {
			return err
		}
	}
	ended = true
	items.EndWrite(t.cacheKey, stored, !t.foreign)
	return c.appendWritten(t.table, w.written)
}

// target is the item that a request addresses.
type target struct {
	*table
	key      attribute.Item
	cacheKey []byte
}

// target returns the item with a key, in a table where the caller has the permission that its request needs.
func (c *conn) target(name, rawKey []byte) (t target, err error) {
	return c.targetFor(c.needs.dynamodb, name, rawKey)
}

// targetFor returns the item with a key, in a table where the caller has a given permission.
func (c *conn) targetFor(action string, name, rawKey []byte) (t target, err error) {
	if t.table, err = c.tableFor(action, name, nil); err != nil {
		return t, err
	}
	if t.key, err = wire.ReadKey(t.schema, rawKey); err != nil {
		return t, err
	}
	t.cacheKey = t.appendItemKey(nil, t.key)
	return t, nil
}

// putItem writes an item through to the database, and caches it as stored.
func (c *conn) putItem(r *wire.Reader) error {
	name, rawKey, content := r.Bytes(), r.Bytes(), r.Bytes()
	p := readParameters(r)
	if r.Err() != nil {
		return r.Err()
	}
	t, err := c.target(name, rawKey)
	if err != nil {
		return err
	}
	item, err := c.readItem(content, t.key)
	if err != nil {
		return err
	}
	var x expressions
	in := &api.PutItemInput{
		TableName: smithy.Some(t.name), Item: item, ReturnValues: p.returnValues, ReturnConsumedCapacity: p.capacity,
		ReturnItemCollectionMetrics: p.metrics, ConditionExpression: x.condition(p.condition),
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = x.names(), x.values()
	return c.write(t, &x, func() (w wrote, err error) {
		out, err := smithy.Invoke(c.ctx, c.node.service.putItem, api.PutItem, &c.call, in)
		if err != nil {
			return w, err
		}
		return wrote{item, written{out.Attributes, out.ConsumedCapacity, out.ItemCollectionMetrics, false}}, nil
	})
}

// deleteItem deletes an item in the database. The cache then knows that the item doesn't exist.
func (c *conn) deleteItem(r *wire.Reader) error {
	name, rawKey := r.Bytes(), r.Bytes()
	p := readParameters(r)
	if r.Err() != nil {
		return r.Err()
	}
	t, err := c.target(name, rawKey)
	if err != nil {
		return err
	}
	var x expressions
	in := &api.DeleteItemInput{
		TableName: smithy.Some(t.name), Key: t.key, ReturnValues: p.returnValues, ReturnConsumedCapacity: p.capacity,
		ReturnItemCollectionMetrics: p.metrics, ConditionExpression: x.condition(p.condition),
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = x.names(), x.values()
	return c.write(t, &x, func() (w wrote, err error) {
		out, err := smithy.Invoke(c.ctx, c.node.service.deleteItem, api.DeleteItem, &c.call, in)
		if err != nil {
			return w, err
		}
		return wrote{nil, written{out.Attributes, out.ConsumedCapacity, out.ItemCollectionMetrics, false}}, nil
	})
}

// updateItem updates an item in the database, and caches the result, which the operation reports in Call.Stored.
func (c *conn) updateItem(r *wire.Reader) error {
	name, rawKey := r.Bytes(), r.Bytes()
	p := readParameters(r)
	if r.Err() != nil {
		return r.Err()
	}
	t, err := c.target(name, rawKey)
	if err != nil {
		return err
	}
	var x expressions
	in := &api.UpdateItemInput{
		TableName: smithy.Some(t.name), Key: t.key, ReturnValues: p.returnValues, ReturnConsumedCapacity: p.capacity,
		ReturnItemCollectionMetrics: p.metrics, UpdateExpression: x.update(p.update), ConditionExpression: x.condition(p.condition),
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = x.names(), x.values()
	some := p.returnValues.Value == api.ReturnValueUpdatedOld || p.returnValues.Value == api.ReturnValueUpdatedNew
	return c.write(t, &x, func() (w wrote, err error) {
		out, err := smithy.Invoke(c.ctx, c.node.service.updateItem, api.UpdateItem, &c.call, in)
		if err != nil {
			return w, err
		}
		return wrote{ops.RequestOf(&c.call).Stored, written{out.Attributes, out.ConsumedCapacity, out.ItemCollectionMetrics, some}}, nil
	})
}

// maxBatchWrite is the number of writes that a BatchWriteItem may have ("BatchWriteItem").
const maxBatchWrite = 25

// batchWrite is one write of a BatchWriteItem.
type batchWrite struct {
	target
	request api.WriteRequest
}

// batchWriteItem writes through to the database. Of too many writes it passes on one too many, for which the database refuses the batch.
func (c *conn) batchWriteItem(r *wire.Reader) error {
	in := &api.BatchWriteItemInput{}
	var writes []batchWrite
	tables := map[string]*table{}
	for n := r.Map(); r.Next(&n); {
		name := r.Text()
		var requests []api.WriteRequest
		elements := r.Array()
		for r.Next(&elements) {
			rawKey := r.Bytes()
			if !r.Next(&elements) {
				r.Malformed()
			}
			content := r.BytesOrNull()
			if r.Err() != nil {
				return r.Err()
			}
			if len(writes) > maxBatchWrite { // one too many is enough for the database to refuse
				continue
			}
			t, err := c.target(name, rawKey)
			if err != nil {
				return err
			}
			var w api.WriteRequest
			if content == nil {
				w.DeleteRequest = &api.DeleteRequest{Key: t.key}
			} else {
				item, err := c.readItem(content, t.key)
				if err != nil {
					return err
				}
				w.PutRequest = &api.PutRequest{Item: item}
			}
			requests, writes = append(requests, w), append(writes, batchWrite{t, w})
			tables[t.name] = t.table
		}
		if len(in.RequestItems) > maxBatchWrite {
			continue
		}
		in.RequestItems = append(in.RequestItems, smithy.Entry[[]api.WriteRequest]{Key: wirejson.View(name), Value: requests})
	}
	p := readParameters(r)
	if r.Err() != nil {
		return r.Err()
	}
	in.ReturnConsumedCapacity, in.ReturnItemCollectionMetrics = p.capacity, p.metrics
	out, err := c.writeBatch(in, writes)
	if err != nil {
		return err
	}
	c.out = wire.AppendMap(c.out, len(out.UnprocessedItems))
	for _, u := range out.UnprocessedItems {
		t := tables[u.Key]
		c.out = wire.AppendArray(wire.AppendText(c.out, u.Key), 2*len(u.Value))
		for _, w := range u.Value {
			if w.DeleteRequest != nil {
				c.out = wire.AppendNull(wire.AppendKey(c.out, t.schema, w.DeleteRequest.Key))
				continue
			}
			c.out = wire.AppendKey(c.out, t.schema, w.PutRequest.Item)
			if c.out, err = c.appendItem(c.out, t, w.PutRequest.Item); err != nil {
				return err
			}
		}
	}
	c.out = appendCapacities(c.out, out.ConsumedCapacity, appendCapacity)
	c.out = appendAllMetrics(c.out, out.ItemCollectionMetrics)
	return nil
}

// writeBatch runs a BatchWriteItem and keeps the item cache coherent.
func (c *conn) writeBatch(in *api.BatchWriteItemInput, writes []batchWrite) (out *api.BatchWriteItemOutput, err error) {
	items := c.node.Caches.Items
	for _, w := range writes {
		items.BeginWrite(w.cacheKey)
	}
	ended := 0
	defer func() {
		for _, w := range writes[ended:] { // a panic, an error that may have changed items, or a failed encoding
			items.EndWrite(w.cacheKey, nil, false)
		}
	}()
	out, err = smithy.Invoke(c.ctx, c.node.service.batchWriteItem, api.BatchWriteItem, &c.call, in)
	if err != nil {
		if changedNothing(err) {
			for ; ended < len(writes); ended++ {
				items.CancelWrite(writes[ended].cacheKey)
			}
		}
		return nil, err
	}
	left := map[api.WriteRequest]bool{} // unprocessed requests come back as the same pointers
	for _, u := range out.UnprocessedItems {
		for _, w := range u.Value {
			left[w] = true
		}
	}
	for ; ended < len(writes); ended++ {
		w := &writes[ended]
		if left[w.request] {
			items.CancelWrite(w.cacheKey)
			continue
		}
		var stored []byte
		if put := w.request.PutRequest; put != nil {
			if stored, err = c.appendItem(nil, w.table, put.Item); err != nil {
				return nil, err
			}
		}
		items.EndWrite(w.cacheKey, stored, !w.foreign)
	}
	return out, nil
}
