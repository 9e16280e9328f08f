package ops

import (
	"context"
	"errors"
	"slices"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

const maxBatchWrite = 25 // requests in a BatchWriteItem

// batchWriteItem validates the whole batch before it writes anything.
func (s *Service) batchWriteItem(ctx context.Context, req *Request, in *api.BatchWriteItemInput) (*api.BatchWriteItemOutput, error) {
	total := 0
	for i := range in.RequestItems {
		total += len(in.RequestItems[i].Value)
	}
	if total > maxBatchWrite {
		return nil, awserr.ValidationError("Too many items requested for the BatchWriteItem call")
	}
	for i := range in.RequestItems {
		for j := range in.RequestItems[i].Value {
			w := &in.RequestItems[i].Value[j]
			switch {
			case w.PutRequest != nil && w.DeleteRequest != nil:
				return nil, awserr.ValidationError("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
			case w.PutRequest != nil:
				if err := checkItem(w.PutRequest.Item); err != nil {
					return nil, err
				}
				if w.PutRequest.Item.Size() > attribute.MaxItemSize {
					return nil, awserr.ItemTooLarge()
				}
			case w.DeleteRequest != nil:
				if err := checkItem(w.DeleteRequest.Key); err != nil {
					return nil, err
				}
			default:
				return nil, awserr.ValidationError("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
			}
		}
	}
	muts := make([]table.Mutation, 0, total)
	seen := make(map[string]struct{}, total)
	for i := range in.RequestItems {
		t, err := s.serving(ctx, req, req.table(in.RequestItems[i].Key))
		if err != nil {
			return nil, err
		}
		for j := range in.RequestItems[i].Value {
			m, err := writeMutation(t, &in.RequestItems[i].Value[j])
			if err != nil {
				return nil, err
			}
			storage := string(t.AppendItemKey(nil, m.Key))
			if _, twice := seen[storage]; twice {
				return nil, awserr.DuplicateKeys()
			}
			seen[storage] = struct{}{}
			muts = append(muts, m)
		}
	}
	out := &api.BatchWriteItemOutput{UnprocessedItems: smithy.Map[[]api.WriteRequest]{}}
	results, unprocessed, err := s.writeBatch(ctx, muts)
	if err != nil {
		return nil, clientError(firstError(err))
	}
	var used ledger
	next := 0
	for i := range in.RequestItems {
		name := in.RequestItems[i].Key
		for _, w := range in.RequestItems[i].Value {
			if unprocessed[next] {
				list, _ := out.UnprocessedItems.Get(name)
				out.UnprocessedItems.Put(name, append(list, w))
			} else {
				used.add(muts[next].Table.Name, &results[next].Units, 1)
			}
			next++
		}
	}
	out.ConsumedCapacity = used.render(in.ReturnConsumedCapacity, plainUnits)
	out.ItemCollectionMetrics, err = s.batchMetrics(ctx, in.ReturnItemCollectionMetrics, muts)
	return out, err
}

// writeBatch writes all mutations for which there is capacity in one transaction. If it conflicts with a client's transaction,
// it retries each mutation alone. Mutations that are throttled, or conflict again, are reported as unprocessed. If nothing was
// written and the last refusal was throttling, the call fails with that error.
func (s *Service) writeBatch(ctx context.Context, muts []table.Mutation) (results []table.Result, unprocessed []bool, err error) {
	results, unprocessed = make([]table.Result, len(muts)), make([]bool, len(muts))
	left := make([]int, len(muts)) // indexes of the mutations still to write
	for i := range left {
		left[i] = i
	}
	var refused error
	opt := table.WriteOpt{}
	for alone := false; len(left) > 0; opt.Admitted = true {
		batch := make([]table.Mutation, 0, len(left))
		for _, i := range left {
			batch = append(batch, muts[i])
			if alone {
				break
			}
		}
		done, err := s.Tables.Write(ctx, batch, opt)
		var failed *table.FailedError
		var full *metering.ThrottledError
		switch first := firstError(err); {
		case err == nil:
			for n, i := range left[:len(batch)] {
				results[i] = done[n]
			}
			left = left[len(batch):]
		case !errors.As(err, &failed):
			return nil, nil, err
		case errors.Is(first, table.ErrConflict) && !alone:
			alone = true
		case errors.Is(first, table.ErrConflict) || errors.As(first, &full):
			var rest []int
			for n, i := range left {
				if n < len(batch) && failed.Errors[n] != nil {
					unprocessed[i], refused = true, failed.Errors[n]
				} else {
					rest = append(rest, i)
				}
			}
			left = rest
		default:
			return nil, nil, err
		}
	}
	if errors.As(refused, new(*metering.ThrottledError)) && !slices.Contains(unprocessed, false) {
		return nil, nil, refused
	}
	return results, unprocessed, nil
}

// writeMutation returns the mutation for one request of a batch.
func writeMutation(t *catalog.Table, w *api.WriteRequest) (table.Mutation, error) {
	if w.PutRequest != nil {
		return putMutation(t, w.PutRequest.Item)
	}
	return deleteMutation(t, w.DeleteRequest.Key)
}

// batchMetrics returns the sizes of the written item collections by table.
func (s *Service) batchMetrics(ctx context.Context, mode smithy.Opt[string], muts []table.Mutation) (smithy.Map[[]api.ItemCollectionMetrics], error) {
	var out smithy.Map[[]api.ItemCollectionMetrics]
	seen := map[string]struct{}{}
	for _, m := range muts {
		partition := string(catalog.AppendKeyValues([]byte(m.Table.Name+"\x00"), m.Table.Key.Partition, m.Key))
		if _, twice := seen[partition]; twice {
			continue
		}
		seen[partition] = struct{}{}
		one, err := s.collectionMetrics(ctx, mode, m.Table, m.Key)
		if err != nil {
			return nil, err
		}
		if one != nil {
			list, _ := out.Get(m.Table.Name)
			out.Put(m.Table.Name, append(list, *one))
		}
	}
	return out, nil
}
