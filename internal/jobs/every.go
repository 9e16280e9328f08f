package jobs

import (
	"context"
	"log/slog"
	"time"

	"github.com/statordb/stator/internal/guard"
)

// Every runs job once per interval, first after one interval, until ctx ends. Runs never overlap; a run that takes longer than an
// interval delays the next. A panic is logged under the job's name, and the job runs again at the next interval. log
// may be nil.
func Every(ctx context.Context, log *slog.Logger, name string, interval time.Duration, job func()) {
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
			_ = guard.Run(log, name, func() error { // logs the panic
				job()
				return nil
			})
		}
	}
}
