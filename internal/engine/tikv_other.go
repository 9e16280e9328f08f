//go:build !linux

package engine

import (
	"errors"

	"github.com/statordb/stator/internal/kv"
)

// openTiKV fails: TiKV's client needs cgo on some systems, so only Linux builds include it.
func openTiKV(*Options) (kv.Store, error) {
	return nil, errors.New("storage tikv:// needs Stator for Linux")
}
