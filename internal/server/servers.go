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
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/periodic"
	"github.com/statordb/stator/internal/smithy"
)

// servers are those that share the store: this one alone, or several.
type servers struct {
	cluster.Fleet
	store  kv.Store        // as this server is to use it
	member *cluster.Member // nil if it is alone

	mu   sync.Mutex
	left func() // what is done when a server has gone

	sharing sync.Mutex // held by share
	// What share has told and heard.
	toldSpending string
	spending     map[string][]metering.Spending
	firstShare   bool
}

// join makes the server one of those of its store.
func join(ctx context.Context, opt *Options, store kv.Store) (*servers, error) {
	if opt.Storage == "" {
		return &servers{Fleet: cluster.NewSolo(ctx, opt.Logger), store: store}, nil
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
	// Who changes the format looks at who is there: from now on, this server too.
	if err := engine.CheckFormat(ctx, store); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	s.Fleet, s.member, s.store = m, m, m.Store()
	return s, nil
}

// start follows what others change. resume goes on with what a server has left behind.
func (s *servers) start(ctx context.Context, server *Server, resume func(context.Context) error) error {
	if s.member == nil {
		return nil
	}
	s.mu.Lock()
	s.left = func() {
		if err := resume(ctx); err != nil && ctx.Err() == nil {
			server.log.Error("going on with what another server has left failed", "error", err)
		}
	}
	s.mu.Unlock()
	s.member.Tell(func(i *cluster.Info) {
		i.URL, i.DAX, i.DAXTLS = server.URL(), server.dax.reachable(false), server.dax.reachable(true)
	})
	return s.member.Start(ctx)
}

// nodes returns where the DAX nodes of other servers listen; nil if this one is alone.
func (s *servers) nodes() func(encrypted bool) []string {
	if s.member == nil {
		return nil
	}
	return s.member.DAX
}

// close leaves the others.
func (s *servers) close() error {
	if s.member == nil {
		return nil
	}
	return s.member.Close()
}

// lead has a job done by one server of all until ctx ends.
func (s *servers) lead(ctx context.Context, log *slog.Logger, running *sync.WaitGroup, job string, run func(ctx context.Context)) {
	if s.member == nil {
		running.Add(1)
		guard.Go(log, job, func() {
			defer running.Done()
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

// each has every server of several do a job once an interval, beside what one does for all.
func (s *servers) each(ctx context.Context, log *slog.Logger, running *sync.WaitGroup, name string, interval time.Duration, job func(context.Context)) {
	if s.member == nil {
		return
	}
	running.Add(1)
	guard.Go(log, name, func() {
		defer running.Done()
		periodic.Run(ctx, log, name, interval, func() { job(ctx) })
	})
}

// settleInterval is how often servers tell each other what they have used of tables with limited throughput.
const settleInterval = time.Second

// share has all servers spend of the same throughput: each tells what was used on it, and takes what was used on others out of what
// it may use itself.
func (s *servers) share(ctx context.Context, meters *metering.Registry, now func() time.Time) error {
	s.sharing.Lock()
	defer s.sharing.Unlock()
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
			meters.Pay(list, before, now()) // what was used before this server came is not its business
		}
		heard[id] = list
	}
	s.spending, s.firstShare = heard, false
	meters.Settle(s.Servers(), now())
	return nil
}

// settled makes operations that change what servers remember answer when all have heard of it. Requests for items do not wait. One that is
// refused is tried again if there was news: another server may have shown already what this one had not heard of.
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
			heard := s.member.Heard()
			out, err := run(ctx, call, in)
			if refusal, ok := errors.AsType[*awserr.Error](err); ok && refusal.Status() < 500 && s.member.CatchUp(ctx) == nil && s.member.Heard() > heard {
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
