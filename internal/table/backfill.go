package table

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/turns"
	"github.com/statordb/stator/internal/wait"
)

const (
	// fillItems and fillBytes bound what one transaction of a backfill puts, and so how long writers of these items wait.
	fillItems = 32
	fillBytes = 128 << 10
	// fillShare is the ratio of rest to work of a backfill while requests arrive, so that clients keep most of the capacity.
	fillShare = 2
)

// ttlIndex is the ID of the TTL index, which no secondary index has.
const ttlIndex uint8 = 0

// Builder fills and clears indexes of live tables in the background: GSIs that UpdateTable creates and deletes, and the TTL
// index. It stores its progress together with what it puts, so that it continues after a crash.
//
// While an index is being filled, every write maintains it, whether or not the backfill has reached the item; the item's lock
// serializes the two.
type Builder struct {
	Store *Store
	// Linger is the shortest time that an index stays in a transient state, so that clients can observe it.
	Linger time.Duration
	// Report receives failures. Failed work is retried.
	Report func(error)

	mu      sync.Mutex
	running map[uint32]bool // ids of tables being worked on
	gaveUp  map[uint32]bool // ids of tables whose indexes were given up; their removal has not finished since
	aside   map[uint32]bool // ids of tables whose work panicked again after giving up; only a restart retries them
	work    guard.Group
}

// retryPause is the pause before failed work is retried.
const retryPause = time.Second

// Run works on all unfinished tables, concurrently, whenever tables change, until ctx ends.
func (b *Builder) Run(ctx context.Context) {
	b.running, b.gaveUp, b.aside = map[uint32]bool{}, map[uint32]bool{}, map[uint32]bool{}
	defer b.work.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.Store.Catalog.Changed():
		}
		for t := range b.Store.Catalog.Tables() {
			if t.Unfinished() {
				b.start(ctx, t)
			}
		}
	}
}

// start works on a table in the background, unless that is being done already or the table was put aside.
func (b *Builder) start(ctx context.Context, t *catalog.Table) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running[t.ID] || b.aside[t.ID] {
		return
	}
	b.running[t.ID] = true
	b.work.Start(nil, "building indexes", func() { // workOn reports panics
		b.workOn(ctx, t)
		// Look again: a change made after workOn last looked, while this table was marked as running, would be missed.
		if t := b.Store.Catalog.Get(t.Namespace, t.Name); t != nil && t.Unfinished() && ctx.Err() == nil {
			b.start(ctx, t)
		}
	})
}

// workOn does all work on a table. If it panics, the indexes being created are given up; if removing them panics too,
// the table is put aside.
func (b *Builder) workOn(ctx context.Context, t *catalog.Table) {
	b.mu.Lock()
	before := b.gaveUp[t.ID]
	b.mu.Unlock()
	givingUp, aside := false, false
	for step := b.finish; ; {
		err := guard.Run(nil, "building indexes", func() error { return step(ctx, t.Namespace, t.Name, t.ID) })
		if err == nil || ctx.Err() != nil {
			break
		}
		b.Report(fmt.Errorf("table %s: %w", t.ARN(), err))
		if _, panicked := errors.AsType[*guard.PanicError](err); panicked {
			if aside = givingUp || before; aside {
				break
			}
			step, givingUp = b.giveUp, true
			continue
		}
		if wait.Pause(ctx, retryPause) != nil {
			break
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.running, t.ID)
	delete(b.gaveUp, t.ID)
	switch {
	case aside:
		b.aside[t.ID] = true
	case givingUp:
		b.gaveUp[t.ID] = true
	}
}

// giveUp deletes the indexes that are being created: IndexStatus has no value for a failure
// ("GlobalSecondaryIndexDescription").
func (b *Builder) giveUp(ctx context.Context, ns catalog.Namespace, name string, id uint32) error {
	_, err := b.Store.Catalog.Change(ctx, ns, name, func(now *catalog.Table) error {
		if now.ID != id {
			return nil
		}
		for i := range now.Indexes {
			if now.Indexes[i].State == catalog.Creating {
				now.Indexes[i].State = catalog.Deleting
			}
		}
		if now.TTL != nil && now.TTL.State == catalog.Enabling {
			now.TTL.State = catalog.Disabling
		}
		return nil
	})
	return err
}

// finish does all work on a table, unless it has been replaced by another of the same name.
func (b *Builder) finish(ctx context.Context, ns catalog.Namespace, name string, id uint32) error {
	for {
		t := b.Store.Catalog.Get(ns, name)
		if t == nil || t.ID != id || !t.Unfinished() || ctx.Err() != nil {
			return ctx.Err()
		}
		if err := wait.Pause(ctx, b.Linger); err != nil {
			return err
		}
		if err := b.step(ctx, t); err != nil {
			return err
		}
	}
}

// step does the first piece of unfinished work. The caller has checked that there is some.
func (b *Builder) step(ctx context.Context, t *catalog.Table) error {
	for _, x := range t.Indexes {
		switch x.State {
		case catalog.Creating:
			return b.fill(ctx, t, x.ID)
		case catalog.Deleting:
			return b.clear(ctx, t, x.ID)
		}
	}
	if t.TTL.State == catalog.Enabling {
		return b.fill(ctx, t, ttlIndex)
	}
	return b.clear(ctx, t, ttlIndex)
}

// fill puts all items of a table into an index that is being created, and then ends its creation.
func (b *Builder) fill(ctx context.Context, t *catalog.Table, id uint8) error {
	var p progress
	g, all := errgroup.WithContext(ctx)
	g.SetLimit(max(1, b.Store.KV.Limits().Workers))
	for part := range keyspace.BackfillParts {
		g.Go(func() error {
			return guard.Run(nil, "filling an index", func() error { return b.fillPart(all, t, id, part, &p) })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err := b.Store.Catalog.Change(ctx, t.Namespace, t.Name, func(now *catalog.Table) error {
		if now.ID == t.ID && id == ttlIndex && now.TTL.State == catalog.Enabling {
			now.TTL.State = catalog.Enabled
		}
		if x := now.IndexByID(id); now.ID == t.ID && x != nil && x.State == catalog.Creating {
			x.State = ""
		}
		return nil
	})
	return err
}

// fillPart puts the items of one part of the hash space into an index. It rests between transactions if requests have arrived.
func (b *Builder) fillPart(ctx context.Context, t *catalog.Table, id uint8, part int, p *progress) error {
	for requests := b.Store.requests(); ; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		began := time.Now()
		// Each call is a short transaction, so writers of these items wait only briefly.
		done, err := b.Store.fillSome(ctx, t, id, part, p)
		if done {
			p.end(part)
		}
		if err != nil || done {
			return err
		}
		worked := time.Since(began)
		turns.Rest(worked)
		if now := b.Store.requests(); now != requests {
			requests = now
			if err := wait.Pause(ctx, fillShare*worked); err != nil {
				return err
			}
		}
	}
}

// progress is the progress of a backfill, for the metric OnlineIndexPercentageProgress.
type progress struct {
	mu   sync.Mutex
	done [keyspace.BackfillParts]float64 // share of each part that is done, 0 to 1
}

// end marks a part as done.
func (p *progress) end(part int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[part] = 1
}

// at marks a part as done up to key, and returns the percentage that is done of all parts.
func (p *progress) at(part int, key []byte) (percent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const n = keyspace.BackfillParts
	p.done[part] = max(0, float64(keyspace.HashOf(key))*n/keyspace.HashSpace-float64(part))
	sum := 0.0
	for _, done := range p.done {
		sum += done
	}
	return int(100 * sum / n)
}

// requests returns the number of requests so far; 0 if they are not counted.
func (s *Store) requests() int64 {
	if s.Requests == nil {
		return 0
	}
	return s.Requests()
}

// fillSome puts the next items of a part into an index. done means that there are none left, or that the index is no
// longer being created.
func (s *Store) fillSome(ctx context.Context, t *catalog.Table, id uint8, part int, p *progress) (done bool, err error) {
	release, t, err := s.current(ctx, t)
	if err != nil {
		return false, err
	}
	if release == nil {
		return true, nil
	}
	defer release()
	var x *catalog.Index
	if id != ttlIndex {
		if x = t.IndexByID(id); x == nil || x.State != catalog.Creating {
			return true, nil
		}
	} else if t.TTL.State != catalog.Enabling {
		return true, nil
	}
	at := keyspace.Backfill(t.ID, id, uint8(part))
	keys, err := s.nextItems(ctx, t, part, at)
	if err != nil || len(keys) == 0 {
		return true, err
	}
	if x != nil {
		t.Meter.Progress(id, p.at(part, keys[len(keys)-1]), s.Now())
	}
	err = kv.Update(ctx, s.KV, kv.TxnOpt{Hint: append(keys, at), NoSync: true, Background: true}, func(txn kv.Txn) error {
		// Read everything before writing: after a write, a transaction's reads cost more.
		items := make([]attribute.Item, len(keys))
		for i, key := range keys {
			raw, err := txn.Get(key)
			if err != nil {
				return err
			}
			items[i] = attribute.Item(raw)
		}
		put := putExpiries
		if x != nil {
			put = putEntries
		}
		if err := put(txn, t, x, keys, items, s.Now()); err != nil {
			return err
		}
		return txn.Put(at, keys[len(keys)-1])
	})
	return false, err
}

// current locks the table's current description until release is called. release is nil if the table is gone.
func (s *Store) current(ctx context.Context, t *catalog.Table) (release func(), now *catalog.Table, err error) {
	id := t.ID
	for {
		if t = s.Catalog.Get(t.Namespace, t.Name); t == nil || t.ID != id {
			return nil, nil, nil
		}
		if release, err := t.Use(ctx); release != nil || err != nil {
			return release, t, err
		}
	}
}

// nextItems returns the keys of the next items of a part. Progress is stored at the key at: the last item done.
func (s *Store) nextItems(ctx context.Context, t *catalog.Table, part int, at []byte) (keys [][]byte, err error) {
	snap, err := s.KV.Latest(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	last, err := snap.Get(at)
	if err != nil {
		return nil, err
	}
	bound := func(part int) []byte {
		return keyspace.AppendHashBound(nil, t.ID, 0, uint64(part)*keyspace.HashSpace/keyspace.BackfillParts)
	}
	r := kv.Range{Start: bound(part), End: bound(part + 1)}
	if last != nil {
		r.Start = append(append([]byte(nil), last...), 0)
	}
	it, err := snap.Scan(r, kv.ScanOpt{Stale: true})
	if err != nil {
		return nil, err
	}
	size := 0
	for len(keys) < fillItems && size < fillBytes && it.Next() {
		keys = append(keys, append([]byte(nil), it.Key()...))
		size += len(it.Value())
	}
	return keys, it.Close()
}

// putExpiries puts items into the TTL index.
func putExpiries(txn kv.Txn, t *catalog.Table, _ *catalog.Index, keys [][]byte, items []attribute.Item, _ time.Time) error {
	for i, it := range items {
		if err := putExpiry(txn, keys[i], 0, Expiry(t.TTL, it)); err != nil {
			return err
		}
	}
	return nil
}

// putEntries puts items into a secondary index, except those that a concurrent write has put already.
func putEntries(txn kv.Txn, t *catalog.Table, x *catalog.Index, keys [][]byte, items []attribute.Item, now time.Time) error {
	entryKeys := make([][]byte, len(items))
	for i, it := range items {
		key, ok := index.AppendKey(nil, t, x, it)
		if !ok {
			continue
		}
		there, err := txn.Get(key)
		if err != nil {
			return err
		}
		if there == nil { // else a concurrent write has put it, and counted it
			entryKeys[i] = key
		}
	}
	counts := tableCounts{table: t}
	for i, it := range items {
		if entryKeys[i] == nil {
			continue
		}
		entry := index.Entry(x, it)
		counts.add(x.ID, nil, entry)
		t.Meter.Built(x.ID, capacity.Write(0, entry.Size()), now)
		if err := txn.Put(entryKeys[i], entry); err != nil {
			return err
		}
	}
	return counts.put(txn)
}

// clear removes everything in an index that is being deleted, and then ends its deletion.
func (b *Builder) clear(ctx context.Context, t *catalog.Table, id uint8) error {
	prefix := keyspace.Expiries(t.ID)
	if id != ttlIndex {
		prefix = keyspace.AppendIndexPrefix(nil, t.ID, id)
	}
	if err := b.Store.KV.DeleteRange(ctx, kv.Prefix(prefix)); err != nil {
		return err
	}
	// The entries are gone. Now reset the counters and the progress, in one transaction.
	var filled [][]byte
	for part := range keyspace.BackfillParts {
		filled = append(filled, keyspace.Backfill(t.ID, id, uint8(part)))
		// The counters of the index become 0, since its ID may be used again.
	}
	err := kv.Update(ctx, b.Store.KV, kv.TxnOpt{Hint: filled}, func(txn kv.Txn) error {
		was, err := txn.Counters(keyspace.Counters(t.ID))
		if err != nil {
			return err
		}
		if id != ttlIndex {
			counts := tableCounts{table: t}
			if len(was) >= 2*int(id)+2 {
				counts.deltas = make([]int64, 2*int(id)+2)
				counts.deltas[2*int(id)], counts.deltas[2*int(id)+1] = -was[2*int(id)], -was[2*int(id)+1]
			}
			if err := counts.put(txn); err != nil {
				return err
			}
		}
		for _, key := range filled {
			if err := txn.Delete(key, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = b.Store.Catalog.Change(ctx, t.Namespace, t.Name, func(now *catalog.Table) error {
		if now.ID != t.ID {
			return nil
		}
		if id == ttlIndex && now.TTL.State == catalog.Disabling {
			now.TTL.State = catalog.Disabled
		}
		if id != ttlIndex {
			now.RemoveIndex(id)
		}
		return nil
	})
	return errors.Join(err, ctx.Err())
}
