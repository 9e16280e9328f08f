package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
	"github.com/statordb/stator/test/process"
)

// poolConns is how many connections Stator and bare pgx have to the database, each.
const poolConns = 30

// postgres compares Stator over PostgreSQL with bare pgx that does the same reads and writes, on one machine. The database syncs its
// log for each commit.
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
	rows, err := barePgx(ctx, pool)
	if err != nil {
		return err
	}
	fmt.Printf("\n## Stator over PostgreSQL\n\nAgainst bare pgx that does the same reads and writes, pipelined as Stator does it, with as many connections (%d).\n\n"+
		"| workload | connections | Stator, requests/s | bare pgx, requests/s | ratio | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|--:|--:|\n", poolConns)
	for _, w := range selected(workloads) {
		bare := rows[w.name]
		if bare == nil {
			continue
		}
		for _, n := range connectionCounts() {
			var ours []result
			var theirs []float64
			for range *rounds {
				r, err := measure(servers[0], w, n, 0)
				if err != nil {
					return err
				}
				rate, err := inLoop(n, bare)
				if err != nil {
					return err
				}
				ours, theirs = append(ours, r), append(theirs, rate)
			}
			p50 := median(each(ours, func(r result) float64 { return r.quantiles[0] }))
			p99 := median(each(ours, func(r result) float64 { return r.quantiles[1] }))
			fmt.Printf("| %s | %d | %.0f | %.0f | %.2f | %.2f | %.2f |\n", w.name, n, median(rates(ours)), median(theirs), ratio(rates(ours), theirs), p50, p99)
		}
	}
	return nil
}

// inLoop returns how often a second n goroutines do a job.
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

// barePgx returns what bare pgx does for each workload, on a table of its own with rows of the same size.
func barePgx(ctx context.Context, pool *pgxpool.Pool) (map[string]func() error, error) {
	b := new(pgx.Batch)
	b.Queue("CREATE TABLE bare (k bytea PRIMARY KEY, v bytea NOT NULL) WITH (fillfactor = 85)")
	b.Queue("ALTER TABLE bare ALTER COLUMN v SET STORAGE EXTERNAL")
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	const size = 1024
	key := func(i int) []byte { return fmt.Appendf(nil, "t%020d", i) }
	var list [][]any
	for i := range items {
		list = append(list, []any{key(i), make([]byte, size)})
	}
	if _, err := pool.CopyFrom(ctx, pgx.Identifier{"bare"}, []string{"k", "v"}, pgx.CopyFromRows(list)); err != nil {
		return nil, err
	}
	get := func() error {
		var val []byte
		return pool.QueryRow(ctx, "SELECT v FROM bare WHERE k = $1", key(rand.IntN(items))).Scan(&val)
	}
	// A transaction in two round trips: lock and read, write and commit.
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
				keys, vals = append(keys, key(first+i)), append(vals, make([]byte, size))
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
		rows, err := pool.Query(ctx, "SELECT k, v FROM bare WHERE k >= $1 ORDER BY k LIMIT 20", key(rand.IntN(items-20)))
		if err != nil {
			return err
		}
		for rows.Next() {
			rows.RawValues()
		}
		return rows.Err()
	}
	return map[string]func() error{
		"GetItem 1 KB, consistent": get, putWorkload: write(1, size), "UpdateItem counter": write(1, 80), "Query 20 items": query, "TransactWriteItems 4": write(4, size),
	}, nil
}
