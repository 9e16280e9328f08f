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
)

const (
	// fillItems and fillBytes bound what one transaction of a backfill puts, and with it how long writers of those items wait.
	fillItems = 32
	fillBytes = 128 << 10
	// fillShare is how many times as long as it works a backfill rests, where there are requests.
	fillShare = 2
)

// ttlIndex stands for the TTL index where others have an index's ID.
const ttlIndex uint8 = 0

// Builder fills and clears indexes of live tables in the background: GSIs that UpdateTable creates and deletes, and the TTL
// index. How far it has come is stored with what it puts, so it goes on after a crash.
//
// While an index is filled every write keeps it, whether its item has been reached or not; the item's lock makes the two meet
// one after the other.
type Builder struct {
	Store *Store
	// Linger is how long an index stays in its transient state at least.
	Linger time.Duration
	// Report hears of failures; what failed is tried again.
	Report func(error)

	mu      sync.Mutex
	running map[uint32]bool // tables being worked on
	gaveUp  map[uint32]bool // tables whose indexes were given up and whose work has not ended since
	aside   map[uint32]bool // tables whose work panicked although it was given up, or could not be; a restart tries them again
	work    sync.WaitGroup
}

// retryPause is how long after a failure it is tried again.
const retryPause = time.Second

// Run works on all tables that are unfinished, each beside the others, whenever tables change, until ctx ends.
func (b *Builder) Run(ctx context.Context) {
	b.running, b.gaveUp, b.aside = map[uint32]bool{}, map[uint32]bool{}, map[uint32]bool{}
	defer b.work.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.Store.Catalog.Changed():
		}
		for _, t := range b.Store.Catalog.Tables() {
			if t.Unfinished() {
				b.start(ctx, t)
			}
		}
	}
}

func (b *Builder) start(ctx context.Context, t *catalog.Table) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running[t.ID] || b.aside[t.ID] {
		return
	}
	b.running[t.ID] = true
	b.work.Add(1)
	guard.Go(nil, "building indexes", func() { // work reports what panics
		defer b.work.Done()
		b.workOn(ctx, t)
		// A change that came between the last look and now would be missed.
		if t := b.Store.Catalog.Get(t.Namespace, t.Name); t != nil && t.Unfinished() && ctx.Err() == nil {
			b.start(ctx, t)
		}
	})
}

// workOn does all the work on a table. Work that panics is given up; if what is left to do panics too, the table is put aside.
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
		pause(ctx, retryPause)
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

// giveUp removes the indexes that are being created: IndexStatus has no value for a failure ("GlobalSecondaryIndexDescription").
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

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// finish does all the work on a table.
func (b *Builder) finish(ctx context.Context, ns catalog.Namespace, name string, id uint32) error {
	for {
		t := b.Store.Catalog.Get(ns, name)
		if t == nil || t.ID != id || !t.Unfinished() || ctx.Err() != nil {
			return ctx.Err()
		}
		pause(ctx, b.Linger)
		if err := b.step(ctx, t); err != nil {
			return err
		}
	}
}

// step finishes the first thing that is unfinished.
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

// fill puts all items of a table into an index that is being created, and ends its creation.
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

// fillPart puts the items of a part into an index.
func (b *Builder) fillPart(ctx context.Context, t *catalog.Table, id uint8, part int, p *progress) error {
	for requests := b.Store.requests(); ; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		began := time.Now()
		done, err := b.Store.fillSome(ctx, t, id, part, p)
		if done {
			p.end(part)
		}
		if err != nil || done {
			return err
		}
		if now := b.Store.requests(); now != requests {
			requests = now
			pause(ctx, fillShare*time.Since(began))
		}
	}
}

// progress is how much of the parts of the hashes is done.
type progress struct {
	mu   sync.Mutex
	done [keyspace.BackfillParts]float64 // of each, 0 to 1
}

// end says that a part is done.
func (p *progress) end(part int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[part] = 1
}

// at says that a part is done up to a key, and returns how many percent of all are.
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

// requests returns how many requests have come so far.
func (s *Store) requests() int64 {
	if s.Requests == nil {
		return 0
	}
	return s.Requests()
}

// fillSome puts the next items of a part into an index. done says that there are no more, or that the index is no longer being
// created.
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
		// Everything is read before anything is written: reading one's own writes costs more.
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

// current keeps the table in place in its current form; release is nil if it has gone.
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

// nextItems returns the keys of the items of a part behind those that a backfill has done, which the key at says.
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

func putExpiries(txn kv.Txn, t *catalog.Table, _ *catalog.Index, keys [][]byte, items []attribute.Item, _ time.Time) error {
	for i, it := range items {
		if err := putExpiry(txn, keys[i], 0, Expiry(t.TTL, it)); err != nil {
			return err
		}
	}
	return nil
}

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
		if there == nil { // else a write was faster
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

// clear removes all of an index that is being deleted, and ends its deletion.
func (b *Builder) clear(ctx context.Context, t *catalog.Table, id uint8) error {
	prefix := keyspace.Expiries(t.ID)
	if id != ttlIndex {
		prefix = keyspace.AppendIndexPrefix(nil, t.ID, id)
	}
	if err := b.Store.KV.DeleteRange(ctx, kv.Range{Start: prefix, End: keyspace.PrefixEnd(prefix)}); err != nil {
		return err
	}
	var filled [][]byte
	for part := range keyspace.BackfillParts {
		filled = append(filled, keyspace.Backfill(t.ID, id, uint8(part)))
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
