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

// MaxPage is how many bytes of items a page of Query or Scan reads before it ends ("Query", "Scan").
const MaxPage = 1 << 20

// PageQuery asks for one page of a table or index.
type PageQuery struct {
	Table *catalog.Table
	Index *catalog.Index // nil for the table itself
	Range kv.Range
	// From returns what is read from; nil for the latest state.
	From func(context.Context) (kv.Snapshot, error)
	// Stale reads what may not survive a crash, for reads that need not be consistent.
	Stale bool
	// Reverse goes from the last key to the first.
	Reverse bool
	// Start is the key behind which the page begins; nil for the range's beginning.
	Start []byte
	// Limit is how many items are read at most; 0 for no limit.
	Limit int
	// Filter drops items after they were read; nil for none.
	Filter func(attribute.Item) bool
	// Project changes what is returned of an item; nil for nothing.
	Project func(attribute.Item) attribute.Item
	// FetchItem reads the whole item for each entry of a local index.
	FetchItem bool
	// CountOnly returns no items.
	CountOnly bool
	// Memory counts the bytes of the items that are read; nil for no bound.
	Memory Memory
	// Turn is the request's, which has none when the page is read; nil for one that needs none.
	Turn *turns.Turn
}

// Memory is a bound of bytes that requests share.
type Memory interface {
	// Take counts bytes more, and returns false if there is no room for them.
	Take(bytes int) bool
}

// ErrMemory means that PageQuery.Memory has no room for the page.
var ErrMemory = errors.New("table: too many large reads at a time")

// Page is what was found. Close gives its memory back, and with it all that it holds.
type Page struct {
	Items   []attribute.Item
	Count   int            // items that passed the filter
	Scanned int            // items read
	Bytes   int            // their size
	Fetched []int          // sizes of the items read for FetchItem
	First   attribute.Item // the first item read, as it is stored there; nil for none
	Last    attribute.Item // key of the last item read if there may be more; nil at the end

	memory *pageMemory // where all of it is; nil after Close
}

// pageMemory is memory that pages use one after the other.
type pageMemory struct {
	items  []attribute.Item
	chunks []*chunk
}

// chunk is memory for items.
type chunk [64 << 10]byte

// maxPooledItems bounds the list of items that is kept for another page.
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

// room returns n bytes of the page's memory; used are the bytes taken of the last chunk.
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

// ReadPage reads one page.
func (s *Store) ReadPage(ctx context.Context, q PageQuery) (*Page, error) {
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
		opt.Rows++ // Start itself
	}
	it, err := r.Scan(q.Range, opt)
	if err != nil {
		return nil, err
	}
	p, err := s.readPage(ctx, r, it, &q)
	q.Turn.Leave()
	if err = errors.Join(err, it.Close()); err != nil {
		return nil, err
	}
	return p, nil
}

// yieldEvery is after how many items a page looks whether its turn is over, and yieldFiltered if it has a filter. Pages of fewer items are
// short, however long they wait for a processor.
const (
	yieldEvery    = 64
	yieldFiltered = 16
)

func (s *Store) readPage(ctx context.Context, r kv.Reader, it kv.Iterator, q *PageQuery) (*Page, error) {
	m := memories.Get().(*pageMemory)
	p := &Page{Items: m.items, memory: m}
	used := 0
	if q.Start != nil {
		it.Seek(q.Start)
	}
	var last attribute.Item
	var entries []attribute.Item // whose items are to be read
	yieldEvery := yieldEvery
	if q.Filter != nil {
		yieldEvery = yieldFiltered
	}
	first := true
	for it.Next() {
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

// fetchAtATime is for how many entries of a local index the items are read at once.
const fetchAtATime = 25

// fetch adds the items of entries of a local index to the page.
func (q *PageQuery) fetch(r kv.Reader, p *Page, entries []attribute.Item) error {
	if len(entries) == 0 {
		return nil
	}
	q.Turn.Leave() // keys all over the table may have to come from the disk
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

// take counts the memory of an item.
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

// KeyOf returns the attributes of an item that say where it is in the table or index: its primary key and, for an index,
// the index's key.
func KeyOf(t *catalog.Table, x *catalog.Index, it attribute.Item) attribute.Item {
	return it.Project(func(name []byte) bool {
		return t.Key.Has(string(name)) || x != nil && x.Key.Has(string(name))
	})
}

// StorageKey returns the storage key of an item in the table or index, from the attributes that KeyOf returns. ok is false
// if one is missing.
func StorageKey(t *catalog.Table, x *catalog.Index, key attribute.Item) (storage []byte, ok bool) {
	if x != nil {
		return index.AppendKey(nil, t, x, key)
	}
	return t.AppendItemKey(nil, key), true
}

// SegmentRange returns segment i of n of a table or index (0 for the table): an equal part of the hash space.
func SegmentRange(t *catalog.Table, indexID uint8, i, n int64) kv.Range {
	low := uint64(i) * keyspace.HashSpace / uint64(n)
	high := uint64(i+1) * keyspace.HashSpace / uint64(n)
	return kv.Range{
		Start: keyspace.AppendHashBound(nil, t.ID, indexID, low),
		End:   keyspace.AppendHashBound(nil, t.ID, indexID, high),
	}
}
