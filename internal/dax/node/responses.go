package node

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
)

// Numbers of the fields of results.
const (
	resultItem         = 0
	resultCapacity     = 1
	resultAttributes   = 2
	resultMetrics      = 3
	resultItems        = 7
	resultCount        = 8
	resultLastKey      = 9
	resultScannedCount = 10
)

// appendItem appends an item without its key.
func (c *conn) appendItem(dst []byte, t *table, it attribute.Item) ([]byte, error) {
	id, err := c.lists.of(c.ctx, t.schema, it)
	if err != nil {
		return dst, err
	}
	return wire.AppendItem(dst, id, t.schema, it), nil
}

// maxContent is the largest item on the wire, in bytes: no value that DynamoDB stores takes more than twice its counted size there.
const maxContent = 2 * attribute.MaxItemSize

// readItem reads an item that a client sends apart from its key. The memory of a large item is taken from the budget: a list id of a
// few bytes may stand for 400 KB of names.
func (c *conn) readItem(content []byte, key attribute.Item) (attribute.Item, error) {
	if len(content) > maxContent {
		return nil, awserr.ItemTooLarge()
	}
	list, values, err := c.listOf(content)
	if err != nil {
		return nil, err
	}
	if size := len(values) + list.Size(); size > largeBuffer {
		if err := c.take(int64(size), false); err != nil {
			return nil, err
		}
	}
	return wire.ReadItem(list, values, key)
}

// listOf returns the attribute list of an encoded item, and the bytes of its values.
func (c *conn) listOf(content []byte) (list *wire.List, values []byte, err error) {
	id, values, err := wire.ListID(content)
	if err != nil {
		return nil, nil, err
	}
	list, err = c.lists.list(c.ctx, id)
	return list, values, err
}

// appendUnits appends the capacity units of indexes; null if there are none.
func appendUnits(dst []byte, indexes smithy.Map[api.Capacity]) []byte {
	if indexes == nil {
		return wire.AppendNull(dst)
	}
	dst = wire.AppendMap(dst, len(indexes))
	for _, x := range indexes {
		dst = wire.AppendFloat(wire.AppendText(dst, x.Key), x.Value.CapacityUnits.Value)
	}
	return dst
}

// appendCapacity appends consumed capacity in the form of item, query, scan and batch calls.
func appendCapacity(dst []byte, c *api.ConsumedCapacity) []byte {
	start := len(dst)
	dst = wire.AppendText(dst, c.TableName.Value)
	dst = wire.AppendFloat(dst, c.CapacityUnits.Value)
	if c.Table == nil {
		dst = wire.AppendNull(dst)
	} else {
		dst = wire.AppendFloat(dst, c.Table.CapacityUnits.Value)
	}
	dst = appendUnits(dst, c.GlobalSecondaryIndexes)
	dst = appendUnits(dst, c.LocalSecondaryIndexes)
	return wire.WrapBytes(dst, start)
}

// appendCapacities appends a list of consumed capacities and lets one append each.
func appendCapacities(dst []byte, list []api.ConsumedCapacity, one func([]byte, *api.ConsumedCapacity) []byte) []byte {
	dst = wire.AppendArray(dst, len(list))
	for i := range list {
		dst = one(dst, &list[i])
	}
	return dst
}

// Numbers of the fields of consumed capacity in transactions.
const (
	capacityUnits = 1
	capacityRead  = 2
	capacityWrite = 3
	capacityName  = 4
	capacityTable = 5
	capacityGSI   = 6
	capacityLSI   = 7
)

// appendUnitsOf appends those of the three numbers that are set, each behind its field number.
func appendUnitsOf(dst []byte, units, read, write smithy.Opt[float64]) []byte {
	for i, u := range [...]smithy.Opt[float64]{units, read, write} {
		if u.Set {
			dst = wire.AppendFloat(wire.AppendInt(dst, int64(i)+capacityUnits), u.Value)
		}
	}
	return dst
}

// appendExtended appends consumed capacity in the form of transactions.
func appendExtended(dst []byte, c *api.ConsumedCapacity) []byte {
	dst = wire.BeginMap(dst)
	dst = appendUnitsOf(dst, c.CapacityUnits, c.ReadCapacityUnits, c.WriteCapacityUnits)
	dst = wire.AppendText(wire.AppendInt(dst, capacityName), c.TableName.Value)
	one := func(dst []byte, u *api.Capacity) []byte {
		n := 0
		for _, o := range [...]bool{u.CapacityUnits.Set, u.ReadCapacityUnits.Set, u.WriteCapacityUnits.Set} {
			if o {
				n++
			}
		}
		return appendUnitsOf(wire.AppendMap(dst, n), u.CapacityUnits, u.ReadCapacityUnits, u.WriteCapacityUnits)
	}
	if c.Table != nil {
		dst = one(wire.AppendInt(dst, capacityTable), c.Table)
	}
	for i, indexes := range [...]smithy.Map[api.Capacity]{c.GlobalSecondaryIndexes, c.LocalSecondaryIndexes} {
		if indexes == nil {
			continue
		}
		dst = wire.AppendMap(wire.AppendInt(dst, int64(i)+capacityGSI), len(indexes))
		for j := range indexes {
			dst = one(wire.AppendText(dst, indexes[j].Key), &indexes[j].Value)
		}
	}
	return wire.AppendEnd(dst)
}

// appendMetrics appends item collection metrics.
func appendMetrics(dst []byte, m *api.ItemCollectionMetrics) []byte {
	start := len(dst)
	for _, v := range m.ItemCollectionKey.Fields {
		dst = wire.AppendValue(dst, v)
	}
	for _, gb := range m.SizeEstimateRangeGB {
		dst = wire.AppendFloat(dst, gb)
	}
	return wire.WrapBytes(dst, start)
}

// appendAllMetrics appends the item collection metrics of several tables.
func appendAllMetrics(dst []byte, all smithy.Map[[]api.ItemCollectionMetrics]) []byte {
	dst = wire.AppendMap(dst, len(all))
	for _, t := range all {
		dst = wire.AppendArray(wire.AppendText(dst, t.Key), len(t.Value))
		for i := range t.Value {
			dst = appendMetrics(dst, &t.Value[i])
		}
	}
	return dst
}

// written is the answer to a write of one item.
type written struct {
	attributes attribute.Item
	capacity   *api.ConsumedCapacity
	metrics    *api.ItemCollectionMetrics
	updated    bool // attributes are those that the update touched, not a whole item
}

// appendWritten appends the answer to a write; null if it is empty.
func (c *conn) appendWritten(t *table, w written) (err error) {
	if w.attributes == nil && w.capacity == nil && w.metrics == nil {
		c.out = wire.AppendNull(c.out)
		return nil
	}
	c.out = wire.BeginMap(c.out)
	if w.capacity != nil {
		c.out = appendCapacity(wire.AppendInt(c.out, resultCapacity), w.capacity)
	}
	if w.attributes != nil {
		c.out = wire.AppendInt(c.out, resultAttributes)
		if w.updated {
			var id int64
			if id, err = c.lists.of(c.ctx, nil, w.attributes); err != nil {
				return err
			}
			c.out = wire.AppendAttributes(c.out, id, w.attributes)
		} else if c.out, err = c.appendItem(c.out, t, w.attributes); err != nil {
			return err
		}
	}
	if w.metrics != nil {
		c.out = appendMetrics(wire.AppendInt(c.out, resultMetrics), w.metrics)
	}
	c.out = wire.AppendEnd(c.out)
	return nil
}
