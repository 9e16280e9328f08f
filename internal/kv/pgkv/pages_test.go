package pgkv

import (
	"context"
	"testing"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/kvtest"
)

func TestPages(t *testing.T) {
	s := opener(t)()
	kvtest.PageSizes(t, s, func(it kv.Iterator) int { return it.(*iterator).size })
	for _, table := range []string{"small_", "large_"} {
		it := s.scan(context.Background(), s.pool, kv.Range{Start: []byte(table), End: []byte(table + "z")}, kv.ScanOpt{Rows: 1})
		if !it.Next() || len(it.page.keys) != 1 {
			t.Errorf("%s, one row wanted: read %d", table, len(it.page.keys))
		}
		if err := it.Close(); err != nil {
			t.Error(err)
		}
	}
}
