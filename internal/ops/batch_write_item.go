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
	if len(in.RequestItems) == 0 {
		return nil, awserr.ValidationError("The requestItems parameter is required for BatchWriteItem")
	}
	total := 0
	for i := range in.RequestItems {
		total += len(in.RequestItems[i].Value)
	}
	if total > maxBatchWrite {
		return nil, awserr.ValidationError("Too many items requested for the BatchWriteItem call")
	}
	for i := range in.RequestItems {
		for j := range in.RequestItems[i].Value {
			if err := checkWriteRequest(&in.RequestItems[i].Value[j]); err != nil {
				return nil, err
			}
		}
	}
	muts, err := s.batchMutations(ctx, req, in, total)
	if err != nil {
		return nil, err
	}
	results, unprocessed, err := s.writeBatch(ctx, muts)
	if err != nil {
		return nil, clientError(firstError(err))
	}
	out := &api.BatchWriteItemOutput{UnprocessedItems: smithy.Map[[]api.WriteRequest]{}}
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

// checkWriteRequest checks what can be checked without the table.
func checkWriteRequest(w *api.WriteRequest) error {
	if (w.PutRequest != nil) == (w.DeleteRequest != nil) {
		return awserr.ValidationError("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
	if w.DeleteRequest != nil {
		return checkOlderItem(w.DeleteRequest.Key)
	}
	if err := checkOlderItem(w.PutRequest.Item); err != nil {
		return err
	}
	if w.PutRequest.Item.Size() > attribute.MaxItemSize {
		return awserr.ItemTooLarge()
	}
	return nil
}

// batchMutations returns the mutations for a batch's total requests, in their order. All keys must differ.
func (s *Service) batchMutations(ctx context.Context, req *Request, in *api.BatchWriteItemInput, total int) ([]table.Mutation, error) {
	muts := make([]table.Mutation, 0, total)
	seen := make(map[string]struct{}, total)
	for i := range in.RequestItems {
		on := req.table(in.RequestItems[i].Key).asking(asks{keys: writtenItems(in.RequestItems[i].Value), consumed: in.ReturnConsumedCapacity})
		t, err := s.serving(ctx, req, on)
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
	return muts, nil
}

// writtenItems returns the items to put and the keys of those to delete.
func writtenItems(requests []api.WriteRequest) []attribute.Item {
	items := make([]attribute.Item, len(requests))
	for i, w := range requests {
		if w.PutRequest != nil {
			items[i] = w.PutRequest.Item
		} else {
			items[i] = w.DeleteRequest.Key
		}
	}
	return items
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
		now := left
		if alone {
			now = left[:1]
		}
		batch := make([]table.Mutation, len(now))
		for n, i := range now {
			batch[n] = muts[i]
		}
		done, err := s.Tables.Write(ctx, batch, opt)
		if err == nil {
			for n, i := range now {
				results[i] = done[n]
			}
			left = left[len(now):]
			continue
		}
		failed, ok := errors.AsType[*table.FailedError](err)
		if !ok {
			return nil, nil, err
		}
		first := firstError(err)
		conflict := errors.Is(first, table.ErrConflict)
		if conflict && !alone {
			alone = true
			continue
		}
		if !conflict && !errors.As(first, new(*metering.ThrottledError)) {
			return nil, nil, err
		}
		var rest []int
		for n, i := range now {
			if failed.Errors[n] != nil {
				unprocessed[i], refused = true, failed.Errors[n]
			} else {
				rest = append(rest, i)
			}
		}
		left = append(rest, left[len(now):]...)
	}
	if errors.As(refused, new(*metering.ThrottledError)) && !slices.Contains(unprocessed, false) {
		return nil, nil, refused
	}
	return results, unprocessed, nil
}

// writeMutation returns the mutation for one request of a batch. AWS words the errors of an item's key like those of a Key.
func writeMutation(t *catalog.Table, w *api.WriteRequest) (table.Mutation, error) {
	if w.PutRequest != nil {
		for a := range t.Key.Attributes {
			if w.PutRequest.Item.Get(a.Name).Type() != a.Type {
				return table.Mutation{}, awserr.KeyMismatch()
			}
		}
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
