package pgkv

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/statordb/stator/internal/kv"
)

const (
	// selectStamp reads the database's time, in microseconds since 1970, and a number that distinguishes stamps of the same
	// microsecond. All servers take their stamps from this one clock.
	selectStamp = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, nextval('stator_ids')"
	// selectUnderWay reads the lowest transaction number that is still in progress.
	selectUnderWay = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
	// selectOwnID assigns the transaction a number above all that were assigned before. Its stamp is taken afterwards.
	selectOwnID = "SELECT pg_current_xact_id()::text::bigint"
	// stableLag is how far Stable lags where the database does not tell which transactions are in progress. No
	// transaction lasts longer.
	stableLag = commitTimeout + 10*time.Second
)

// clock makes timestamps from the database's clock or, in tests of a single server with a clock that is moved, from the
// server's.
type clock struct {
	now  func() time.Time // the server's clock; nil for the database's
	last atomic.Uint64    // the highest of Advance, and of the timestamps taken from the server's clock
}

// at makes a timestamp of the database's time, in microseconds since 1970, and a number: the logical counter's upper 10
// bits are microseconds, its lower 8 the number. A server never makes up a timestamp by itself: another server could
// make the same one.
func (c *clock) at(micros, number int64) kv.TS {
	if c.now != nil {
		return c.own()
	}
	ts := kv.AtMillis(micros/1000) | kv.TS(micros%1000)<<8 | kv.TS(number&255)
	if last := kv.TS(c.last.Load()); ts <= last {
		return last + kv.TS(number) // the data comes from a clock that was ahead of this one
	}
	return ts
}

// own returns a timestamp of the server's clock, later than all before.
func (c *clock) own() kv.TS {
	ts := uint64(kv.AtMillis(c.now().UnixMilli()))
	for {
		last := c.last.Load()
		next := max(ts, last+1)
		if c.last.CompareAndSwap(last, next) {
			return kv.TS(next)
		}
	}
}

// Advance implements kv.Store.
func (s *Store) Advance(ts kv.TS) {
	for {
		last := s.clock.last.Load()
		if last >= uint64(ts) || s.clock.last.CompareAndSwap(last, uint64(ts)) {
			return
		}
	}
}

// Now implements kv.Store.
func (s *Store) Now(ctx context.Context) (kv.TS, error) {
	var micros, number int64
	err := s.retryRead(ctx, func() error {
		tripTaken(ctx)
		return s.pool.QueryRow(ctx, selectStamp).Scan(&micros, &number)
	})
	if err != nil {
		return 0, err
	}
	return s.clock.at(micros, number), nil
}

// stable tracks moments before which some stamped transactions may still be in progress.
type stable struct {
	mu      sync.Mutex
	waiting []moment // in order of time
	ts      kv.TS    // the latest stable moment
}

// moment is a time, and a number above those of all transactions that were stamped before it.
type moment struct {
	ts    kv.TS
	above int64
}

// maxMoments bounds the moments in waiting. Beyond it, Stable only gets coarser.
const maxMoments = 1024

// Stable implements kv.Store. A transaction gets its number before its stamp, so every transaction with a stamp below
// some moment has a number below one that is assigned after that moment. Once all transactions below that number have
// ended, the moment is stable.
func (s *Store) Stable(ctx context.Context) (kv.TS, error) {
	if !s.dialect.snapshots {
		now, err := s.Now(ctx)
		return now - min(now, kv.AtMillis(stableLag.Milliseconds())), err
	}
	s.stable.mu.Lock()
	defer s.stable.mu.Unlock()
	var micros, number, ended, above int64
	var ts kv.TS
	own := s.clock.now != nil
	if own {
		ts = s.clock.own() // before the queries, which may be answered later
	}
	err := s.retryRead(ctx, func() error {
		// In this order: a moment, a transaction number above all that were assigned before it, and the transactions
		// still in progress.
		b := new(pgx.Batch)
		b.Queue(selectStamp).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&micros, &number)
			if !own {
				ts = s.clock.at(micros, 0)
			}
			return err
		})
		b.Queue(selectOwnID).QueryRow(func(row pgx.Row) error { return row.Scan(&above) })
		b.Queue(selectUnderWay).QueryRow(func(row pgx.Row) error { return row.Scan(&ended) })
		return s.send(ctx, s.pool, b)
	})
	if err != nil {
		return 0, err
	}
	st := &s.stable
	if len(st.waiting) < maxMoments {
		st.waiting = append(st.waiting, moment{ts, above})
	}
	// Moments become stable in order, so the first unstable one ends the search.
	n := 0
	for n < len(st.waiting) && st.waiting[n].above <= ended {
		st.ts = max(st.ts, st.waiting[n].ts)
		n++
	}
	st.waiting = st.waiting[n:]
	return st.ts, nil
}
