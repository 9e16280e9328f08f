// Package periodic runs jobs again and again.
package periodic

import (
	"context"
	"time"
)

// Run runs the job once an interval, the first time when one has passed, until ctx ends.
func Run(ctx context.Context, interval time.Duration, job func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			job()
		}
	}
}
