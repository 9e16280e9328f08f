// Package paging decides how many rows a scan fetches at a time from an engine across a network: enough to avoid many small
// round trips, but not more than the reader wants or memory should hold.
package paging

import (
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

const (
	// First is the largest number of rows that the first page asks for. Most queries end with it.
	First = 64
	// most and least bound the rows that later pages ask for.
	most  = 4096
	least = 4
	// pageBytes is the target size of a page, in bytes, once the size of its rows is known.
	pageBytes = 256 << 10
	// prefix is how many bytes of a key tell the table and index, whose rows are of similar size.
	prefix = 6
)

// Sizes remembers the size of rows by the beginning of their keys. The zero value is ready; it is safe for concurrent use. It
// has a fixed number of slots, which tables share by hash: a wrong size costs a page that is too small or too large.
type Sizes [1024]atomic.Int64

// Pages sizes the pages of one scan.
type Pages struct {
	size    *atomic.Int64 // bytes per row of the last page; 0 if unknown
	begun   bool
	limited bool
	left    int // rows that the reader still wants, if limited
}

// Pages returns the pages of a scan from start, or of one that seeks back to it. rows is how many rows the reader wants; 0 if
// unknown.
func (s *Sizes) Pages(start []byte, rows int) Pages {
	at := xxhash.Sum64(start[:min(prefix, len(start))]) % uint64(len(s))
	return Pages{size: &s[at], limited: rows > 0, left: rows}
}

// Next returns how many rows to ask for.
func (p *Pages) Next() int {
	n := First
	if p.begun {
		n = most
	}
	if size := p.size.Load(); size > 0 {
		n = max(least, min(n, int(pageBytes/size)))
	}
	if p.limited && p.left > 0 {
		n = min(n, p.left)
	}
	return n
}

// Got reports how many rows arrived, and their size together in bytes.
func (p *Pages) Got(rows, bytes int) {
	p.begun, p.left = true, p.left-rows
	if rows > 0 {
		p.size.Store(int64(bytes/rows + 1))
	}
}
