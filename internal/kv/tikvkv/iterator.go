package tikvkv

import (
	"bytes"

	"github.com/tikv/client-go/v2/tikv"

	"github.com/statordb/stator/internal/kv"
)

// source is a snapshot or a transaction of the client.
type source interface {
	Iter(k, upperBound []byte) (tikv.Iterator, error)
	IterReverse(k []byte) (tikv.Iterator, error)
}

// iterator implements kv.Iterator.
type iterator struct {
	from    source
	all     kv.Range
	reverse bool

	it   tikv.Iterator // nil before the first Next and after Seek
	seek []byte
	err  error
}

func (i *iterator) open() error {
	start, end := i.all.Start, i.all.End
	if i.seek != nil {
		if i.reverse {
			if behind := append(bytes.Clone(i.seek), 0); end == nil || bytes.Compare(behind, end) < 0 {
				end = behind
			}
		} else if bytes.Compare(i.seek, start) > 0 {
			start = i.seek
		}
		i.seek = nil
	}
	var err error
	if i.reverse {
		i.it, err = i.from.IterReverse(end)
	} else {
		i.it, err = i.from.Iter(start, end)
	}
	return err
}

// Next implements kv.Iterator.
func (i *iterator) Next() bool {
	if i.err != nil {
		return false
	}
	if i.it == nil {
		i.err = failure(i.open())
	} else if i.it.Valid() {
		i.err = failure(i.it.Next())
	}
	// Going back, the client knows no lower bound.
	return i.err == nil && i.it.Valid() && (!i.reverse || bytes.Compare(i.it.Key(), i.all.Start) >= 0)
}

// Key implements kv.Iterator.
func (i *iterator) Key() []byte { return i.it.Key() }

// Value implements kv.Iterator.
func (i *iterator) Value() []byte { return decode(i.it.Value()) }

// Seek implements kv.Iterator.
func (i *iterator) Seek(key []byte) {
	if i.it != nil {
		i.it.Close()
		i.it = nil
	}
	i.seek = append([]byte{}, key...)
}

// Close implements kv.Iterator.
func (i *iterator) Close() error {
	if i.it != nil {
		i.it.Close()
	}
	return i.err
}
