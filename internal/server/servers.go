package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
)

// servers represents the servers that share the store: this one alone (member is nil), or several.
type servers struct {
	cluster.Coordinator
	store  kv.Store        // wrapped by member, if there is one; everything above uses this store
	member *cluster.Member // nil for a server with a data directory of its own

	mu   sync.Mutex
	left func() // called after another server has gone; set by start

	// State of share: what this server last published, and the last list heard from each server. Only share uses it, in one
	// goroutine.
	toldSpending string
	spending     map[string][]metering.Spending
	firstShare   bool
}

// join registers this server with the store. With a data directory it is the only server, and its Coordinator is a local stand-in.
func join(ctx context.Context, opt *Options, store kv.Store) (*servers, error) {
	if opt.Storage == "" {
		return &servers{Coordinator: cluster.NewSolo(ctx, opt.Logger), store: store}, nil
	}
	s := &servers{firstShare: true, toldSpending: "null"}
	m, err := cluster.Join(ctx, cluster.Options{
		KV: store, Info: cluster.Info{ID: opt.id, Version: opt.Version, Format: keyspace.FormatVersion, Started: time.Now().UnixMilli()}, Logger: opt.Logger, Evict: opt.evict,
		Left: func() {
			s.mu.Lock()
			left := s.left
			s.mu.Unlock()
			if left != nil {
				left()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	// Check the format again now that we are registered: an upgrade looks at registered servers only, so one could have slipped
	// in between engine.Open and Join.
	if err := engine.CheckFormat(ctx, store); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	s.Coordinator, s.member, s.store = m, m, m.Store()
	return s, nil
}

// start announces this server's addresses and begins to follow the changes of others. When another server goes, resume takes
// over its unfinished jobs.
func (s *servers) start(ctx context.Context, server *Server, resume func(context.Context) error) error {
	if s.member == nil {
		return nil
	}
	s.mu.Lock()
	s.left = func() {
		if err := resume(ctx); err != nil && ctx.Err() == nil {
			server.log.Error("cannot resume the jobs of a server that has gone", "error", err)
		}
	}
	s.mu.Unlock()
	s.member.UpdateInfo(func(i *cluster.Info) {
		i.URL, i.DAX, i.DAXTLS = server.URL(), server.dax.reachable(false), server.dax.reachable(true)
	})
	return s.member.Start(ctx)
}

// nodes returns a function that lists the addresses of other servers' DAX nodes, or nil if there are no other servers.
func (s *servers) nodes() func(encrypted bool) []string {
	if s.member == nil {
		return nil
	}
	return s.member.DAX
}

// close deregisters this server.
func (s *servers) close() error {
	if s.member == nil {
		return nil
	}
	return s.member.Close()
}

// lead runs a job on exactly one of the servers until ctx ends. If the leader goes, another server takes over, so run may be
// called again and must tolerate work done by others.
func (s *servers) lead(ctx context.Context, log *slog.Logger, running *guard.Group, job string, run func(ctx context.Context)) {
	if s.member == nil {
		running.Start(log, job, func() {
			guard.Loop(ctx, log, job, func() { run(ctx) })
		})
		return
	}
	s.member.Lead(job, func(mine context.Context) {
		mine, cancel := context.WithCancel(mine)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		run(mine)
	})
}

// each runs job once per interval on this server, as every other server does too. It does nothing if this server is alone.
func (s *servers) each(ctx context.Context, log *slog.Logger, running *guard.Group, name string, interval time.Duration, job func(context.Context)) {
	if s.member == nil {
		return
	}
	running.Start(log, name, func() {
		jobs.Every(ctx, log, name, interval, func() { job(ctx) })
	})
}

// settleInterval is how often servers exchange what they have spent on tables with limited throughput.
const settleInterval = time.Second

// share makes all servers draw on the same throughput: each publishes what its requests consumed, and deducts what the others'
// requests consumed from its own budget.
func (s *servers) share(ctx context.Context, meters *metering.Registry, now func() time.Time) error {
	own, err := json.Marshal(meters.Spending())
	if err != nil {
		return err
	}
	if string(own) != s.toldSpending {
		if err := s.member.Publish(ctx, own); err != nil {
			return err
		}
		s.toldSpending = string(own)
	}
	all, err := s.member.Published(ctx)
	if err != nil {
		return err
	}
	heard := map[string][]metering.Spending{}
	for id, raw := range all {
		var list []metering.Spending
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		before, known := s.spending[id]
		if known || !s.firstShare {
			meters.Pay(list, before, now()) // consumption from before this server joined doesn't count against its budget
		}
		heard[id] = list
	}
	s.spending, s.firstShare = heard, false
	meters.Settle(s.Servers(), now())
	return nil
}

// settled wraps operations that change cached data (Settles): they answer only when all servers have heard of the change. Item
// requests are not wrapped and never wait. If such an operation is refused and this server turns out to have been stale, it is
// retried once that server has caught up: another server may already have shown its client the newer state.
func (s *servers) settled(list []smithy.Handler) []smithy.Handler {
	if s.member == nil {
		return list
	}
	for i := range list {
		h := &list[i]
		if !h.Settles {
			continue
		}
		run := h.Run
		h.Run = func(ctx context.Context, call *smithy.Call, in any) (smithy.Renderer, error) {
			before := s.member.Applied()
			out, err := run(ctx, call, in)
			if refusal, ok := errors.AsType[*awserr.Error](err); ok && refusal.Status() < 500 && s.member.CatchUp(ctx) == nil && s.member.Applied() > before {
				out, err = run(ctx, call, in)
			}
			if err == nil {
				err = s.Settle(ctx)
			}
			return out, err
		}
	}
	return list
}
