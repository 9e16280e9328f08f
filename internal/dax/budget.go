package dax

import (
	"sync"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

const (
	// largeBuffer is from how many bytes on memory of a request or answer is counted, and not kept for the next request.
	largeBuffer = 16 << 10
	// countReads is how many bytes that a request reads are counted at a time.
	countReads = 64 << 10
	// maxLarge is how many bytes of requests and answers above largeBuffer there may be at a time, of all connections together.
	maxLarge = 256 << 20
	// patience is how long a connection may keep counted memory waiting for its client while others need it.
	patience = 5 * time.Second
)

// budget bounds the memory that large requests and answers take. Where it is used up, connections that have waited for their clients
// for longer than patience are closed, the longest first, for those that need memory now: clients that are slow on purpose can't keep
// it from others.
type budget struct {
	max int64

	mu      sync.Mutex
	used    int64
	holders map[*conn]*holding
}

// holding is what a connection has of a budget.
type holding struct {
	bytes   int64
	waiting time.Time // since when it waits for its client; zero while its request runs
}

func newBudget(bytes int64) *budget { return &budget{max: bytes, holders: map[*conn]*holding{}} }

// take takes bytes more for a connection that waits for its client, or whose request runs. It returns false if there is no room.
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

// force takes bytes whether there is room or not.
func (b *budget) force(c *conn, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold(c, bytes, false)
}

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

// slowest returns the connection other than c that has waited for its client for longest, and longer than patience; nil for none.
func (b *budget) slowest(c *conn) (out *conn) {
	before := time.Now().Add(-patience)
	for other, h := range b.holders {
		if other != c && !h.waiting.IsZero() && h.waiting.Before(before) {
			out, before = other, h.waiting
		}
	}
	return out
}

// waits says whether a connection that holds something waits for its client from now on.
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

// give returns all that a connection has taken but the bytes that it keeps.
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

func (b *budget) remove(c *conn) {
	if h := b.holders[c]; h != nil {
		b.used -= h.bytes
		delete(b.holders, c)
	}
}

// taken returns how many bytes are taken.
func (b *budget) taken() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// overloaded is the answer where a limit is met.
func overloaded() *awserr.Error {
	return awserr.New(awserr.Throttling, "The node is overloaded: too many large requests at a time")
}
