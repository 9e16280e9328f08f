package table

import (
	"context"
	"errors"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/sorter"
)

// Filled is what Fill has put into a table.
type Filled struct{ Items, Bytes int64 }

// Fill makes items the content of a table, or of a backup, that nobody uses: one that is being restored or imported. items calls
// put for each item in the order of their keys' suffixes (see keyspace.Suffix). What is there of an earlier attempt is removed.
//
// Nothing goes through the write-ahead log: the store takes the items, and then the index entries, as sorted files.
func (s *Store) Fill(ctx context.Context, t *catalog.Table, items func(put func(suffix []byte, it attribute.Item) error) error) (Filled, error) {
	var f Filled
	prefix := keyspace.TablePrefix(t.ID)
	if err := s.KV.DeleteRange(ctx, kv.Range{Start: prefix, End: keyspace.PrefixEnd(prefix)}); err != nil {
		return f, err
	}
	entries := sorter.New(sorter.Options{Dir: s.TempDir})
	counts := tableCounts{table: t}
	counts.add(0, nil, nil)
	key := keyspace.AppendIndexPrefix(nil, t.ID, 0)
	head := len(key)
	var entry []byte
	err := s.KV.Load(ctx, func(put func(key, val []byte) error) error {
		return items(func(suffix []byte, it attribute.Item) error {
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
		})
	})
	if err == nil {
		err = loadSorted(ctx, s.KV, entries)
	}
	if err = errors.Join(err, entries.Close()); err != nil {
		return f, err
	}
	f.Items, f.Bytes = counts.deltas[0], counts.deltas[1]
	return f, kv.Update(ctx, s.KV, kv.TxnOpt{}, func(txn kv.Txn) error {
		return txn.Put(keyspace.Counters(t.ID), kv.AppendCounters(nil, counts.deltas))
	})
}

// FinishLoading makes a table that has been filled one that serves requests.
func (s *Store) FinishLoading(ctx context.Context, t *catalog.Table) error {
	_, err := s.Catalog.Change(ctx, t.Namespace, t.Name, func(now *catalog.Table) error {
		if now.ID == t.ID {
			now.Loading = nil
		}
		return nil
	})
	return err
}

func loadSorted(ctx context.Context, store kv.Store, entries *sorter.Sorter) error {
	it, err := entries.Sorted()
	if err != nil {
		return err
	}
	err = store.Load(ctx, func(put func(key, val []byte) error) error {
		for it.Next() {
			if err := put(it.Key(), it.Value()); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, it.Close())
}
