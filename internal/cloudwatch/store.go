package cloudwatch

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
)

// retention says how long points of a resolution are kept; then they become ones of the next ("GetMetricStatistics").
var retention = []struct {
	seconds int64
	keep    time.Duration
}{
	{1, 3 * time.Hour},
	{60, 15 * 24 * time.Hour},
	{300, 63 * 24 * time.Hour},
	{3600, 455 * 24 * time.Hour},
}

// series is a metric in one unit.
type series struct {
	metric.ID
	Unit string

	id   uint32
	last int64 // the latest point's time in seconds since 1970
}

func seriesKey(id *metric.ID, unit string) string { return id.Key() + unit }

// store keeps metrics. Points of one period are added up.
type store struct {
	kv kv.Store

	mu     sync.RWMutex // writers keep it while they read, change and write points
	series map[string]*series
}

func openStore(ctx context.Context, db kv.Store) (*store, error) {
	s := &store{kv: db, series: map[string]*series{}}
	snap, err := db.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	err = kv.Each(ctx, snap, under(keyspace.Metrics()), func(key, val []byte) error {
		m := new(series)
		if err := json.Unmarshal(val, m); err != nil {
			return fmt.Errorf("description of metric %x: %w", key, err)
		}
		m.id = binary.BigEndian.Uint32(key[len(key)-4:])
		s.series[seriesKey(&m.ID, m.Unit)] = m
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range s.series {
		if m.last, err = lastPoint(snap, m.id); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// lastPoint returns the time of a metric's latest point.
func lastPoint(r kv.Reader, id uint32) (last int64, err error) {
	for _, res := range retention {
		it, err := r.Scan(under(keyspace.MetricPoints(id, uint32(res.seconds))), kv.ScanOpt{Reverse: true})
		if err != nil {
			return 0, err
		}
		if it.Next() {
			last = max(last, keyspace.Time(it.Key()))
		}
		if err := it.Close(); err != nil {
			return 0, err
		}
	}
	return last, nil
}

func under(prefix []byte) kv.Range { return kv.Range{Start: prefix, End: keyspace.PrefixEnd(prefix)} }

// addBatch is how many points a transaction adds.
const addBatch = 256

// add adds data to what is there. On an error it returns those that it has not added.
func (s *store) add(ctx context.Context, data []metric.Datum) (rest []metric.Datum, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(data) > 0 {
		n := min(addBatch, len(data))
		if err := s.addSome(ctx, data[:n]); err != nil {
			return data, err
		}
		data = data[n:]
	}
	return nil, nil
}

func (s *store) addSome(ctx context.Context, data []metric.Datum) error {
	fresh := map[string]*series{}
	err := kv.Update(ctx, s.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		clear(fresh)
		for i := range data {
			d := &data[i]
			key := seriesKey(&d.ID, d.Unit)
			m := s.series[key]
			if m == nil {
				m = fresh[key]
			}
			if m == nil {
				var err error
				if m, err = newSeries(txn, key, d); err != nil {
					return err
				}
				fresh[key] = m
			}
			seconds := int64(60)
			if d.Fine {
				seconds = 1
			}
			at := d.Time.Unix() / seconds * seconds
			if err := addPoint(txn, keyspace.MetricPoint(m.id, uint32(seconds), at), &d.Set); err != nil {
				return err
			}
			m.last = max(m.last, at)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, m := range fresh {
		s.series[key] = m
	}
	return nil
}

// newSeries describes a metric in the store, under an id that comes of its key: servers that meet a metric at the same time give it
// the same. Where another metric has it, the next one that is free is taken.
func newSeries(txn kv.Txn, key string, d *metric.Datum) (*series, error) {
	m := &series{ID: d.ID, Unit: d.Unit, id: uint32(xxhash.Sum64String(key))}
	for ; ; m.id++ {
		raw, err := txn.Get(keyspace.Metric(m.id))
		if err != nil {
			return nil, err
		}
		if raw == nil {
			if raw, err = json.Marshal(m); err != nil {
				return nil, err
			}
			return m, txn.Put(keyspace.Metric(m.id), raw)
		}
		other := new(series)
		if err := json.Unmarshal(raw, other); err != nil {
			return nil, err
		}
		if seriesKey(&other.ID, other.Unit) == key {
			return m, nil
		}
	}
}

// addPoint adds a set to the point at the key.
func addPoint(txn kv.Txn, key []byte, set *metric.Set) error {
	raw, err := txn.Get(key)
	if err != nil {
		return err
	}
	sum := *set
	if raw != nil {
		was, err := metric.Decode(raw)
		if err != nil {
			return err
		}
		was.Add(set)
		sum = was
	}
	return txn.Put(key, sum.Append(nil))
}

// list returns the metrics for which keep returns true, sorted by key; of one in several units each.
func (s *store) list(keep func(*series) bool) []*series {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []string
	for key, m := range s.series {
		if keep(m) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	out := make([]*series, len(keys))
	for i, key := range keys {
		m := *s.series[key]
		out[i] = &m
	}
	return out
}

// units returns the metric in each unit that it has, or in the one that is asked for.
func (s *store) units(id *metric.ID, unit string) []*series {
	key := id.Key()
	return s.list(func(m *series) bool { return m.ID.Key() == key && (unit == "" || m.Unit == unit) })
}

// point is what a metric was in a period.
type point struct {
	at int64 // seconds since 1970
	metric.Set
}

// read returns the metric's periods of so many seconds that begin in [from, to), which are multiples of it from `from` on;
// those without values are left out.
func (s *store) read(ctx context.Context, id uint32, from, to, period int64) ([]point, error) {
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	sums := map[int64]*metric.Set{}
	for _, res := range retention {
		rng := kv.Range{Start: keyspace.MetricPoint(id, uint32(res.seconds), from), End: keyspace.MetricPoint(id, uint32(res.seconds), to)}
		err := kv.Each(ctx, r, rng, func(key, val []byte) error {
			set, err := metric.Decode(val)
			if err != nil {
				return err
			}
			at := from + (keyspace.Time(key)-from)/period*period
			if sums[at] == nil {
				sums[at] = new(metric.Set)
			}
			sums[at].Add(&set)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]point, 0, len(sums))
	for at, set := range sums {
		out = append(out, point{at, *set})
	}
	slices.SortFunc(out, func(a, b point) int { return int(a.at - b.at) })
	return out, nil
}

// roll makes coarser points of those whose time is over, and forgets metrics that have none left.
func (s *store) roll(ctx context.Context, now time.Time) error {
	for _, m := range s.list(func(*series) bool { return true }) {
		for i, res := range retention {
			next := int64(0)
			if i+1 < len(retention) {
				next = retention[i+1].seconds
			}
			if err := s.rollSome(ctx, m.id, res.seconds, next, now.Add(-res.keep).Unix()); err != nil {
				return err
			}
		}
		if now.Unix()-m.last > int64(retention[len(retention)-1].keep.Seconds()) {
			if err := s.forgetOld(ctx, m, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// rollSome turns the points of so many seconds before a time into ones of next seconds; 0 removes them.
func (s *store) rollSome(ctx context.Context, id uint32, seconds, next, before int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next > 0 {
		before -= before % next // whole periods
	}
	rng := kv.Range{Start: keyspace.MetricPoint(id, uint32(seconds), 0), End: keyspace.MetricPoint(id, uint32(seconds), before)}
	if there, err := s.any(ctx, rng); err != nil || !there {
		return err
	}
	for {
		moved := 0
		err := kv.Update(ctx, s.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
			moved = 0
			var keys, vals [][]byte
			it, err := txn.Scan(rng, kv.ScanOpt{})
			if err != nil {
				return err
			}
			for len(keys) < addBatch && it.Next() {
				keys = append(keys, append([]byte(nil), it.Key()...))
				vals = append(vals, append([]byte(nil), it.Value()...))
			}
			if err := it.Close(); err != nil {
				return err
			}
			for i, key := range keys {
				set, err := metric.Decode(vals[i])
				if err != nil {
					return err
				}
				if at := keyspace.Time(key); next > 0 {
					if err := addPoint(txn, keyspace.MetricPoint(id, uint32(next), at/next*next), &set); err != nil {
						return err
					}
				}
				if err := txn.Delete(key, len(key)+len(vals[i])); err != nil {
					return err
				}
			}
			moved = len(keys)
			return nil
		})
		if err != nil || moved < addBatch {
			return err
		}
	}
}

// any reports whether there is anything in a range, which is mostly not so: it costs less than a transaction.
func (s *store) any(ctx context.Context, rng kv.Range) (bool, error) {
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return false, err
	}
	defer r.Close()
	it, err := r.Scan(rng, kv.ScanOpt{Stale: true})
	if err != nil {
		return false, err
	}
	there := it.Next()
	return there, it.Close()
}

// forgetOld removes a metric unless another server has added points to it.
func (s *store) forgetOld(ctx context.Context, m *series, now time.Time) error {
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return err
	}
	last, err := lastPoint(r, m.id)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if now.Unix()-last > int64(retention[len(retention)-1].keep.Seconds()) {
		return s.forget(ctx, m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if here := s.series[seriesKey(&m.ID, m.Unit)]; here != nil {
		here.last = max(here.last, last)
	}
	return nil
}

// forget removes a metric that has no points.
func (s *store) forget(ctx context.Context, m *series) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := kv.Update(ctx, s.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		return txn.Delete(keyspace.Metric(m.id), 0)
	})
	if err == nil {
		delete(s.series, seriesKey(&m.ID, m.Unit))
	}
	return err
}

// removeBefore removes the records of a range whose keys' times are before the time.
func removeBefore(ctx context.Context, db kv.Store, r kv.Range, timeOf func(key []byte) int64, before int64) error {
	snap, err := db.Latest(ctx)
	if err != nil {
		return err
	}
	var old [][]byte
	err = kv.Each(ctx, snap, r, func(key, _ []byte) error {
		if timeOf(key) < before {
			old = append(old, append([]byte(nil), key...))
		}
		return nil
	})
	if err = errors.Join(err, snap.Close()); err != nil {
		return err
	}
	for batch := range slices.Chunk(old, addBatch) {
		err := kv.Update(ctx, db, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
			for _, key := range batch {
				if err := txn.Delete(key, 0); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
