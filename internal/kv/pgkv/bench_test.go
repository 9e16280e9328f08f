package pgkv_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pgkv"
	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
)

func BenchmarkStore(b *testing.B) {
	ctx := context.Background()
	db := pgtest.New(b)
	url, err := db.Database()
	if err != nil {
		b.Fatal(err)
	}
	s, err := pgkv.Open(ctx, pgkv.Options{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	val := make([]byte, 1000)
	put := func(key []byte, opt kv.TxnOpt) {
		err := kv.Update(ctx, s, opt, func(txn kv.Txn) error {
			if _, err := txn.Get(key); err != nil {
				return err
			}
			return txn.Put(key, val)
		})
		if err != nil {
			b.Error(err)
		}
	}
	b.Run("Update", func(b *testing.B) {
		for i := range b.N {
			key := fmt.Append(nil, "k", i%1000)
			put(key, kv.TxnOpt{Hint: [][]byte{key}})
		}
	})
	b.Run("Stamped", func(b *testing.B) {
		for i := range b.N {
			key := fmt.Append(nil, "k", i%1000)
			put(key, kv.TxnOpt{Hint: [][]byte{key}, Stamped: true})
		}
	})
	b.Run("Get", func(b *testing.B) {
		r, _ := s.Latest(ctx)
		for i := range b.N {
			if _, err := r.Get(fmt.Append(nil, "k", i%1000)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Stable", func(b *testing.B) {
		for range b.N {
			if _, err := s.Stable(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Snapshot", func(b *testing.B) {
		for range b.N {
			r, err := s.Snapshot(ctx)
			if err != nil {
				b.Fatal(err)
			}
			r.Close()
		}
	})
	b.Run("DeleteRange", func(b *testing.B) {
		for range b.N {
			if err := s.DeleteRange(ctx, kv.Range{Start: []byte("x"), End: []byte("y")}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
