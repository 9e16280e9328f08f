// Package faults injects faults in test mode. A seeded random number generator decides which requests are throttled, conflict, fail, are
// delayed, or read stale data, so the faults of a sequence of requests can be repeated.
package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Effect is a kind of fault.
type Effect string

// The effects, and what each applies to.
const (
	Throttle    Effect = "throttle"    // an item: it is throttled
	Unprocessed Effect = "unprocessed" // an item of a batch: it stays unprocessed
	Conflict    Effect = "conflict"    // an item to be written: a transaction holds it
	Fail        Effect = "error"       // a request: InternalServerError before anything is done
	Latency     Effect = "latency"     // a request: its answer is delayed by a time
	Stale       Effect = "stale"       // an eventually consistent read: it sees the state of up to a time ago
)

// rule says how often an effect happens to matching requests.
type rule struct {
	operation, table string // "" matches any
	effect           Effect
	rate             float64 // probability
	time             time.Duration
}

// Faults are the rules of a server. If several match, the last one wins. The nil value has no rules.
type Faults struct {
	rules []rule

	mu   sync.Mutex
	rand *rand.Rand
}

// Parse parses rules such as
//
//	throttle=0.05
//	PutItem:conflict=0.1,latency=20ms@0.5
//	Query/Users:stale=2s
//	*/Users:error=0.01
//
// An effect is followed by its probability between 0 and 1. latency and stale are followed by a time and, optionally, @ and a probability;
// they always happen otherwise. Parse returns nil if there are no rules.
func Parse(texts []string, seed uint64) (*Faults, error) {
	f := &Faults{rand: rand.New(rand.NewPCG(seed, 0))}
	for _, text := range texts {
		where, effects, ok := strings.Cut(text, ":")
		if !ok {
			where, effects = "*", text
		}
		operation, table, _ := strings.Cut(where, "/")
		if operation == "*" {
			operation = ""
		}
		if table == "*" {
			table = ""
		}
		for _, one := range strings.Split(effects, ",") {
			r, err := parseEffect(one)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", text, err)
			}
			r.operation, r.table = operation, table
			f.rules = append(f.rules, r)
		}
	}
	if len(f.rules) == 0 {
		return nil, nil
	}
	return f, nil
}

// parseEffect parses NAME=RATE or NAME=TIME@RATE.
func parseEffect(text string) (r rule, err error) {
	name, amount, ok := strings.Cut(text, "=")
	if !ok {
		return r, errors.New("an effect has the form NAME=RATE or NAME=TIME@RATE")
	}
	r.effect, r.rate = Effect(name), 1
	switch r.effect {
	case Throttle, Unprocessed, Conflict, Fail:
	case Latency, Stale:
		var at string
		at, amount, ok = strings.Cut(amount, "@")
		if r.time, err = time.ParseDuration(at); err != nil || r.time <= 0 {
			return r, fmt.Errorf("%q is not a time such as 20ms", at)
		}
		if !ok {
			return r, nil
		}
	default:
		return r, fmt.Errorf("there is no effect %q; the effects are throttle, unprocessed, conflict, error, latency and stale", name)
	}
	if r.rate, err = strconv.ParseFloat(amount, 64); err != nil || r.rate < 0 || r.rate > 1 {
		return r, fmt.Errorf("%q is not a rate between 0 and 1", amount)
	}
	return r, nil
}

// Has reports whether any rule has the effect, and the longest time among those.
func (f *Faults) Has(e Effect) (longest time.Duration, ok bool) {
	if f == nil {
		return 0, false
	}
	for _, r := range f.rules {
		if r.effect == e && r.rate > 0 {
			longest, ok = max(longest, r.time), true
		}
	}
	return longest, ok
}

// Draw decides whether the effect happens to a request of an operation on a table. It also returns the effect's time.
func (f *Faults) Draw(e Effect, operation, table string) (time.Duration, bool) {
	if f == nil {
		return 0, false
	}
	for i := len(f.rules) - 1; i >= 0; i-- {
		r := &f.rules[i]
		if r.effect != e || r.operation != "" && r.operation != operation || r.table != "" && r.table != table {
			continue
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		return r.time, f.rand.Float64() < r.rate
	}
	return 0, false
}

// Within returns a random duration below d.
func (f *Faults) Within(d time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(f.rand.Float64() * float64(d))
}
