package tikvkv_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/paging"
	"github.com/statordb/stator/internal/kv/tikvkv"
	"github.com/statordb/stator/internal/kv/tikvkv/tikvtest"
)

// TestPages checks that a scan does not ask for much more than its reader wants, or than memory should hold.
func TestPages(t *testing.T) {
	ctx := context.Background()
	s := tikvtest.New(t).Store(t)
	defer s.Close()
	for table, size := range map[string]int{"small_": 100, "large_": 300 << 10} {
		for i := range 10 {
			err := kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error {
				return txn.Put(fmt.Appendf(nil, "%s%03d", table, i), bytes.Repeat([]byte{1}, size))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := s.Latest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, c := range []struct {
		table      string
		rows, want int
	}{
		{"small_", 5, 5},
		{"small_", 1000, paging.First},
		{"large_", 3, 3},
		{"large_", 0, 4}, // it has met them before
	} {
		it, err := r.Scan(kv.Range{Start: []byte(c.table), End: []byte(c.table + "z")}, kv.ScanOpt{Rows: c.rows})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			it.Next()
		}
		if got := tikvkv.PageSize(it); got != c.want {
			t.Errorf("%s, %d rows wanted: asks for %d, want %d", c.table, c.rows, got, c.want)
		}
		if err := it.Close(); err != nil {
			t.Error(err)
		}
	}
}
