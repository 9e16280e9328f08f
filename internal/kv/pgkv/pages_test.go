package pgkv

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/paging"
)

// TestPages checks that a scan does not read much more than its reader wants, or than memory should hold.
func TestPages(t *testing.T) {
	ctx := context.Background()
	s := opener(t)()
	for table, size := range map[string]int{"small_": 100, "large_": 300 << 10} {
		err := kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error {
			for i := range 100 {
				if err := txn.Put(fmt.Appendf(nil, "%s%03d", table, i), bytes.Repeat([]byte{1}, size)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		table      string
		rows, want int
	}{
		{"small_", 1, 1},
		{"small_", 20, 20},
		{"small_", 1000, paging.First},
		{"small_", 0, paging.First},
		{"large_", 1, 1},
		{"large_", 0, 4}, // it has met them before
	} {
		it := s.scan(ctx, s.pool, kv.Range{Start: []byte(c.table), End: []byte(c.table + "z")}, kv.ScanOpt{Rows: c.rows})
		if !it.Next() || len(it.page.keys) != c.want {
			t.Errorf("%s, %d rows wanted: %d rows read, want %d", c.table, c.rows, len(it.page.keys), c.want)
		}
		if err := it.Close(); err != nil {
			t.Error(err)
		}
	}
}
