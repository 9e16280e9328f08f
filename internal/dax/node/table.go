package node

import (
	"encoding/binary"
	"slices"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/wirejson"
)

// maxTableName is the largest TableName in bytes. It may be an Amazon Resource Name ("PutItem").
const maxTableName = 1024

// table is a table as a client addresses it.
type table struct {
	ops.TableIdentity
	name   string // as in requests: a name or an ARN
	schema wire.KeySchema
	// foreign says that the table is another account's. Attribute list ids, and with them cached items, belong to one account, so
	// requests for foreign tables bypass the caches.
	foreign bool
}

// table returns a table by name or Amazon Resource Name, if the caller has the permission that its request needs.
func (c *conn) table(name []byte) (*table, error) { return c.tableFor(c.needs.dynamodb, name, nil) }

// tableFor returns a table if the request may take an action of DynamoDB there, or on the table's index. The permission is checked first, before caches and existence: a
// refusal doesn't reveal whether another account has the table.
func (c *conn) tableFor(action string, name, index []byte) (*table, error) {
	if len(name) > maxTableName {
		return nil, awserr.InvalidTableName()
	}
	c.named.add(name)
	for _, known := range c.tables {
		if known == nil || known.name != wirejson.View(name) {
			continue
		}
		if t, err := c.node.service.opt.Database.Identify(&c.call, action, known.name, wirejson.View(index)); err != nil || t.ID == known.ID {
			return known, err
		}
	}
	out := &table{name: string(name)}
	var err error
	if out.TableIdentity, err = c.node.service.opt.Database.Identify(&c.call, action, out.name, string(index)); err != nil {
		return nil, err
	}
	out.foreign = out.Account != c.lists.account
	out.schema = wire.KeySchema{wire.KeyAttribute(out.PartitionKey)}
	if out.SortKey.Name != "" {
		out.schema = append(out.schema, wire.KeyAttribute(out.SortKey))
	}
	c.tables = [2]*table{out, c.tables[0]}
	return out, nil
}

// appendItemKey appends the cache key of an item: the table's id and the values of the key attributes; others don't count. Equal keys are
// equal bytes, on all servers of a store: they tell each other which keys to invalidate.
func (t *table) appendItemKey(dst []byte, item attribute.Item) []byte {
	partition, sort := item.Get(t.PartitionKey.Name), attribute.Value(nil)
	if t.SortKey.Name != "" {
		sort = item.Get(t.SortKey.Name)
	}
	dst = slices.Grow(dst, 4+len(partition)+len(sort))
	dst = binary.BigEndian.AppendUint32(dst, t.ID)
	return append(append(dst, partition...), sort...)
}
