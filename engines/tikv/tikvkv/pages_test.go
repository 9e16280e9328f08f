package tikvkv_test

import (
	"testing"

	"github.com/statordb/stator/internal/kv/kvtest"
	"github.com/statordb/stator/internal/kv/tikvkv"
	"github.com/statordb/stator/internal/kv/tikvkv/tikvtest"
)

func TestPages(t *testing.T) {
	s := tikvtest.New(t).Store(t)
	defer s.Close()
	kvtest.PageSizes(t, s, tikvkv.PageSize)
}
