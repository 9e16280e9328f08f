package cluster

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
)

var ctx = context.Background()

// users stands for the requests that use a cached value.
type users struct {
	busy    chan struct{} // Freeze waits until it is closed; nil means there are no users
	frozen  atomic.Int64
	reloads atomic.Int64
}

func (u *users) Freeze([]byte) {
	if u.busy != nil {
		<-u.busy
	}
	u.frozen.Add(1)
}

func (u *users) Reload(context.Context, []byte) error {
	u.reloads.Add(1)
	return nil
}

func join(t *testing.T, store kv.Store, id string, u *users) *Member {
	t.Helper()
	m, err := Join(ctx, Options{KV: store, Info: Info{ID: id}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.Watch(keyspace.TableRecords(), u)
	if err := m.Start(ctx, func() {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func newStore(t *testing.T) kv.Store {
	t.Helper()
	store, err := pebblekv.Open(pebblekv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 2000 {
		if f() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: did not happen", what)
}

var tableKey = keyspace.TableRecord("000000000000", "us-east-1", "tbl")

// TestExclusive checks that a change waits for the users on all servers, and that then all servers reload.
func TestExclusive(t *testing.T) {
	store := newStore(t)
	all := []*users{{}, {busy: make(chan struct{})}, {}}
	var members []*Member
	for i, u := range all {
		members = append(members, join(t, store, string(rune('a'+i)), u))
	}
	var changed atomic.Bool
	done := make(chan error, 1)
	go func() {
		done <- members[0].Exclusive(ctx, tableKey, func(check func(kv.Txn) error) error {
			for i, u := range all {
				if u.frozen.Load() == 0 {
					t.Errorf("server %d was not frozen", i)
				}
			}
			changed.Store(true)
			return kv.Update(ctx, members[0].Store(), kv.TxnOpt{}, func(txn kv.Txn) error {
				if err := check(txn); err != nil {
					return err
				}
				return txn.Put(tableKey, []byte("new"))
			})
		})
	}()
	eventually(t, "others to be frozen", func() bool { return all[0].frozen.Load() == 1 && all[2].frozen.Load() == 1 })
	if changed.Load() {
		t.Error("the change does not wait for all servers")
	}
	close(all[1].busy)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, u := range all {
		if u.reloads.Load() == 0 {
			t.Errorf("server %d has not seen the change", i)
		}
	}
}

// TestAway changes a table while one server hangs and is taken for dead. Once back, that server must not write before
// the users of the old description have ended and it has reloaded the table.
func TestAway(t *testing.T) {
	store := newStore(t)
	away, other := &users{busy: make(chan struct{})}, &users{}
	a, b := join(t, store, "a", away), join(t, store, "b", other)
	a.renewing.Lock() // make it hang
	if err := b.remove(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Exclusive(ctx, tableKey, func(func(kv.Txn) error) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	a.renewing.Unlock()
	if err := a.renew(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server to read on", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.read >= a.rejoin
	})
	if away.reloads.Load() != 0 {
		t.Error("the table was reloaded while in use")
	}
	if a.fence() == nil {
		t.Error("the server may write by its stale cache")
	}
	close(away.busy)
	eventually(t, "the server to be back", func() bool { return a.fence() == nil })
	if away.reloads.Load() == 0 {
		t.Error("the table was not reloaded")
	}
}

// TestLeads checks that each job runs on one server at a time, and that another takes over when that server leaves.
func TestLeads(t *testing.T) {
	store := newStore(t)
	a, b := join(t, store, "a", &users{}), join(t, store, "b", &users{})
	var doing, most, started atomic.Int64
	for _, m := range []*Member{a, b} {
		m.Lead(ctx, "job", nil, func(ctx context.Context) {
			started.Add(1)
			most.Store(max(most.Load(), doing.Add(1)))
			<-ctx.Done()
			doing.Add(-1)
		})
	}
	eventually(t, "the job to be done", func() bool { return started.Load() == 1 })
	leader := a
	if mine, err := b.Claim(ctx, "job"); err != nil {
		t.Fatal(err)
	} else if mine {
		leader = b
	}
	if err := leader.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job to be done again", func() bool { return started.Load() == 2 })
	if most.Load() != 1 {
		t.Errorf("%d servers ran the job concurrently", most.Load())
	}
}

// TestTrim checks that Trim deletes what all servers have seen, except for the last entries.
func TestTrim(t *testing.T) {
	store := newStore(t)
	a, b := join(t, store, "a", &users{}), join(t, store, "b", &users{})
	const more = 50
	err := kv.Update(ctx, store, kv.TxnOpt{}, func(txn kv.Txn) error {
		_, err := log(txn, make([]entry, keepEntries+more)...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Member{a, b} {
		eventually(t, "the log to be followed", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.seen == keepEntries+more
		})
	}
	if err := a.look(ctx); err != nil { // read b's record
		t.Fatal(err)
	}
	eventually(t, "the first entries to go", func() bool {
		if err := a.Trim(ctx); err != nil {
			t.Fatal(err)
		}
		if err := a.look(ctx); err != nil {
			t.Fatal(err)
		}
		first, err := kv.ReadLatest(ctx, store, keyspace.ClusterEntry(more-1))
		if err != nil {
			t.Fatal(err)
		}
		return first == nil
	})
	if kept, err := kv.ReadLatest(ctx, store, keyspace.ClusterEntry(more)); err != nil || kept == nil {
		t.Errorf("entry %d was deleted too: %v", more, err)
	}
}
