package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/test/process"
)

const (
	// smallItems is the number of items in the small table. If the large one has fewer than twice as many, it is half of those.
	smallItems = 1_000_000
	// growthRate is the requests per second at which latencies are measured, on growthConnections.
	growthRate        = 2000
	growthConnections = 16
	// growthRepeats is how often the server is started and an index filled; medians are printed. Fewer rounds mean fewer repeats.
	growthRepeats = 3
	// The server and the generator have a core each.
	serverCore, generatorCore = 0, 1
)

// growth measures what grows with the number of items in a table, and what with the number of tables. -workloads selects among its parts:
// compare, scan, index and tables.
func growth() error { return grow(os.Stdout) }

// grow does growth's work and prints to out.
func grow(out io.Writer) error {
	if runtime.NumCPU() < 2 {
		return errors.New("the server and the generator need a core each")
	}
	binary, remove, err := install()
	if err != nil {
		return err
	}
	defer remove()
	for _, part := range []func(g *grown) error{(*grown).items, (*grown).tables} {
		dir, err := os.MkdirTemp(*scratch, "stator-bench")
		if err != nil {
			return err
		}
		g := &grown{server: &server{Process: process.Running(""), name: statorDurable.name, dir: dir}, binary: binary, out: out}
		err = part(g)
		g.kill()
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
	}
	return nil
}

// grown is a server that is stopped and started again over one data directory.
type grown struct {
	*server
	binary string
	out    io.Writer
	seed   uint64 // of the last random choice
}

// row prints a line of a table of two columns.
func (g *grown) row(what, format string, values ...any) {
	fmt.Fprintf(g.out, "| %s | %s |\n", what, fmt.Sprintf(format, values...))
}

// kill ends the server, if it runs, like a crash.
func (g *grown) kill() {
	if g.PID() != 0 {
		g.Kill()
	}
}

// start starts the server on a core and returns the time in milliseconds until it has answered a request. That includes the start of
// the process and the recovery of the data directory.
func (g *grown) start(core int, op, body string, flags ...string) (ms float64, err error) {
	begin := time.Now()
	err = onCore(core, func() error {
		p, err := process.Stator(g.binary, append([]string{"--data-dir", g.dir}, flags...)...)
		if p != nil {
			g.Process = p
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	c, err := dial(g.Addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_, err = c.call(op, body)
	return float64(time.Since(begin).Microseconds()) / 1000, err
}

// starts measures the start of the server after a clean stop and after SIGKILL, and leaves it running. Before each stop, write writes.
func (g *grown) starts(op, body string, write func() error) error {
	var clean, crashed []float64
	for range min(growthRepeats, *rounds) {
		for _, crash := range []bool{false, true} {
			if err := write(); err != nil {
				return err
			}
			times := &clean
			if crash {
				times = &crashed
				g.Kill()
			} else if err := g.Terminate(); err != nil {
				return err
			}
			ms, err := g.start(anyCore, op, body)
			if err != nil {
				return err
			}
			*times = append(*times, ms)
		}
	}
	g.row("start to the first "+op+", ms: after a clean stop; after SIGKILL", "%.0f; %.0f", median(clean), median(crashed))
	return nil
}

// grownTable is a table of small items.
type grownTable struct {
	name  string
	items int
}

// smallItem is an item of 100 bytes, as DynamoDB counts them. Its key is that of largeItem.
func smallItem(i int) string {
	const size = 100 - len("pkg") - len("data") - len("item-")
	number, group := fmt.Sprint(i), fmt.Sprintf("g%d", i%5000)
	at, length := i*131%(1<<20-size), size-len(number)-len(group)
	return `{"pk":{"S":"item-` + number + `"},"g":{"S":"` + group + `"},"data":{"S":"` + random()[at:at+length] + `"}}`
}

// get and put return requests for an item.
func (t *grownTable) get(i int) []byte {
	return request("GetItem", `{"TableName":"`+t.name+`","Key":`+largeKey(i)+`}`)
}

func (t *grownTable) put(i int) []byte {
	return request("PutItem", `{"TableName":"`+t.name+`","Item":`+smallItem(i)+`}`)
}

// pace sends requests at growthRate, by turns of each kind, for random items of a table, and measures their latency for a time. Each call
// chooses other items: the server caches those that are read again.
func (g *grown) pace(t *grownTable, d time.Duration, spin bool, kinds ...func(*grownTable, int) []byte) (*measured, error) {
	g.seed++
	r := rand.New(rand.NewPCG(g.seed, 0))
	j := job{Connections: growthConnections, Rate: growthRate, Warm: d / 5, Time: d, Spin: spin}
	requests := make([][]byte, int((j.Warm+j.Time).Seconds()*j.Rate)+1)
	for i := range requests {
		requests[i] = kinds[i%len(kinds)](t, r.IntN(t.items))
	}
	return pace(g.server, workload{name: "growth", requests: func() [][]byte { return requests }}, j, generatorCore)
}

// grownPart is a part of the section that can be selected.
type grownPart struct {
	name string
	run  func() error
}

// items compares a large table with a small one in the same server, so that the machine's noise hits both.
func (g *grown) items() error {
	small := &grownTable{"small", min(smallItems, *growthItems/2)}
	large := &grownTable{"large", *growthItems}
	measurements := slices.DeleteFunc([]grownPart{
		{"compare", func() error { return g.compare(small, large) }},
		{"scan", func() error { return g.scan(large) }},
		{"index", func() error { return g.index(small) }},
	}, func(p grownPart) bool { return !named(*only, p.name) })
	if len(measurements) == 0 {
		return nil
	}
	fmt.Fprintf(g.out, "\n## Growth: items\n\nTables of %d and %d items of 100 bytes, durable, `--cache-mb %d`, which is the default.\n\n| what | value |\n|---|--:|\n",
		small.items, large.items, pebblekv.DefaultCache>>20)
	const first = `{"TableName":"large","Key":{"pk":{"S":"item-1"}}}`
	if _, err := g.start(anyCore, "ListTables", "{}"); err != nil {
		return err
	}
	for _, t := range []*grownTable{small, large} {
		if err := g.load(t); err != nil {
			return err
		}
	}
	waitIdle(g.server)
	disk := float64(diskBytes(g.dir))
	g.row("disk, GB; bytes per item", "%.1f; %.0f", disk/1e9, disk/float64(small.items+large.items))
	err := g.starts("GetItem", first, func() error {
		_, err := g.pace(large, duration(), true, (*grownTable).put)
		return err
	})
	if err != nil {
		return err
	}
	if err := g.Terminate(); err != nil {
		return err
	}
	if _, err := g.start(serverCore, "GetItem", first); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "\nServer on one core, generator on another; %d connections, open loop at %d requests per second for random items.\n\n| workload | beside | items | p50 ms | p99 ms | p99.9 ms | p99, times as long |\n|---|---|--:|--:|--:|--:|--:|\n", growthConnections, growthRate)
	for _, m := range measurements {
		if err := m.run(); err != nil {
			return err
		}
	}
	fmt.Fprintf(g.out, "\n| memory after these measurements, MB | at most, MB | `--cache-mb` + 100 MB |\n|--:|--:|--:|\n| %.0f | %.0f | %.0f |\n",
		float64(g.RSS())/1e6, float64(g.PeakRSS())/1e6, float64(pebblekv.DefaultCache+100e6)/1e6)
	return nil
}

// load imports the items of a table, and reports the time and the highest use of disk and memory.
func (g *grown) load(t *grownTable) error {
	c, err := dial(g.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	var disk atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			disk.Store(max(disk.Load(), diskBytes(g.dir)))
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	defer func() { cancel(); <-watched }()
	input := filepath.Join(g.dir, "s3", "bench", t.name)
	began := time.Now()
	if err := writeInput(input, true, t.items, smallItem); err != nil {
		return err
	}
	made := time.Now()
	if err := importFrom(c, t.name, true, t.name, false); err != nil {
		return err
	}
	imported := time.Since(made)
	var described struct{ Table struct{ ItemCount int } }
	if err := callInto(c, &described, "DescribeTable", `{"TableName":"`+t.name+`"}`); err != nil {
		return err
	}
	if described.Table.ItemCount != t.items {
		return fmt.Errorf("table %s has %d items of %d", t.name, described.Table.ItemCount, t.items)
	}
	if err := os.RemoveAll(input); err != nil {
		return err
	}
	g.row(fmt.Sprintf("loading %d items, s: writing files, ImportTable; items/s", t.items), "%.0f, %.0f; %.0f", made.Sub(began).Seconds(), imported.Seconds(), float64(t.items)/imported.Seconds())
	g.row("at most meanwhile: disk, GB; memory, MB", "%.1f; %.0f", float64(disk.Load())/1e9, float64(g.PeakRSS())/1e6)
	return nil
}

// latencyRow prints the medians of measurements' quantiles.
func (g *grown) latencyRow(what, beside string, items int, list []*measured, times string) {
	fmt.Fprintf(g.out, "| %s | %s | %d |", what, beside, items)
	for _, q := range resultQuantiles {
		if len(list) == 0 {
			fmt.Fprint(g.out, " - |")
			continue
		}
		fmt.Fprintf(g.out, " %.2f |", median(each(list, func(m *measured) float64 { return m.quantile(q) })))
	}
	fmt.Fprintf(g.out, " %s |\n", times)
}

// timesAsLong renders the median of the rounds' ratios of the p99 to that of others.
func timesAsLong(list, others []*measured) string {
	p99 := func(m *measured) float64 { return m.quantile(99) }
	return fmt.Sprintf("%.1f", ratio(each(list, p99), each(others, p99)))
}

// compare measures single requests to the two tables by turns.
func (g *grown) compare(small, large *grownTable) error {
	waitIdle(g.server)
	for _, w := range []struct {
		name string
		kind func(*grownTable, int) []byte
	}{{"GetItem", (*grownTable).get}, {"PutItem", (*grownTable).put}} {
		tables := []*grownTable{small, large}
		results := make([][]*measured, len(tables))
		for round := range *rounds {
			for turn := range tables {
				i := (round + turn) % len(tables) // each table is first as often as the other
				m, err := g.pace(tables[i], duration(), true, w.kind)
				if err != nil {
					return err
				}
				results[i] = append(results[i], m)
			}
		}
		g.latencyRow(w.name, "nothing", small.items, results[0], "1")
		g.latencyRow(w.name, "nothing", large.items, results[1], timesAsLong(results[1], results[0]))
	}
	return nil
}

// scan measures single requests to a table, by turns with and without a client that scans all of it.
func (g *grown) scan(t *grownTable) error {
	waitIdle(g.server) // finish the aftermath of earlier writes
	// The scanning client is this process. It shares the generator's core, which therefore must not spin.
	if err := moveTo(generatorCore); err != nil {
		return err
	}
	defer moveTo(anyCore)
	c, err := dial(g.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	var alone, beside []*measured
	var scan scanner
	for range *rounds {
		m, err := g.pace(t, duration(), false, (*grownTable).get)
		if err != nil {
			return err
		}
		alone = append(alone, m)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- scan.run(ctx, c) }()
		m, err = g.pace(t, duration(), false, (*grownTable).get)
		stop()
		if err = errors.Join(err, <-ended); err != nil {
			return err
		}
		beside = append(beside, m)
	}
	g.latencyRow("GetItem", "nothing, by turns with the next", t.items, alone, "1")
	g.latencyRow("GetItem", fmt.Sprintf("a Scan of all, %d pages so far", scan.pages), t.items, beside, timesAsLong(beside, alone))
	return nil
}

// index measures how fast an index is filled beside requests to its table, and the latency of these requests before and meanwhile.
func (g *grown) index(t *grownTable) error {
	c, err := dial(g.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	describe := `{"TableName":"` + t.name + `"}`
	use := func(d time.Duration) (*measured, error) {
		return g.pace(t, d, true, (*grownTable).get, (*grownTable).put)
	}
	var before, during []*measured
	var rates []float64
	for range min(growthRepeats, *rounds) {
		waitIdle(g.server)
		m, err := use(duration())
		if err != nil {
			return err
		}
		before = append(before, m)
		began := time.Now()
		if _, err := c.call("UpdateTable", addIndex(t.name)); err != nil {
			return err
		}
		filled := make(chan error, 1)
		var took time.Duration
		go func() {
			err := waitFor(c, "DescribeTable", describe, indexActive)
			took = time.Since(began)
			filled <- err
		}()
		// Short measurements: the last one counts only if the index was still being filled at its end.
		all := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
		for done := false; !done; {
			m, err := use(duration() / 4)
			if err != nil {
				return err
			}
			select {
			case err := <-filled:
				if done = true; err != nil {
					return err
				}
			default:
				all.Merge(hdrhistogram.Import(m.Latency))
			}
		}
		rates = append(rates, float64(t.items)/took.Seconds())
		if all.TotalCount() > 0 {
			during = append(during, &measured{Latency: all.Export()})
		} else {
			before = before[:len(before)-1] // the index was filled before a measurement ended
		}
		if _, err := c.call("UpdateTable", dropIndex(t.name)); err != nil {
			return err
		}
		if err := waitUntil(c, "DescribeTable", describe, "without an index", func(answer string) bool { return !strings.Contains(answer, `"IndexStatus"`) }); err != nil {
			return err
		}
	}
	const what = "GetItem and PutItem"
	g.latencyRow(what, "nothing, by turns with the next", t.items, before, "1")
	g.latencyRow(what, fmt.Sprintf("a GSI with all attributes is filled, %.0f entries/s", median(rates)), t.items, during, timesAsLong(during, before))
	return nil
}

// tables measures the start and the memory of a server with many tables.
func (g *grown) tables() error {
	if !named(*only, "tables") {
		return nil
	}
	n := *growthTables
	fmt.Fprintf(g.out, "\n## Growth: tables\n\n%d tables, each with an item; one in ten has a GSI and a stream.\n\n| what | value |\n|---|--:|\n", n)
	// AWS raises an account's quota of 2,500 tables on request.
	if _, err := g.start(anyCore, "ListTables", "{}", "--no-change-limits"); err != nil {
		return err
	}
	name := func(i int) string { return fmt.Sprintf("table-%d", i) }
	create := func(c *conn, i int) error {
		body := simpleTable(name(i), "")
		if i%10 == 0 {
			body = strings.TrimSuffix(createTable(name(i), true), "}") + `,"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}}`
		}
		_, err := c.call("CreateTable", body)
		return err
	}
	fill := func(c *conn, i int) error {
		_, err := c.call("PutItem", `{"TableName":"`+name(i)+`","Item":{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":"b"}}}`)
		return err
	}
	all := func(do func(c *conn, i int) error) func() error {
		return func() error {
			return times(growthConnections, func(w int) error {
				c, err := dial(g.Addr)
				if err != nil {
					return err
				}
				defer c.Close()
				for i := w; i < n; i += growthConnections {
					if err := do(c, i); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	began := time.Now()
	if err := all(create)(); err != nil {
		return err
	}
	g.row("CreateTable, tables/s", "%.0f", float64(n)/time.Since(began).Seconds())
	if err := all(fill)(); err != nil {
		return err
	}
	g.row("memory after one PutItem each, MB", "%.0f", float64(g.RSS())/1e6)
	g.row("disk, MB", "%.0f", float64(diskBytes(g.dir))/1e6)
	// The server recovers what it wrote last, and then serves nothing but one request.
	if err := g.Terminate(); err != nil {
		return err
	}
	if _, err := g.start(anyCore, "ListTables", "{}"); err != nil {
		return err
	}
	started, cpu, idle := g.RSS(), g.CPU(), 30*duration()
	g.row("processor time of the start, ms", "%d", cpu.Milliseconds())
	time.Sleep(idle)
	g.row(fmt.Sprintf("idle memory, MB: after the start; %v later", idle), "%.0f; %.0f", float64(started)/1e6, float64(g.RSS())/1e6)
	g.row("idle processor time, ms per minute", "%.0f", (g.CPU()-cpu).Seconds()*1000/idle.Minutes())
	return g.starts("GetItem", `{"TableName":"`+name(1)+`","Key":{"pk":{"S":"a"}}}`, all(fill))
}
