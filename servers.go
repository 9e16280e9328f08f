package stator

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/fleet"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
)

// servers are those that share the store: this one alone, or several.
type servers struct {
	fleet.Fleet
	store  kv.Store      // as this server is to use it
	member *fleet.Member // nil if it is alone

	mu   sync.Mutex
	left func() // what is done when a server has gone
}

// join makes the server one of those of its store.
func join(ctx context.Context, opt *Options, store kv.Store) (*servers, error) {
	if opt.Storage == "" {
		return &servers{Fleet: new(fleet.Solo), store: store}, nil
	}
	s := &servers{}
	m, err := fleet.Join(ctx, fleet.Options{
		KV: store, Info: fleet.Info{ID: opt.id, Version: Version, Started: time.Now().UnixMilli()}, Logger: opt.Logger, Evict: opt.evict,
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
	s.member.Tell(func(i *fleet.Info) { i.URL, i.DAX = server.URL(), server.dax.addresses() })
	return s.member.Start(ctx)
}

// close leaves the others.
func (s *servers) close() error {
	if s.member == nil {
		return nil
	}
	return s.member.Close()
}

// lead has a job done by one server of all until ctx ends.
func (s *servers) lead(ctx context.Context, running *sync.WaitGroup, job string, run func(ctx context.Context)) {
	if s.member == nil {
		running.Add(1)
		go func() {
			defer running.Done()
			run(ctx)
		}()
		return
	}
	s.member.Lead(job, func(mine context.Context) {
		mine, cancel := context.WithCancel(mine)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		run(mine)
	})
}

// collect has every server store what it has measured; one that is alone does so when it evaluates its alarms.
func (s *servers) collect(ctx context.Context, running *sync.WaitGroup, job func(context.Context)) {
	if s.member == nil {
		return
	}
	running.Add(1)
	go func() {
		defer running.Done()
		every(ctx, tickInterval, func() { job(ctx) })
	}()
}

// settled makes operations that change what servers remember answer when all have heard of it. Requests for items do not wait.
func (s *servers) settled(list []smithy.Handler) []smithy.Handler {
	if s.member == nil {
		return list
	}
	for i := range list {
		h := &list[i]
		_, name, _ := strings.Cut(h.Target, ".")
		if h.Service == "" && slices.Contains(ops.MeteredOperations, name) {
			continue
		}
		run := h.Run
		h.Run = func(ctx context.Context, call *smithy.Call, in any) (smithy.Renderer, error) {
			out, err := run(ctx, call, in)
			if err == nil {
				err = s.Settle(ctx)
			}
			return out, err
		}
	}
	return list
}
