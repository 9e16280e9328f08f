package ops

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/throttle"
	"github.com/statordb/stator/internal/wirejson"
)

// around wraps an operation's handler with what all operations share: the request's time and state, and metering. place is the
// operation's number among the metered ones, or negative.
func (s *Service) around(op *operation, h smithy.Handler, place int) smithy.Handler {
	run := h.Run
	h.Settles = op.settles
	h.Run = func(ctx context.Context, call *smithy.Call, in any) (smithy.Renderer, error) {
		req := RequestOf(call)
		if op.multiStep {
			ctx = context.WithoutCancel(ctx)
		}
		req.op, req.items, req.bytes = op, -1, -1
		if s.Faults != nil {
			ctx = context.WithValue(ctx, operationKey{}, op)
		}
		req.Time = s.Now()
		if op.unbound {
			if refused := access.Authorize(&access.Question{Call: call, Action: op.action(), Resource: access.Any}); refused != nil {
				s.count(req, place, refused)
				return nil, refused
			}
		}
		out, err := run(ctx, call, in)
		s.count(req, place, err)
		return out, err
	}
	return h
}

// count records how a request ended: its latency, size and kind of error. operation is negative if the operation is not
// metered.
func (s *Service) count(req *Request, operation int, err error) {
	now := s.Now()
	o := metering.Outcome{Operation: operation, Took: now.Sub(req.Time), Items: req.items, Bytes: req.bytes, Failed: err != nil}
	if err != nil {
		var known *awserr.Error
		switch {
		case !errors.As(err, &known) || known.Status() >= 500:
			o.Fault = true
		case known.Throttled():
			o.Throttled = true
		case known.Code != awserr.ConditionalCheckFailed:
			ns := s.namespace(req.Caller)
			s.Meters.UserError(ns.Account, ns.Region)
		}
	}
	if operation < 0 || len(req.used) == 0 {
		return
	}
	for _, m := range req.used {
		m.Finished(o, now)
	}
}

// uses records that the request uses the table.
func uses(req *Request, t *catalog.Table) {
	for _, m := range req.used {
		if m == t.Meter {
			return
		}
	}
	req.used = append(req.used, t.Meter)
}

// itemRead describes the capacity that a read of one item uses. storage is the item's storage key.
func itemRead(storage []byte, key attribute.Item) metering.Use {
	return metering.Use{Direction: throttle.Reads, Partition: keyspace.HashOf(storage), Key: key}
}

// use describes the capacity that a page uses. first is the storage key at which the page begins; its partition pays for the
// whole page.
func (r *reading) use(first []byte) metering.Use {
	u := metering.Use{Direction: throttle.Reads, Partition: keyspace.HashOf(first), Many: true}
	if r.index != nil && r.index.Global {
		u.Index = r.index.ID
	}
	return u
}

// charge records what reading the page consumed. A GSI pays from its own throughput; an LSI from its table's.
func (s *Service) charge(r *reading, u metering.Use, consumed *capacity.Consumed, now time.Time) {
	if r.index == nil || !r.index.Global {
		r.table.Meter.Charge(u, consumed.Total(), now)
		return
	}
	r.table.Meter.Charge(u, consumed.Indexes[0].Units, now)
}

// readItems reads the items with the mutations' keys in one transaction, and calls found for each in order. If any table lacks
// the capacity, it reads nothing and returns the cancellation reasons.
func (s *Service) readItems(ctx context.Context, req *Request, muts []table.Mutation, found func(i int, item attribute.Item, units *capacity.Consumed) error) error {
	now := req.Time
	storage, uses := make([][]byte, len(muts)), make([]metering.Use, len(muts))
	failed, refused := make([]error, len(muts)), false
	for i, m := range muts {
		storage[i] = m.Table.AppendItemKey(nil, m.Key)
		uses[i] = itemRead(storage[i], m.Key)
		failed[i] = s.admit(ctx, m.Table, uses[i], now)
		refused = refused || failed[i] != nil
	}
	if refused {
		return cancel(failed)
	}
	// One snapshot makes the reads a transaction that never conflicts with writers.
	snap, err := s.Tables.KV.Snapshot(ctx, storage...)
	if err != nil {
		return clientError(err)
	}
	req.OnRelease(snap)
	for i, m := range muts {
		raw, err := snap.Get(storage[i])
		if err != nil {
			return clientError(err)
		}
		if err := holds(req, len(raw)); err != nil {
			return err
		}
		item := attribute.Item(raw)
		units := capacity.Consumed{Table: capacity.TransactionalRead(item.Size())}
		m.Table.Meter.Charge(uses[i], units.Table, now)
		if err := found(i, item, &units); err != nil {
			return err
		}
	}
	return nil
}

// chargeReplay charges read units for a mutation of a transaction that a repeated token replayed.
func (s *Service) chargeReplay(m *table.Mutation, units float64) {
	m.Table.Meter.Charge(itemRead(m.Table.AppendItemKey(nil, m.Key), m.Key), units, s.Now())
}

// throttled maps a throttling error to AWS's exception, which differs between provisioned and on-demand tables
// ("Troubleshooting throttling in Amazon DynamoDB").
func throttled(e *metering.ThrottledError) *awserr.Error {
	resource := catalog.ARN(catalog.Namespace{Account: e.Account, Region: e.Region}, e.Table)
	if e.Index != "" {
		resource += "/index/" + e.Index
	}
	fields := []byte(`[`)
	for i, reason := range e.Reasons() {
		if i > 0 {
			fields = append(fields, ',')
		}
		fields = append(fields, `{"reason":`+strconv.Quote(reason)+`,"resource":`...)
		fields = append(wirejson.AppendString(fields, resource), '}')
	}
	fields = append(fields, ']')
	switch {
	case e.Provisioned:
		return awserr.ThroughputExceeded(e.Index != "", fields)
	case e.Limits == throttle.AccountLimit:
		return awserr.AccountThrottled(fields)
	}
	return awserr.Throttled(e.Limits&throttle.MaxOnDemandThroughput != 0, e.Index != "" && e.Direction == throttle.Writes, fields)
}
