package table

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/turns"
)

// MaxPage is the size of items, in bytes, after which a page of Query or Scan ends ("Query", "Scan").
const MaxPage = 1 << 20

// PageQuery asks for one page of a table or index.
type PageQuery struct {
	Table *catalog.Table
	Index *catalog.Index // nil for the table itself
	Range kv.Range
	// From returns the snapshot to read; nil for the latest state.
	From func(context.Context) (kv.Snapshot, error)
	// Stale allows reading what a crash could undo, for eventually consistent reads.
	Stale bool
	// Reverse reads from the last key to the first.
	Reverse bool
	// Start is the key after which the page begins; nil for the beginning of the range.
	Start []byte
	// Limit is the largest number of items to read; 0 for no limit.
	Limit int
	// Filter drops items after they were read and counted; nil keeps all.
	Filter func(attribute.Item) bool
	// Project maps an item to what is returned of it; nil returns it whole.
	Project func(attribute.Item) attribute.Item
	// FetchItem reads the whole item for each entry of a local index, because the entry lacks attributes.
	FetchItem bool
	// CountOnly returns no items.
	CountOnly bool
	// Memory accounts for the bytes of the items read; nil for no bound.
	Memory Memory
	// Turn is the request's processor turn, which it does not hold yet. nil for requests that take no turns.
	Turn *turns.Turn
}

// Memory is a budget of bytes that requests share.
type Memory interface {
	// Take takes bytes from the budget; it returns false if there are not enough left.
	Take(bytes int) bool
}

// ErrMemory means that PageQuery.Memory has no room left for the page.
var ErrMemory = errors.New("table: too many large reads at a time")

// Page is the result of a PageQuery. Close returns its memory to a pool and invalidates all of its items.
type Page struct {
	Items   []attribute.Item
	Count   int            // items that passed the filter
	Scanned int            // items read
	Bytes   int            // size of the items read
	Fetched []int          // sizes of the items read for FetchItem
	First   attribute.Item // the first item read, as stored; nil if there was none
	Last    attribute.Item // key of the last item read if there may be more; nil at the end

	memory *pageMemory // holds the items; nil after Close
}

// pageMemory is reusable memory of a page.
type pageMemory struct {
	items  []attribute.Item
	chunks []*chunk
}

// chunk is a piece of memory for items.
type chunk [64 << 10]byte

// maxPooledItems bounds the capacity of a list of items that returns to the pool.
const maxPooledItems = 4096

var (
	memories = sync.Pool{New: func() any { return new(pageMemory) }}
	chunks   = sync.Pool{New: func() any { return new(chunk) }}
)

// Close implements io.Closer.
func (p *Page) Close() error {
	m := p.memory
	if m == nil {
		return nil
	}
	for i, c := range m.chunks {
		chunks.Put(c)
		m.chunks[i] = nil
	}
	m.chunks, m.items = m.chunks[:0], nil
	if cap(p.Items) <= maxPooledItems {
		clear(p.Items)
		m.items = p.Items[:0]
	}
	*p = Page{}
	memories.Put(m)
	return nil
}

// room returns n bytes of the page's memory. used counts the bytes used of the last chunk. Large items get their own memory.
func (p *Page) room(n int, used *int) []byte {
	if n > len(chunk{})/4 {
		return make([]byte, n)
	}
	m := p.memory
	if len(m.chunks) == 0 || len(chunk{})-*used < n {
		m.chunks = append(m.chunks, chunks.Get().(*chunk))
		*used = 0
	}
	at := *used
	*used += n
	return m.chunks[len(m.chunks)-1][at:*used:*used]
}

// ReadPage reads one page. The caller must close it.
func (s *Store) ReadPage(ctx context.Context, q PageQuery) (p *Page, err error) {
	from := q.From
	if from == nil {
		from = s.KV.Latest
	}
	r, err := from(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	opt := kv.ScanOpt{Reverse: q.Reverse, Stale: q.Stale, Rows: q.Limit, Turn: q.Turn}
	if q.Limit > 0 && q.Start != nil {
		opt.Rows++ // Start itself is read and skipped
	}
	it, err := r.Scan(q.Range, opt)
	if err != nil {
		return nil, err
	}
	defer kv.CloseInto(it, &err)
	defer q.Turn.Leave()
	return s.readPage(ctx, r, it, &q)
}

// yieldEvery is the number of items between two checks whether the page's turn is over; yieldFiltered is the same for
// pages with a filter, whose items cost more. A page with fewer items is short however long it waits for a processor.
const (
	yieldEvery    = 64
	yieldFiltered = 16
)

// readPage reads the items of a page. It copies them, since an iterator's values are valid only until its next move.
func (s *Store) readPage(ctx context.Context, r kv.Reader, it kv.Iterator, q *PageQuery) (*Page, error) {
	m := memories.Get().(*pageMemory)
	p := &Page{Items: m.items, memory: m}
	used := 0
	if q.Start != nil {
		it.Seek(q.Start)
	}
	var last attribute.Item
	var entries []attribute.Item // local index entries whose items must be fetched
	yieldEvery := yieldEvery
	if q.Filter != nil {
		yieldEvery = yieldFiltered
	}
	first := true
	for it.Next() {
		// Start was returned by the page before. It may have been deleted since, so it is not an offset.
		if first && q.Start != nil && bytes.Equal(it.Key(), q.Start) {
			first = false
			continue
		}
		first = false
		if p.Scanned%yieldEvery == yieldEvery-1 {
			if err := q.Turn.Yield(ctx); err != nil {
				return nil, err
			}
		}
		raw := it.Value()
		item := attribute.Item(p.room(len(raw), &used))
		copy(item, raw)
		last = item
		if p.Scanned == 0 {
			p.First = item
		}
		p.Scanned++
		p.Bytes += item.Size()
		if err := q.take(len(raw)); err != nil {
			return nil, err
		}
		if q.FetchItem {
			entries = append(entries, item)
		} else {
			q.keep(p, item)
		}
		if p.Scanned == q.Limit || p.Bytes >= MaxPage {
			p.Last = KeyOf(q.Table, q.Index, last)
			break
		}
		// Fetch in groups, which bounds the memory that waiting entries hold.
		if len(entries) == fetchAtATime {
			if err := q.fetch(r, p, entries); err != nil {
				return nil, err
			}
			entries = entries[:0]
		}
	}
	if err := q.fetch(r, p, entries); err != nil {
		return nil, err
	}
	return p, nil
}

// fetchAtATime is the number of local index entries whose items are fetched together.
const fetchAtATime = 25

// fetch reads the items of local index entries and adds them to the page.
func (q *PageQuery) fetch(r kv.Reader, p *Page, entries []attribute.Item) error {
	if len(entries) == 0 {
		return nil
	}
	q.Turn.Leave() // these keys are all over the table, so they may come from the disk
	keys := make([][]byte, len(entries))
	for i, entry := range entries {
		keys[i] = q.Table.AppendItemKey(nil, entry)
	}
	if err := kv.Fetch(r, keys); err != nil {
		return err
	}
	for i, item := range entries {
		raw, err := r.Get(keys[i])
		if err != nil {
			return err
		}
		if whole := attribute.Item(raw); whole != nil {
			p.Fetched = append(p.Fetched, whole.Size())
			if err := q.take(len(raw)); err != nil {
				return err
			}
			item = whole.Clone()
		}
		q.keep(p, item)
	}
	return nil
}

// take accounts for the memory of an item.
func (q *PageQuery) take(bytes int) error {
	if q.Memory != nil && !q.Memory.Take(bytes) {
		return ErrMemory
	}
	return nil
}

// keep adds an item to the page, unless the filter drops it.
func (q *PageQuery) keep(p *Page, item attribute.Item) {
	if q.Filter != nil && !q.Filter(item) {
		return
	}
	p.Count++
	if q.CountOnly {
		return
	}
	if q.Project != nil {
		item = q.Project(item)
	}
	p.Items = append(p.Items, item)
}

// KeyOf returns the attributes of an item that locate it in the table or index: its primary key and, for an index, the index's
// key. It is what clients see as LastEvaluatedKey.
func KeyOf(t *catalog.Table, x *catalog.Index, it attribute.Item) attribute.Item {
	return it.Project(func(name []byte) bool {
		return t.Key.Has(string(name)) || x != nil && x.Key.Has(string(name))
	})
}

// StorageKey returns the storage key of an item in the table or index, from the attributes that KeyOf returns. ok is
// false if one is missing.
func StorageKey(t *catalog.Table, x *catalog.Index, key attribute.Item) (storage []byte, ok bool) {
	if x != nil {
		return index.AppendKey(nil, t, x, key)
	}
	return t.AppendItemKey(nil, key), true
}

// SegmentRange returns the range of segment i of n: an equal part of the hash space of a table (indexID 0) or index.
func SegmentRange(t *catalog.Table, indexID uint8, i, n int64) kv.Range {
	low := uint64(i) * keyspace.HashSpace / uint64(n)
	high := uint64(i+1) * keyspace.HashSpace / uint64(n)
	return kv.Range{
		Start: keyspace.AppendHashBound(nil, t.ID, indexID, low),
		End:   keyspace.AppendHashBound(nil, t.ID, indexID, high),
	}
}
