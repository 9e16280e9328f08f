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
	// maxListID bounds ids: JavaScript's numbers must hold them.
	maxListID = 1<<52 - 1
	// maxKnown is how many bytes of names are kept in memory, and listOverhead about what a list takes beside.
	maxKnown     = 32 << 20
	listOverhead = 200
)

// lists are the attribute lists of an account: each set of names that its items have beside their keys, by its id. Clients keep
// ids for ever, over restarts too, so an id is made of the names and stored before anybody hears of it.
type lists struct {
	account string
	store   kv.Store

	mu    sync.RWMutex
	ids   map[string]int64 // by signature
	lists map[int64]*wire.List
	bytes int
}

func newLists(account string, store kv.Store) *lists {
	return &lists{account: account, store: store, ids: map[string]int64{}, lists: map[int64]*wire.List{}}
}

// appendName appends a name to a list's signature.
func appendName[T string | []byte](signature []byte, name T) []byte {
	return append(binary.AppendUvarint(signature, uint64(len(name))), name...)
}

// splitNames returns the names of a signature.
func splitNames(signature []byte) (names []string) {
	for len(signature) > 0 {
		n, w := binary.Uvarint(signature)
		names = append(names, string(signature[w:w+int(n)]))
		signature = signature[w+int(n):]
	}
	return names
}

// errNoList is for ids that nobody was given.
var errNoList = awserr.New(awserr.Validation, "The attribute list id is not known")

// id returns the id of the list with the signature; a new one is durable.
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
	err := kv.Update(ctx, l.store, kv.TxnOpt{}, func(txn kv.Txn) error {
		for id = int64(xxhash.Sum64(signature) & maxListID); ; id++ {
			id = max(id&maxListID, emptyList+1)
			key := keyspace.AttributeList(l.account, id)
			there, err := txn.Get(key)
			switch {
			case err != nil:
				return err
			case there == nil:
				return txn.Put(key, signature)
			case string(there) == string(signature):
				return nil
			}
		}
	})
	if err != nil {
		return 0, err
	}
	l.remember(id, string(signature), wire.NewList(splitNames(signature)))
	return id, nil
}

func (l *lists) remember(id int64, signature string, list *wire.List) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.ids[signature]; known {
		return
	}
	if l.bytes += len(signature) + listOverhead; l.bytes > maxKnown {
		clear(l.ids)
		clear(l.lists)
		l.bytes = 0
	}
	l.ids[signature], l.lists[id] = id, list
}

// list returns a list.
func (l *lists) list(ctx context.Context, id int64) (*wire.List, error) {
	if id == emptyList {
		return &wire.List{}, nil
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
	signature, err := r.Get(keyspace.AttributeList(l.account, id))
	if err != nil {
		return nil, err
	}
	if signature == nil {
		return nil, errNoList
	}
	list = wire.NewList(splitNames(signature))
	l.remember(id, string(signature), list)
	return list, nil
}

// define returns the id of a list that a client names.
func (l *lists) define(ctx context.Context, names [][]byte) (int64, error) {
	var signature []byte
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		if !wire.ValidName(name) {
			return 0, awserr.ValidationError("An attribute name is empty or no UTF-8")
		}
		seen[wirejson.View(name)] = struct{}{}
		signature = appendName(signature, name)
	}
	if len(seen) < len(names) {
		return 0, awserr.ValidationError("An attribute list has a name twice")
	}
	if len(signature) > attribute.MaxItemSize {
		return 0, awserr.ItemTooLarge()
	}
	return l.id(ctx, signature)
}

// of returns the id of the list of an item's attributes besides those of its key; a nil schema is no key.
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
