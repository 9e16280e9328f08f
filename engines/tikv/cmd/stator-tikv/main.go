// Command stator-tikv is command stator with the storage engine for TiKV (--storage tikv://…). The engine has a module and a
// program of its own because TiKV's client brings gRPC and some 25 other modules.
package main

import (
	"github.com/statordb/stator/engines/tikv/tikvkv"
	"github.com/statordb/stator/internal/cli"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/kv"
)

func main() {
	engine.Register("tikv", func(opt *engine.Options) (kv.Store, error) {
		return tikvkv.Open(opt.Storage, tikvkv.Options{Logger: opt.Logger})
	})
	cli.Main()
}
