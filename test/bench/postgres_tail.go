package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
	"github.com/statordb/stator/test/process"
)

// tailServers is how many servers share the database whose tails are measured.
const tailServers = 3

// postgresTail measures the tails of several servers over one PostgreSQL, and those of an equal number of yardsticks. Each server and each
// yardstick has poolConns connections to the database. The generator has the last core for itself.
func postgresTail() error {
	generator := runtime.NumCPU() - 1
	if generator < 1 {
		return errors.New("the servers and the generator need a core each")
	}
	var cores []int
	for core := range generator {
		cores = append(cores, core)
	}
	var db *pgtest.Instance
	var servers []*server
	var stop func()
	var url string
	err := onCores(cores, func() (err error) {
		if db, err = pgtest.Start(true); err != nil {
			return err
		}
		if url, err = db.Database(); err != nil {
			return err
		}
		url = fmt.Sprint(url, "&pool_max_conns=", poolConns)
		servers, stop, err = start(slices.Concat(slices.Repeat([]launcher{statorOver(url)}, tailServers), slices.Repeat([]launcher{fasthttpOver(url)}, tailServers))...)
		return err
	})
	// The servers end before their database.
	if db != nil {
		defer func() { _ = db.Close() }()
	}
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	stators := together(fmt.Sprint(tailServers, " Stator servers"), servers[:tailServers]...)
	yardsticks := together(fmt.Sprint(tailServers, " fasthttp + bare pgx"), servers[tailServers:]...)
	if err := load(stators); err != nil {
		return err
	}
	if err := loadBareOnce(url); err != nil {
		return err
	}
	place := "core 0"
	if generator > 1 {
		place = fmt.Sprint("cores 0 to ", generator-1)
	}
	fmt.Printf("\n## Tails over PostgreSQL: %d servers\n\nPostgreSQL and all servers on %s, generator on core %d. %d connections over %d servers that share a database, with %d connections "+
		"each; open loop; p50 / p99 / p99.9 / max in ms, from when a request was due. The rates are %s %% of the highest of Stator, and one that both sustain.\n\n",
		tailServers, place, generator, tailConnections, tailServers, poolConns, *tailShares)
	list := []*server{stators, yardsticks}
	for _, w := range tailed() {
		if err := tailTable(w, list, generator); err != nil {
			return err
		}
	}
	return postgresCPU(db, list, generator)
}

// postgresCPU measures the processor time of the servers and of their database.
func postgresCPU(db *pgtest.Instance, list []*server, core int) error {
	fmt.Printf("### Processor time per request\n\nSaturated; µs of all servers + of PostgreSQL.\n\n| workload |")
	for _, s := range list {
		fmt.Printf(" %s |", s.name)
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("--:|", len(list)))
	for _, w := range tailed() {
		spent := make([][2][]float64, len(list))
		for range *rounds {
			for i, s := range list {
				micros, err := processorTime(s, w, core, s.CPU, func() time.Duration { return process.FamilyCPU(db.PID()) })
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				for k := range micros {
					spent[i][k] = append(spent[i][k], micros[k])
				}
			}
		}
		fmt.Printf("| %s |", w.name)
		for _, both := range spent {
			fmt.Printf(" %.1f + %.1f |", median(both[0]), median(both[1]))
		}
		fmt.Println()
	}
	return nil
}

// loadBareOnce is loadBare with connections of its own.
func loadBareOnce(url string) error {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	return loadBare(ctx, pool)
}
