package jobs

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestEveryPanic checks that a job that panics runs again at the next interval.
func TestEveryPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, ran := time.Now(), 0
		Every(ctx, nil, "job", time.Minute, func() {
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
