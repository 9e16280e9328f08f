package tikvkv

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/kv"
)

// Collect does what collectLoop does, at once, of versions of that age.
func Collect(ctx context.Context, s *Store, age time.Duration) error {
	if err := s.keep(ctx, "stator-test"); err != nil {
		return err
	}
	return s.collectGarbage(ctx, age)
}

// PageSize returns for how many rows a scan's page has asked.
func PageSize(it kv.Iterator) int { return it.(*iterator).size }
