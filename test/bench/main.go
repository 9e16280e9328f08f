// Command bench measures Stator, its peers and yardsticks on this machine, interleaved in one run, and prints tables of ratios in Markdown.
//
//	make bench
//
// A round measures one workload on all servers, one after the other. The tables show medians of the rounds' ratios, since the speed of a
// shared machine varies from second to second. The load generator runs on the same machine as the servers and takes its share of it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/test/process"
)

var (
	statorBinary    = flag.String("stator", "bin/stator", "Stator's binary")
	localJars       = flag.String("local-classpath", "", "class path of DynamoDB Local; empty leaves it out")
	dynaliteFile    = flag.String("dynalite", "", "dynalite's program; empty leaves it out")
	motoFile        = flag.String("moto", "", "moto_server; empty leaves it out")
	dynoxideFile    = flag.String("dynoxide", "", "dynoxide's program; empty leaves it out")
	daxload         = flag.String("daxload", "", "the program of test/clients/go/daxload; empty leaves DAX out")
	seconds         = flag.Float64("seconds", 1, "length of one measurement in seconds")
	rounds          = flag.Int("rounds", 5, "number of rounds of which medians are taken")
	connections     = flag.String("connections", "1,16,64,256", "numbers of connections on which Stator and the yardsticks are measured")
	peerConnections = flag.String("peer-connections", "16", "numbers of connections on which all servers are compared")
	only            = flag.String("workloads", "", "comma-separated parts of the names of the workloads to measure; empty for all")
	sections        = flag.String("sections", "yardsticks,peers,footprint,dax,postgres", "what to measure; cpu (processor time per request), tail (latencies at fixed rates), disturb (the same beside disturbances), postgres-tail (the same of three servers over PostgreSQL), growth (many items, many tables), live (streams) and transfer (import, export, backup) are not among them by default")
	tailShares      = flag.String("shares", "10,50,80", "for the sections tail and postgres-tail: the rates, in percent of the highest rate of Stator")
	targetAddr      = flag.String("target", "", "host:port of a running server for the section target, which measures nothing else")
	targetRate      = flag.Float64("target-rate", 0, "for the section target: requests per second of an open loop from the second core; 0 for a closed loop")
	scratch         = flag.String("dir", "", "directory on the disk to be measured; empty for the system's temporary one")
	beforeBinaries  = flag.String("before", "", "comma-separated other binaries of Stator, which the sections cpu and tail measure too")
	onlyServers     = flag.String("servers", "", "for the sections cpu and tail: comma-separated parts of the names of the servers to measure beside Stator durable; empty for all")
	placements      = flag.String("placements", "pinned,free", "for the section tail: server and generator on a core each, on all cores, or both in turn")
	tailItems       = flag.Int("tail-items", 5_000_000, "number of 1 KB items of the section disturb")
	growthItems     = flag.Int("growth-items", 50_000_000, "number of 100-byte items in the large table of the section growth")
	growthTables    = flag.Int("growth-tables", 10_000, "number of tables of the section growth")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	work := run
	if part := helper(); part != nil {
		work = part
	}
	// log.Fatal inside run would leave servers running.
	if err := work(); err != nil {
		log.Fatal(err)
	}
}

// helper returns what this process is to do if another one has started it as a helper, and otherwise nil.
func helper() func() error {
	if kind := os.Getenv(yardstickEnv); kind != "" {
		return func() error { return serveYardstick(kind) }
	}
	if os.Getenv(generatorEnv) != "" {
		return generate
	}
	return nil
}

func run() error {
	fmt.Printf("%d CPUs (%s), %s, %s; medians of %d rounds of %v each.\n", runtime.NumCPU(), cpuModel(), runtime.Version(), runtime.GOOS, *rounds, duration())
	for _, s := range []struct {
		name string
		run  func() error
	}{
		{"yardsticks", yardsticks}, {"peers", peers}, {"cpu", cpu}, {"tail", tail}, {"footprint", footprint}, {"growth", growth}, {"live", live}, {"transfer", transfer}, {"dax", acceleration}, {"postgres", postgres}, {"postgres-tail", postgresTail}, {"target", target}, {"disturb", disturb},
	} {
		if !slices.Contains(strings.Split(*sections, ","), s.name) {
			continue
		}
		if err := s.run(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func duration() time.Duration { return time.Duration(*seconds * float64(time.Second)) }

func cpuModel() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// yardsticks compares Stator with servers that do no work, and with the bare storage engine.
func yardsticks() error {
	dir, err := os.MkdirTemp(*scratch, "stator-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	servers, stop, err := start(emptyFasthttp, emptyNetHTTP, fasthttpPebble, statorMemory, statorDurable)
	defer stop()
	if err != nil {
		return err
	}
	for _, s := range servers[3:] {
		if err := load(s); err != nil {
			return err
		}
	}
	fmt.Printf("\n## Stator against yardsticks\n\nRatios are requests per second against an empty handler that gives a GetItem's headers and body; for PutItem also against " +
		"bare Pebble: synced commits of the same bytes by as many writers, without any network. A fasthttp handler that does nothing but such a commit shows what any server could reach.\n\n" +
		"| workload | connections | server | requests/s | of empty fasthttp | of empty net/http | of bare Pebble | of fasthttp + Pebble | CPU s per 100,000 | items per CPU s, against GetItem | p50 ms | p99 ms | p99.9 ms |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	perCPU := map[string]float64{} // GetItems per CPU second, by server and number of connections
	for _, w := range selected(workloads) {
		for _, n := range connectionCounts() {
			results := make([][]result, len(servers))
			var pebble []float64
			for range *rounds {
				for i, s := range servers {
					if i < 2 && w.op != "GetItem" || i == 2 && w.name != putWorkload {
						continue
					}
					r, err := measure(s, w, n)
					if err != nil {
						return fmt.Errorf("%s: %w", s.name, err)
					}
					results[i] = append(results[i], r)
				}
				if w.name == putWorkload {
					rate, err := barePebble(n, duration())
					if err != nil {
						return err
					}
					pebble = append(pebble, rate)
				}
			}
			for i := range servers {
				if len(results[i]) == 0 {
					continue
				}
				r := results[i]
				share := itemsPerCPU(r)
				key := servers[i].name + "/" + strconv.Itoa(n)
				if w.name == getWorkload {
					perCPU[key] = share
				}
				against := "-"
				if base := perCPU[key]; base > 0 {
					against = fmt.Sprintf("%.1f", share/base)
				}
				bare := "-"
				if pebble != nil && servers[i].synced {
					bare = fmt.Sprintf("%.2f", ratio(rates(r), pebble))
				}
				fmt.Printf("| %s | %d | %s | %.0f | %s | %s | %s | %s | %.2f | %s | %s |\n", w.name, n, servers[i].name, median(rates(r)),
					ratioText(r, results[0]), ratioText(r, results[1]), bare, ratioText(r, results[2]), cpuPer100k(r), against, latencies(r))
			}
		}
	}
	return nil
}

// emptyPeer is the index of the empty handler among the peers. It shows what any server could reach where most requests are GetItems.
const emptyPeer = 2

// peers compares Stator with other servers, also under the mixes of the Yahoo! Cloud Serving Benchmark.
func peers() error {
	servers, stop, err := start(append([]launcher{statorDurable, statorMemory, emptyFasthttp}, peerLaunchers()...)...)
	defer stop()
	if err != nil {
		return err
	}
	var loaded []*server
	for i, s := range servers {
		if i == emptyPeer {
			loaded = append(loaded, s)
			continue
		}
		begin := time.Now()
		if err := load(s); err != nil {
			if i < 2 {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", s.name, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "%s loaded in %v\n", s.name, time.Since(begin).Round(time.Second/10))
		loaded = append(loaded, s)
	}
	for _, n := range counts("-peer-connections", *peerConnections) {
		if err := compare("Stator against its peers", loaded, n, selected(workloads)); err != nil {
			return err
		}
		if err := compare("YCSB mixes", loaded, n, selected(ycsbWorkloads())); err != nil {
			return err
		}
	}
	return nil
}

func compare(title string, servers []*server, connections int, list []workload) error {
	fmt.Printf("\n## %s\n\n%d connections; requests per second (items for scans), and in brackets how many times as fast Stator is: durable (each write synced) / in memory.\n\n| workload |", title, connections)
	for _, s := range servers {
		fmt.Printf(" %s |", s.name)
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("--:|", len(servers)))
	for _, w := range list {
		results := make([][]result, len(servers))
		for range *rounds {
			for i, s := range servers {
				if s.broken[w.name] || i == emptyPeer && !w.reads() {
					continue
				}
				r, err := measure(s, w, connections)
				if err != nil && i > 1 {
					// A peer that doesn't support a workload is left out of its line.
					fmt.Fprintf(os.Stderr, "%s: %s: %v\n", s.name, w.name, err)
					s.broken[w.name] = true
					continue
				}
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				results[i] = append(results[i], r)
			}
		}
		fmt.Printf("| %s |", w.name)
		for i, s := range servers {
			switch {
			case i < 2:
				fmt.Printf(" %.0f |", median(rates(results[i])))
			case s.broken[w.name]:
				fmt.Printf(" fails |")
			case len(results[i]) == 0:
				fmt.Printf(" - |")
			default:
				fmt.Printf(" %.0f (%.1f / %.1f) |", median(rates(results[i])), ratio(rates(results[0]), rates(results[i])), ratio(rates(results[1]), rates(results[i])))
			}
		}
		fmt.Println()
	}
	return nil
}

// target measures a server that runs already, for instance to profile it.
func target() error {
	s := &server{Process: process.Running(*targetAddr), name: *targetAddr}
	if err := load(s); err != nil {
		return err
	}
	for _, w := range selected(append(slices.Clone(workloads), ycsbWorkloads()...)) {
		for _, n := range connectionCounts() {
			for range *rounds {
				if *targetRate > 0 {
					m, err := pace(s, w, spinning(n, *targetRate), 1)
					if err != nil {
						return err
					}
					fmt.Printf("| %s | %d | %.0f | %s |\n", w.name, n, m.Rate, quantiles([]*measured{m}))
					continue
				}
				r, err := measure(s, w, n)
				if err != nil {
					return err
				}
				fmt.Printf("| %s | %d | %.0f | %s |\n", w.name, n, r.rate, latencies([]result{r}))
			}
		}
	}
	return nil
}

func connectionCounts() []int { return counts("-connections", *connections) }

// counts parses a flag that is a list of numbers.
func counts(flag, list string) []int {
	var out []int
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			log.Fatalf("%s: %v", flag, err)
		}
		out = append(out, n)
	}
	return out
}

func selected(list []workload) []workload {
	return slices.DeleteFunc(slices.Clone(list), func(w workload) bool { return !named(*only, w.name) })
}

// named reports whether a list of comma-separated parts of names, which may be empty, has one of this name.
func named(list, name string) bool {
	return list == "" || slices.ContainsFunc(strings.Split(list, ","), func(part string) bool { return strings.Contains(name, part) })
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// ratio returns the median of the ratios of the rounds.
func ratio(a, b []float64) float64 {
	var r []float64
	for i := range min(len(a), len(b)) {
		r = append(r, a[i]/b[i])
	}
	return median(r)
}

func ratioText(a, b []result) string {
	if len(b) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", ratio(rates(a), rates(b)))
}

func rates(list []result) []float64 {
	return each(list, func(r result) float64 { return r.rate })
}

func each[T any](list []T, f func(T) float64) []float64 {
	out := make([]float64, len(list))
	for i, r := range list {
		out[i] = f(r)
	}
	return out
}

func itemsPerCPU(list []result) float64 {
	return median(each(list, func(r result) float64 { return r.items / r.cpu }))
}

func cpuPer100k(list []result) float64 {
	return median(each(list, func(r result) float64 { return r.cpu / r.requests * 100_000 }))
}

func latencies(list []result) string {
	var out []string
	for q := range 3 {
		out = append(out, fmt.Sprintf("%.2f", median(each(list, func(r result) float64 { return r.quantiles[q] }))))
	}
	return strings.Join(out, " | ")
}

// program returns the absolute path of a program named by a flag. An empty flag leaves a peer out.
func program(file string) (string, error) {
	if file == "" {
		return "", errors.New("not given")
	}
	return exec.LookPath(file)
}
