package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
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

// poolConns is the number of database connections of each server and of bare pgx.
const poolConns = 30

// statorOver and fasthttpOver start servers over a database.
func statorOver(url string) launcher {
	return launcher{"Stator over PostgreSQL", true, func(dir string) (*process.Process, error) {
		return process.Stator(*statorBinary, "--storage", url, "--data-dir", dir)
	}}
}

func fasthttpOver(url string) launcher {
	return launcher{"fasthttp + bare pgx", true, func(string) (*process.Process, error) { return yardstick("pgx", url) }}
}

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
	url = fmt.Sprint(url, "&pool_max_conns=", poolConns)
	servers, stop, err := start(statorOver(url))
	defer stop()
	if err != nil {
		return err
	}
	if err := load(servers[0]); err != nil {
		return err
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := loadBare(ctx, pool); err != nil {
		return err
	}
	jobs := pgxJobs(ctx, pool)
	behind, stopBehind, err := start(fasthttpOver(url))
	defer stopBehind()
	if err != nil {
		return err
	}
	fmt.Printf("\n## Stator over PostgreSQL\n\nAgainst bare pgx that does the same reads and writes, one request's at a time, with as many connections (%d); "+
		"and against a fasthttp handler that does nothing but that, under the same load. The last columns are µs of processor time per request: of the load generator, "+
		"of the server and of PostgreSQL. Bare pgx runs in the generator's process, and has no server.\n\n"+
		"| workload | connections | Stator, requests/s | bare pgx, requests/s | ratio | fasthttp + pgx, requests/s | ratio | p50 ms | p99 ms | Stator: generator + server + PostgreSQL | fasthttp + pgx | bare pgx |\n"+
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", poolConns)
	for _, w := range selected(workloads) {
		bare := jobs[w.op]
		if bare == nil || !slices.Contains(pgxWorkloads, w.name) {
			continue
		}
		for _, n := range connectionCounts() {
			var ours, theirs, yardstick []costed
			for range *rounds {
				for _, m := range []struct {
					list *[]costed
					run  func() (result, error)
				}{
					{&ours, func() (result, error) { return measure(servers[0], w, n) }},
					{&theirs, func() (result, error) { return inLoop(n, bare) }},
					{&yardstick, func() (result, error) { return measure(behind[0], w, n) }},
				} {
					c, err := cost(db, m.run)
					if err != nil {
						return err
					}
					*m.list = append(*m.list, c)
				}
			}
			rate := func(list []costed) []float64 { return each(list, func(c costed) float64 { return c.rate }) }
			quantile := func(i int) float64 { return median(each(ours, func(c costed) float64 { return c.quantiles[i] })) }
			fmt.Printf("| %s | %d | %.0f | %.0f | %.2f | %.0f | %.2f | %.2f | %.2f | %s | %s | %s |\n", w.name, n, median(rate(ours)), median(rate(theirs)), ratio(rate(ours), rate(theirs)),
				median(rate(yardstick)), ratio(rate(ours), rate(yardstick)), quantile(0), quantile(1), costs(ours), costs(yardstick), costs(theirs))
		}
	}
	return nil
}

// costed is a measurement and the processor time, in seconds, that it took outside the server.
type costed struct {
	result
	generator, database float64
}

// cost runs a measurement and counts the processor time of this process and of PostgreSQL.
func cost(db *pgtest.Instance, run func() (result, error)) (costed, error) {
	generator, database := process.CPU(os.Getpid()), process.FamilyCPU(db.PID())
	r, err := run()
	return costed{r, (process.CPU(os.Getpid()) - generator).Seconds(), (process.FamilyCPU(db.PID()) - database).Seconds()}, err
}

// costs renders the medians of the processor time per request, in microseconds.
func costs(list []costed) string {
	micros := func(f func(c costed) float64) string {
		return fmt.Sprintf("%.1f", median(each(list, func(c costed) float64 { return f(c) / c.requests * 1e6 })))
	}
	return strings.Join([]string{
		micros(func(c costed) float64 { return c.generator }),
		micros(func(c costed) float64 { return c.cpu }),
		micros(func(c costed) float64 { return c.database }),
	}, " + ")
}

// inLoop measures n goroutines that do a job again and again.
func inLoop(n int, job func() error) (result, error) {
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
		return result{}, *err
	}
	requests := float64(done.Load())
	return result{requests: requests, rate: requests / time.Since(start).Seconds()}, nil
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
