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
	// selectStamp asks the database for its time in microseconds since 1970 and for a number that tells stamps of one
	// microsecond apart. All servers take their stamps from this one clock.
	selectStamp = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, nextval('stator_ids')"
	// selectUnderWay asks below which number all transactions have ended.
	selectUnderWay = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
	// selectOwnID gives the transaction a number above all that were given out. Its stamp is taken afterwards.
	selectOwnID = "SELECT pg_current_xact_id()::text::bigint"
	// stableLag is how far Stable is behind where the database does not tell what is under way: longer than a transaction
	// may last.
	stableLag = commitTimeout + 10*time.Second
)

// clock makes timestamps of the database's time, or, in tests of one server whose own clock is moved, of that.
type clock struct {
	now  func() time.Time // the server's own; nil for the database's
	last atomic.Uint64    // what Advance was told, and, by the server's own clock, the latest that was given out
}

// at turns the database's time in microseconds since 1970 and a number into a timestamp: 10 bits are microseconds, 8 the number's.
// No server makes one of its own that the database has not given it, since another's may be the same.
func (c *clock) at(micros, number int64) kv.TS {
	if c.now != nil {
		return c.own()
	}
	ts := kv.AtMillis(micros/1000) | kv.TS(micros%1000)<<8 | kv.TS(number&255)
	if last := kv.TS(c.last.Load()); ts <= last {
		return last + kv.TS(number) // the data are from where the clock was ahead
	}
	return ts
}

// own returns a timestamp of the server's own clock, later than all before.
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
	err := s.again(ctx, func() error {
		tripTaken(ctx)
		return s.pool.QueryRow(ctx, selectStamp).Scan(&micros, &number)
	})
	if err != nil {
		return 0, err
	}
	return s.clock.at(micros, number), nil
}

// stable knows times of which it is not known yet whether all that was stamped before has ended.
type stable struct {
	mu      sync.Mutex
	waiting []moment // in order
	ts      kv.TS    // the latest that is stable
}

// moment is a time, and a number above those of the transactions that were stamped before.
type moment struct {
	ts    kv.TS
	above int64
}

// maxMoments is how many moments are remembered.
const maxMoments = 1024

// Stable implements kv.Store. A transaction gets its number before its stamp, so all with an earlier stamp have a number below
// those that had been given out at that time; once they have all ended, that time is stable.
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
		ts = s.clock.own() // before anything is asked that may be later
	}
	err := s.again(ctx, func() error {
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
	n := 0
	for n < len(st.waiting) && st.waiting[n].above <= ended {
		st.ts = max(st.ts, st.waiting[n].ts)
		n++
	}
	st.waiting = st.waiting[n:]
	return st.ts, nil
}
