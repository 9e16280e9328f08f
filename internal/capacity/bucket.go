package capacity

// bucket is a token bucket of capacity units. It may go into debt: a request is admitted while there is anything in it, and
// pays what it consumed once that is known.
type bucket struct {
	rate, size float64 // units per second, units
	tokens     float64
	at         int64 // nanoseconds since 1970 up to which tokens were added

	// Where several servers spend of one bucket, each has a part of what was in it when they settled, and of what comes in.
	part           float64 // 0 for all
	quota          float64
	settled        int64   // when, in nanoseconds since 1970
	spent, foreign float64 // since then, here and on other servers
}

// newBucket returns a full bucket.
func newBucket(rate, seconds float64, now int64) bucket {
	return bucket{rate: rate, size: rate * seconds, tokens: rate * seconds, at: now}
}

func (b *bucket) refill(now int64) {
	if now == b.at {
		return
	}
	if now > b.at {
		b.tokens = min(b.size, b.tokens+b.rate*float64(now-b.at)/1e9)
	}
	b.at = now // also if the clock was put back
}

// resize changes the rate and keeps what is in the bucket, as far as it fits.
func (b *bucket) resize(rate, seconds float64, now int64) {
	b.refill(now)
	b.rate, b.size = rate, rate*seconds
	b.tokens = min(b.tokens, b.size)
}

// open reports whether the bucket admits a request.
func (b *bucket) open(now int64) bool {
	b.refill(now)
	return b.tokens > 0 && (b.part == 0 || b.spent < b.quota+b.part*b.rate*float64(now-b.settled)/1e9)
}

// charge takes units out of the bucket.
func (b *bucket) charge(units float64, now int64) {
	b.refill(now)
	b.tokens -= units
	b.spent += units
}

// pay takes out what was spent on another server.
func (b *bucket) pay(units float64, now int64) {
	b.refill(now)
	b.tokens -= units
	b.foreign += units
}

// settle gives this server, one of several, the part of the bucket that it had of the demand since the last time, and, so that it can
// begin, half of an equal part at least.
func (b *bucket) settle(servers int, now int64) {
	b.refill(now)
	equal := 1 / float64(servers)
	switch {
	case servers == 1:
		b.part = 0
	case b.spent+b.foreign == 0:
		b.part = equal
	default:
		b.part = max(equal/2, b.spent/(b.spent+b.foreign))
	}
	b.quota, b.settled = max(0, b.tokens)*b.part, now
	b.spent, b.foreign = 0, 0
}
