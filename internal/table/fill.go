package table

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/sorter"
)

// Parts is the number of parts, by the hash of the partition key, in which a table is filled concurrently.
const Parts = 4

// PutItem puts an item into a table that is being filled. suffix is the item's key without the table (see keyspace.Suffix).
type PutItem func(suffix []byte, it attribute.Item) error

// Sorted sorts items or index entries that may not fit into memory, in separate parts. It is safe for concurrent use.
type Sorted [Parts]sortedPart

// sortedPart is one part of a Sorted. mu guards s, which is not safe for concurrent use.
type sortedPart struct {
	mu sync.Mutex
	s  *sorter.Sorter
}

// sortMemory is how many bytes are sorted in memory at a time. A Sorted uses twice that.
const sortMemory = 32 << 20

// NewSorted returns an empty Sorted, which the caller must close.
func (s *Store) NewSorted() *Sorted {
	out := new(Sorted)
	for i := range out {
		out[i].s = sorter.New(sorter.Options{Dir: s.TempDir, Memory: sortMemory / Parts})
	}
	return out
}

// Add adds a value under the key of an item or index entry. If a key is added more than once, the last value wins.
func (s *Sorted) Add(key, val []byte) error {
	p := &s[keyspace.HashPart(key, Parts)]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s.Add(key, val)
}

// Each calls visit for everything in a part, in key order.
func (s *Sorted) Each(part int, visit func(key, val []byte) error) error {
	it, err := s[part].s.Sorted()
	if err != nil {
		return err
	}
	for err == nil && it.Next() {
		err = visit(it.Key(), it.Value())
	}
	return errors.Join(err, it.Close())
}

// Close deletes the temporary files.
func (s *Sorted) Close() error {
	var errs []error
	for i := range s {
		errs = append(errs, s[i].s.Close())
	}
	return errors.Join(errs...)
}

// Filled counts what Fill has put into a table.
type Filled struct{ Items, Bytes int64 }

// Fill replaces the content of a table or backup that is not in use yet, because it is being restored or imported. items must
// call put for each item of a part in key order; it is called concurrently for all parts. Fill first removes what an
// earlier attempt left, so it can be repeated.
//
// Nothing goes through the write-ahead log: the store ingests the items, and then the index entries, as sorted files.
func (s *Store) Fill(ctx context.Context, t *catalog.Table, items func(part int, put PutItem) error) (f Filled, err error) {
	if err := s.KV.DeleteRange(ctx, kv.Prefix(keyspace.TablePrefix(t.ID))); err != nil {
		return f, err
	}
	// Items arrive sorted; their index entries do not.
	entries := s.NewSorted()
	defer func() { err = errors.Join(err, entries.Close()) }()
	var counts [Parts]tableCounts
	err = eachPart(ctx, func(ctx context.Context, part int) error {
		// Make room for the table's own counters, even if the part is empty.
		counts[part].add(0, nil, nil)
		return s.KV.Load(ctx, func(put func(key, val []byte) error) error {
			return items(part, s.filling(t, &counts[part], entries, put))
		})
	})
	if err != nil {
		return f, err
	}
	if len(t.Indexes) > 0 {
		err := eachPart(ctx, func(ctx context.Context, part int) error { return s.loadEntries(ctx, t, entries, part) })
		if err != nil {
			return f, err
		}
	}
	var sum []int64
	for i := range counts {
		sum = kv.SumCounters(sum, counts[i].deltas)
	}
	f.Items, f.Bytes = sum[0], sum[1]
	return f, kv.Update(ctx, s.KV, kv.TxnOpt{}, func(txn kv.Txn) error {
		return txn.SetCounters(keyspace.Counters(t.ID), sum)
	})
}

// eachPart runs a job for all parts concurrently. The first error cancels the others.
func eachPart(ctx context.Context, job func(ctx context.Context, part int) error) error {
	all, allCtx := errgroup.WithContext(ctx)
	for part := range Parts {
		all.Go(func() error {
			return guard.Run(nil, "filling a table", func() error { return job(allCtx, part) })
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return ctx.Err() // a job may end early, without an error, when ctx ends
}

// filling returns a PutItem that loads items through put, collects their index entries, and counts both.
func (s *Store) filling(t *catalog.Table, counts *tableCounts, entries *Sorted, put func(key, val []byte) error) PutItem {
	key := keyspace.AppendIndexPrefix(nil, t.ID, 0)
	head := len(key)
	var entry []byte
	return func(suffix []byte, it attribute.Item) error {
		counts.add(0, nil, it)
		for _, x := range t.Indexes {
			var ok bool
			if entry, ok = index.AppendKey(entry[:0], t, x, it); !ok {
				continue
			}
			e := index.Entry(x, it)
			counts.add(x.ID, nil, e)
			if err := entries.Add(entry, e); err != nil {
				return err
			}
		}
		key = append(key[:head], suffix...)
		return put(key, it)
	}
}

// loadEntries loads a part of the index entries, index by index. So no file spans two indexes, and files never overlap.
func (s *Store) loadEntries(ctx context.Context, t *catalog.Table, entries *Sorted, part int) error {
	it, err := entries[part].s.Sorted()
	if err != nil {
		return err
	}
	more := it.Next()
	for more && err == nil {
		prefix := bytes.Clone(it.Key()[:len(keyspace.AppendIndexPrefix(nil, t.ID, 0))])
		err = s.KV.Load(ctx, func(put func(key, val []byte) error) error {
			for more && bytes.HasPrefix(it.Key(), prefix) {
				if err := put(it.Key(), it.Value()); err != nil {
					return err
				}
				more = it.Next()
			}
			return nil
		})
	}
	return errors.Join(err, it.Close())
}

// FinishLoading opens a filled table for requests.
func (s *Store) FinishLoading(ctx context.Context, t *catalog.Table) error {
	_, err := s.Catalog.Change(ctx, t.Namespace, t.Name, func(now *catalog.Table) error {
		if now.ID == t.ID {
			now.Loading = nil
		}
		return nil
	})
	return err
}

// AbandonLoading deletes a table that can't be filled: part of its items would be of no use.
func (s *Store) AbandonLoading(ctx context.Context, t *catalog.Table) error {
	_, err := s.Catalog.Delete(ctx, t.Namespace, t.Name, 0, func(*catalog.Table) error { return nil })
	return err
}
