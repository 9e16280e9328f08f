//go:build !linux

package engine

import (
	"errors"

	"github.com/statordb/stator/internal/kv"
)

// openTiKV fails: TiKV's client wants cgo on some systems.
func openTiKV(*Options) (kv.Store, error) {
	return nil, errors.New("storage tikv:// needs Stator for Linux")
}
