package engine

import (
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/tikvkv"
)

func openTiKV(opt *Options) (kv.Store, error) {
	return tikvkv.Open(opt.Storage, tikvkv.Options{Logger: opt.Logger})
}
