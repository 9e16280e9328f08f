package tikvkv

import (
	"bytes"

	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/txnkv/txnsnapshot"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/paging"
)

// source is the client's snapshot or transaction.
type source interface {
	Iter(k, upperBound []byte) (tikv.Iterator, error)
	IterReverse(k []byte) (tikv.Iterator, error)
}

// iterator implements kv.Iterator. The client reads ahead a fixed number of rows, so each page needs a client iterator
// of its own.
type iterator struct {
	from  source
	snap  *txnsnapshot.KVSnapshot // the snapshot that from reads
	all   kv.Range
	opt   kv.ScanOpt
	pages paging.Pages

	it    tikv.Iterator // iterates over a page; nil before the first Next and after Seek
	rest  kv.Range      // where the next page begins
	size  int           // rows that the page asked for
	rows  int           // rows of the page returned so far
	bytes int           // of these rows together
	err   error
}

func newIterator(from source, snap *txnsnapshot.KVSnapshot, sizes *paging.Sizes, r kv.Range, opt kv.ScanOpt) *iterator {
	return &iterator{from: from, snap: snap, all: r, opt: opt, pages: sizes.Pages(r.Start, opt.Rows), rest: r}
}

// open starts the next page.
func (i *iterator) open() error {
	i.opt.Wait()
	i.size, i.rows, i.bytes = max(2, i.pages.Next()), 0, 0 // the client takes 1 for unset
	i.snap.SetScanBatchSize(i.size)
	var err error
	if i.opt.Reverse {
		i.it, err = i.from.IterReverse(i.rest.End)
	} else {
		i.it, err = i.from.Iter(i.rest.Start, i.rest.End)
	}
	return err
}

// Next implements kv.Iterator.
func (i *iterator) Next() bool {
	if i.err != nil {
		return false
	}
	if i.it != nil && i.rows == i.size {
		i.rest = i.rest.After(i.it.Key(), i.opt.Reverse)
		i.close()
	}
	if i.it == nil {
		i.err = failure(i.open())
	} else if i.it.Valid() {
		i.err = failure(i.it.Next())
	}
	// The client's reverse iterator has no lower bound, so check it here.
	if i.err != nil || !i.it.Valid() || i.opt.Reverse && bytes.Compare(i.it.Key(), i.all.Start) < 0 {
		return false
	}
	i.rows++
	i.bytes += len(i.it.Key()) + len(i.it.Value())
	return true
}

// Key implements kv.Iterator.
func (i *iterator) Key() []byte { return i.it.Key() }

// Value implements kv.Iterator.
func (i *iterator) Value() []byte { return decode(i.it.Value()) }

// Seek implements kv.Iterator.
func (i *iterator) Seek(key []byte) {
	i.close()
	i.rest = i.all.From(key, i.opt.Reverse)
}

// close ends the current page, if any.
func (i *iterator) close() {
	if i.it != nil {
		i.pages.Got(i.rows, i.bytes)
		i.it.Close()
		i.it = nil
	}
}

// Close implements kv.Iterator.
func (i *iterator) Close() error {
	i.close()
	return i.err
}
