package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// tailConnections is the number of connections on which tails are measured.
const tailConnections = 32

// tailWorkloads are the workloads whose tails are measured.
var tailWorkloads = []string{getWorkload, putWorkload, "UpdateItem counter", "Query 20 items", "TransactWriteItems 4"}

// spinning is a job at a rate, or with rate 0 in a closed loop, whose generator has a core for itself.
func spinning(connections int, rate float64) job {
	return job{Connections: connections, Rate: rate, Warm: duration() / 5, Spin: true, Backlog: time.Second / 4}
}

// tail measures latencies at fixed rates, from when each request was due: with the server on one core and the generator on another, and
// with the scheduler placing both.
func tail() error {
	if runtime.NumCPU() < 2 {
		return fmt.Errorf("the server and the generator need a core each")
	}
	for _, placed := range []struct {
		name, title       string
		server, generator int
	}{
		{"pinned", "server on one core, generator on another", 0, 1},
		{"free", "server and generator on all cores", anyCore, anyCore},
	} {
		if !strings.Contains(*placements, placed.name) {
			continue
		}
		if err := tails(placed.title, placed.server, placed.generator); err != nil {
			return err
		}
	}
	return nil
}

// startTail starts and loads the servers whose tails are measured, on a core: Stator durable first, then those that can be loaded.
func startTail(core int) (servers []*server, stop func(), err error) {
	others := append([]launcher{statorMemory, emptyFasthttp, fasthttpPebble}, peerLaunchers()...)
	others = slices.DeleteFunc(others, func(l launcher) bool { return !named(*onlyServers, l.name) })
	err = onCore(core, func() (err error) {
		servers, stop, err = start(append([]launcher{statorDurable}, others...)...)
		return err
	})
	if err != nil {
		return nil, stop, err
	}
	loaded := slices.DeleteFunc(slices.Clone(servers), func(s *server) bool {
		if s.name == emptyFasthttp.name || s.name == fasthttpPebble.name {
			return false // they need no items
		}
		err := load(s)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", s.name, err)
		}
		return err != nil
	})
	if loaded[0].name != statorDurable.name {
		return nil, stop, fmt.Errorf("%s could not be loaded", statorDurable.name)
	}
	return loaded, stop, nil
}

// answers reports whether a server can be measured with a workload: yardsticks answer to one kind of request only.
func (s *server) answers(w workload) bool {
	switch s.name {
	case emptyFasthttp.name:
		return w.op == "GetItem"
	case fasthttpPebble.name:
		return w.op != "GetItem" && w.op != "Query"
	}
	return true
}

// tailed returns the selected workloads whose tails are measured.
func tailed() []workload {
	return slices.DeleteFunc(selected(workloads), func(w workload) bool { return !slices.Contains(tailWorkloads, w.name) })
}

// tails measures all servers and workloads in one placement.
func tails(title string, serverCore, generatorCore int) error {
	loaded, stop, err := startTail(serverCore)
	defer func() { stop() }()
	if err != nil {
		return err
	}
	fmt.Printf("\n## Tails: %s\n\n%d connections, open loop; p50 / p99 / p99.9 / max in ms, from when a request was due. The rates are %s %% of the highest of "+
		"Stator durable, and one that every server sustains.\n\n", title, tailConnections, *tailShares)
	for _, w := range tailed() {
		if err := tailTable(w, loaded, generatorCore); err != nil {
			return err
		}
	}
	return nil
}

// tailTable measures one workload on all servers that have it.
func tailTable(w workload, servers []*server, core int) error {
	list := slices.DeleteFunc(slices.Clone(servers), func(s *server) bool { return !s.answers(w) })
	highest := make([]float64, len(list))
	saturated := make([][]*measured, len(list))
	for range *rounds {
		for i, s := range list {
			m, err := pace(s, w, spinning(tailConnections, 0), core)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %s: %v\n", s.name, w.name, err)
				continue
			}
			saturated[i] = append(saturated[i], m)
		}
	}
	common := 0.0
	for i := range list {
		highest[i] = median(each(saturated[i], func(m *measured) float64 { return m.Rate }))
		if highest[i] > 0 && (common == 0 || highest[i] < common) {
			common = highest[i]
		}
	}
	rates := []float64{}
	for _, share := range counts("-shares", *tailShares) {
		rates = append(rates, highest[0]*float64(share)/100)
	}
	rates = append(rates, common*0.8)
	results := make([][][]*measured, len(list))
	for i := range list {
		results[i] = make([][]*measured, len(rates))
	}
	late := []float64{}
	for range *rounds {
		for r, rate := range rates {
			for i, s := range list {
				if highest[i] < rate*1.02 {
					continue
				}
				m, err := pace(s, w, spinning(tailConnections, rate), core)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				if !m.Overload {
					results[i][r] = append(results[i][r], m)
					late = append(late, m.lateness(99.9))
				}
			}
		}
	}
	fmt.Printf("### %s\n\n| server | highest, requests/s | saturated |", w.name)
	for _, rate := range rates {
		fmt.Printf(" %.0f/s |", rate)
	}
	fmt.Printf("\n|---|--:|%s\n", strings.Repeat("--:|", len(rates)+1))
	for i, s := range list {
		fmt.Printf("| %s | %.0f | %s |", s.name, highest[i], quantiles(saturated[i]))
		for r := range rates {
			fmt.Printf(" %s |", quantiles(results[i][r]))
		}
		fmt.Println()
	}
	fmt.Printf("\nThe generator itself was late by %.2f ms (median of its p99.9).\n\n", median(late))
	return nil
}

// quantiles renders the medians of the rounds' p50, p99, p99.9 and maximum.
func quantiles(list []*measured) string {
	if len(list) == 0 {
		return "-"
	}
	var out []string
	for _, q := range []float64{50, 99, 99.9, 100} {
		out = append(out, fmt.Sprintf("%.2f", median(each(list, func(m *measured) float64 { return m.quantile(q) }))))
	}
	return strings.Join(out, " / ")
}
