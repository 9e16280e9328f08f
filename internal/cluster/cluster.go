// Package cluster makes servers that share one store agree on three things: which servers there are, what each caches of the store, and
// which server runs which background job. All of its state is in the store; servers do not talk to each other.
//
// A server is a record in the store that it renews (beats). Others watch it by their own clocks: one that has not beaten for
// deadAfter is removed with its leases, which the others take over. A server that could not renew its record for a shorter time
// refuses to write, so that no server is replaced while it still acts; see Member.fence.
//
// What servers keep in memory (tables, alarms, backups) changes through a log: a transaction that writes such a key
// (keyspace.Remembered) adds an entry in the same commit. Every server follows the log, reloads what has changed, and records how far it
// has read. A request that changed such a key is answered once all servers have read that far (Settle), so any server can take the next
// request. Until then, and after changes by background work, a server's memory may be stale: before it refuses a request because of
// what it remembers, it reads the log to the end (Member.CatchUp).
//
// Tables change under a freeze (Exclusive): every server drains its writers of the table, makes new ones wait, and acknowledges; only
// then is the change made. So no two servers ever write by different descriptions of a table. There is one freeze at a time.
package cluster

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
)

// Watcher remembers what is at keys in the store.
type Watcher interface {
	// Freeze returns when nobody depends on what is remembered of the key; whoever wants to waits until Reload.
	Freeze(key []byte)
	// Reload reads what is at the key anew, and ends a freeze.
	Reload(ctx context.Context, key []byte) error
}

// Fleet is what a server knows of those it shares its store with.
type Fleet interface {
	// Watch says who remembers what is at the keys with a prefix. It may be called before the servers' log is followed.
	Watch(prefix []byte, w Watcher)
	// Exclusive runs change while what is at the key is frozen on all servers. change must call check in the transaction that
	// changes it, and has been seen by all when Exclusive returns.
	Exclusive(ctx context.Context, key []byte, change func(check func(kv.Txn) error) error) error
	// Settle returns when all servers have seen what this one has changed.
	Settle(ctx context.Context) error
	// Claim makes this server the one that does a job, until Release; false if another is.
	Claim(ctx context.Context, job string) (bool, error)
	// Release ends a claim.
	Release(job string)
	// Servers returns how many servers there are.
	Servers() int
}

// Solo is the fleet of a server that has its store alone.
type Solo struct {
	ctx      context.Context
	log      *slog.Logger
	watchers watchers
}

// NewSolo returns a Solo whose work ends with ctx. log, which may be nil, gets its panics.
func NewSolo(ctx context.Context, log *slog.Logger) *Solo { return &Solo{ctx: ctx, log: log} }

// Watch implements Fleet.
func (s *Solo) Watch(prefix []byte, w Watcher) { s.watchers.add(prefix, w) }

// Exclusive implements Fleet.
func (s *Solo) Exclusive(ctx context.Context, key []byte, change func(check func(kv.Txn) error) error) error {
	w := s.watchers.of(key)
	w.Freeze(key)
	err := change(func(kv.Txn) error { return nil })
	if reloadErr := w.Reload(context.WithoutCancel(ctx), key); reloadErr != nil {
		err = errors.Join(err, reloadErr)
		// Without it, requests that wait for the thaw would wait for ever.
		guard.Go(s.log, "ending a freeze", func() { guard.Loop(s.ctx, s.log, "ending a freeze", func() { s.thaw(w, key) }) })
	}
	return err
}

// thaw ends a freeze after that has failed once.
func (s *Solo) thaw(w Watcher, key []byte) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(thawPause):
		}
		if w.Reload(s.ctx, key) == nil {
			return
		}
	}
}

// Settle implements Fleet.
func (s *Solo) Settle(context.Context) error { return nil }

// Claim implements Fleet.
func (s *Solo) Claim(context.Context, string) (bool, error) { return true, nil }

// Release implements Fleet.
func (s *Solo) Release(string) {}

// Servers implements Fleet.
func (s *Solo) Servers() int { return 1 }

// watchers are found by the prefixes of keys.
type watchers []watcher

type watcher struct {
	prefix string
	Watcher
}

func (l *watchers) add(prefix []byte, w Watcher) { *l = append(*l, watcher{string(prefix), w}) }

// of returns who remembers what is at a key.
func (l watchers) of(key []byte) Watcher {
	for _, w := range l {
		if len(key) >= len(w.prefix) && string(key[:len(w.prefix)]) == w.prefix {
			return w.Watcher
		}
	}
	return nobody{}
}

// nobody remembers nothing.
type nobody struct{}

func (nobody) Freeze([]byte)                        {}
func (nobody) Reload(context.Context, []byte) error { return nil }
