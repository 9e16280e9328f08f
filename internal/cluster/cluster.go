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

	"github.com/statordb/stator/internal/kv"
)

// Watcher caches what is stored at keys with some prefix.
type Watcher interface {
	// Freeze blocks new users of the cached value of key, which wait until Reload, and returns once there are none left.
	Freeze(key []byte)
	// Reload reads the key again and ends a freeze. Waiters then see the new value. It must not wait for anything that waits for
	// other servers: they wait for it.
	Reload(ctx context.Context, key []byte) error
}

// Coordinator coordinates the servers that share a store. Member implements it for several servers, Solo for a single one.
type Coordinator interface {
	// Watch registers the cache of keys with a prefix. It must be called before the log is followed (Member.Start).
	Watch(prefix []byte, w Watcher)
	// Exclusive runs change while the key is frozen on all servers. change must call check in the transaction that changes the
	// key: it fails if the freeze has been lost. When Exclusive returns nil, all servers have seen the change.
	Exclusive(ctx context.Context, key []byte, change func(check func(kv.Txn) error) error) error
	// Settle returns once all servers have seen the changes that this server has made.
	Settle(ctx context.Context) error
	// Claim takes the lease of a job for this server, until Release. It returns false if another server holds it.
	Claim(ctx context.Context, job string) (bool, error)
	// Release gives up the lease of a job.
	Release(job string)
	// CatchUp returns once this server has processed the log up to its current end. It needs a Member that has been started.
	CatchUp(ctx context.Context) error
	// Servers returns the number of servers, this one included.
	Servers() int
}

// watchers are caches, found by the prefixes of their keys.
type watchers []watcher

// watcher is a cache and the prefix of its keys.
type watcher struct {
	prefix string
	Watcher
}

func (l *watchers) add(prefix []byte, w Watcher) { *l = append(*l, watcher{string(prefix), w}) }

// of returns the cache of a key; one that does nothing if the key is not cached.
func (l watchers) of(key []byte) Watcher {
	for _, w := range l {
		if len(key) >= len(w.prefix) && string(key[:len(w.prefix)]) == w.prefix {
			return w.Watcher
		}
	}
	return noWatcher{}
}

// noWatcher is the Watcher of keys that nothing caches.
type noWatcher struct{}

func (noWatcher) Freeze([]byte)                        {}
func (noWatcher) Reload(context.Context, []byte) error { return nil }
