package cloudwatch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
)

// retention says how long points of each resolution are kept before they are rolled up into the next ("GetMetricStatistics").
// The last ones are removed instead.
var retention = []struct {
	seconds int64
	keep    time.Duration
}{
	{1, 3 * time.Hour},
	{60, 15 * 24 * time.Hour},
	{300, 63 * 24 * time.Hour},
	{3600, 455 * 24 * time.Hour},
}

// series is a metric in one unit. Statistics never mix units.
type series struct {
	metric.ID
	Unit string

	id uint32
}

// seriesKey identifies a series.
func seriesKey(id *metric.ID, unit string) string { return id.Key() + unit }

// ownNamespace begins the namespaces of the server's own metrics. Clients can't put metrics there.
const ownNamespace = "AWS/"

// digest stands for a long text. It is part of a cryptographic hash, so clients can't produce collisions.
type digest [16]byte

func digestOf(text string) digest {
	sum := sha256.Sum256([]byte(text))
	return digest(sum[:16])
}

// entryKey returns the key of a series' entry in the index.
func entryKey(id *metric.ID, unit string) []byte {
	return keyspace.MetricIndexEntry(id.Account, id.Region, id.Namespace, id.Name, digestOf(id.Key()), unit)
}

// store keeps metrics. Each point is the merged values of one period. Only the ids of some series are in memory: starting reads nothing,
// and an operation reads about what it returns.
type store struct {
	kv    kv.Store
	limit int // bound on the series that clients of an account may create

	adding  sync.Mutex // held while points are read, merged and written
	indexed bool       // all series are known to be in the index

	mu    sync.Mutex
	known map[digest]uint32 // ids by digest of the seriesKey
}

// maxKnown bounds the ids in memory, 24 bytes each. When it is reached, the map starts over.
const maxKnown = 100_000

// openStore returns a store. It reads nothing yet.
func openStore(db kv.Store, limit int) *store {
	return &store{kv: db, limit: limit, known: map[digest]uint32{}}
}

// addBatch is the number of points per transaction.
const addBatch = 256

// index adds the series that a version without the index has stored to the index, once. s.adding is held.
func (s *store) index(ctx context.Context) error {
	if s.indexed {
		return nil
	}
	done, err := kv.ReadLatest(ctx, s.kv, keyspace.MetricsIndexed())
	if err != nil {
		return err
	}
	counts := map[string]uint64{}
	// The loop is idempotent: after a crash it starts again, because only the last transaction marks the index as complete.
	for at := keyspace.Metrics(); done == nil && at != nil; {
		var page []*series
		if page, at, err = s.page(ctx, at, addBatch); err != nil {
			return err
		}
		err := kv.Update(ctx, s.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
			for _, m := range page {
				if err := txn.Put(entryKey(&m.ID, m.Unit), binary.BigEndian.AppendUint32(nil, m.id)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, m := range page {
			if !strings.HasPrefix(m.Namespace, ownNamespace) { // the count covers clients' series only
				counts[m.Account]++
			}
		}
	}
	if done == nil {
		err = kv.Update(ctx, s.kv, kv.TxnOpt{Background: true}, func(txn kv.Txn) error {
			for account, n := range counts {
				if err := putCount(txn, account, n); err != nil {
					return err
				}
			}
			return txn.Put(keyspace.MetricsIndexed(), nil)
		})
	}
	s.indexed = err == nil
	return err
}

// page returns up to n series whose descriptions start at a key, and the key to continue at, or nil at the end.
func (s *store) page(ctx context.Context, at []byte, n int) (list []*series, next []byte, err error) {
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	it, err := r.Scan(kv.Range{Start: at, End: kv.PrefixEnd(keyspace.Metrics())}, kv.ScanOpt{Rows: n})
	if err != nil {
		return nil, nil, err
	}
	defer kv.CloseInto(it, &err)
	for it.Next() {
		m, err := decodeSeries(it.Key(), it.Value())
		if err != nil {
			return nil, nil, err
		}
		if list = append(list, m); len(list) == n {
			next = append(bytes.Clone(it.Key()), 0)
			break
		}
	}
	return list, next, nil
}

// decodeSeries decodes a stored description.
func decodeSeries(key, val []byte) (*series, error) {
	m := &series{id: keyspace.MetricID(key)}
	if err := json.Unmarshal(val, m); err != nil {
		return nil, fmt.Errorf("description of metric %x: %w", key, err)
	}
	return m, nil
}

// putCount stores how many series the clients of an account have created.
func putCount(txn kv.Txn, account string, n uint64) error {
	return txn.Put(keyspace.MetricCount(account), binary.BigEndian.AppendUint64(nil, n))
}

// readCount returns how many series the clients of an account have created.
func readCount(r kv.Reader, account string) (uint64, error) {
	raw, err := r.Get(keyspace.MetricCount(account))
	if err != nil || len(raw) != 8 {
		return 0, err
	}
	return binary.BigEndian.Uint64(raw), nil
}

// add merges data into the stored points. On an error it returns the data that it has not stored. It refuses a request as a whole with
// errThrottled if its clients' series would exceed the limit of their account.
func (s *store) add(ctx context.Context, data []metric.Datum) (rest []metric.Datum, err error) {
	s.adding.Lock()
	defer s.adding.Unlock()
	if err := s.index(ctx); err != nil {
		return data, err
	}
	if err := s.admit(ctx, data); err != nil {
		return data, err
	}
	for len(data) > 0 {
		n := min(addBatch, len(data))
		if err := s.addSome(ctx, data[:n]); err != nil {
			return data, err
		}
		data = data[n:]
	}
	return nil, nil
}

// admit refuses data that would create more series than its account may have. s.adding is held.
func (s *store) admit(ctx context.Context, data []metric.Datum) error {
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	fresh := map[string]map[digest]bool{} // by account
	for i := range data {
		d := &data[i]
		if strings.HasPrefix(d.Namespace, ownNamespace) {
			continue
		}
		at := digestOf(seriesKey(&d.ID, d.Unit))
		_, there, err := s.find(r, at, &d.ID, d.Unit)
		if err != nil {
			return err
		}
		if !there {
			if fresh[d.Account] == nil {
				fresh[d.Account] = map[digest]bool{}
			}
			fresh[d.Account][at] = true
		}
	}
	for account, list := range fresh {
		n, err := readCount(r, account)
		if err != nil {
			return err
		}
		if n+uint64(len(list)) > uint64(s.limit) {
			return errThrottled
		}
	}
	return nil
}

// find returns the id of a series, given its digest.
func (s *store) find(r kv.Reader, at digest, id *metric.ID, unit string) (found uint32, there bool, err error) {
	s.mu.Lock()
	found, there = s.known[at]
	s.mu.Unlock()
	if there {
		return found, true, nil
	}
	raw, err := r.Get(entryKey(id, unit))
	if err != nil || len(raw) != 4 {
		return 0, false, err
	}
	return binary.BigEndian.Uint32(raw), true, nil
}

// remember caches ids.
func (s *store) remember(ids map[digest]uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known)+len(ids) > maxKnown {
		clear(s.known)
	}
	maps.Copy(s.known, ids)
}

// drop forgets the id of a series that no longer exists.
func (s *store) drop(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(_ digest, known uint32) bool { return known == id })
}

// addition is the state of one transaction of add. It reads everything before it writes anything: reading its own writes would cost
// more.
type addition struct {
	store *store
	txn   kv.Txn
	// ids are those of all series in the data, by digest.
	ids    map[digest]uint32
	fresh  []*series         // series to create
	taken  map[uint32]bool   // ids of fresh
	counts map[string]uint64 // new number of series of accounts in fresh
	keys   [][]byte          // keys of points, in the order of the data
	// points are the merged values by key.
	points map[string]*metric.Set
}

// addSome stores up to addBatch data in one transaction.
func (s *store) addSome(ctx context.Context, data []metric.Datum) error {
	var a *addition
	err := kv.Update(ctx, s.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		a = &addition{store: s, txn: txn, ids: map[digest]uint32{}, taken: map[uint32]bool{}, counts: map[string]uint64{}, points: map[string]*metric.Set{}}
		for i := range data {
			if err := a.read(&data[i]); err != nil {
				return err
			}
		}
		return a.write()
	})
	if err == nil {
		s.remember(a.ids)
	}
	return err
}

// read merges a datum into its point.
func (a *addition) read(d *metric.Datum) error {
	at := digestOf(seriesKey(&d.ID, d.Unit))
	id, there := a.ids[at]
	if !there {
		var err error
		if id, there, err = a.store.find(a.txn, at, &d.ID, d.Unit); err == nil && !there {
			id, err = a.newSeries(d)
		}
		if err != nil {
			return err
		}
		a.ids[at] = id
	}
	seconds := int64(60)
	if d.Fine {
		seconds = 1
	}
	key := keyspace.MetricPoint(id, uint32(seconds), d.Time.Unix()/seconds*seconds)
	sum := a.points[string(key)]
	if sum == nil {
		raw, err := a.txn.Get(key)
		if err != nil {
			return err
		}
		sum = new(metric.Set)
		if raw != nil {
			if *sum, err = metric.Decode(raw); err != nil {
				return err
			}
		}
		a.points[string(key)] = sum
		a.keys = append(a.keys, key)
	}
	sum.Add(&d.Set)
	return nil
}

// newSeries chooses an id for a series. It derives the id from the series' key, so that servers that create the same series at the same
// time agree on it. If another series has that id, the next free one is chosen.
func (a *addition) newSeries(d *metric.Datum) (uint32, error) {
	if !strings.HasPrefix(d.Namespace, ownNamespace) {
		n, known := a.counts[d.Account]
		if !known {
			var err error
			if n, err = readCount(a.txn, d.Account); err != nil {
				return 0, err
			}
		}
		if n >= uint64(a.store.limit) {
			return 0, errThrottled
		}
		a.counts[d.Account] = n + 1
	}
	m := &series{ID: d.ID, Unit: d.Unit}
	key := seriesKey(&d.ID, d.Unit)
	sum := sha256.Sum256([]byte(key))
	for try := uint32(0); ; try++ {
		m.id = uint32(xxhash.Sum64String(key)) + try
		if try >= maxNeighbours { // clients can find many keys with one xxHash, but not with one SHA-256
			m.id = binary.BigEndian.Uint32(sum[16:]) + try
		}
		there, err := a.txn.Get(keyspace.Metric(m.id))
		if err != nil {
			return 0, err
		}
		if there == nil && !a.taken[m.id] {
			break
		}
		// A server of a version without the index may have stored the same series.
		if other, err := decodeSeries(keyspace.Metric(m.id), there); err == nil && there != nil && seriesKey(&other.ID, other.Unit) == key {
			break
		}
	}
	a.taken[m.id] = true
	a.fresh = append(a.fresh, m)
	return m.id, nil
}

// write stores the new series, the counts and the points.
func (a *addition) write() error {
	for _, m := range a.fresh {
		raw, err := json.Marshal(m)
		if err == nil {
			err = a.txn.Put(keyspace.Metric(m.id), raw)
		}
		if err == nil {
			err = a.txn.Put(entryKey(&m.ID, m.Unit), binary.BigEndian.AppendUint32(nil, m.id))
		}
		if err != nil {
			return err
		}
	}
	for account, n := range a.counts {
		if err := putCount(a.txn, account, n); err != nil {
			return err
		}
	}
	for _, key := range a.keys {
		if err := a.txn.Put(key, a.points[string(key)].Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// maxNeighbours is how many ids behind the first are tried before newSeries switches to another hash.
const maxNeighbours = 8

// addPoint merges a set into the point at a key.
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

// units returns the series of a metric: those in every unit, or the one in a given unit.
func (s *store) units(ctx context.Context, id *metric.ID, unit string) ([]*series, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	prefix := entryKey(id, "")
	var out []*series
	err = kv.Each(ctx, r, kv.Prefix(prefix), func(key, val []byte) error {
		m := &series{ID: *id, Unit: string(key[len(prefix):])}
		if len(val) == 4 && (unit == "" || m.Unit == unit) {
			m.id = binary.BigEndian.Uint32(val)
			out = append(out, m)
		}
		return nil
	})
	return out, err
}

// ready waits until all series are in the index.
func (s *store) ready(ctx context.Context) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	return s.index(ctx)
}

// maxListed bounds the entries that one page of list examines, including those that it leaves out.
const maxListed = 2500

// list returns up to n metrics from the index: those under the prefix and behind last, the end of the previous page, that keep accepts and
// that have points since a time. A metric in several units counts once. list examines at most maxListed entries, and returns the last
// one examined, or nil if there are no more.
func (s *store) list(ctx context.Context, prefix, last []byte, n int, since int64, keep func(*series) bool) (out []*series, _ []byte, err error) {
	if err := s.ready(ctx); err != nil {
		return nil, nil, err
	}
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	rng := kv.Prefix(prefix)
	if bytes.Compare(last, rng.Start) > 0 {
		rng.Start = kv.PrefixEnd(last)
	}
	it, err := r.Scan(rng, kv.ScanOpt{Rows: n})
	if err != nil {
		return nil, nil, err
	}
	defer kv.CloseInto(it, &err)
	listed := false // the last metric is in out
	for looked := 0; err == nil && it.Next(); looked++ {
		entry := keyspace.WithoutUnit(it.Key())
		same := bytes.Equal(entry, last) // the same metric in another unit
		if same && listed {
			continue
		}
		if !same && (looked >= maxListed || len(out) == n) {
			return out, last, ctx.Err()
		}
		last = bytes.Clone(entry)
		var m *series
		if m, err = s.listed(r, it.Value(), since, keep); m != nil {
			out = append(out, m)
		}
		listed = m != nil
	}
	return out, nil, err
}

// listed returns the metric of an index entry; nil if keep refuses it, or if it has no points since a time.
func (s *store) listed(r kv.Reader, id []byte, since int64, keep func(*series) bool) (*series, error) {
	if len(id) != 4 {
		return nil, nil
	}
	key := keyspace.Metric(binary.BigEndian.Uint32(id))
	raw, err := r.Get(key)
	if err != nil || raw == nil {
		return nil, err
	}
	m, err := decodeSeries(key, raw)
	if err != nil || !keep(m) {
		return nil, err
	}
	for _, seconds := range []uint32{60, 1, 300, 3600} { // the resolutions most likely to have recent points come first
		there, err := anyIn(r, kv.Range{Start: keyspace.MetricPoint(m.id, seconds, since), End: kv.PrefixEnd(keyspace.MetricPoints(m.id, seconds))})
		if err != nil || there {
			return m, err
		}
	}
	return nil, nil
}

// anyIn reports whether a range contains a key.
func anyIn(r kv.Reader, rng kv.Range) (bool, error) {
	it, err := r.Scan(rng, kv.ScanOpt{Stale: true, Rows: 1})
	if err != nil {
		return false, err
	}
	there := it.Next()
	return there, it.Close()
}

// point is the values of a metric in one period.
type point struct {
	at int64 // seconds since 1970
	metric.Set
}

// read returns the values of a series in the periods of [from, to), which begin at from and are period seconds long; empty ones are left
// out. Points that were rolled up count only if the period is a multiple of their resolution ("GetMetricStatistics": a shorter period
// returns no data for that time). budget may be nil.
func (s *store) read(ctx context.Context, id uint32, from, to, period int64, budget *budget) ([]point, error) {
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// A period at the age of a rollup may have points of two resolutions, which add up.
	sums := map[int64]*metric.Set{}
	for _, res := range retention {
		if res.seconds > 60 && period%res.seconds != 0 {
			continue
		}
		rng := kv.Range{Start: keyspace.MetricPoint(id, uint32(res.seconds), from), End: keyspace.MetricPoint(id, uint32(res.seconds), to)}
		err := kv.Each(ctx, r, rng, func(key, val []byte) error {
			if err := budget.read(); err != nil {
				return err
			}
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

// roll rolls up expired points into coarser ones, and forgets series that have no points left.
func (s *store) roll(ctx context.Context, now time.Time) error {
	for at := keyspace.Metrics(); at != nil; {
		var err error
		if at, err = s.rollPage(ctx, now, at, addBatch); err != nil {
			return err
		}
	}
	return nil
}

// rollPage does roll's work for n series from a key on. It returns the key to continue at, or nil at the end.
func (s *store) rollPage(ctx context.Context, now time.Time, at []byte, n int) (next []byte, err error) {
	list, next, err := s.page(ctx, at, n)
	if err != nil {
		return at, err
	}
	for _, m := range list {
		if err := s.rollOne(ctx, m, now); err != nil {
			return at, err
		}
	}
	return next, nil
}

// rollOne rolls up the points of one series.
func (s *store) rollOne(ctx context.Context, m *series, now time.Time) error {
	for i, res := range retention {
		next := int64(0)
		if i+1 < len(retention) {
			next = retention[i+1].seconds
		}
		if err := s.rollSome(ctx, m.id, res.seconds, next, now.Add(-res.keep).Unix()); err != nil {
			return err
		}
	}
	if there, err := s.any(ctx, kv.Prefix(keyspace.AllMetricPoints(m.id))); err != nil || there {
		return err
	}
	return s.forget(ctx, m)
}

// rollSome merges the points of one resolution from before a time into the next resolution, or removes them if next is 0. Both are in
// seconds.
func (s *store) rollSome(ctx context.Context, id uint32, seconds, next, before int64) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	if next > 0 {
		before -= before % next // whole periods only
	}
	rng := kv.Range{Start: keyspace.MetricPoint(id, uint32(seconds), 0), End: keyspace.MetricPoint(id, uint32(seconds), before)}
	if there, err := s.any(ctx, rng); err != nil || !there {
		return err
	}
	for {
		moved := 0
		err := kv.Update(ctx, s.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
			moved = 0 // the transaction may be retried
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
				// Adding and deleting in one transaction counts each point exactly once.
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

// any reports whether a range contains a key. Usually it doesn't, and finding that out costs less than a transaction.
func (s *store) any(ctx context.Context, rng kv.Range) (bool, error) {
	r, err := s.kv.Latest(ctx)
	if err != nil {
		return false, err
	}
	there, err := anyIn(r, rng)
	return there, errors.Join(err, r.Close())
}

// forget removes a series without points.
func (s *store) forget(ctx context.Context, m *series) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	if err := s.index(ctx); err != nil {
		return err
	}
	err := kv.Update(ctx, s.kv, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		raw, err := txn.Get(keyspace.Metric(m.id))
		if err != nil || raw == nil {
			return err
		}
		// A point may have arrived meanwhile.
		if there, err := anyIn(txn, kv.Prefix(keyspace.AllMetricPoints(m.id))); err != nil || there {
			return err
		}
		if !strings.HasPrefix(m.Namespace, ownNamespace) {
			n, err := readCount(txn, m.Account)
			if err != nil {
				return err
			}
			if err := putCount(txn, m.Account, n-min(n, 1)); err != nil {
				return err
			}
		}
		entry := entryKey(&m.ID, m.Unit)
		id, err := txn.Get(entry)
		if err == nil && len(id) == 4 && binary.BigEndian.Uint32(id) == m.id {
			err = txn.Delete(entry, 0)
		}
		return errors.Join(err, txn.Delete(keyspace.Metric(m.id), 0))
	})
	if err == nil {
		s.drop(m.id)
	}
	return err
}

// removeBefore removes the records of a range whose keys carry a time before the given one.
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
