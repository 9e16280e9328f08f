package server

import (
	"cmp"
	"context"
	"time"

	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/table"
)

// Jobs that one server at a time does for all: the holder of the job's lease.
const (
	jobSweep   = "sweep"
	jobMetrics = "metrics"
	jobIndexes = "indexes"
	jobTTL     = "ttl"
)

// reporter returns a function that logs errors of doing what the text says.
type reporter func(what string) func(error)

// background starts the periodic work.
func (s *Server) background(ctx context.Context, opt *Options, items *table.Store, sweepers []func(context.Context) error) {
	var report reporter = func(what string) func(error) {
		return func(err error) {
			if err != nil && ctx.Err() == nil {
				guard.Log(opt.Logger, "cannot "+what, err)
			}
		}
	}
	s.lead(ctx, opt, items, sweepers, report)
	s.exchange(ctx, opt, report)
	s.followSecrets(ctx, report)
	s.followPolicies(ctx)
	if opt.MemoryLimit != 0 {
		eachCollection(ctx, func() { s.memory.collected(readUsage()) })
		s.goOn("lowering the memory limit", func() {
			jobs.Every(ctx, opt.Logger, "lowering the memory limit", limitInterval, func() { s.memory.tick(readUsage()) })
		})
	}
	s.followCertificates(ctx)
	if s.auth.Verifies() {
		s.goOn("measuring accounts", func() {
			jobs.Every(ctx, opt.Logger, "measuring accounts", measureInterval, func() { report("measure what accounts store")(s.measureAccounts(ctx)) })
		})
		s.goOn("reading credentials", func() {
			jobs.Every(ctx, opt.Logger, "reading credentials", credentialsInterval, func() { s.logCredentials(s.auth.Refresh()) })
		})
	}
}

// measureInterval is how often the server measures what accounts with a limit of bytes store.
const measureInterval = 5 * time.Second

// measureAccounts tells the tenants how many bytes the tables of each account hold.
func (s *Server) measureAccounts(ctx context.Context) error {
	if !s.tenants.Measures() {
		return nil
	}
	bytes := map[string]int64{}
	for t := range s.items.Catalog.Tables() {
		stats, err := s.items.Catalog.Stats(ctx, t)
		if err != nil {
			return err
		}
		bytes[t.Account] += stats.Total()
	}
	s.tenants.Measured(bytes)
	return nil
}

// lead starts the work that one server does for all that share the store.
func (s *Server) lead(ctx context.Context, opt *Options, items *table.Store, sweepers []func(context.Context) error, report reporter) {
	s.servers.Lead(ctx, jobSweep, nil, func(ctx context.Context) {
		jobs.Every(ctx, opt.Logger, jobSweep, sweepInterval, func() {
			for _, sweep := range sweepers {
				// A panic in one sweeper must not stop the others.
				report("remove expired data")(guard.Run(nil, jobSweep, func() error { return sweep(ctx) }))
			}
		})
	})
	tick := report("evaluate metrics and scale tables")
	s.servers.Lead(ctx, jobMetrics,
		func(ctx context.Context) { tick(s.metrics.Begin(ctx)) }, // continue after the last minute that another server evaluated
		func(ctx context.Context) {
			jobs.Every(ctx, opt.Logger, jobMetrics, tickInterval, func() { tick(s.tick(ctx)) })
		})
	s.servers.Lead(ctx, jobIndexes, nil, func(ctx context.Context) {
		builder := &table.Builder{Store: items, Linger: opt.TransientStatus, Report: report("build an index")}
		builder.Run(ctx)
	})
	s.servers.Lead(ctx, jobTTL, nil, func(ctx context.Context) {
		jobs.Every(ctx, opt.Logger, jobTTL, cmp.Or(opt.TTLInterval, DefaultTTLInterval), func() {
			_, err := items.Expire(ctx)
			report("delete expired items")(err)
		})
	})
}

// exchange starts the work that every server does if several share the store.
func (s *Server) exchange(ctx context.Context, opt *Options, report reporter) {
	// The leader reads what the others have measured from the store.
	s.servers.Exchange(ctx, "metrics", tickInterval, func(ctx context.Context, _ *cluster.Member) {
		report("store metrics")(s.metrics.Collect(ctx))
	})
	if s.dax.base != nil {
		var mail *cluster.Mail
		s.servers.Exchange(ctx, "dax", exchangeInterval, func(ctx context.Context, m *cluster.Member) {
			if mail == nil {
				mail = m.Mail()
			}
			report("exchange DAX invalidations with other servers")(s.dax.exchange(ctx, mail))
		})
	}
	if !opt.sharesByHand {
		s.servers.Exchange(ctx, "throughput", shareInterval, func(ctx context.Context, m *cluster.Member) {
			report("share throughput with other servers")(s.sharing.share(ctx, m, s.meters, opt.Now))
		})
	}
}
