package stream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

const (
	// Rotation is how long a shard accepts records ("DynamoDB Streams": about four hours).
	Rotation = 4 * time.Hour
	// splitRate is the number of records per second above which a shard is split in two, as a partition is for heat, so
	// that more readers can share the work.
	splitRate = 1000
)

// Maintainer rotates, splits and trims streams. Its work may be done at any time, and be repeated.
type Maintainer struct {
	KV      kv.Store
	Catalog *catalog.Catalog
	Now     func() time.Time

	mu      sync.Mutex // held during Maintain
	checked time.Time  // when the write rates were last checked
}

// Maintain does all maintenance that is due. It continues with other streams after an error.
func (m *Maintainer) Maintain(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Now()
	// The first call has no interval over which to measure write rates.
	elapsed := now.Sub(m.checked)
	if m.checked.IsZero() {
		elapsed = 0
	}
	m.checked = now
	var errs []error
	for t := range m.Catalog.Tables() {
		if t.Stream.Active() {
			// Trim first: a shard must have no records left when it is forgotten.
			err := m.trim(ctx, t.ID, t.Stream.Shards, now)
			if err == nil {
				err = m.renew(ctx, t, now, elapsed)
			}
			errs = append(errs, err)
		}
	}
	for _, r := range m.Catalog.EndedStreams() {
		err := m.trim(ctx, r.TableID, r.Shards, now)
		if err == nil && now.Sub(time.UnixMilli(r.Ended)) > Retention {
			err = m.Catalog.ForgetStream(ctx, r)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// due returns the numbers of the open shards to rotate and to split, and whether any closed shard can be forgotten.
// elapsed is the time over which writes were counted; 0 splits nothing.
func due(s *catalog.Stream, now time.Time, elapsed time.Duration) (rotate, split []uint32, forget bool) {
	open := 0
	for i := range s.Shards {
		if s.Shards[i].End == 0 {
			open++
		}
	}
	for i := range s.Shards {
		shard := &s.Shards[i]
		switch {
		case shard.End != 0:
			forget = forget || expired(shard, now)
		case elapsed > 0 && float64(s.Written(shard.Number)) > splitRate*elapsed.Seconds() && shard.High-shard.Low > 1 && open+len(split) < catalog.MaxOpenShards:
			split = append(split, shard.Number)
		case now.Sub(time.UnixMilli(shard.Start.Millis())) >= Rotation:
			rotate = append(rotate, shard.Number)
		}
	}
	return rotate, split, forget
}

// expired reports whether all records of a closed shard are past their retention.
func expired(shard *catalog.Shard, now time.Time) bool {
	return shard.End != 0 && now.Sub(time.UnixMilli(shard.End.Millis())) > Retention
}

// renew closes shards that are too old or too busy and opens their children, and forgets expired shards.
func (m *Maintainer) renew(ctx context.Context, t *catalog.Table, now time.Time, elapsed time.Duration) error {
	rotate, split, forget := due(t.Stream, now, elapsed)
	if rotate == nil && split == nil && !forget {
		return nil
	}
	label := t.Stream.Label
	_, err := m.Catalog.Change(ctx, t.Namespace, t.Name, func(t *catalog.Table) error {
		if !t.Stream.Enabled || t.Stream.Label != label {
			return nil
		}
		at, err := m.KV.Now(ctx)
		if err != nil {
			return err
		}
		Renew(t, at, func(shard *catalog.Shard) int {
			switch {
			case slices.Contains(split, shard.Number):
				return 2
			case slices.Contains(rotate, shard.Number):
				return 1
			}
			return 0
		})
		t.Stream.Shards = slices.DeleteFunc(t.Stream.Shards, func(s catalog.Shard) bool { return expired(&s, now) })
		return nil
	})
	return err
}

// Renew closes, at a time, each open shard for which children returns 1 or 2, and opens that many shards in its place.
// It may only be called within Catalog.Change.
func Renew(t *catalog.Table, at kv.TS, children func(*catalog.Shard) int) {
	for i := range t.Stream.Shards {
		shard := t.Stream.Shards[i]
		if shard.End != 0 {
			continue
		}
		switch children(&shard) {
		case 1:
			t.OpenShard(at, shard.ID, shard.Low, shard.High)
		case 2:
			middle := (shard.Low + shard.High) / 2
			t.OpenShard(at, shard.ID, shard.Low, middle)
			t.OpenShard(at, shard.ID, middle, shard.High)
		default:
			continue
		}
		t.Stream.Shards[i].End = at
	}
}

// trim deletes records that are past their retention.
func (m *Maintainer) trim(ctx context.Context, table uint32, shards []catalog.Shard, now time.Time) error {
	horizon := kv.AtMillis(now.Add(-Retention).UnixMilli())
	for i := range shards {
		if shards[i].Start >= horizon {
			continue
		}
		r := kv.Range{Start: keyspace.ChangesOfShard(table, shards[i].Number), End: keyspace.AppendChange(nil, table, shards[i].Number, uint64(horizon), 0)}
		some, err := m.any(ctx, r)
		if err != nil {
			return err
		}
		if some {
			if err := m.KV.DeleteRange(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// any reports whether the range has a key. Checking first saves most range deletions, which slow down later reads.
func (m *Maintainer) any(ctx context.Context, r kv.Range) (bool, error) {
	snap, err := m.KV.Latest(ctx)
	if err != nil {
		return false, err
	}
	defer snap.Close()
	it, err := snap.Scan(r, kv.ScanOpt{Stale: true})
	if err != nil {
		return false, err
	}
	some := it.Next()
	return some, it.Close()
}
