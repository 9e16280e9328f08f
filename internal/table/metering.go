package table

import (
	"context"
	"errors"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/throttle"
)

// charge is what a mutation consumes from a table or GSI.
type charge struct {
	meter *metering.Meter
	use   metering.Use
	units float64
}

// use returns what mutation i consumes from its table.
func (w *writer) use(i int, units float64) charge {
	return charge{w.tables[i].Meter, metering.Use{Direction: throttle.Writes, Partition: keyspace.HashOf(w.keys[i]), Key: w.muts[i].Key}, units}
}

// admit checks that the tables have capacity left. It returns FailedError with an error for each mutation that is throttled.
func (w *writer) admit(ctx context.Context, inject func(context.Context, *catalog.Table, metering.Use, bool) error) error {
	if w.opt.Background || w.opt.Admitted {
		return nil
	}
	var failed []error
	for i := range w.muts {
		c := w.use(i, 0)
		err := c.meter.Admit(c.use, w.now)
		if err == nil && inject != nil {
			err = inject(ctx, w.tables[i], c.use, true)
		}
		if err != nil {
			if failed == nil {
				failed = make([]error, len(w.muts))
			}
			failed[i] = err
		}
	}
	if failed != nil {
		return &FailedError{failed}
	}
	return nil
}

// admitIndexes checks that the GSIs that mutation i changes have capacity left, and counts what these changes consume. It runs
// inside the transaction, before anything is put, because only there the changes are known.
func (w *writer) admitIndexes(i int, plan []index.Change) error {
	units := &w.results[i].Units
	for _, c := range plan {
		units.AddIndex(c.Index.Name, c.Index.Global, c.Units)
		if w.opt.Background || !c.Index.Global {
			continue // an LSI consumes its table's capacity
		}
		use := metering.Use{Index: c.Index.ID, Direction: throttle.Writes, Partition: keyspace.HashOf(c.Key), Key: entryOf(c)}
		if err := w.tables[i].Meter.Admit(use, w.now); err != nil {
			failed := make([]error, len(w.muts))
			failed[i] = err
			return &FailedError{failed}
		}
		w.charges = append(w.charges, charge{w.tables[i].Meter, use, c.Units})
	}
	return nil
}

// entryOf returns the entry that a change puts or, if it puts none, removes.
func entryOf(c index.Change) attribute.Item {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

// refuse counts a mutation whose condition failed: it consumes as much as if it had succeeded ("Working with items and
// attributes").
func (w *writer) refuse(i int, old attribute.Item) {
	if w.opt.Background {
		return
	}
	size := old.Size()
	if m := &w.muts[i]; m.Next != nil {
		if next, err := m.Next(old); err == nil {
			size = max(size, next.Size())
		}
	}
	w.refused = append(w.refused, w.use(i, capacity.Write(size, 0)))
	w.tables[i].Meter.Conditioned(w.now)
}

// charge charges a write that ended with err. A transaction consumes twice as much of the tables, but not of the indexes.
func (w *writer) charge(err error) {
	if w.opt.Background {
		return
	}
	factor := 1.0
	if w.opt.Exclusive {
		factor = capacity.Transactional
	}
	if err != nil {
		// Only a failed condition is charged; conflicts and faults are free.
		var failed *FailedError
		if !errors.As(err, &failed) {
			return
		}
		for i := range w.refused {
			c := &w.refused[i]
			c.meter.Charge(c.use, factor*c.units, w.now)
		}
		return
	}
	for i := range w.muts {
		c := w.use(i, factor*w.results[i].Units.Table)
		for _, x := range w.results[i].Units.Indexes {
			if !x.Global {
				c.units += x.Units
			}
		}
		c.meter.Charge(c.use, c.units, w.now)
	}
	for i := range w.charges {
		w.charges[i].meter.Charge(w.charges[i].use, w.charges[i].units, w.now)
	}
}
