package tikvkv

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/kv"
)

// Collect collects versions older than age at once, as collectLoop does periodically.
func Collect(ctx context.Context, s *Store, age time.Duration) error {
	if err := s.keep(ctx, "stator-test"); err != nil {
		return err
	}
	return s.collectGarbage(ctx, age)
}

// PageSize returns how many rows the iterator's current page asked for.
func PageSize(it kv.Iterator) int { return it.(*iterator).size }
