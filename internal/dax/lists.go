package dax

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/wirejson"
)

const (
	// emptyList is the id of the list without names.
	emptyList = 1
	// maxListID bounds the ids: JavaScript's numbers must represent them exactly.
	maxListID = 1<<52 - 1
	// maxKnown bounds the memory of an account's cached lists, in bytes. listOverhead and nameOverhead estimate what a list and each
	// of its names take beside the names' bytes.
	maxKnown     = 32 << 20
	listOverhead = 200
	nameOverhead = 16
	// maxStored bounds an account's lists in the store, in bytes, with listOverhead for each. Lists are never deleted, so without a
	// bound a client could fill the disk with names that no item has.
	maxStored = 256 << 20
	// storedID is the reserved id under which the store keeps the current total. No list has it.
	storedID = 0
)

// lists are the attribute lists of an account. DAX sends an item's non-key attributes as values only, and refers to their names by
// the id of a list. Clients keep ids for ever, over restarts too, so an id is derived from the names, and durable before any client
// learns it. Several servers of one store agree on ids for the same reason.
type lists struct {
	account string
	store   kv.Store
	max     int64 // maxStored, except in tests

	mu    sync.RWMutex
	ids   map[string]int64 // by signature: see appendName
	lists map[int64]*wire.List
	bytes int // estimated memory of both maps
}

func newLists(account string, store kv.Store) *lists {
	return &lists{account: account, store: store, max: maxStored, ids: map[string]int64{}, lists: map[int64]*wire.List{}}
}

// appendName appends a name to a signature, the concatenation of a list's length-prefixed names in order.
func appendName[T string | []byte](signature []byte, name T) []byte {
	return append(binary.AppendUvarint(signature, uint64(len(name))), name...)
}

// uvarint is binary.Uvarint for strings.
func uvarint(s string) (n uint64, size int) {
	var room [binary.MaxVarintLen64]byte
	return binary.Uvarint(room[:copy(room[:], s)])
}

// newList returns the list with a signature. Its names are substrings of the signature.
func newList(signature string) *wire.List {
	count := 0
	for rest := signature; len(rest) > 0; count++ {
		n, w := uvarint(rest)
		rest = rest[w+int(n):]
	}
	names := make([]string, 0, count)
	for len(signature) > 0 {
		n, w := uvarint(signature)
		names = append(names, signature[w:w+int(n)])
		signature = signature[w+int(n):]
	}
	return wire.NewList(names)
}

// errNoList is the error for ids that were never assigned.
var errNoList = awserr.New(awserr.Validation, "The attribute list id is not known")

// id returns the id of the list with a signature. It assigns and stores a new one if need be: the hash of the signature, or, on a
// collision, the next free number.
func (l *lists) id(ctx context.Context, signature []byte) (int64, error) {
	if len(signature) == 0 {
		return emptyList, nil
	}
	l.mu.RLock()
	id, known := l.ids[wirejson.View(signature)]
	l.mu.RUnlock()
	if known {
		return id, nil
	}
	stored := string(signature)
	err := kv.Update(ctx, l.store, kv.TxnOpt{}, func(txn kv.Txn) error {
		// Probe from the hash on, until the list itself or a free id is found.
		for id = int64(xxhash.Sum64(signature) & maxListID); ; id++ {
			id = max(id&maxListID, emptyList+1)
			key := keyspace.AttributeList(l.account, id)
			there, err := txn.Get(key)
			switch {
			case err != nil:
				return err
			case there == nil:
				if err := l.grow(ctx, txn, int64(len(signature))+listOverhead); err != nil {
					return err
				}
				return txn.Put(key, signature)
			case string(there) == string(signature):
				return nil
			}
		}
	})
	if err != nil {
		return 0, err
	}
	l.remember(id, stored, newList(stored))
	return id, nil
}

// errTooManyLists refuses a new list. AWS has no such bound ("DAX: How it works") but advises against unbounded numbers of attribute
// names, which exhaust a cluster's memory.
var errTooManyLists = awserr.New(awserr.LimitExceeded, "The account has too many different sets of top-level attribute names for DAX")

// grow adds the bytes of a new list to the stored total, or fails beyond max.
func (l *lists) grow(ctx context.Context, txn kv.Txn, bytes int64) error {
	key := keyspace.AttributeList(l.account, storedID)
	raw, err := txn.Get(key)
	if err != nil {
		return err
	}
	total, n := binary.Uvarint(raw)
	if n <= 0 {
		if total, err = l.count(ctx, txn); err != nil {
			return err
		}
	}
	if total += uint64(bytes); total > uint64(l.max) {
		return errTooManyLists
	}
	return txn.Put(key, binary.AppendUvarint(nil, total))
}

// count computes the total for a store of an older version, which has none.
func (l *lists) count(ctx context.Context, txn kv.Txn) (total uint64, err error) {
	all := kv.Range{Start: keyspace.AttributeList(l.account, emptyList), End: keyspace.AttributeList(l.account, maxListID+1)}
	err = kv.Each(ctx, txn, all, func(_, signature []byte) error {
		total += uint64(len(signature)) + listOverhead
		return nil
	})
	return total, err
}

// remember caches a list. A full cache is emptied: the lists in use come back from the store.
func (l *lists) remember(id int64, signature string, list *wire.List) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.ids[signature]; known {
		return
	}
	size := len(signature) + len(list.Names)*nameOverhead + listOverhead
	if l.bytes += size; l.bytes > maxKnown {
		clear(l.ids)
		clear(l.lists)
		l.bytes = size
	}
	l.ids[signature], l.lists[id] = id, list
}

// list returns the list with an id.
func (l *lists) list(ctx context.Context, id int64) (*wire.List, error) {
	if id == emptyList {
		return &wire.List{}, nil
	}
	if id < emptyList || id > maxListID {
		return nil, errNoList
	}
	l.mu.RLock()
	list := l.lists[id]
	l.mu.RUnlock()
	if list != nil {
		return list, nil
	}
	r, err := l.store.Latest(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := r.Get(keyspace.AttributeList(l.account, id))
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, errNoList
	}
	signature := string(raw)
	list = newList(signature)
	l.remember(id, signature, list)
	return list, nil
}

// define returns the id of a list of names that a client sends.
func (l *lists) define(ctx context.Context, names [][]byte) (int64, error) {
	var signature []byte
	for _, name := range names {
		if !wire.ValidName(name) {
			return 0, awserr.ValidationError("An attribute name is empty or not UTF-8")
		}
		if signature = appendName(signature, name); len(signature) > attribute.MaxItemSize {
			return 0, awserr.ItemTooLarge()
		}
	}
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		seen[wirejson.View(name)] = struct{}{}
	}
	if len(seen) < len(names) {
		return 0, awserr.ValidationError("An attribute list repeats a name")
	}
	return l.id(ctx, signature)
}

// of returns the id of the list of an item's attributes, without those of the key. A nil schema keeps all of them.
func (l *lists) of(ctx context.Context, schema wire.KeySchema, it attribute.Item) (int64, error) {
	var room [256]byte
	signature := room[:0]
	for name := range it.Fields {
		if schema == nil || !schema.Has(name) {
			signature = appendName(signature, name)
		}
	}
	return l.id(ctx, signature)
}
