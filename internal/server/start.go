package server

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/autoscaling"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cloudwatch"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/faults"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/httpd"
	"github.com/statordb/stator/internal/iam"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/stream"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/tenant"
	"github.com/statordb/stator/internal/transfer"
	"github.com/statordb/stator/internal/turns"
)

// starter starts a server in stages. A stage appends to undo whatever a failure of a later stage must reverse; undo runs last
// to first.
type starter struct {
	*Server
	opt       *Options
	ctx       context.Context // of all background work; cancelled by Close
	clock     *testClock
	undo      []func() error
	faults    *faults.Faults
	web       httpd.Web
	tables    *catalog.Catalog
	jobs      *jobs.Runner
	buckets   objectstore.Store
	transfers *transfer.Manager
	service   *ops.Service
	scaling   *autoscaling.Service
	turns     *turns.Turns
	sweepers  []func(context.Context) error
}

// start starts a server over an open store. On error it has undone its stages, but the caller still owns the listener and the
// store and must close both.
func start(opt *Options, listener net.Listener, store kv.Store, authenticator *auth.Authenticator, clock *testClock) (*Server, error) {
	ctx, cancel := context.WithCancel(context.Background())
	tenants := tenant.New(opt.Now)
	tenants.Set(authenticator.Limits())
	s := &starter{opt: opt, ctx: ctx, clock: clock, turns: turns.New(), Server: &Server{
		listener: listener,
		store:    store,
		auth:     authenticator,
		tenants:  tenants,
		log:      opt.Logger,
		id:       opt.id,
		now:      opt.Now,
		cancel:   cancel,
		timeout:  cmp.Or(opt.closeTimeout, closeTimeout),
		memory:   newMemoryLimit(opt.MemoryLimit),
		served:   make(chan struct{}),
		sharing:  newSharing(),
	}}
	stages := []func() error{s.parse, s.joinServers, s.openIAM, s.openPolicies, s.openTables, s.openDirectories, s.openOperations, s.openAudit, s.openDAX, s.openServices, s.openHTTP, s.resume}
	for _, stage := range stages {
		if err := stage(); err != nil {
			cancel()
			s.running.Wait()
			for _, undo := range slices.Backward(s.undo) {
				err = errors.Join(err, undo())
			}
			return nil, err
		}
	}
	s.background(ctx, opt, s.items, s.sweepers)
	s.goOn("the HTTP server", func() {
		err := guard.Run(opt.Logger, "the HTTP server", func() error { return s.http.Serve(listener) })
		if !errors.Is(err, net.ErrClosed) {
			s.serveErr = err
		}
		close(s.served)
	})
	return s.Server, nil
}

// goOn runs background work that Close waits for. The work must return soon after the server's context is cancelled.
func (s *Server) goOn(what string, work func()) {
	s.running.Start(s.log, what, func() {
		work()
	})
}

// parse parses the options that have a syntax of their own, and loads certificates, so that a mistake fails the start before anything is
// opened.
func (s *starter) parse() (err error) {
	if s.faults, err = faults.Parse(s.opt.Inject, s.opt.InjectSeed); err != nil {
		return err
	}
	if s.web, err = httpd.ParseWeb(s.opt.CORSOrigins, s.opt.AllowHosts); err != nil {
		return err
	}
	s.certificates, err = loadCertificates(s.opt)
	return err
}

// joinServers registers this server with the others that share the store. Later stages use the wrapped store, which announces
// changes to cached data and rejects commits of a replaced server.
func (s *starter) joinServers() (err error) {
	if s.servers, s.store, err = join(s.ctx, s.opt, s.store); err != nil {
		return err
	}
	s.undo = append(s.undo, s.servers.Close)
	return nil
}

// openTables opens the catalog, the item store and the runner of background jobs.
func (s *starter) openTables() (err error) {
	opt := s.opt
	s.meters = metering.NewRegistry(opt.Now, ops.Metered()...)
	s.tables, err = catalog.Open(s.ctx, s.store, catalog.Options{
		Now: opt.Now, Coordinator: s.servers, Meters: s.meters,
		MaxTables: opt.maxTables(), AccountTables: s.tenants.MaxTables,
		Throttling: catalog.Throttling{Off: opt.Throttling == ThrottlingOff, OnDemandAWS: opt.OnDemandLimits == OnDemandAWS},
	})
	if err != nil {
		return err
	}
	s.items = &table.Store{KV: s.store, Catalog: s.tables, Now: opt.Now}
	s.jobs = jobs.New(s.ctx, s.servers, func(err error) { guard.Log(s.log, "a background job failed", err) })
	s.goOn("waiting for background jobs", func() {
		<-s.ctx.Done()
		s.jobs.Wait()
	})
	return nil
}

// openDirectories opens the directory for temporary files and the store of buckets.
func (s *starter) openDirectories() error {
	temp, remove, err := openTempDir(s.opt)
	if err != nil {
		return err
	}
	s.items.TempDir = temp
	s.removeLast(remove)
	if s.buckets, remove, err = openBuckets(s.ctx, s.opt); err != nil {
		return err
	}
	s.removeLast(remove)
	return nil
}

// removeLast registers remove to run last: after the store is closed, or when a later stage fails.
func (s *starter) removeLast(remove func() error) {
	s.remove = append([]func() error{remove}, s.remove...)
	s.undo = append(s.undo, remove)
}

// openOperations opens DynamoDB's operations and the managers of backups and transfers that they use.
func (s *starter) openOperations() (err error) {
	opt := s.opt
	suspects := attempts.NewSuspects()
	s.backups = &backup.Manager{Tables: s.items, Jobs: s.jobs, Now: opt.Now, Suspects: suspects}
	s.transfers, err = transfer.Open(s.ctx, transfer.Options{
		Tables: s.items, Jobs: s.jobs, Coordinator: s.servers, Objects: s.buckets, Access: bucketAccess(s.auth), Suspects: suspects,
		Now: opt.Now, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.stored = newCheckpoints(opt, s.store, s.items.TempDir)
	s.service = ops.New(ops.Options{
		Tables:          s.items,
		Backups:         s.backups,
		Transfers:       s.transfers,
		Checkpoint:      s.stored.checkpointer(),
		Meters:          s.meters,
		Faults:          s.faults,
		Now:             opt.Now,
		TransientStatus: opt.TransientStatus,
		NoChangeLimits:  opt.NoChangeLimits,
		Tenants:         s.tenants,
		SharedNamespace: opt.SharedNamespace,
	})
	return nil
}

// openAudit opens the audit log, if the options name one.
func (s *starter) openAudit() (err error) {
	opt := s.opt
	if opt.AuditLog == "" {
		if opt.AuditSelectors != "" {
			return errors.New("event selectors have no effect without an audit log")
		}
		return nil
	}
	var selectors *audit.Selectors
	if opt.AuditSelectors != "" {
		if selectors, err = audit.LoadSelectors(opt.AuditSelectors); err != nil {
			return err
		}
	}
	s.audit, err = audit.Open(audit.Options{
		File: opt.AuditLog, Selectors: selectors, Overflow: audit.Overflow(opt.AuditOverflow), Now: opt.Now, Logger: s.log,
		Table: func(account, region, given string) (string, []string) {
			return s.service.TableKey(smithy.Caller{Account: account, Region: region}, given)
		},
	})
	if err != nil {
		return err
	}
	s.undo = append(s.undo, func() error { return s.audit.Close(context.Background()) })
	return nil
}

// openDAX opens the DAX nodes and their control plane.
func (s *starter) openDAX() (err error) {
	if s.opt.role == nil {
		s.opt.role = s.principalOf
	}
	if s.dax, err = openDAX(s.opt, s.auth, s.certificates.dax, s.audit, s.service, s.tenants, s.turns, s.memory, s.servers.DAX()); err != nil {
		return err
	}
	s.undo = append(s.undo, func() error { s.dax.close(s.ctx); return nil })
	itemTTL, queryTTL := s.opt.DAX.ttls()
	s.clusters, err = control.New(s.ctx, control.Options{
		Records: registry.Storage{Coordinator: s.servers, KV: s.store}, Now: s.opt.Now, Namespace: s.service.Namespace, Nodes: s.dax,
		TransientStatus: s.opt.TransientStatus, ItemTTL: itemTTL, QueryTTL: queryTTL,
	})
	return err
}

// openServices opens CloudWatch and Application Auto Scaling, and lists the periodic work: tick and sweepers.
func (s *starter) openServices() (err error) {
	opt := s.opt
	s.metrics, s.scaling, err = openServices(s.ctx, cloudwatch.Options{
		Coordinator: s.servers, KV: s.store, Now: opt.Now, Namespace: s.service.Namespace, Rules: s.service.InsightRules,
		MaxMetrics: opt.MaxMetrics, Logger: s.log, Gather: s.tenants.Gather,
		Source: func(emit func(metric.Datum), report func(metric.Report)) {
			s.meters.Collect(emit, report)
			s.dax.collect(emit)
		},
	}, s.service)
	if err != nil {
		return err
	}
	s.tick = func(ctx context.Context) error {
		return errors.Join(s.tables.KeepClock(ctx), s.metrics.Tick(ctx, s.scaling.Step))
	}
	streams := &stream.Maintainer{KV: s.store, Catalog: s.tables, Now: opt.Now}
	s.sweepers = []func(context.Context) error{
		s.service.SweepTokens, s.tables.FinishDeletes, streams.Maintain, s.tables.KeepPartitions, s.backups.Expire, s.backups.Trim,
		s.transfers.Sweep, s.clusters.Finish, s.clusters.Sweep, s.stored.sweep, s.servers.Trim,
	}
	return nil
}

// openHTTP creates the HTTP server. It serves nothing until every stage has succeeded.
func (s *starter) openHTTP() error {
	s.handlers = slices.Concat(s.service.Operations(), s.metrics.Operations(), smithy.ToEnd(s.scaling.Operations()), smithy.ToEnd(s.clusters.Operations()), smithy.ToEnd(s.iam.Operations()))
	s.http = httpd.New(httpd.Options{
		Operations: settled(s.handlers, s.servers),
		Services:   []*protocol.Service{cloudwatch.API, autoscaling.API, control.API, iam.API, iam.STS},
		Missing:    slices.Concat(s.service.Missing(), s.metrics.Missing(), s.scaling.Missing(), s.clusters.Missing(), s.iam.Missing()),
		Auth:       s.auth,
		Logger:     s.log,
		Limits:     s.opt.limits,
		Tenants:    s.tenants,
		Turns:      s.turns,
		Control:    s.testControl(),
		Web:        s.web,
		TLS:        s.certificates.ofHTTP(),
		Audit:      s.audit,
		Metrics: func(ctx context.Context) (string, []byte, error) {
			body, err := s.metrics.Prometheus(ctx)
			return cloudwatch.ContentTypePrometheus, s.audit.AppendMetrics(body), err
		},
		Ready: s.ready,
	})
	s.items.Requests = s.http.Requests
	return nil
}

// testControl returns the handler that moves the test clock, or nil without TestClock. The request answers once everything due
// at the new time is done, so that a test needs no sleeps; except what another server leads.
func (s *starter) testControl() map[string]func([]byte) ([]byte, error) {
	if !s.opt.TestClock {
		return nil
	}
	settle := func() (err error) {
		if s.servers.Leads(jobTTL) {
			_, err = s.items.Expire(s.ctx)
		}
		if s.servers.Leads(jobSweep) {
			for _, sweep := range s.sweepers {
				err = errors.Join(err, sweep(s.ctx))
			}
		}
		if s.servers.Leads(jobMetrics) {
			err = errors.Join(err, s.tick(s.ctx))
		}
		return err
	}
	return map[string]func([]byte) ([]byte, error){clockPath: func(body []byte) ([]byte, error) { return s.clock.control(body, settle) }}
}

// ready is the readiness check: it fails if the store can't be read.
func (s *Server) ready(ctx context.Context) error {
	r, err := s.store.Latest(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Get(keyspace.LastTableID())
	return err
}

// resume continues what the previous run, or a server that has gone, left unfinished. It runs before the HTTP server accepts
// requests.
func (s *starter) resume() error {
	resumeJobs := func(ctx context.Context) error {
		return errors.Join(s.backups.Resume(ctx), s.transfers.Resume(ctx, s.service.TransferRules()))
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return s.follow(ctx, resumeJobs) }, s.tables.Recover, resumeJobs,
	} {
		if err := step(s.ctx); err != nil {
			return err
		}
	}
	if err := s.clusters.Resume(s.ctx); err != nil { // DAX is optional: a port that is taken must not keep the tables offline
		s.log.Error("cannot open the nodes of DAX clusters", "error", err)
	}
	if s.faults != nil {
		s.items.Inject = s.service.InjectItem
		s.goOn("keeping snapshots for stale reads", func() {
			if err := s.service.KeepPast(s.ctx); err != nil && s.ctx.Err() == nil {
				s.log.Error("cannot keep snapshots for stale reads", "error", err)
			}
		})
	}
	return nil
}
