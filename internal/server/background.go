package server

import (
	"cmp"
	"context"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/table"
)

// background starts the periodic work. Work that must run once per store is led: the holder of the job's lease does it. The
// rest runs on every server.
func (s *Server) background(ctx context.Context, opt *Options, items *table.Store, sweepers []func(context.Context) error) {
	report := func(what string) func(error) {
		return func(err error) {
			if err != nil && ctx.Err() == nil {
				guard.Log(opt.Logger, "cannot "+what, err)
			}
		}
	}
	lead := func(job string, run func(ctx context.Context)) { s.servers.lead(ctx, opt.Logger, &s.running, job, run) }
	lead("sweep", func(ctx context.Context) {
		jobs.Every(ctx, opt.Logger, "sweep", sweepInterval, func() {
			for _, sweep := range sweepers {
				// A panic in one sweeper must not stop the others.
				report("remove expired data")(guard.Run(nil, "sweep", func() error { return sweep(ctx) }))
			}
		})
	})
	lead("metrics", func(ctx context.Context) {
		if s.servers.member != nil { // continue after the last minute that the previous leader evaluated
			report("evaluate metrics and scale tables")(s.metrics.Begin(ctx))
		}
		jobs.Every(ctx, opt.Logger, "metrics", tickInterval, func() { report("evaluate metrics and scale tables")(s.tick(ctx)) })
	})
	lead("indexes", func(ctx context.Context) {
		builder := &table.Builder{Store: items, Linger: opt.TransientStatus, Report: report("build an index")}
		builder.Run(ctx)
	})
	lead("ttl", func(ctx context.Context) {
		jobs.Every(ctx, opt.Logger, "ttl", cmp.Or(opt.TTLInterval, DefaultTTLInterval), func() {
			_, err := items.Expire(ctx)
			report("delete expired items")(err)
		})
	})
	s.goOn("following clients' memory", func() {
		held := int64(0)
		jobs.Every(ctx, opt.Logger, "following clients' memory", clientInterval, func() { held = s.memory.follow(s.http.Held(), held) })
	})
	if s.auth.Verifies() {
		s.goOn("reading credentials", func() {
			jobs.Every(ctx, opt.Logger, "reading credentials", credentialsInterval, func() { s.logCredentials(s.auth.Refresh()) })
		})
	}
	// A server without others collects its metrics in tick; members also collect while another server leads.
	s.servers.each(ctx, opt.Logger, &s.running, "metrics", tickInterval, func(ctx context.Context) { report("store metrics")(s.metrics.Collect(ctx)) })
	if s.dax.base != nil && s.servers.member != nil {
		mail := s.servers.member.Mail()
		s.servers.each(ctx, opt.Logger, &s.running, "dax", exchangeInterval, func(ctx context.Context) {
			report("exchange DAX invalidations with other servers")(s.dax.exchange(ctx, mail))
		})
	}
	if !opt.sharesByHand {
		s.servers.each(ctx, opt.Logger, &s.running, "throughput", settleInterval, func(ctx context.Context) {
			report("share throughput with other servers")(s.servers.share(ctx, s.meters, opt.Now))
		})
	}
}
