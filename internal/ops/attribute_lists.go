package ops

import (
	"context"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Clients of DAX know lists of attribute names by ids, which they keep for ever, over restarts too. So an id is derived from its list,
// and durable before any client learns it. Several servers of one store agree on ids for the same reason.
const (
	// firstListID and lastListID bound the ids of stored lists. JavaScript's numbers must represent them exactly.
	firstListID = 2
	lastListID  = 1<<52 - 1
	// listTotalID is the reserved id under which the store keeps the bytes of all of an account's lists. No list has it.
	listTotalID = 0
	// maxLists bounds an account's lists in the store, in bytes, with listOverhead for each. Lists are never deleted, so without a
	// bound a client could fill the disk with names that no item has.
	maxLists     = 256 << 20
	listOverhead = 200
)

// errTooManyLists refuses a new list. AWS has no such bound ("DAX: How it works") but advises against unbounded numbers of attribute
// names, which exhaust a cluster's memory.
var errTooManyLists = awserr.New(awserr.LimitExceeded, "The account has too many different sets of top-level attribute names for DAX")

// AttributeListID returns the id of an account's attribute list, from 2 to 2^52-1. list is in the caller's encoding, and not empty. A new
// list gets the hash of its bytes as its id, or, on a collision, the next free number. It fails with AWS's LimitExceededException if the
// account has too many lists.
func (s *Service) AttributeListID(ctx context.Context, account string, list []byte) (id int64, err error) {
	// New lists change the account's total one after another: hinting it keeps them from conflicting.
	opt := kv.TxnOpt{Hint: [][]byte{keyspace.AttributeList(account, listTotalID)}}
	err = kv.Update(ctx, s.Tables.KV, opt, func(txn kv.Txn) error {
		// Probe from the hash on, until the list itself or a free id is found.
		for id = int64(xxhash.Sum64(list) & lastListID); ; id++ {
			id = max(id&lastListID, firstListID)
			key := keyspace.AttributeList(account, id)
			there, err := txn.Get(key)
			switch {
			case err != nil:
				return err
			case there == nil:
				if err := growLists(ctx, txn, account, len(list)); err != nil {
					return err
				}
				return txn.Put(key, list)
			case string(there) == string(list):
				return nil
			}
		}
	})
	return id, clientError(err)
}

// growLists adds a new list of the given number of bytes to the account's total, or fails beyond maxLists.
func growLists(ctx context.Context, txn kv.Txn, account string, bytes int) error {
	key := keyspace.AttributeList(account, listTotalID)
	raw, err := txn.Get(key)
	if err != nil {
		return err
	}
	total, n := binary.Uvarint(raw)
	if n <= 0 {
		if total, err = countLists(ctx, txn, account); err != nil {
			return err
		}
	}
	if total += uint64(bytes) + listOverhead; total > maxLists {
		return errTooManyLists
	}
	return txn.Put(key, binary.AppendUvarint(nil, total))
}

// countLists computes the total for a store of an older version, which has none.
func countLists(ctx context.Context, txn kv.Txn, account string) (total uint64, err error) {
	all := kv.Range{Start: keyspace.AttributeList(account, firstListID), End: keyspace.AttributeList(account, lastListID+1)}
	err = kv.Each(ctx, txn, all, func(_, list []byte) error {
		total += uint64(len(list)) + listOverhead
		return nil
	})
	return total, err
}

// AttributeList returns an account's attribute list as AttributeListID got it; nil if no list has the id.
func (s *Service) AttributeList(ctx context.Context, account string, id int64) ([]byte, error) {
	if id < firstListID || id > lastListID {
		return nil, nil
	}
	list, err := kv.ReadLatest(ctx, s.Tables.KV, keyspace.AttributeList(account, id))
	return list, clientError(err)
}
