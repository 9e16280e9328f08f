package periodic

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPanic checks that a job that panics runs again at the next interval.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, ran := time.Now(), 0
		Run(ctx, nil, "job", time.Minute, func() {
			if ran++; ran == 3 {
				cancel()
			}
			panic("always")
		})
		if ran != 3 || time.Since(began) != 3*time.Minute {
			t.Errorf("ran %d times in %v, want 3 in 3 minutes", ran, time.Since(began))
		}
	})
}
