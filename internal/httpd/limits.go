package httpd

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxHeaders is the largest size of a request's headers in bytes; session tokens take up to a few KB.
	maxHeaders         = 16 << 10
	defaultIdle        = 2 * time.Minute
	defaultConnections = 16_000
	defaultInFlight    = 4096
	defaultBodies      = 256 << 20
	defaultAnswers     = 256 << 20
	defaultPatience    = 5 * time.Second
	// freeReads is how many bytes a request may read uncounted. Beyond it, reads are counted in steps of countReads bytes, so that
	// the shared counter is touched rarely.
	freeReads  = 64 << 10
	countReads = 64 << 10
	// freeAnswer is the largest uncounted answer in bytes. fasthttp copies such answers into a buffer that each connection keeps.
	freeAnswer = 8 << 10
)

// Limits bound what clients can make the server hold at once. Beyond a limit a request fails at once with an error that SDKs retry.
type Limits struct {
	// Connections is the number of open connections, each with up to 60 KB of buffers; 0 means 16,000.
	Connections int
	// InFlight is the number of requests executing at once; 0 means 4,096.
	InFlight int
	// Bodies is the memory in bytes for request bodies, compressed and decompressed, beyond the first 8 KB of each; 0 means 256 MB.
	Bodies int64
	// Answers is the memory in bytes for what requests read beyond 64 KB each, and for answers of more than 8 KB until their clients
	// have received them; 0 means 256 MB.
	Answers int64
	// Idle is how long a client may take to begin and send a request, or to receive an answer, give or take a tenth; 0 means two
	// minutes.
	Idle time.Duration
	// Patience is how long a body or an answer may be in transit while its memory is short. Beyond it, the slowest client is
	// disconnected; 0 means five seconds.
	Patience time.Duration
}

// orDefaults replaces zeros by defaults.
func (l Limits) orDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, defaultConnections)
	l.InFlight = cmp.Or(l.InFlight, defaultInFlight)
	l.Bodies = cmp.Or(l.Bodies, defaultBodies)
	l.Answers = cmp.Or(l.Answers, defaultAnswers)
	l.Idle = cmp.Or(l.Idle, defaultIdle)
	l.Patience = cmp.Or(l.Patience, defaultPatience)
	return l
}

// load is what clients make the server hold at the moment.
type load struct {
	limits   Limits
	requests atomic.Int64 // total since the start
	inFlight atomic.Int64
	ended    atomic.Bool // Shutdown refuses new requests
	bodies   bodyBudget
	answers  bodyBudget
}

// enter counts a request as executing. It returns false if there are too many, or if the server shuts down.
func (l *load) enter() bool {
	l.requests.Add(1)
	if l.inFlight.Add(1) > int64(l.limits.InFlight) || l.ended.Load() {
		l.inFlight.Add(-1)
		return false
	}
	return true
}

// leave undoes enter.
func (l *load) leave() { l.inFlight.Add(-1) }

// bodyBudget bounds the memory for request bodies, or that for reads and answers.
type bodyBudget struct {
	limit    int64
	patience time.Duration
	taken    atomic.Int64

	mu       sync.Mutex
	arriving map[*body]time.Time // bodies with counted memory that are still in transit, and since when
}

func newBodyBudget(limit int64, patience time.Duration) bodyBudget {
	return bodyBudget{limit: limit, patience: patience, arriving: map[*body]time.Time{}}
}

// take reserves bytes for a body. It returns false if the budget has too few left, and then closes the connection whose body has
// been in transit for longest, if that has had patience.
func (bb *bodyBudget) take(b *body, bytes int64) bool {
	// Add before comparing, so that concurrent calls can't exceed the limit together.
	if bb.taken.Add(bytes) > bb.limit {
		bb.taken.Add(-bytes)
		bb.hurry(b)
		return false
	}
	bb.hold(b, bytes)
	return true
}

// force reserves bytes for a body even beyond the limit: the memory is allocated already.
func (bb *bodyBudget) force(b *body, bytes int64) {
	bb.taken.Add(bytes)
	bb.hold(b, bytes)
}

// hold adds bytes to the body's share, and lists it as in transit if it is a client's.
func (bb *bodyBudget) hold(b *body, bytes int64) {
	if b.counted == 0 && b.conn != nil {
		bb.mu.Lock()
		bb.arriving[b] = time.Now()
		bb.mu.Unlock()
	}
	b.counted += bytes
}

// arrived records that the body's transit is over: its client no longer holds it up.
func (bb *bodyBudget) arrived(b *body) {
	if b.counted > 0 && b.conn != nil {
		bb.mu.Lock()
		delete(bb.arriving, b)
		bb.mu.Unlock()
	}
}

// give returns all that the body has reserved.
func (bb *bodyBudget) give(b *body) {
	bb.taken.Add(-b.counted)
	b.counted = 0
}

// hurry closes the connection whose body has been in transit for longest, and for longer than patience. but is exempt: it is the
// body that needs the memory.
func (bb *bodyBudget) hurry(but *body) {
	bb.mu.Lock()
	defer bb.mu.Unlock()
	var slowest *body
	since := time.Now().Add(-bb.patience)
	for b, began := range bb.arriving {
		if b != but && began.Before(since) {
			slowest, since = b, began
		}
	}
	if slowest != nil {
		sever(slowest.conn)
	}
}

// reads counts what a request reads from storage. It implements smithy.Memory.
type reads struct {
	body
	total int64
}

// Take counts bytes that were read, and takes them from the budget in steps of countReads.
func (r *reads) Take(bytes int) bool {
	r.total += int64(bytes)
	if more := r.total - freeReads - r.counted; more > 0 {
		return r.budget.take(&r.body, max(more, countReads))
	}
	return true
}

// release returns all that was taken.
func (r *reads) release() {
	r.budget.give(&r.body)
	r.total = 0
}
