package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
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
	gets := make([]batchGet, len(in.RequestItems))
	for i := range in.RequestItems {
		g := &gets[i]
		g.given, g.in = in.RequestItems[i].Key, &in.RequestItems[i].Value
		g.consistent = g.in.ConsistentRead.Value
		if err := checkMixed([]param{{"AttributesToGet", g.in.AttributesToGet != nil}}, []param{{"ProjectionExpression", g.in.ProjectionExpression.Set}}); err != nil {
			return nil, err
		}
		for _, key := range g.in.Keys {
			if err := checkItem(key); err != nil {
				return nil, err
			}
		}
		var err error
		if g.e, err = s.parseExpressions(expressionTexts{projection: g.in.ProjectionExpression, names: g.in.ExpressionAttributeNames}); err != nil {
			return nil, err
		}
		if err := g.e.lowerProjection(g.in.AttributesToGet); err != nil {
			return nil, err
		}
	}
	seen := make(map[string]struct{}, total)
	buf := make([]byte, 0, 64*total)
	for i := range gets {
		g := &gets[i]
		var err error
		if g.table, err = s.serving(ctx, req, req.table(g.given)); err != nil {
			return nil, err
		}
		for _, key := range g.in.Keys {
			if err := checkKey(g.table, key); err != nil {
				return nil, err
			}
			// storage is a view of buf. If append moves buf, earlier views keep the old array alive.
			start := len(buf)
			buf = g.table.AppendItemKey(buf, key)
			storage := buf[start:len(buf):len(buf)]
			if _, twice := seen[wirejson.View(storage)]; twice {
				return nil, awserr.DuplicateKeys()
			}
			seen[wirejson.View(storage)] = struct{}{}
			g.storage = append(g.storage, storage)
		}
	}
	out := &api.BatchGetItemOutput{
		Responses:       smithy.Map[[]attribute.Item]{},
		UnprocessedKeys: smithy.Map[api.KeysAndAttributes]{},
	}
	var used ledger
	var refused error
	size, read, now := 0, 0, req.Time
	for i := range gets {
		g := &gets[i]
		r, err := s.reader(ctx, g.table, g.consistent)
		if err != nil {
			return nil, clientError(err)
		}
		req.OnRelease(r)
		if err := kv.Fetch(r, g.storage); err != nil {
			return nil, clientError(err)
		}
		rest := *g.in // the part that stays unprocessed
		rest.Keys = nil
		tally := g.table.Meter.Tally(now)
		found := make([]attribute.Item, 0, len(g.in.Keys))
		for k, storage := range g.storage {
			use := itemRead(storage, g.in.Keys[k])
			err := tally.Admit(&use)
			if err == nil && s.Faults != nil {
				err = s.InjectItem(ctx, g.table, use, false)
			}
			if err != nil {
				rest.Keys = append(rest.Keys, g.in.Keys[k])
				refused = err
				continue
			}
			raw, err := r.Get(storage)
			if err != nil {
				return nil, clientError(err)
			}
			item := attribute.Item(raw)
			if size += item.Size(); size > maxBatchResponse {
				rest.Keys = append(rest.Keys, g.in.Keys[k:]...)
				break
			}
			if err := holds(req, len(raw)); err != nil {
				return nil, err
			}
			read++
			units := capacity.Consumed{Table: capacity.Read(item.Size(), g.consistent)}
			tally.Charge(&use, units.Table)
			used.add(g.table.Name, &units, 1)
			if item == nil {
				continue
			}
			if g.e.projector != nil && !req.Unprojected {
				item = g.e.projector.Project(item)
			}
			found = append(found, item)
		}
		tally.Done()
		out.Responses.Put(g.given, found)
		if rest.Keys != nil {
			out.UnprocessedKeys.Put(g.given, rest)
		}
	}
	if refused != nil && read == 0 {
		return nil, clientError(refused)
	}
	out.ConsumedCapacity = used.render(in.ReturnConsumedCapacity, plainUnits)
	return out, nil
}
