package pebblekv

import (
	"context"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/statordb/stator/internal/kv"
)

// view reads from a pebble.Reader and keeps what it returned alive until it is closed.
type view struct {
	store *Store
	src   pebble.Reader
	snap  *pebble.Snapshot
	held  []io.Closer
}

// Snapshot implements kv.Store.
func (s *Store) Snapshot(context.Context) (kv.Snapshot, error) {
	v := s.view()
	v.snap = s.db.NewSnapshot()
	v.src = v.snap
	return v, nil
}

// Latest implements kv.Store.
func (s *Store) Latest(context.Context) (kv.Snapshot, error) {
	v := s.view()
	v.src = s.db
	return v, nil
}

func (s *Store) view() *view {
	if v, ok := s.views.Get().(*view); ok {
		return v
	}
	return &view{store: s}
}

// Get implements kv.Reader.
func (v *view) Get(key []byte) ([]byte, error) {
	val, closer, err := v.src.Get(key)
	if err != nil {
		return nil, notFound(err)
	}
	v.held = append(v.held, closer)
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

// Scan implements kv.Reader.
func (v *view) Scan(r kv.Range, opt kv.ScanOpt) (kv.Iterator, error) { return scan(v.src, r, opt) }

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
	}
	v.src, v.snap = nil, nil
	v.store.views.Put(v)
	return err
}

func scan(src pebble.Reader, r kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	it, err := src.NewIter(&pebble.IterOptions{LowerBound: r.Start, UpperBound: r.End})
	if err != nil {
		return nil, err
	}
	return &iterator{it: it, reverse: opt.Reverse}, nil
}

// iterator implements kv.Iterator.
type iterator struct {
	it      *pebble.Iterator
	reverse bool
	started bool
	seek    []byte
}

func (i *iterator) Next() bool {
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
func (i *iterator) Close() error    { return i.it.Close() }
