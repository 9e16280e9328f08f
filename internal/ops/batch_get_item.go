package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

const (
	maxBatchGet      = 100      // keys per BatchGetItem
	maxBatchResponse = 16 << 20 // bytes per answer; what is left is returned as UnprocessedKeys
)

// batchGet is the part of a BatchGetItem that reads one table.
type batchGet struct {
	table      *catalog.Table
	given      string // table's name or ARN as given in the request
	in         *api.KeysAndAttributes
	e          *expressions
	consistent bool
	storage    [][]byte // storage keys, in the order of in.Keys
}

// batchGetItem reads each table in one multi-get. Items of different tables come from different moments. If every read is
// throttled, the request fails; otherwise throttled keys are returned as unprocessed.
func (s *Service) batchGetItem(ctx context.Context, req *Request, in *api.BatchGetItemInput) (*api.BatchGetItemOutput, error) {
	total := 0
	for i := range in.RequestItems {
		total += len(in.RequestItems[i].Value.Keys)
	}
	if total > maxBatchGet {
		return nil, awserr.ValidationError("Too many items requested for the BatchGetItem call")
	}
	if err := checkMixedBatch(in.RequestItems); err != nil {
		return nil, err
	}
	gets := make([]batchGet, len(in.RequestItems))
	for i := range gets {
		entry := &in.RequestItems[i]
		gets[i] = batchGet{given: entry.Key, in: &entry.Value, consistent: entry.Value.ConsistentRead.Value}
		if err := s.parseBatchGet(&gets[i]); err != nil {
			return nil, err
		}
	}
	if err := s.resolveBatchGets(ctx, req, gets, total, in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	a := batchGetAnswer{out: &api.BatchGetItemOutput{
		Responses:       smithy.Map[[]attribute.Item]{},
		UnprocessedKeys: smithy.Map[api.KeysAndAttributes]{},
	}}
	for i := range gets {
		if err := s.readBatchGet(ctx, req, &gets[i], &a); err != nil {
			return nil, err
		}
	}
	if a.refused != nil && a.read == 0 {
		return nil, clientError(a.refused)
	}
	a.out.ConsumedCapacity = a.used.render(in.ReturnConsumedCapacity, plainUnits)
	return a.out, nil
}

// checkMixedBatch rejects a batch that has a legacy parameter for one table and an expression for the same or another.
func checkMixedBatch(items smithy.Map[api.KeysAndAttributes]) error {
	legacy, expression := false, false
	for i := range items {
		legacy = legacy || items[i].Value.AttributesToGet != nil
		expression = expression || items[i].Value.ProjectionExpression.Set
	}
	return checkMixed([]param{{"AttributesToGet", legacy}}, []param{{"ProjectionExpression", expression}})
}

// parseBatchGet checks what can be checked without the table, and parses the projection.
func (s *Service) parseBatchGet(g *batchGet) (err error) {
	for _, key := range g.in.Keys {
		if err := checkItem(key); err != nil {
			return err
		}
	}
	g.e, err = s.parseExpressions(expressionTexts{projection: g.in.ProjectionExpression, names: g.in.ExpressionAttributeNames})
	if err != nil {
		return err
	}
	return g.e.lowerProjection(g.in.AttributesToGet)
}

// resolveBatchGets finds the tables and makes the storage keys of all requested keys. total is the number of keys; two equal ones are an error. consumed is the request's
// ReturnConsumedCapacity.
func (s *Service) resolveBatchGets(ctx context.Context, req *Request, gets []batchGet, total int, consumed smithy.Opt[string]) (err error) {
	seen := make(map[string]struct{}, total)
	buf := make([]byte, 0, 64*total)
	for i := range gets {
		g := &gets[i]
		if g.table, err = s.serving(ctx, req, req.table(g.given).asking(asks{keys: g.in.Keys, e: g.e, consumed: consumed})); err != nil {
			return err
		}
		for _, key := range g.in.Keys {
			if err := checkKey(g.table, key); err != nil {
				return err
			}
			// storage is a view of buf. If append moves buf, earlier views keep the old array alive.
			start := len(buf)
			buf = g.table.AppendItemKey(buf, key)
			storage := buf[start:len(buf):len(buf)]
			if _, twice := seen[wirejson.View(storage)]; twice {
				return awserr.DuplicateKeys()
			}
			seen[wirejson.View(storage)] = struct{}{}
			g.storage = append(g.storage, storage)
		}
	}
	return nil
}

// batchGetAnswer is the answer of a BatchGetItem under construction.
type batchGetAnswer struct {
	out     *api.BatchGetItemOutput
	used    ledger
	size    int   // bytes of the items read
	read    int   // keys read, also of missing items
	refused error // the last error of a key that was throttled
}

// readBatchGet reads the keys of one table, and adds its items and unprocessed keys to the answer.
func (s *Service) readBatchGet(ctx context.Context, req *Request, g *batchGet, a *batchGetAnswer) error {
	r, err := s.reader(ctx, g.table, g.consistent)
	if err != nil {
		return clientError(err)
	}
	req.OnRelease(r)
	if err := kv.Fetch(r, g.storage); err != nil {
		return clientError(err)
	}
	rest := *g.in // the part that stays unprocessed
	rest.Keys = nil
	tally := g.table.Meter.Tally(req.Time)
	found := make([]attribute.Item, 0, len(g.in.Keys))
	for k, storage := range g.storage {
		use := itemRead(storage, g.in.Keys[k])
		if err := s.admitInBatch(ctx, g.table, &tally, &use); err != nil {
			rest.Keys = append(rest.Keys, g.in.Keys[k])
			a.refused = err
			continue
		}
		raw, err := r.Get(storage)
		if err != nil {
			return clientError(err)
		}
		item := attribute.Item(raw)
		if a.size += item.Size(); a.size > maxBatchResponse {
			rest.Keys = append(rest.Keys, g.in.Keys[k:]...)
			break
		}
		if err := holds(req, len(raw)); err != nil {
			return err
		}
		a.read++
		units := capacity.Consumed{Table: capacity.Read(item.Size(), g.consistent)}
		tally.Charge(&use, units.Table)
		a.used.add(g.table.Name, &units, 1)
		if item == nil {
			continue
		}
		if g.e.projector != nil && !req.Unprojected {
			item = g.e.projector.Project(item)
		}
		found = append(found, item)
	}
	tally.Done()
	a.out.Responses.Put(g.given, found)
	if rest.Keys != nil {
		a.out.UnprocessedKeys.Put(g.given, rest)
	}
	return nil
}

// admitInBatch returns an error if the read of one item must stay unprocessed, for lack of capacity or by an injected fault.
func (s *Service) admitInBatch(ctx context.Context, t *catalog.Table, tally *metering.Tally, use *metering.Use) error {
	if err := tally.Admit(use); err != nil || s.Faults == nil {
		return err
	}
	return s.InjectItem(ctx, t, *use, false)
}
