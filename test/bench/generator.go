package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// generatorEnv turns this program into a generator, which reads a job from its standard input and prints a measured.
const generatorEnv = "BENCH_GENERATOR"

// anyCore pins nothing.
const anyCore = -1

// onCore runs f, which starts processes, so that they run on one core with all their threads. anyCore restricts nothing.
func onCore(core int, f func() error) error {
	if core == anyCore {
		return f()
	}
	return onCores([]int{core}, f)
}

// job is what a generator does.
type job struct {
	Addrs       []string // of servers, over which connections and requests are spread evenly
	Connections int
	Rate        float64 // requests per second; 0 for a closed loop, in which each connection always has a request under way
	Warm, Time  time.Duration
	Requests    [][]byte
	// Spin makes the generator use all of its core: it is never late, but nothing else should run there.
	Spin bool
	// Backlog bounds for how long requests may be due and unsent; a server that falls further behind does not sustain the rate.
	Backlog time.Duration
}

// measured is the outcome of a job.
type measured struct {
	Latency *hdrhistogram.Snapshot // in microseconds, from when a request was due to the end of its answer
	// Late is how late the generator itself was, in microseconds, each time it meant to look for something to do.
	Late     *hdrhistogram.Snapshot
	Refused  int // answers other than 200
	Rate     float64
	Overload bool // the backlog exceeded its bound
}

// pace measures a workload that has requests on a server with the generator, by default for a measurement's time. It fails if an answer is
// not 200.
func pace(s *server, w workload, j job, core int) (*measured, error) {
	j.Addrs, j.Time, j.Requests = s.addrs(), cmp.Or(j.Time, duration()), w.requests()
	m, err := runGenerator(j, core)
	if err == nil && m.Refused > 0 {
		err = fmt.Errorf("%d answers other than 200", m.Refused)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.name, err)
	}
	return m, nil
}

// quantile returns a quantile (0 to 100) of the latency in milliseconds.
func (m *measured) quantile(q float64) float64 {
	return float64(hdrhistogram.Import(m.Latency).ValueAtQuantile(q)) / 1000
}

// lateness returns a quantile (0 to 100) of how late the generator was, in milliseconds.
func (m *measured) lateness(q float64) float64 {
	return float64(hdrhistogram.Import(m.Late).ValueAtQuantile(q)) / 1000
}
