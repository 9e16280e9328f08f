// Package server assembles a Stator server: it opens the storage and the services above it, runs background work, and shuts
// everything down in order.
//
// It is the only package that imports storage engines (through package engine), and the only one that knows all parts.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/cloudwatch"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/httpd"
	"github.com/statordb/stator/internal/iam"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/tenant"
)

// Server is a running database.
type Server struct {
	listener    net.Listener
	http        *httpd.Server
	servers     membership
	sharing     *sharing // of throughput, with the other servers
	meters      *metering.Registry
	handlers    []smithy.Handler // for tests
	store       kv.Store
	items       *table.Store
	backups     *backup.Manager
	metrics     *cloudwatch.Service
	dax         *daxFront
	clusters    *control.Service
	auth        *auth.Authenticator
	tenants     *tenant.Tenants
	iam         *iam.Service
	secrets     *auth.File // IAM's secrets keys; nil if they do not come from a file
	principals  *auth.File // of client certificates; nil without them
	policies    policies
	webIdentity *auth.File // OpenID Connect providers; nil without them
	id          string     // of this server, in logs of others
	now         func() time.Time
	// certificates are reloaded by followCertificates and Reload.
	certificates certificates
	audit        *audit.Log // nil without an audit log
	stored       *checkpoints
	atMetrics    net.Listener // listener for MetricsListen; nil if unset
	// stopMetrics shuts down the server behind atMetrics; nil if there is none.
	stopMetrics func(context.Context) error
	tick        func(context.Context) error // collects metrics, evaluates alarms and runs auto scaling once
	cancel      context.CancelFunc
	log         *slog.Logger
	remove      []func() error // deletes temporary files after the store is closed, last registered first
	timeout     time.Duration  // closeTimeout; Close grants it once to requests and once to background work
	memory      *memoryLimit

	running  guard.Group
	served   chan struct{} // closed when the HTTP server has ended
	serveErr error         // why, once served is closed; nil after Close
	close    sync.Once
	closeErr error
}

// ErrInsecure means that Listen is reachable from other machines, but there are no credentials and Insecure is not set.
var ErrInsecure = errors.New("refusing to listen on an address that other machines can reach without credentials: any access key would be accepted")

// ErrInsecureHTTP means that Listen is reachable from other machines, and there are credentials but neither TLS nor InsecureHTTP.
var ErrInsecureHTTP = errors.New("refusing to listen on an address that other machines can reach without TLS: every item could be read on the way")

// ErrTestClock rejects TestClock together with credentials: any client can move the test clock, and the clock decides which
// signatures are still valid.
var ErrTestClock = errors.New("the test clock can't be used with credentials: any client can move it, and so decide which signatures have expired")

// credentialsInterval is how often the server checks the credentials file for changes.
const credentialsInterval = 2 * time.Second

// sweepInterval is how often the sweepers run. They remove expired idempotency tokens, deleted tables, old stream shards and
// similar leftovers.
const sweepInterval = time.Minute

// tickInterval is how often measurements are flushed to CloudWatch's store. Alarms and scaling run on the first tick of each
// minute.
const tickInterval = 5 * time.Second

// Open starts a database. The caller must Close it.
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
	// A Now that the caller sets also stamps change records. Otherwise the storage's clock does: servers that share it must agree.
	opt.stamps = opt.Now
	switch {
	case opt.TestClock:
		opt.Now, opt.stamps = clock.now, clock.now
	case opt.Now == nil:
		opt.Now = time.Now
	}
	// Every start gets a fresh ID, so leases held by an earlier process of the same name are not mistaken for ours and can
	// expire.
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
	if opt.CredentialsFile != "" && opt.TLS.Certificate == "" && !opt.InsecureHTTP && !isLoopback(opt.Listen) {
		return nil, fmt.Errorf("%s: %w", opt.Listen, ErrInsecureHTTP)
	}
	listener, err := net.Listen("tcp", opt.Listen)
	if err != nil {
		return nil, err
	}
	opened, err := engine.Open(context.Background(), opt.storage())
	if err != nil {
		listener.Close()
		return nil, err
	}
	store := opened.Store
	opt.evict = opened.Evict
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

// ReloadCredentials rereads the credentials file. Its keys replace the current ones at once. If the file is invalid, the
// current keys stay in force; the error is logged and returned.
func (s *Server) ReloadCredentials() error {
	if !s.auth.Verifies() {
		return errors.New("the server has no credentials")
	}
	err := s.auth.Reload()
	s.logCredentials(true, err)
	return err
}

// Reload rereads the credentials file, the certificates, the directory of policies and the file of web identities, and opens the audit log's file anew.
// Whatever can't be read or opened stays in force as it was; the errors are logged and returned.
func (s *Server) Reload() error {
	var err error
	if s.auth.Verifies() {
		err = s.ReloadCredentials()
	}
	reopened := s.audit.Reopen()
	if reopened != nil {
		s.log.Error("cannot reopen the audit log; events go to the old file", "error", reopened)
	}
	return errors.Join(err, s.reloadCertificates(), s.reloadPolicies(), reopened)
}

// logCredentials logs the outcome of rereading the credentials file.
func (s *Server) logCredentials(changed bool, err error) {
	switch warning := s.auth.Readers(); {
	case err != nil:
		s.log.Error("cannot reload the credentials file; the current access keys stay in force", "error", err)
	case changed:
		s.tenants.Set(s.auth.Limits())
		s.log.Info("reloaded the credentials file")
		if warning != "" {
			s.log.Warn(warning)
		}
	}
}

// MetricsURL returns the endpoint of Options.MetricsListen, e.g. http://127.0.0.1:9090/metrics, or an empty string if that is
// not set.
func (s *Server) MetricsURL() string {
	if s.atMetrics == nil {
		return ""
	}
	return "http://" + s.atMetrics.Addr().String() + "/metrics"
}

// URL returns the endpoint, e.g. http://127.0.0.1:8000, or https:// with Options.TLS.
func (s *Server) URL() string {
	if s.certificates.http != nil {
		return "https://" + s.listener.Addr().String()
	}
	return "http://" + s.listener.Addr().String()
}

// Wait blocks until the server stops serving. It returns nil after Close, otherwise the error that stopped it.
func (s *Server) Wait() error {
	<-s.served
	return s.serveErr
}

// closeTimeout limits each of the two phases of Close: draining requests, then stopping background work.
const closeTimeout = 15 * time.Second

// Close stops listening, drains requests, stops background work and closes the store. After a nil error, every acknowledged
// write is durable, whatever the durability mode. If requests or background work do not end within twice closeTimeout, Close
// leaves the store open and returns an error; the next start then replays the log as after a crash.
func (s *Server) Close() error {
	s.close.Do(func() { s.closeErr = s.stop() })
	return s.closeErr
}

// stop shuts down from the outside in: clients first, then background work, then what the work uses.
func (s *Server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	// Close the listener first: this also stops a Serve that has not begun yet, which Shutdown would miss.
	err := s.listener.Close()
	ended := s.http.Shutdown(ctx)
	s.dax.close(ctx)
	err = errors.Join(err, s.audit.Close(ctx))
	s.cancel()
	if s.stopMetrics != nil { // metrics requests read the store, so they must end before it closes
		err = errors.Join(err, s.stopMetrics(ctx))
	}
	if ended == nil {
		ended = s.waitRunning(s.timeout)
	}
	if ended != nil {
		return errors.Join(err, fmt.Errorf("stopped without closing the storage: %w", ended))
	}
	last := context.WithoutCancel(ctx)
	err = errors.Join(err, s.items.Catalog.KeepClock(last), s.metrics.Collect(last), s.servers.Close(), s.store.Close())
	for _, remove := range s.remove {
		err = errors.Join(err, remove())
	}
	return err
}

var errStillRunning = errors.New("background work has not ended in time")

// waitRunning waits for background work, whose context is already cancelled. It returns errStillRunning after timeout.
func (s *Server) waitRunning(timeout time.Duration) error {
	ended := make(chan struct{})
	guard.Go(s.log, "waiting for background work", func() {
		s.running.Wait()
		s.servers.Wait()
		close(ended)
	})
	select {
	case <-ended:
		return nil
	case <-time.After(timeout):
		return errStillRunning
	}
}

// onceListener makes Close idempotent. The HTTP server aborts its shutdown if closing the listener fails, and stop has already
// closed it.
type onceListener struct {
	net.Listener
	once sync.Once
	err  error
}

func (l *onceListener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// isLoopback reports whether the address is reachable from this machine only. Unknown host names are assumed to be reachable
// from elsewhere.
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
