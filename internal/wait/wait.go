// Package wait waits for times and conditions until a context ends.
package wait

import (
	"context"
	"time"
)

// Pause returns after d, or with ctx's error once ctx ends.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Until calls ready, first at once and then after each interval, until it returns true or an error, or ctx ends. It returns ready's
// error, or ctx's.
func Until(ctx context.Context, interval time.Duration, ready func() (bool, error)) error {
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if err := Pause(ctx, interval); err != nil {
			return err
		}
	}
}
