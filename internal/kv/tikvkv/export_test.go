package tikvkv

import (
	"context"
	"time"
)

// Collect does what collectLoop does, at once, of versions of that age.
func Collect(ctx context.Context, s *Store, age time.Duration) error {
	if err := s.keep(ctx, "stator-test"); err != nil {
		return err
	}
	return s.collectGarbage(ctx, age)
}
