package capacity

// bucket is a token bucket of capacity units. It may go into debt: a request is admitted while there is anything in it, and
// pays what it consumed once that is known.
type bucket struct {
	rate, size float64 // units per second, units
	tokens     float64
	at         int64 // nanoseconds since 1970 up to which tokens were added
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
	return b.tokens > 0
}

// charge takes units out of the bucket.
func (b *bucket) charge(units float64, now int64) {
	b.refill(now)
	b.tokens -= units
}
