package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
	"github.com/statordb/stator/test/process"
)

// poolConns is the number of database connections of Stator and of bare pgx, each.
const poolConns = 30

// postgres compares Stator over PostgreSQL with bare pgx doing the same reads and writes, on one machine. The database syncs its log for
// each commit.
func postgres() error {
	db, err := pgtest.Start(true)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	url, err := db.Database()
	if err != nil {
		return err
	}
	servers, stop, err := start(launcher{"Stator over PostgreSQL", true, func(dir string) (*process.Process, error) {
		return process.Stator(*statorBinary, "--storage", fmt.Sprint(url, "&pool_max_conns=", poolConns), "--data-dir", dir)
	}})
	defer stop()
	if err != nil {
		return err
	}
	if err := load(servers[0]); err != nil {
		return err
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, fmt.Sprint(url, "&pool_max_conns=", poolConns))
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := loadBare(ctx, pool); err != nil {
		return err
	}
	jobs := pgxJobs(ctx, pool)
	behind, stopBehind, err := start(launcher{"fasthttp + bare pgx", true, func(string) (*process.Process, error) {
		return yardstick("pgx", fmt.Sprint(url, "&pool_max_conns=", poolConns))
	}})
	defer stopBehind()
	if err != nil {
		return err
	}
	fmt.Printf("\n## Stator over PostgreSQL\n\nAgainst bare pgx that does the same reads and writes, one request's at a time, with as many connections (%d); "+
		"and against a fasthttp handler that does nothing but that, under the same load.\n\n"+
		"| workload | connections | Stator, requests/s | bare pgx, requests/s | ratio | fasthttp + pgx, requests/s | ratio | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n", poolConns)
	for _, w := range selected(workloads) {
		bare := jobs[w.op]
		if bare == nil || !slices.Contains(pgxWorkloads, w.name) {
			continue
		}
		for _, n := range connectionCounts() {
			var ours, yardstick []result
			var theirs []float64
			for range *rounds {
				r, err := measure(servers[0], w, n)
				if err != nil {
					return err
				}
				rate, err := inLoop(n, bare)
				if err != nil {
					return err
				}
				y, err := measure(behind[0], w, n)
				if err != nil {
					return err
				}
				ours, theirs, yardstick = append(ours, r), append(theirs, rate), append(yardstick, y)
			}
			p50 := median(each(ours, func(r result) float64 { return r.quantiles[0] }))
			p99 := median(each(ours, func(r result) float64 { return r.quantiles[1] }))
			fmt.Printf("| %s | %d | %.0f | %.0f | %.2f | %.0f | %.2f | %.2f | %.2f |\n", w.name, n, median(rates(ours)), median(theirs), ratio(rates(ours), theirs),
				median(rates(yardstick)), ratio(rates(ours), rates(yardstick)), p50, p99)
		}
	}
	return nil
}

// inLoop returns how many times per second n goroutines do a job.
func inLoop(n int, job func() error) (float64, error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Since(start) < duration() {
				if err := job(); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		}()
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}

// bareSize is the size of a bare row's value in bytes.
const bareSize = 1024

func bareKey(i int) []byte { return fmt.Appendf(nil, "t%020d", i) }

// loadBare creates a separate table for bare pgx, with rows of the same size as Stator's.
func loadBare(ctx context.Context, pool *pgxpool.Pool) error {
	b := new(pgx.Batch)
	b.Queue("CREATE TABLE bare (k bytea PRIMARY KEY, v bytea NOT NULL) WITH (fillfactor = 85)")
	b.Queue("ALTER TABLE bare ALTER COLUMN v SET STORAGE EXTERNAL")
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	var list [][]any
	for i := range items {
		list = append(list, []any{bareKey(i), make([]byte, bareSize)})
	}
	_, err := pool.CopyFrom(ctx, pgx.Identifier{"bare"}, []string{"k", "v"}, pgx.CopyFromRows(list))
	return err
}

// pgxWorkloads are the workloads for which pgxJobs has jobs.
var pgxWorkloads = []string{getWorkload, putWorkload, "UpdateItem counter", "Query 20 items", "TransactWriteItems 4"}

// pgxJobs returns the equivalent work of bare pgx for one operation of each workload.
func pgxJobs(ctx context.Context, pool *pgxpool.Pool) map[string]func() error {
	get := func() error {
		var val []byte
		return pool.QueryRow(ctx, "SELECT v FROM bare WHERE k = $1", bareKey(rand.IntN(items))).Scan(&val)
	}
	// A transaction of two round trips: lock and read, then write and commit.
	write := func(n, size int) func() error {
		return func() (err error) {
			c, err := pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer c.Release()
			first := rand.IntN(items - n)
			var keys, vals [][]byte
			for i := range n {
				keys, vals = append(keys, bareKey(first+i)), append(vals, make([]byte, size))
			}
			read, done := new(pgx.Batch), new(pgx.Batch)
			read.Queue("BEGIN")
			if n == 1 {
				read.Queue("SELECT k, v FROM bare WHERE k = $1 FOR UPDATE", keys[0])
				done.Queue("UPDATE bare SET v = $2 WHERE k = $1", keys[0], vals[0])
			} else {
				read.Queue("SELECT k, v FROM bare WHERE k = ANY($1) ORDER BY k FOR UPDATE", keys)
				done.Queue("UPDATE bare SET v = d.v FROM unnest($1::bytea[], $2::bytea[]) AS d (k, v) WHERE bare.k = d.k", keys, vals)
			}
			done.Queue("COMMIT")
			return errors.Join(c.SendBatch(ctx, read).Close(), c.SendBatch(ctx, done).Close())
		}
	}
	query := func() error {
		rows, err := pool.Query(ctx, "SELECT k, v FROM bare WHERE k >= $1 ORDER BY k LIMIT 20", bareKey(rand.IntN(items-20)))
		if err != nil {
			return err
		}
		for rows.Next() {
			rows.RawValues()
		}
		return rows.Err()
	}
	return map[string]func() error{
		"GetItem": get, "PutItem": write(1, bareSize), "UpdateItem": write(1, 80), "Query": query, "TransactWriteItems": write(4, bareSize),
	}
}

// behindHTTP returns a handler that does an operation's job, and answers with as many bytes as Stator.
func behindHTTP(url string, item []byte, answer func(c *fasthttp.RequestCtx, body []byte)) (fasthttp.RequestHandler, error) {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	jobs := pgxJobs(ctx, pool)
	bodies := map[string][]byte{"GetItem": item, "Query": bytes.Repeat(item, 20)}
	return func(c *fasthttp.RequestCtx) {
		_, op, _ := strings.Cut(string(c.Request.Header.Peek("X-Amz-Target")), ".")
		if job := jobs[op]; job != nil {
			if err := job(); err != nil {
				c.Error(err.Error(), fasthttp.StatusInternalServerError)
				return
			}
		}
		body := bodies[op]
		if body == nil {
			body = []byte("{}")
		}
		answer(c, body)
	}, nil
}
