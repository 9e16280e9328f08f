// Package pgkv is the engine over a server that speaks PostgreSQL's protocol: PostgreSQL 13 or newer, and, by their dialects,
// YugabyteDB and CockroachDB. Any number of Stator's servers may share one database.
//
// Keys and values are rows of one table, stator_kv; changes of counters are rows of another, stator_counters. A write
// takes two round trips: one reads the hinted keys, one writes and commits. A transaction inserts keys that it found
// missing, so that a row that appeared in between is a conflict; it compares values that it has read when it commits.
// Under load, both round trips are shared with other transactions of the server (combine.go, commit.go).
//
// Locks in memory come first: they queue the writers of one server's hot keys and detect conflicts. Where transactions
// of several servers meet, and where a transaction takes a stamp, the first round trip begins the database's
// transaction and locks the rows.
package pgkv

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/locks"
	"github.com/statordb/stator/internal/kv/paging"
	"github.com/statordb/stator/internal/netio"
	"github.com/statordb/stator/internal/wait"
)

// Options configure the engine.
type Options struct {
	// URL is the address of the database, as libpq and pgx read it:
	// postgres://user:password@host:5432/database?sslmode=verify-full.
	URL string
	// Name identifies this server's connections, for Evict; at most 63 bytes.
	Name   string
	Logger *slog.Logger
	// Now is the clock of stamps, in tests of a single server; nil for the database's clock.
	Now func() time.Time
}

const (
	// defaultConns is the largest number of connections of a server, unless the URL sets pool_max_conns. Three servers fit into
	// the 100 connections that PostgreSQL allows by default.
	defaultConns = 30
	// lockTimeout and idleTimeout bound, in milliseconds, how long a server that hangs can block the rows that it has locked.
	lockTimeout = "10000"
	idleTimeout = "10000"
	// commitTimeout is how long a commit may take before its outcome is reported as unknown.
	commitTimeout = 20 * time.Second
	// readBuffer is the read buffer of a connection, in bytes: pages of rows exceed pgx's 8 KB.
	readBuffer = 64 << 10
	// startTimeout is how long Open waits for the database.
	startTimeout = 30 * time.Second
)

// Store implements kv.Store.
type Store struct {
	pool               *pgxpool.Pool
	dialect            *dialect
	opt                Options
	locks              locks.Table
	sizes              paging.Sizes
	clock              clock
	stable             stable
	reads              combiner[*get]
	scansUp, scansDown combiner[*page]
	commits            combiner[*commit]
	contended          contended

	stop context.CancelFunc
	done guard.Group
}

// Open connects to the database and creates its tables if they are missing.
func Open(ctx context.Context, opt Options) (*Store, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	config, err := pgxpool.ParseConfig(opt.URL)
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(opt.URL); err == nil && u.Query().Get("pool_max_conns") == "" {
		config.MaxConns = defaultConns
	}
	// These are defaults: parameters in the URL win.
	for name, value := range map[string]string{
		"application_name": cmp.Or(opt.Name, "stator"), "lock_timeout": lockTimeout, "idle_in_transaction_session_timeout": idleTimeout,
		"default_transaction_isolation": "read committed", "synchronous_commit": "on",
	} {
		if _, given := config.ConnConfig.RuntimeParams[name]; !given {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	config.ConnConfig.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(r, readBuffer), w)
	}
	config.ConnConfig.DialFunc = keepProcessor(config.ConnConfig.DialFunc)
	config.AfterConnect = prepare
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, opt: opt}
	s.clock.now = opt.Now
	s.reads.most, s.reads.run, s.reads.fail, s.reads.log = maxBatch, s.readAll, failGet, opt.Logger
	s.commits.most, s.commits.run, s.commits.fail, s.commits.log = maxBatch, s.commitAll, failCommit, opt.Logger
	s.scansUp.most, s.scansUp.run, s.scansUp.fail, s.scansUp.log = maxScanBatch, s.scanAll, failPage, opt.Logger
	s.scansDown.most, s.scansDown.run, s.scansDown.fail, s.scansDown.log = maxScanBatch, s.scanAll, failPage, opt.Logger
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.create(start); err != nil {
		pool.Close()
		return nil, fmt.Errorf("preparing the database: %w", err)
	}
	var background context.Context
	background, s.stop = context.WithCancel(context.Background())
	s.done.Start(opt.Logger, "summing counters", func() {
		s.sumLoop(background)
	})
	return s, nil
}

// keepProcessor makes the connections of dial keep their processor. Go would lend it to another thread during many writes: sending a
// statement takes some 10 µs, and longer where it wakes PostgreSQL on the same machine.
func keepProcessor(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return netio.Dialed(c)
	}
}

// prepare applies the dialect's settings to a new connection, except those that the URL gives.
func prepare(ctx context.Context, c *pgx.Conn) error {
	var version string
	if err := c.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil {
		return err
	}
	b := new(pgx.Batch)
	for _, setting := range dialectOf(version).settings {
		name, _, _ := strings.Cut(setting, " ")
		if _, given := c.Config().RuntimeParams[name]; !given {
			b.Queue("SET " + setting)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return c.SendBatch(ctx, b).Close()
}

// create detects the dialect and creates the tables. Several servers may do so concurrently.
func (s *Store) create(ctx context.Context) error {
	var version string
	if err := s.pool.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil {
		return failure(err)
	}
	s.dialect = dialectOf(version)
	var there bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass('stator_kv') IS NOT NULL AND to_regclass('stator_counters') IS NOT NULL").Scan(&there); err != nil || there {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, statement := range s.dialect.create {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close implements kv.Store.
func (s *Store) Close() error {
	s.stop()
	s.done.Wait()
	s.pool.Close()
	return nil
}

// Limits implements kv.Store. PostgreSQL's indexes take no larger keys, and its values no full gigabyte.
func (s *Store) Limits() kv.Limits {
	return kv.Limits{Key: 2600, Value: 512 << 20, Txn: 512 << 20, Workers: 8}
}

// Evict terminates the connections, and with them the transactions, of the server with that name, and returns once they
// have ended.
func (s *Store) Evict(ctx context.Context, name string) error {
	if !s.dialect.snapshots {
		return nil // Without snapshots Stable lags far enough anyway, and these databases can't be asked: see dialect
	}
	return wait.Until(ctx, evictPause, func() (bool, error) {
		var left int
		err := s.retryRead(ctx, func() error {
			tripTaken(ctx)
			return s.pool.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1", name).Scan(&left)
		})
		return left == 0, err
	})
}

// evictPause is how long connections get to end before the next check.
const evictPause = 5 * time.Millisecond

// tripsKey is the context key of CountTrips.
type tripsKey struct{}

// CountTrips returns a context in which n counts the round trips to the database.
func CountTrips(ctx context.Context, n *atomic.Int64) context.Context {
	return context.WithValue(ctx, tripsKey{}, n)
}

// tripTaken counts a round trip. Each request that waits for a shared statement counts it as its own.
func tripTaken(ctx context.Context) {
	if n, ok := ctx.Value(tripsKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}

// send sends the statements of a batch together and waits for all of them. It returns errors of the batch's callbacks
// unchanged.
func (s *Store) send(ctx context.Context, via interface {
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}, b *pgx.Batch) error {
	tripTaken(ctx)
	return via.SendBatch(ctx, b).Close()
}

// retryRead runs a job that writes nothing, and repeats it if the connection was broken.
func (s *Store) retryRead(ctx context.Context, job func() error) error {
	err := failure(job())
	for attempt := 0; attempt < 2 && errors.Is(err, kv.ErrUnavailable) && ctx.Err() == nil; attempt++ {
		s.pool.Reset() // the database has restarted, so the other connections are broken too
		err = failure(job())
	}
	return err
}
