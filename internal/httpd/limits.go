package httpd

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxHeaders is the largest size of a request's headers in bytes; session tokens take some.
	maxHeaders         = 16 << 10
	defaultIdle        = 2 * time.Minute
	defaultConnections = 16_000
	defaultInFlight    = 4096
	defaultBodies      = 256 << 20
	defaultAnswers     = 256 << 20
	defaultPatience    = 5 * time.Second
	// freeReads is how many bytes that a request reads are not counted, and countReads how many are counted at a time.
	freeReads  = 64 << 10
	countReads = 64 << 10
	// freeAnswer is up to how many bytes an answer is not counted. fasthttp copies it, and each connection keeps memory of this size.
	freeAnswer = 8 << 10
)

// Limits bound what clients can make the server hold at a time. Past them a client gets an error at once that SDKs retry.
type Limits struct {
	// Connections is the number of open connections, each with up to 60 KB of buffers; 0 for 16,000.
	Connections int
	// InFlight is the number of requests being executed; 0 for 4,096.
	InFlight int
	// Bodies is the bytes of memory for request bodies, as sent and decompressed, above 8 KB each; 0 for 256 MB.
	Bodies int64
	// Answers is the bytes of memory for what requests read above 64 KB each, and for answers of more than 8 KB until their clients
	// have taken them; 0 for 256 MB.
	Answers int64
	// Idle is how long a client may take to begin and send a request, or to receive the answer, give or take a tenth; 0 for
	// two minutes.
	Idle time.Duration
	// Patience is how long a body may take to arrive, or an answer to be taken, while there is not enough memory for another; 0 for
	// five seconds.
	Patience time.Duration
}

func (l Limits) orDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, defaultConnections)
	l.InFlight = cmp.Or(l.InFlight, defaultInFlight)
	l.Bodies = cmp.Or(l.Bodies, defaultBodies)
	l.Answers = cmp.Or(l.Answers, defaultAnswers)
	l.Idle = cmp.Or(l.Idle, defaultIdle)
	l.Patience = cmp.Or(l.Patience, defaultPatience)
	return l
}

// load is what clients make the server hold now.
type load struct {
	limits   Limits
	requests atomic.Int64 // so far
	inFlight atomic.Int64
	ended    atomic.Bool // no request is begun any more
	bodies   bodyBudget
	answers  bodyBudget
}

// enter counts a request; false if there are too many, or the server ends.
func (l *load) enter() bool {
	l.requests.Add(1)
	if l.inFlight.Add(1) > int64(l.limits.InFlight) || l.ended.Load() {
		l.inFlight.Add(-1)
		return false
	}
	return true
}

func (l *load) leave() { l.inFlight.Add(-1) }

// bodyBudget is the memory for request bodies, or for reads and answers.
type bodyBudget struct {
	limit    int64
	patience time.Duration
	taken    atomic.Int64

	mu       sync.Mutex
	arriving map[*body]time.Time // bodies that hold counted memory while their clients send, or take, them, since when
}

func newBodyBudget(limit int64, patience time.Duration) bodyBudget {
	return bodyBudget{limit: limit, patience: patience, arriving: map[*body]time.Time{}}
}

// take takes bytes for a body; false if there are not enough. Then the body that has been arriving for longest makes room, if its
// client has had time enough.
func (bb *bodyBudget) take(b *body, bytes int64) bool {
	if bb.taken.Add(bytes) > bb.limit {
		bb.taken.Add(-bytes)
		bb.hurry(b)
		return false
	}
	bb.hold(b, bytes)
	return true
}

// force takes bytes for a body, whether they are there or not.
func (bb *bodyBudget) force(b *body, bytes int64) {
	bb.taken.Add(bytes)
	bb.hold(b, bytes)
}

func (bb *bodyBudget) hold(b *body, bytes int64) {
	if b.counted == 0 && b.conn != nil {
		bb.mu.Lock()
		bb.arriving[b] = time.Now()
		bb.mu.Unlock()
	}
	b.counted += bytes
}

// arrived says that nothing more of the body is sent.
func (bb *bodyBudget) arrived(b *body) {
	if b.counted > 0 && b.conn != nil {
		bb.mu.Lock()
		delete(bb.arriving, b)
		bb.mu.Unlock()
	}
}

// give gives back all that the body has taken.
func (bb *bodyBudget) give(b *body) {
	bb.taken.Add(-b.counted)
	b.counted = 0
}

// hurry closes the connection of the slowest body but the one that asks; reading it fails then.
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
		_ = slowest.conn.Close() // its reader finds it closed
	}
}

// reads is what a request reads. It implements smithy.Memory.
type reads struct {
	body
	total int64
}

// Take counts bytes that were read, many at a time.
func (r *reads) Take(bytes int) bool {
	r.total += int64(bytes)
	if more := r.total - freeReads - r.counted; more > 0 {
		return r.budget.take(&r.body, max(more, countReads))
	}
	return true
}

// release gives back all that was taken.
func (r *reads) release() {
	r.budget.give(&r.body)
	r.total = 0
}
