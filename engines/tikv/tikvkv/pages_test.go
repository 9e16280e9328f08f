package tikvkv_test

import (
	"testing"

	"github.com/statordb/stator/engines/tikv/tikvkv"
	"github.com/statordb/stator/engines/tikv/tikvtest"
	"github.com/statordb/stator/internal/kv/kvtest"
)

func TestPages(t *testing.T) {
	s := tikvtest.New(t).Store(t)
	defer s.Close()
	kvtest.PageSizes(t, s, tikvkv.PageSize)
}
