// Package stator embeds Stator, a DynamoDB-compatible database, into a Go program. A test starts a private database in
// milliseconds:
//
//	db, err := stator.Open(stator.Options{InMemory: true, Listen: "127.0.0.1:0"})
//	defer db.Close()
//	client := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.BaseEndpoint = aws.String(db.URL()) })
//
// It is the only importer of storage engines and wires all parts together.
package stator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/autoscaling"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cloudwatch"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/faults"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/httpd"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/periodic"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/stream"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/transfer"
	"github.com/statordb/stator/internal/turns"
)

// Version is the version of Stator; the build sets it.
var Version = "0.1.0-dev"

// Defaults of Options.
const (
	DefaultListen  = "127.0.0.1:8000"
	DefaultDataDir = "stator-data"

	DefaultTTLInterval = time.Second
)

// Values of Options.Throttling.
const (
	// ThrottlingAWS throttles tables and GSIs with provisioned throughput, and on-demand ones with a maximum, as AWS does.
	ThrottlingAWS = "aws"
	// ThrottlingOff throttles nothing.
	ThrottlingOff = "off"
)

// Values of Options.OnDemandLimits.
const (
	// OnDemandUnlimited lets on-demand tables run as fast as the machine.
	OnDemandUnlimited = "none"
	// OnDemandAWS gives them what AWS does: at first 4,000 writes and 12,000 reads per second, then twice the earlier peak.
	OnDemandAWS = "aws"
)

// Options configure a Server. The zero value is a durable database in ./stator-data on port 8000 of the loopback
// interface.
type Options struct {
	// Listen is the address to listen on; port 0 takes a free one. Empty is DefaultListen.
	Listen string
	// DataDir is the directory of the data, made if it is missing. Empty is DefaultDataDir.
	DataDir string
	// InMemory keeps nothing on disk; DataDir is not used.
	InMemory bool
	// Storage is a database that has the data in place of DataDir, and that any number of servers may share, e.g.
	// postgres://user:password@host/database or tikv://pd1:2379,pd2:2379 (see docs/cluster.md). DataDir then has the buckets alone.
	Storage string
	// Name tells this server from others of its Storage, for people who look at them.
	Name string
	// Durability says when a write is acknowledged: "sync" (or empty) after it is on disk, "interval:100ms" before, with an
	// fsync every 100 ms, "none" with no fsync but at Close.
	Durability string
	// Cache is how many bytes of memory the storage engine takes for what was read and written; 0 is 256 MB.
	Cache int64
	// MemoryLimit is the number of bytes from which on Go's runtime collects garbage more often (see debug.SetMemoryLimit). What
	// background jobs and the caches of DAX need comes on top while they are there. 0 leaves the runtime alone.
	MemoryLimit int64
	// MinFree is how many bytes of the disk must be free for writes to be accepted; 0 is 128 MB, less than 0 is no limit.
	MinFree int64
	// SharedNamespace puts all tables in one namespace, whatever account and region requests name.
	SharedNamespace bool
	// CredentialsFile has the access keys that may sign requests (see docs/credentials.md); empty accepts any key. It is read again
	// when it changes.
	CredentialsFile string
	// MetricsListen is an address at which /metrics, /healthz and /readyz are served without a signature, and nothing else; port 0
	// takes a free one. Empty serves them at Listen alone: with CredentialsFile, /metrics at Listen needs the signature of an operator's key.
	MetricsListen string
	// Insecure allows to listen on other interfaces than loopback without credentials.
	Insecure bool
	// CORSOrigins are the origins, besides those on loopback, of web pages that may use a server without CredentialsFile, e.g.
	// https://app.example:8443; "*" is any, "null" that of sandboxed frames and files.
	CORSOrigins []string
	// AllowHosts are names that a server without CredentialsFile answers to, besides addresses, names without a dot, *.localhost,
	// *.svc, *.svc.cluster.local and host.docker.internal. One that begins with a dot stands for all names below it. Requests for
	// others are refused: a web page could have made them its own by DNS rebinding.
	AllowHosts []string
	// MaxMetrics is how many metrics the clients of an account may put into CloudWatch; 0 is cloudwatch.DefaultMaxMetrics (50,000).
	MaxMetrics int
	// TransientStatus is how long tables stay in CREATING, UPDATING and DELETING.
	TransientStatus time.Duration
	// TTLInterval is how often expired items are looked for; 0 is DefaultTTLInterval.
	TTLInterval time.Duration
	// NoChangeLimits lets settings be changed as often as one likes, where AWS has them wait (TTL an hour, throughput, billing mode), and
	// tables have more throughput than AWS's quotas.
	NoChangeLimits bool
	// Throttling is ThrottlingAWS (or empty) or ThrottlingOff.
	Throttling string
	// OnDemandLimits is OnDemandUnlimited (or empty) or OnDemandAWS.
	OnDemandLimits string
	// Inject are rules for what goes wrong at random, for tests of clients (see package inject), and InjectSeed makes it the same
	// each time.
	Inject     []string
	InjectSeed uint64
	// S3Dir is the directory whose folders are the buckets of exports, imports and bulk puts. Empty is s3 in DataDir, or, with
	// InMemory, a temporary directory that Close removes.
	S3Dir string
	// S3 is an S3-compatible store that has the buckets, in place of a directory, if it has an endpoint.
	S3 S3Options
	// DAX is the front end for clients of DynamoDB Accelerator.
	DAX DAXOptions
	// Logger gets the log; nil is none.
	Logger *slog.Logger
	// TestClock makes a clock that a request to /_stator/clock moves, for tests of what takes hours. Now is not used then. It needs
	// a server without CredentialsFile.
	TestClock bool
	// Now is the clock; nil is the system's.
	Now func() time.Time

	// For tests: a file system in place of the operating system's, an engine for the storage test://, how often to look after the disk, limits for clients, and
	// what stands between operations and the storage engine.
	fs     vfs.FS
	engine func() (kv.Store, error)

	check  time.Duration
	limits httpd.Limits
	tables int // how many an account has in a region at most; 0 for as many as NoChangeLimits says
	// closeTimeout is how long Close waits for requests under way; 0 is closeTimeout.
	closeTimeout time.Duration
	wrap         func(kv.Store) kv.Store

	stamps func() time.Time                           // the clock that change records are stamped by; nil is the storage's
	id     string                                     // of the server among those of Storage
	evict  func(ctx context.Context, id string) error // ends what another of them has under way; nil for nothing
}

// S3Options say where an S3-compatible store is.
type S3Options = objectstore.S3Options

// Server is a running database.
type Server struct {
	listener  net.Listener
	http      *httpd.Server
	servers   *servers
	meters    *metering.Registry
	handlers  []smithy.Handler // for tests
	store     kv.Store
	items     *table.Store
	backups   *backup.Manager
	metrics   *cloudwatch.Service
	dax       *daxFront
	clusters  *control.Service
	auth      *auth.Authenticator
	stored    *checkpoints
	atMetrics net.Listener // of MetricsListen; nil for none
	// stopMetrics stops serving at atMetrics; nil if nothing is served there.
	stopMetrics func(context.Context) error
	tick        func(context.Context) error // collects metrics, evaluates alarms and scales
	cancel      context.CancelFunc
	log         *slog.Logger
	remove      []func() error // removes files that nothing is to keep
	timeout     time.Duration  // of Close, for requests and for background work
	memory      *memoryLimit

	running  sync.WaitGroup
	serveErr chan error
	close    sync.Once
	closeErr error
}

// ErrInsecure says that Listen names an interface that others can reach, without credentials and without Insecure.
var ErrInsecure = errors.New("refusing to listen on an address that other machines can reach without credentials: any access key would be accepted")

// ErrTestClock refuses a clock that any client can move where it decides which signatures are valid.
var ErrTestClock = errors.New("the test clock can't be used with credentials: whoever moves it decides which signatures have expired")

// credentialsInterval is how often the credentials file is looked at.
const credentialsInterval = 2 * time.Second

// jobMemory is about how many bytes of memory background jobs need.
const jobMemory = 160 << 20

// sweepInterval is how often expired idempotency tokens and deleted tables are removed.
const sweepInterval = time.Minute

// tickInterval is how often what was measured is stored, and looked whether a minute has begun.
const tickInterval = 5 * time.Second

// Open starts a database.
func Open(opt Options) (*Server, error) {
	if opt.Listen == "" {
		opt.Listen = DefaultListen
	}
	if opt.DataDir == "" {
		opt.DataDir = DefaultDataDir
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if opt.TestClock && opt.CredentialsFile != "" {
		return nil, ErrTestClock
	}
	var clock testClock
	opt.stamps = opt.Now
	switch {
	case opt.TestClock:
		opt.Now, opt.stamps = clock.now, clock.now
	case opt.Now == nil:
		opt.Now = time.Now
	}
	// Each start is a server of its own: what an earlier one held must be seen to be free.
	opt.id = fmt.Sprintf("%.40s-%08x", cmp.Or(opt.Name, "stator"), rand.Uint32())
	authenticator := &auth.Authenticator{Now: opt.Now}
	if opt.CredentialsFile != "" {
		var err error
		if authenticator, err = auth.Load(opt.CredentialsFile, opt.Now); err != nil {
			return nil, err
		}
		if warning := authenticator.Readers(); warning != "" {
			opt.Logger.Warn(warning)
		}
	} else if !opt.Insecure && !isLoopback(opt.Listen) {
		return nil, fmt.Errorf("%s: %w", opt.Listen, ErrInsecure)
	}
	listener, err := net.Listen("tcp", opt.Listen)
	if err != nil {
		return nil, err
	}
	store, err := openStore(&opt)
	if err != nil {
		listener.Close()
		return nil, err
	}
	if opt.wrap != nil {
		store = opt.wrap(store)
	}
	s, err := start(&opt, &onceListener{Listener: listener}, store, authenticator, &clock)
	if err != nil {
		return nil, errors.Join(err, listener.Close(), store.Close())
	}
	if opt.MetricsListen != "" {
		if s.atMetrics, err = net.Listen("tcp", opt.MetricsListen); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.stopMetrics = s.http.ServeMetrics(s.atMetrics)
	}
	return s, nil
}

func start(opt *Options, listener net.Listener, store kv.Store, authenticator *auth.Authenticator, clock *testClock) (_ *Server, failed error) {
	ctx, cancel := context.WithCancel(context.Background())
	faults, err := faults.Parse(opt.Inject, opt.InjectSeed)
	if err != nil {
		cancel()
		return nil, err
	}
	web, err := httpd.ParseWeb(opt.CORSOrigins, opt.AllowHosts)
	if err != nil {
		cancel()
		return nil, err
	}
	servers, err := join(ctx, opt, store)
	if err != nil {
		cancel()
		return nil, err
	}
	defer func() {
		if failed != nil {
			failed = errors.Join(failed, servers.close())
		}
	}()
	store = servers.store
	meters := metering.NewRegistry(opt.Now, ops.Metered()...)
	tables, err := catalog.Open(ctx, store, catalog.Options{
		Now: opt.Now, Fleet: servers.Fleet, Meters: meters,
		MaxTables:  opt.maxTables(),
		Throttling: catalog.Throttling{Off: opt.Throttling == ThrottlingOff, OnDemandAWS: opt.OnDemandLimits == OnDemandAWS},
	})
	if err != nil {
		cancel()
		return nil, err
	}
	items := &table.Store{KV: store, Catalog: tables, Now: opt.Now}
	var removeTemp func() error
	if items.TempDir, removeTemp, err = openTempDir(opt); err != nil {
		cancel()
		return nil, err
	}
	runner := jobs.New(ctx, servers.Fleet, func(err error) { guard.Log(opt.Logger, "a background job failed", err) })
	memory := &memoryLimit{bytes: opt.MemoryLimit}
	memory.add(0)
	runner.Busy = func(busy bool) {
		if busy {
			memory.add(jobMemory)
		} else {
			memory.add(-jobMemory)
		}
	}
	suspects := attempts.NewSuspects()
	backups := &backup.Manager{Tables: items, Jobs: runner, Now: opt.Now, Suspects: suspects}
	buckets, removeBuckets, err := openBuckets(ctx, opt)
	if err != nil {
		cancel()
		return nil, err
	}
	transfers, err := transfer.Open(ctx, transfer.Options{Tables: items, Jobs: runner, Fleet: servers.Fleet, Objects: buckets, Access: bucketAccess(authenticator), Suspects: suspects, Now: opt.Now, Logger: opt.Logger})
	if err != nil {
		cancel()
		return nil, err
	}
	stored := newCheckpoints(opt, store, items.TempDir)
	service := ops.New(ops.Options{
		Tables:          items,
		Backups:         backups,
		Transfers:       transfers,
		Checkpoint:      stored.checkpointer(),
		Meters:          meters,
		Faults:          faults,
		Now:             opt.Now,
		TransientStatus: opt.TransientStatus,
		NoChangeLimits:  opt.NoChangeLimits,
		SharedNamespace: opt.SharedNamespace,
	})
	long := turns.New()
	accelerator, err := openDAX(opt, store, authenticator, service, long, memory, servers.nodes())
	if err != nil {
		cancel()
		return nil, err
	}
	defer func() {
		if failed != nil {
			accelerator.close(ctx)
		}
	}()
	itemTTL, queryTTL := opt.DAX.ttls()
	clusters, err := control.New(ctx, control.Options{
		Fleet: servers.Fleet, KV: store, Now: opt.Now, Namespace: service.Namespace, Nodes: accelerator, TransientStatus: opt.TransientStatus, ItemTTL: itemTTL, QueryTTL: queryTTL,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	metrics, scaling, err := openServices(ctx, cloudwatch.Options{
		Fleet: servers.Fleet, KV: store, Now: opt.Now, Namespace: service.Namespace, Rules: service.InsightRules, MaxMetrics: opt.MaxMetrics, Logger: opt.Logger,
		Source: func(emit func(metric.Datum), report func(metric.Report)) {
			meters.Collect(emit, report)
			accelerator.collect(emit)
		},
	}, service)
	if err != nil {
		cancel()
		return nil, err
	}
	tick := func(ctx context.Context) error {
		return errors.Join(tables.KeepClock(ctx), metrics.Tick(ctx, scaling.Step))
	}
	operations := slices.Concat(service.Operations(), metrics.Operations(), smithy.ToEnd(scaling.Operations()), smithy.ToEnd(clusters.Operations()))
	streams := &stream.Maintainer{KV: store, Catalog: tables, Now: opt.Now}
	sweepers := []func(context.Context) error{service.SweepTokens, tables.FinishDeletes, streams.Maintain, tables.KeepPartitions, backups.Expire, backups.Trim, transfers.Sweep, clusters.Finish, clusters.Sweep, stored.sweep}
	if servers.member != nil {
		sweepers = append(sweepers, servers.member.Trim)
	}
	var testControl map[string]func([]byte) ([]byte, error)
	if opt.TestClock {
		testControl = map[string]func([]byte) ([]byte, error){clockPath: func(body []byte) ([]byte, error) {
			return clock.control(body, func() error {
				if servers.member != nil {
					return nil // it is due where it is done
				}
				_, err := items.Expire(ctx)
				for _, sweep := range append(sweepers, tick) {
					err = errors.Join(err, sweep(ctx))
				}
				return err
			})
		}}
	}
	s := &Server{
		remove:   []func() error{removeBuckets, removeTemp},
		timeout:  cmp.Or(opt.closeTimeout, closeTimeout),
		memory:   memory,
		listener: listener,
		servers:  servers,
		meters:   meters,
		store:    store,
		metrics:  metrics,
		dax:      accelerator,
		clusters: clusters,
		auth:     authenticator,
		stored:   stored,
		tick:     tick,
		handlers: operations,
		log:      opt.Logger,
		items:    items,
		backups:  backups,
		cancel:   cancel,
		serveErr: make(chan error, 1),
		http: httpd.New(httpd.Options{
			Operations: servers.settled(operations),
			Services:   []*protocol.Service{cloudwatch.API, autoscaling.API, control.API},
			Missing:    slices.Concat(service.Missing(), metrics.Missing(), scaling.Missing(), clusters.Missing()),
			Auth:       authenticator,
			Logger:     opt.Logger,
			Limits:     opt.limits,
			Turns:      long,
			Control:    testControl,
			Web:        web,
			Metrics: func(ctx context.Context) (string, []byte, error) {
				body, err := metrics.Prometheus(ctx)
				return cloudwatch.ContentTypePrometheus, body, err
			},
			Ready: func(ctx context.Context) error {
				r, err := store.Latest(ctx)
				if err != nil {
					return err
				}
				defer r.Close()
				_, err = r.Get(keyspace.LastTableID())
				return err
			},
		}),
	}
	items.Requests = s.http.Requests
	s.running.Add(1)
	guard.Go(opt.Logger, "waiting for background jobs", func() {
		defer s.running.Done()
		<-ctx.Done()
		runner.Wait()
	})
	resume := func(ctx context.Context) error {
		return errors.Join(backups.Resume(ctx), transfers.Resume(ctx, service.TransferRules()))
	}
	err = servers.start(ctx, s, resume)
	if err == nil {
		err = tables.Recover(ctx)
	}
	if err == nil {
		err = resume(ctx)
	}
	if err != nil {
		cancel()
		s.running.Wait()
		return nil, err
	}
	if err := clusters.Resume(ctx); err != nil { // the tables are there all the same
		opt.Logger.Error("clusters of DAX can't be reached", "error", err)
	}
	if faults != nil {
		items.Inject = service.InjectItem
		s.running.Add(1)
		guard.Go(opt.Logger, "keeping the past for stale reads", func() {
			defer s.running.Done()
			if err := service.KeepPast(ctx); err != nil && ctx.Err() == nil {
				opt.Logger.Error("keeping the past for stale reads failed", "error", err)
			}
		})
	}
	s.background(ctx, opt, items, sweepers)
	s.running.Add(1)
	guard.Go(opt.Logger, "the HTTP server", func() {
		defer s.running.Done()
		err := guard.Run(opt.Logger, "the HTTP server", func() error { return s.http.Serve(listener) })
		if errors.Is(err, net.ErrClosed) {
			err = nil
		}
		s.serveErr <- err
	})
	return s, nil
}

// background starts what is done beside requests.
func (s *Server) background(ctx context.Context, opt *Options, items *table.Store, sweepers []func(context.Context) error) {
	report := func(what string) func(error) {
		return func(err error) {
			if err != nil && ctx.Err() == nil {
				guard.Log(opt.Logger, what+" failed", err)
			}
		}
	}
	lead := func(job string, run func(ctx context.Context)) { s.servers.lead(ctx, opt.Logger, &s.running, job, run) }
	lead("sweep", func(ctx context.Context) {
		periodic.Run(ctx, opt.Logger, "sweep", sweepInterval, func() {
			for _, sweep := range sweepers {
				// One that panics must not keep the others from their work.
				report("removing what has expired")(guard.Run(nil, "sweep", func() error { return sweep(ctx) }))
			}
		})
	})
	lead("metrics", func(ctx context.Context) {
		if s.servers.member != nil { // where another did this until now
			report("keeping metrics and scaling")(s.metrics.Begin(ctx))
		}
		periodic.Run(ctx, opt.Logger, "metrics", tickInterval, func() { report("keeping metrics and scaling")(s.tick(ctx)) })
	})
	lead("indexes", func(ctx context.Context) {
		builder := &table.Builder{Store: items, Linger: opt.TransientStatus, Report: report("building an index")}
		builder.Run(ctx)
	})
	lead("ttl", func(ctx context.Context) {
		periodic.Run(ctx, opt.Logger, "ttl", cmp.Or(opt.TTLInterval, DefaultTTLInterval), func() {
			_, err := items.Expire(ctx)
			report("deleting expired items")(err)
		})
	})
	s.running.Add(1)
	guard.Go(opt.Logger, "following clients' memory", func() {
		defer s.running.Done()
		held := int64(0)
		periodic.Run(ctx, opt.Logger, "following clients' memory", clientInterval, func() { held = s.memory.follow(s.http.Held(), held) })
	})
	if s.auth.Verifies() {
		s.running.Add(1)
		guard.Go(opt.Logger, "reading credentials", func() {
			defer s.running.Done()
			periodic.Run(ctx, opt.Logger, "reading credentials", credentialsInterval, func() { s.tellCredentials(s.auth.Refresh()) })
		})
	}
	// One that is alone does so when it evaluates its alarms.
	s.servers.each(ctx, opt.Logger, &s.running, "metrics", tickInterval, func(ctx context.Context) { report("keeping metrics")(s.metrics.Collect(ctx)) })
	if s.dax.base != nil && s.servers.member != nil {
		mail := s.servers.member.Mail()
		s.servers.each(ctx, opt.Logger, &s.running, "dax", exchangeInterval, func(ctx context.Context) {
			report("telling of what DAX clients have written")(s.dax.exchange(ctx, mail))
		})
	}
	s.servers.each(ctx, opt.Logger, &s.running, "throughput", settleInterval, func(ctx context.Context) {
		report("sharing throughput")(s.servers.share(ctx, s.meters, opt.Now))
	})
}

// memoryLimit is how much memory the runtime is to use before it collects garbage more often. It grows with what is opened.
type memoryLimit struct {
	mu    sync.Mutex
	bytes int64 // 0 for none
}

// add changes it.
func (m *memoryLimit) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes != 0 {
		m.bytes += bytes
		debug.SetMemoryLimit(m.bytes)
	}
}

const (
	// clientInterval is how often the limit is made to follow what clients hold, and clientStep by how many bytes at a time: setting it
	// stops the process for a moment.
	clientInterval = time.Second
	clientStep     = 32 << 20
)

// follow has the limit grow and shrink with what is held, which it returns: memory that clients rightly hold must not have the
// collector run all the time. before is what it returned last.
func (m *memoryLimit) follow(held, before int64) int64 {
	if held = held / clientStep * clientStep; held != before {
		m.add(held - before)
	}
	return held
}

// ReloadCredentials reads the credentials file again: the keys in it count from then on, and others don't. On an error, which is
// logged, the keys stay as they are.
func (s *Server) ReloadCredentials() error {
	if !s.auth.Verifies() {
		return errors.New("the server has no credentials")
	}
	err := s.auth.Reload()
	s.tellCredentials(true, err)
	return err
}

// tellCredentials logs that the credentials file was read again.
func (s *Server) tellCredentials(changed bool, err error) {
	switch warning := s.auth.Readers(); {
	case err != nil:
		s.log.Error("the access keys stay as they were", "error", err)
	case changed:
		s.log.Info("the credentials file was read again")
		if warning != "" {
			s.log.Warn(warning)
		}
	}
}

// MetricsURL returns the endpoint of Options.MetricsListen, e.g. http://127.0.0.1:9090/metrics, or an empty text without it.
func (s *Server) MetricsURL() string {
	if s.atMetrics == nil {
		return ""
	}
	return "http://" + s.atMetrics.Addr().String() + "/metrics"
}

// URL returns the endpoint, e.g. http://127.0.0.1:8000.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Wait returns when the server has stopped answering: nil after Close, else what ended it.
func (s *Server) Wait() error { return <-s.serveErr }

// closeTimeout is how long Close waits for the requests under way, and again for background work. Requests are ended shortly before.
const closeTimeout = 15 * time.Second

// Close stops listening, waits for the requests under way, and closes the store; what was acknowledged is durable then. What does
// not end in half a minute keeps the store from being closed: Close returns an error, and the next start reads the log as after a
// crash.
func (s *Server) Close() error {
	s.close.Do(func() { s.closeErr = s.stop() })
	return s.closeErr
}

func (s *Server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	// Closing the listener first also ends a Serve that has not begun yet, which Shutdown would miss.
	err := s.listener.Close()
	ended := s.http.Shutdown(ctx)
	s.dax.close(ctx)
	s.cancel()
	if s.stopMetrics != nil { // its requests read the store
		err = errors.Join(err, s.stopMetrics(ctx))
	}
	if ended == nil {
		ended = s.waitRunning(s.timeout)
	}
	if ended != nil {
		return errors.Join(err, fmt.Errorf("stopped without closing the storage: %w", ended))
	}
	last := context.WithoutCancel(ctx)
	err = errors.Join(err, s.items.Catalog.KeepClock(last), s.metrics.Collect(last), s.servers.close(), s.store.Close())
	for _, remove := range s.remove {
		err = errors.Join(err, remove())
	}
	return err
}

var errStillRunning = errors.New("work in the background does not end")

// waitRunning waits for the work in the background, which has been told to end.
func (s *Server) waitRunning(timeout time.Duration) error {
	ended := make(chan struct{})
	guard.Go(s.log, "waiting for background work", func() {
		s.running.Wait()
		close(ended)
	})
	select {
	case <-ended:
		return nil
	case <-time.After(timeout):
		return errStillRunning
	}
}

// onceListener may be closed twice: the HTTP server would give up its shutdown on the second error.
type onceListener struct {
	net.Listener
	once sync.Once
	err  error
}

func (l *onceListener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// maxTables is how many tables an account may have in a region; 0 for any number.
func (o *Options) maxTables() int {
	switch {
	case o.tables > 0:
		return o.tables
	case o.NoChangeLimits:
		return 0
	}
	return catalog.DefaultMaxTables
}
