package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

const maxBatchWrite = 25 // requests in a BatchWriteItem

func (s *Service) batchWriteItem(ctx context.Context, call *smithy.Call, in *api.BatchWriteItemInput) (*api.BatchWriteItemOutput, error) {
	total := 0
	for i := range in.RequestItems {
		total += len(in.RequestItems[i].Value)
	}
	if total > maxBatchWrite {
		return nil, awserr.Validationf("Too many items requested for the BatchWriteItem call")
	}
	for i := range in.RequestItems {
		for j := range in.RequestItems[i].Value {
			w := &in.RequestItems[i].Value[j]
			switch {
			case w.PutRequest != nil && w.DeleteRequest != nil:
				return nil, awserr.Validationf("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
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
				return nil, awserr.Validationf("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
			}
		}
	}
	muts := make([]table.Mutation, 0, total)
	seen := make(map[string]struct{}, total)
	for i := range in.RequestItems {
		t, err := s.table(call, in.RequestItems[i].Key)
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
	results, err := s.Tables.Write(ctx, muts, table.WriteOpt{})
	if err != nil {
		return nil, clientError(firstError(err))
	}
	out := &api.BatchWriteItemOutput{UnprocessedItems: smithy.Map[[]api.WriteRequest]{}}
	var used ledger
	for i := range results {
		used.add(muts[i].Table.Name, &results[i].Units, 1)
	}
	out.ConsumedCapacity = used.render(in.ReturnConsumedCapacity, plainUnits)
	out.ItemCollectionMetrics, err = s.batchMetrics(ctx, in.ReturnItemCollectionMetrics, muts)
	return out, err
}

// writeMutation returns the mutation of one request of a batch.
func writeMutation(t *catalog.Table, w *api.WriteRequest) (table.Mutation, error) {
	if w.PutRequest != nil {
		return putMutation(t, w.PutRequest.Item)
	}
	return deleteMutation(t, w.DeleteRequest.Key)
}

// batchMetrics returns the item collections' sizes by table.
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
