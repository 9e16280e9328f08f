package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// cpu measures the processor time of requests: a number that a noisy machine changes less than it changes rates. Like the tails, it is
// measured with the server on one core and the generator on another, in a closed loop.
func cpu() error {
	servers, stop, err := startTail(0)
	defer func() { stop() }()
	if err != nil {
		return err
	}
	fmt.Printf("\n## Processor time per request\n\nServer on one core, generator on another; %d connections, closed loop; µs of user and system time, and in brackets how many "+
		"times the empty handler's.\n\n| server |", tailConnections)
	list := tailed()
	for _, w := range list {
		fmt.Printf(" %s |", w.name)
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("--:|", len(list)))
	spent := make([][][]float64, len(servers)) // by server and workload
	for i := range servers {
		spent[i] = make([][]float64, len(list))
	}
	for range *rounds {
		for j, w := range list {
			for i, s := range servers {
				if !s.answers(w) {
					continue
				}
				micros, err := processorTime(s, w, 1, s.CPU)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				spent[i][j] = append(spent[i][j], micros...)
			}
		}
	}
	var empty []float64
	if i := slices.IndexFunc(servers, func(s *server) bool { return s.name == emptyFasthttp.name }); i >= 0 {
		empty = slices.Concat(spent[i]...) // it answers to one workload only
	}
	for i, s := range servers {
		fmt.Printf("| %s |", s.name)
		for j := range list {
			switch {
			case spent[i][j] == nil:
				fmt.Print(" - |")
			case empty == nil:
				fmt.Printf(" %.1f |", median(spent[i][j]))
			default:
				fmt.Printf(" %.1f (%.1f) |", median(spent[i][j]), ratio(spent[i][j], empty))
			}
		}
		fmt.Println()
	}
	return nil
}

// processorTime returns by how much counts of processor time increase with each request to a server, in microseconds.
func processorTime(s *server, w workload, core int, counts ...func() time.Duration) ([]float64, error) {
	out := make([]float64, len(counts))
	for i, count := range counts {
		out[i] = -count().Seconds()
	}
	j := spinning(tailConnections, 0)
	m, err := pace(s, w, j, core)
	if err != nil {
		return nil, err
	}
	for i, count := range counts {
		// The rate is that of the time after the warm-up.
		out[i] = (out[i] + count().Seconds()) * 1e6 / (m.Rate * (duration() + j.Warm).Seconds())
	}
	return out, nil
}
