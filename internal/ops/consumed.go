package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/smithy"
)

// consumedKind says which further members ConsumedCapacity has: transactions report reads and writes separately.
type consumedKind uint8

const (
	plainUnits consumedKind = iota
	transactReads
	transactWrites
)

// capacity renders units, in transactions also as read or write units.
func (k consumedKind) capacity(units float64) *api.Capacity {
	c := &api.Capacity{CapacityUnits: smithy.Some(units)}
	switch k {
	case transactReads:
		c.ReadCapacityUnits = smithy.Some(units)
	case transactWrites:
		c.WriteCapacityUnits = smithy.Some(units)
	}
	return c
}

// consumedCapacity renders what ReturnConsumedCapacity asks for; nil for NONE.
func consumedCapacity(mode smithy.Opt[string], table string, c *capacity.Consumed, kind consumedKind) *api.ConsumedCapacity {
	if mode.Value != api.ReturnConsumedCapacityTotal && mode.Value != api.ReturnConsumedCapacityIndexes {
		return nil
	}
	out := &api.ConsumedCapacity{TableName: smithy.Some(table), CapacityUnits: smithy.Some(c.Total())}
	switch kind {
	case transactReads:
		out.ReadCapacityUnits = out.CapacityUnits
	case transactWrites:
		out.WriteCapacityUnits = out.CapacityUnits
	}
	if mode.Value != api.ReturnConsumedCapacityIndexes {
		return out
	}
	out.Table = kind.capacity(c.Table)
	for _, x := range c.Indexes {
		units := *kind.capacity(x.Units)
		if x.Global {
			out.GlobalSecondaryIndexes.Put(x.Name, units)
		} else {
			out.LocalSecondaryIndexes.Put(x.Name, units)
		}
	}
	return out
}

// ledger adds up what a request consumes on several tables, in the order in which they are first used.
type ledger struct {
	tables []string
	units  []capacity.Consumed
}

// add adds c to a table's consumption; factor multiplies what it consumes of the table itself.
func (l *ledger) add(table string, c *capacity.Consumed, factor float64) {
	for i, t := range l.tables {
		if t == table {
			l.units[i].Add(c, factor)
			return
		}
	}
	l.tables = append(l.tables, table)
	l.units = append(l.units, capacity.Consumed{})
	l.units[len(l.units)-1].Add(c, factor)
}

// render returns the tables' consumption in the form that ReturnConsumedCapacity asks for.
func (l *ledger) render(mode smithy.Opt[string], kind consumedKind) []api.ConsumedCapacity {
	var out []api.ConsumedCapacity
	for i, t := range l.tables {
		if c := consumedCapacity(mode, t, &l.units[i], kind); c != nil {
			out = append(out, *c)
		}
	}
	return out
}
