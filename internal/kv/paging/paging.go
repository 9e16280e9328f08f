// Package paging says for how many rows at a time a scan asks an engine that is some way off: neither many small round trips, nor
// more than its reader wants or memory should hold.
package paging

import (
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

const (
	// First is how many rows the first page has at most.
	First = 64
	// most and least bound what later pages ask for.
	most  = 4096
	least = 4
	// pageBytes is about how large a page is whose rows have a known size.
	pageBytes = 256 << 10
	// prefix is how much of a key tells the table and index in which rows have a size in common.
	prefix = 6
)

// Sizes remembers how large rows are, by the beginnings of their keys. Its zero value is ready; several goroutines may use it.
type Sizes [1024]atomic.Int64

// Pages are the pages of one scan.
type Pages struct {
	size    *atomic.Int64 // bytes of a row; 0 if it is not known
	begun   bool
	limited bool
	left    int // rows that are wanted still, if limited
}

// Pages returns the pages of a scan that begins at start, or goes back to it, and of which about rows rows are wanted; 0 if that is
// not known.
func (s *Sizes) Pages(start []byte, rows int) Pages {
	at := xxhash.Sum64(start[:min(prefix, len(start))]) % uint64(len(s))
	return Pages{size: &s[at], limited: rows > 0, left: rows}
}

// Next returns for how many rows to ask.
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

// Got says how many rows came, and how many bytes they have together.
func (p *Pages) Got(rows, bytes int) {
	p.begun, p.left = true, p.left-rows
	if rows > 0 {
		p.size.Store(int64(bytes/rows + 1))
	}
}
