package server

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
)

// membership is this server's part among the servers that share its store. cluster.Member implements it, and cluster.Solo for a server
// with a data directory of its own.
type membership interface {
	cluster.Coordinator
	Start(ctx context.Context, left func()) error
	Close() error
	UpdateInfo(change func(*cluster.Info))
	Applied() uint64
	DAX() func(encrypted bool) []string
	Lead(ctx context.Context, job string, takeOver, run func(ctx context.Context))
	Leads(job string) bool
	Exchange(ctx context.Context, name string, interval time.Duration, job func(context.Context, *cluster.Member))
	Wait()
	Trim(ctx context.Context) error
}

// join registers this server with the store, and returns the store for its use.
func join(ctx context.Context, opt *Options, store kv.Store) (membership, kv.Store, error) {
	if opt.Storage == "" {
		return cluster.NewSolo(ctx, opt.Logger), store, nil
	}
	m, err := cluster.Join(ctx, cluster.Options{
		KV: store, Logger: opt.Logger, Evict: opt.evict,
		Info: cluster.Info{ID: opt.id, Version: opt.Version, Format: keyspace.FormatVersion, Started: time.Now().UnixMilli()},
	})
	if err != nil {
		return nil, nil, err
	}
	// Check the format again now that we are registered: an upgrade looks at registered servers only, so one could have slipped
	// in between engine.Open and Join.
	if err := engine.CheckFormat(ctx, store); err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	return m, m.Store(), nil
}

// follow announces this server's addresses and begins to follow the changes of others. When another server goes, resume takes
// over its unfinished jobs.
func (s *Server) follow(ctx context.Context, resume func(context.Context) error) error {
	s.servers.UpdateInfo(func(i *cluster.Info) {
		i.URL, i.DAX, i.DAXTLS = s.URL(), s.dax.reachable(false), s.dax.reachable(true)
	})
	return s.servers.Start(ctx, func() {
		if err := resume(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("cannot resume the jobs of a server that has gone", "error", err)
		}
	})
}

// shareInterval is how often servers exchange what they have spent on tables with limited throughput.
const shareInterval = time.Second

// sharing makes all servers draw on the same throughput.
type sharing struct {
	published string                         // what this server last published, as JSON
	spending  map[string][]metering.Spending // the last list of each other server, by its id; nil before the first one
}

// newSharing returns a sharing for a server that has spent nothing, and so need not publish anything.
func newSharing() *sharing { return &sharing{published: "null"} }

// share publishes what this server's requests have consumed, and deducts what the others' requests have consumed from its own budget.
func (s *sharing) share(ctx context.Context, m *cluster.Member, meters *metering.Registry, now func() time.Time) error {
	own, err := json.Marshal(meters.Spending())
	if err != nil {
		return err
	}
	if string(own) != s.published {
		if err := m.Publish(ctx, own); err != nil {
			return err
		}
		s.published = string(own)
	}
	all, err := m.Published(ctx)
	if err != nil {
		return err
	}
	spending := map[string][]metering.Spending{}
	for id, raw := range all {
		var list []metering.Spending
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		before, known := s.spending[id]
		if known || s.spending != nil {
			meters.Pay(list, before, now()) // consumption from before this server joined doesn't count against its budget
		}
		spending[id] = list
	}
	s.spending = spending
	meters.Settle(m.Servers(), now())
	return nil
}

// settled wraps operations that change cached data (Settles): they answer only when all servers have seen the change. Item
// requests are not wrapped and never wait. If such an operation is refused and this server turns out to have been stale, it is
// retried once that server has caught up: another server may already have shown its client the newer state.
func settled(list []smithy.Handler, servers membership) []smithy.Handler {
	for i := range list {
		h := &list[i]
		if !h.Settles {
			continue
		}
		run := h.Run
		h.Run = func(ctx context.Context, call *smithy.Call, in any) (smithy.Renderer, error) {
			applied := servers.Applied()
			out, err := run(ctx, call, in)
			if refused(err) && servers.CatchUp(ctx) == nil && servers.Applied() > applied {
				out, err = run(ctx, call, in)
			}
			if err == nil {
				err = servers.Settle(ctx)
			}
			return out, err
		}
	}
	return list
}

// refused reports whether an error refuses a request by what this server remembers, and is not its own failure.
func refused(err error) bool {
	refusal, ok := errors.AsType[*awserr.Error](err)
	return ok && refusal.Status() < 500
}
