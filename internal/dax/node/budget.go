package node

import (
	"sync"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

const (
	// largeBuffer is the size in bytes from which a buffer counts against the budget, and isn't kept for the next request.
	largeBuffer = 16 << 10
	// countReads is the step in bytes in which reads from the database are counted.
	countReads = 64 << 10
	// maxLarge is the budget in bytes of one Service: all its connections together.
	maxLarge = 256 << 20
	// patience is how long a connection may hold counted memory while it waits for its client and others need the memory.
	patience = 5 * time.Second
)

// budget bounds the memory of large requests and answers. When it is used up, connections that have waited for their clients for
// longer than patience are closed, the longest first, to make room: deliberately slow clients can't keep memory from others.
// Connections whose request is running are never closed for it.
type budget struct {
	max int64

	mu      sync.Mutex
	used    int64
	holders map[*conn]*holding
}

// holding is one connection's share of a budget.
type holding struct {
	bytes   int64
	waiting time.Time // since when the connection waits for its client; zero while its request runs
}

func newBudget(bytes int64) *budget { return &budget{max: bytes, holders: map[*conn]*holding{}} }

// take reserves bytes for a connection, and returns false if there is no room. waits says whether the connection is waiting for its
// client, which makes it a candidate for closing.
func (b *budget) take(c *conn, bytes int64, waits bool) bool {
	b.mu.Lock()
	room := b.used+bytes <= b.max
	var cut []*conn
	for !room {
		slowest := b.slowest(c)
		if slowest == nil {
			break
		}
		b.remove(slowest)
		cut = append(cut, slowest)
		room = b.used+bytes <= b.max
	}
	if room {
		b.hold(c, bytes, waits)
	}
	b.mu.Unlock()
	for _, slow := range cut {
		slow.cut()
	}
	return room
}

// force reserves bytes even beyond the limit: the memory is in use already.
func (b *budget) force(c *conn, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold(c, bytes, false)
}

// hold adds bytes to the connection's share. b.mu is held.
func (b *budget) hold(c *conn, bytes int64, waits bool) {
	h := b.holders[c]
	if h == nil {
		h = &holding{}
		if waits {
			h.waiting = time.Now()
		}
		b.holders[c] = h
	}
	h.bytes += bytes
	b.used += bytes
}

// slowest returns the connection, other than c, that has waited for its client the longest, and longer than patience; nil if there
// is none. b.mu is held.
func (b *budget) slowest(c *conn) (out *conn) {
	before := time.Now().Add(-patience)
	for other, h := range b.holders {
		if other != c && !h.waiting.IsZero() && h.waiting.Before(before) {
			out, before = other, h.waiting
		}
	}
	return out
}

// waits records whether the connection, if it holds anything, is waiting for its client.
func (b *budget) waits(c *conn, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.holders[c]; h != nil {
		h.waiting = time.Time{}
		if waits {
			h.waiting = time.Now()
		}
	}
}

// give releases the connection's share except for keep bytes.
func (b *budget) give(c *conn, keep int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.holders[c]; h != nil {
		if keep == 0 {
			b.remove(c)
			return
		}
		b.used += keep - h.bytes
		h.bytes = keep
	}
}

// remove releases all of a connection's share. b.mu is held.
func (b *budget) remove(c *conn) {
	if h := b.holders[c]; h != nil {
		b.used -= h.bytes
		delete(b.holders, c)
	}
}

// taken returns the number of reserved bytes.
func (b *budget) taken() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// overloaded is the error for a request beyond the budget. SDKs retry it.
func overloaded() *awserr.Error {
	return awserr.New(awserr.Throttling, "The node is overloaded: too many large requests at a time")
}
