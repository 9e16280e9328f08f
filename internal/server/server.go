// Package server wires a server together: it opens the storage and the services over it, starts background work, and ends all of it.
//
// It is the only importer of storage engines and wires all parts together.
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

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/cloudwatch"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/httpd"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

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
