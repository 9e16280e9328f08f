package cluster

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/wait"
)

// Solo takes a Member's place in a server that has its store to itself. Nothing is logged, and nothing needs a lease.
type Solo struct {
	ctx      context.Context
	log      *slog.Logger
	watchers watchers
	work     guard.Group
}

// NewSolo returns a Solo whose background work ends with ctx. Panics of that work go to log, which may be nil.
func NewSolo(ctx context.Context, log *slog.Logger) *Solo { return &Solo{ctx: ctx, log: log} }

// Watch implements Coordinator.
func (s *Solo) Watch(prefix []byte, w Watcher) { s.watchers.add(prefix, w) }

// Exclusive implements Coordinator.
func (s *Solo) Exclusive(ctx context.Context, key []byte, change func(check func(kv.Txn) error) error) error {
	w := s.watchers.of(key)
	w.Freeze(key)
	err := change(func(kv.Txn) error { return nil })
	if reloadErr := w.Reload(context.WithoutCancel(ctx), key); reloadErr != nil {
		err = errors.Join(err, reloadErr)
		// Keep trying: requests that wait for the thaw would otherwise wait forever.
		guard.Go(s.log, "ending a freeze", func() { guard.Loop(s.ctx, s.log, "ending a freeze", func() { s.thaw(w, key) }) })
	}
	return err
}

// thaw retries to end a freeze until it succeeds.
func (s *Solo) thaw(w Watcher, key []byte) {
	for wait.Pause(s.ctx, thawPause) == nil {
		if w.Reload(s.ctx, key) == nil {
			return
		}
	}
}

// Settle implements Coordinator.
func (s *Solo) Settle(context.Context) error { return nil }

// Claim implements Coordinator.
func (s *Solo) Claim(context.Context, string) (bool, error) { return true, nil }

// Release implements Coordinator.
func (s *Solo) Release(string) {}

// CatchUp implements Coordinator.
func (s *Solo) CatchUp(context.Context) error { return nil }

// Servers implements Coordinator.
func (s *Solo) Servers() int { return 1 }

// Start is Member.Start: there is nothing to follow, and no server can leave.
func (s *Solo) Start(context.Context, func()) error { return nil }

// Close is Member.Close.
func (s *Solo) Close() error { return nil }

// UpdateInfo is Member.UpdateInfo: there is no record.
func (s *Solo) UpdateInfo(func(*Info)) {}

// Applied is Member.Applied: there is no log.
func (s *Solo) Applied() uint64 { return 0 }

// DAX is Member.DAX: it returns nil, since no other server has nodes.
func (s *Solo) DAX() func(encrypted bool) []string { return nil }

// Lead is Member.Lead: the job runs at once, and nothing was left by another server.
func (s *Solo) Lead(ctx context.Context, job string, _, run func(context.Context)) {
	s.work.Start(s.log, job, func() { guard.Loop(ctx, s.log, job, func() { run(ctx) }) })
}

// Leads is Member.Leads: every job runs here.
func (s *Solo) Leads(string) bool { return true }

// Exchange is Member.Exchange: there is no server to exchange with, so the job never runs.
func (s *Solo) Exchange(context.Context, string, time.Duration, func(context.Context, *Member)) {}

// Wait is Member.Wait.
func (s *Solo) Wait() { s.work.Wait() }

// Trim is Member.Trim: there is no log.
func (s *Solo) Trim(context.Context) error { return nil }
