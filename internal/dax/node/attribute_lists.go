package node

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/wirejson"
)

const (
	// emptyList is the id of the list without names, which the database doesn't keep.
	emptyList = 1
	// maxKnown bounds the memory of an account's cached lists, in bytes. listOverhead and nameOverhead estimate what a list and each
	// of its names take beside the names' bytes.
	maxKnown     = 32 << 20
	listOverhead = 200
	nameOverhead = 16
)

// lists are the attribute lists of an account. DAX sends an item's non-key attributes as values only, and refers to their names by
// the id of a list. The database keeps the lists, as signatures (see appendName), and gives them their ids.
type lists struct {
	account  string
	database Database

	mu    sync.RWMutex
	ids   map[string]int64 // by signature
	lists map[int64]*wire.List
	bytes int // estimated memory of both maps
}

func newLists(account string, database Database) *lists {
	return &lists{account: account, database: database, ids: map[string]int64{}, lists: map[int64]*wire.List{}}
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

// id returns the id of the list with a signature.
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
	list := string(signature) // a copy: the caller's bytes don't escape
	id, err := l.database.AttributeListID(ctx, l.account, []byte(list))
	if err != nil {
		return 0, err
	}
	l.remember(id, list, newList(list))
	return id, nil
}

// remember caches a list. A full cache is emptied: the lists in use come back from the database.
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
	l.mu.RLock()
	list := l.lists[id]
	l.mu.RUnlock()
	if list != nil {
		return list, nil
	}
	raw, err := l.database.AttributeList(ctx, l.account, id)
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
