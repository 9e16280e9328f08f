package throttle

// bucket is a token bucket of capacity units. It may go into debt, as AWS's do: a request is admitted while there are any tokens, and
// pays its actual consumption afterwards.
type bucket struct {
	rate, size float64 // units per second; units
	tokens     float64
	at         int64 // time up to which tokens were added, in nanoseconds since 1970

	// If several servers share the bucket, each may spend a part of the tokens that were there at the last settlement, and of the refill.
	part           float64 // fraction between 0 and 1; 0 means that the bucket isn't shared
	quota          float64 // this server's units at the settlement
	settled        int64   // time of the settlement, in nanoseconds since 1970
	spent, foreign float64 // units since the settlement, here and on other servers
}

// newBucket returns a full bucket that holds the given seconds of its rate.
func newBucket(rate, seconds float64, now int64) bucket {
	return bucket{rate: rate, size: rate * seconds, tokens: rate * seconds, at: now}
}

// refill adds the tokens since the last call.
func (b *bucket) refill(now int64) {
	if now == b.at {
		return
	}
	if now > b.at {
		b.tokens = min(b.size, b.tokens+b.rate*float64(now-b.at)/1e9)
	}
	b.at = now // even if the clock has gone back
}

// resize changes the rate and keeps as many tokens as fit.
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

// charge removes units that this server has consumed.
func (b *bucket) charge(units float64, now int64) {
	b.refill(now)
	b.tokens -= units
	b.spent += units
}

// pay removes units that another server has consumed.
func (b *bucket) pay(units float64, now int64) {
	b.refill(now)
	b.tokens -= units
	b.foreign += units
}

// settle starts a new period in which this server, one of several, gets a part of the bucket: its share of the demand since the last
// settlement, but at least half of an equal share, so that its demand can show.
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
