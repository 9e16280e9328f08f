// Package periodic runs jobs again and again.
package periodic

import (
	"context"
	"log/slog"
	"time"

	"github.com/statordb/stator/internal/guard"
)

// Run runs the job once an interval, the first time when one has passed, until ctx ends. A job that panics runs again at the next
// interval; log, which may be nil, gets the panic under the job's name.
func Run(ctx context.Context, log *slog.Logger, name string, interval time.Duration, job func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = guard.Run(log, name, func() error { // Run has logged the panic
				job()
				return nil
			})
		}
	}
}
