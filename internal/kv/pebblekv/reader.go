package pebblekv

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/stage"
	"github.com/statordb/stator/internal/turns"
)

// view reads from the database or a snapshot of it. What it returns stays valid until it is closed. Views are pooled.
type view struct {
	store *Store
	snap  *pebble.Snapshot // nil for the latest state
	held  []io.Closer
}

// Snapshot implements kv.Store.
func (s *Store) Snapshot(context.Context, ...[]byte) (kv.Snapshot, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	v := s.view()
	v.snap = s.db.NewSnapshot()
	return v, nil
}

// Latest implements kv.Store.
func (s *Store) Latest(context.Context) (kv.Snapshot, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	return s.view(), nil
}

func (s *Store) view() *view {
	if v, ok := s.views.Get().(*view); ok {
		return v
	}
	return &view{store: s}
}

// Get implements kv.Reader.
func (v *view) Get(key []byte) ([]byte, error) {
	s := v.store
	hash := xxhash.Sum64(key)
	var val []byte
	var err error
	if v.snap == nil {
		val, err = s.get(hash, key, &v.held)
	} else {
		val, err = read(v.snap, key, &v.held)
	}
	if err == nil && s.opt.Sync {
		err = s.waitDurable(hash)
	}
	if err != nil {
		return nil, err
	}
	return val, nil
}

// get returns the last committed value of a key, or nil if it does not exist. held receives what keeps the value valid.
func (s *Store) get(hash uint64, key []byte, held *[]io.Closer) ([]byte, error) {
	val, found, t := s.rows.get(hash, key)
	if found {
		return val, nil
	}
	began := time.Now()
	val, err := read(s.db, key, held)
	stage.Read.Since(began)
	if err == nil && val != nil {
		s.rows.put(hash, key, val, t)
	}
	return val, err
}

// read returns the value of a key in src, which is never nil if the key exists.
func read(src pebble.Reader, key []byte, held *[]io.Closer) ([]byte, error) {
	val, closer, err := src.Get(key)
	if err != nil {
		return nil, notFound(err)
	}
	*held = append(*held, closer)
	if val == nil {
		val = []byte{}
	}
	return val, nil
}

func notFound(err error) error {
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	return err
}

// Counters implements kv.Reader.
func (v *view) Counters(key []byte) ([]int64, error) {
	val, err := v.Get(key)
	return kv.DecodeCounters(val), err
}

// Scan implements kv.Reader.
func (v *view) Scan(r kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	var src pebble.Reader = v.store.db
	if v.snap != nil {
		src = v.snap
	}
	it, err := scan(src, r, opt)
	if err == nil {
		it.store, it.paced = v.store, opt.Turn == nil
	}
	if err == nil && v.store.opt.Sync && !opt.Stale {
		if err := v.store.waitAllDurable(); err != nil {
			return nil, errors.Join(err, it.Close())
		}
	}
	return it, err
}

// Close implements kv.Snapshot.
func (v *view) Close() error {
	for i, c := range v.held {
		c.Close()
		v.held[i] = nil
	}
	v.held = v.held[:0]
	var err error
	if v.snap != nil {
		err = v.snap.Close()
		v.snap = nil
	}
	v.store.mu.RUnlock()
	v.store.views.Put(v)
	return err
}

// scan returns an iterator over src. It is not positioned until the first Next.
func scan(src pebble.Reader, r kv.Range, opt kv.ScanOpt) (*iterator, error) {
	it, err := src.NewIter(&pebble.IterOptions{LowerBound: r.Start, UpperBound: r.End})
	if err != nil {
		return nil, err
	}
	return &iterator{it: it, reverse: opt.Reverse}, nil
}

// iterator implements kv.Iterator.
type iterator struct {
	it      *pebble.Iterator
	store   *Store // told what was scanned; nil in a transaction
	paced   bool   // the reader takes no turns
	pace    turns.Pace
	reverse bool
	started bool
	seek    []byte // where the next Next moves to; nil for the neighbor
}

// Next implements kv.Iterator. A pending Seek is carried out here, in the scan's direction.
func (i *iterator) Next() bool {
	if i.paced {
		i.pace.Yield()
	}
	switch {
	case i.seek != nil && i.reverse:
		// SeekLT excludes the key itself.
		key := append(i.seek, 0)
		i.seek = nil
		i.started = true
		return i.it.SeekLT(key)
	case i.seek != nil:
		key := i.seek
		i.seek = nil
		i.started = true
		return i.it.SeekGE(key)
	case !i.started:
		i.started = true
		if i.reverse {
			return i.it.Last()
		}
		return i.it.First()
	case i.reverse:
		return i.it.Prev()
	}
	return i.it.Next()
}

func (i *iterator) Key() []byte     { return i.it.Key() }
func (i *iterator) Value() []byte   { return i.it.Value() }
func (i *iterator) Seek(key []byte) { i.seek = append([]byte(nil), key...) }
func (i *iterator) Close() error {
	if i.store != nil {
		i.store.noteSteps(i.it.Stats())
	}
	return i.it.Close()
}

const (
	// manyVersions is the number of steps over old versions per key returned from which a flush, which drops them, pays off.
	manyVersions = 8
	// flushPause is the shortest time between two such flushes, in nanoseconds.
	flushPause = int64(time.Second)
)

// noteSteps receives the statistics of an iterator. Items that are written over and over leave their old versions in the memtable,
// where every Query of their partition steps over them; flush it if there are too many.
func (s *Store) noteSteps(stats pebble.IteratorStats) {
	keys := stats.ForwardStepCount[pebble.InterfaceCall] + stats.ReverseStepCount[pebble.InterfaceCall] + 1
	steps := stats.ForwardStepCount[pebble.InternalIterCall] + stats.ReverseStepCount[pebble.InternalIterCall]
	if steps < manyVersions*keys+manyVersions {
		return
	}
	now := s.opt.Now().UnixNano()
	last := s.flushed.Load()
	if now-last >= flushPause && s.flushed.CompareAndSwap(last, now) && s.writable() == nil {
		if _, err := s.db.AsyncFlush(); err != nil {
			s.opt.Logger.Warn("cannot flush a memtable with many old versions", "error", err.Error())
		}
	}
}
