// Package faults injects faults in test mode: a seeded random number decides which requests are throttled, conflict, fail, are delayed
// or read stale data.
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

// Effect is what happens to a request.
type Effect string

// The effects.
const (
	Throttle    Effect = "throttle"    // of an item: it is throttled
	Unprocessed Effect = "unprocessed" // of an item of a batch: it stays unprocessed
	Conflict    Effect = "conflict"    // of an item to be written: a transaction has it
	Fail        Effect = "error"       // of a request: InternalServerError, before anything is done
	Latency     Effect = "latency"     // of a request: it is answered later, by a time
	Stale       Effect = "stale"       // of an eventually consistent read: it sees what was there up to a time ago
)

// rule is what happens how often to the requests that it is for.
type rule struct {
	operation, table string // "" is any
	effect           Effect
	rate             float64
	time             time.Duration
}

// Faults are the rules of a server. Those that come later win. The nil value has none.
type Faults struct {
	rules []rule

	mu   sync.Mutex
	rand *rand.Rand
}

// Parse reads rules, such as
//
//	throttle=0.05
//	PutItem:conflict=0.1,latency=20ms@0.5
//	Query/Users:stale=2s
//	*/Users:error=0.01
//
// An effect is followed by how often it happens, between 0 and 1; latency and stale by a time and, behind @, how often (else
// always). It returns nil if there are none.
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
			return r, fmt.Errorf("%q is no time", at)
		}
		if !ok {
			return r, nil
		}
	default:
		return r, fmt.Errorf("there is no effect %q: they are throttle, unprocessed, conflict, error, latency and stale", name)
	}
	if r.rate, err = strconv.ParseFloat(amount, 64); err != nil || r.rate < 0 || r.rate > 1 {
		return r, fmt.Errorf("%q is no rate between 0 and 1", amount)
	}
	return r, nil
}

// Has reports whether there is a rule with the effect, and its longest time.
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

// Draw decides whether the effect happens to a request of an operation for a table, and returns its time.
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

// Within returns a random part of a time.
func (f *Faults) Within(d time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(f.rand.Float64() * float64(d))
}
