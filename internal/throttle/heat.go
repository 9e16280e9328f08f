package throttle

import (
	"slices"
	"time"
)

const (
	// heatWindow is the period over which load is measured, in nanoseconds.
	heatWindow = int64(10 * time.Second)
	// hotWindows is how many windows in a row a partition must be hot before it is split: five minutes.
	hotWindows = 30
	// hotShare is the fraction of a partition's throughput from which it is hot.
	hotShare = 0.8
	// coldShare is the fraction of the load that both halves need for a split to be worth it.
	coldShare = 0.1
)

// heat measures the load of a partition, to split it where that helps. Splitting doesn't help if one key has all the load.
type heat struct {
	window int64 // number of the current window
	// units are the consumed units by Direction, and refuse the throttled requests, of the current window.
	units  [2]float64
	refuse int64
	last   [2]float64 // the same for the previous window
	lastRf int64
	hot    int // number of hot windows in a row

	sample [64]hashUnits // requests since hot reached hotWindows: the first n are set
	n      int
}

// hashUnits is a sampled request. units is its consumption as a fraction of what a partition serves per second.
type hashUnits struct {
	hash  uint32
	units float64
}

// throttled counts a throttled request.
func (h *heat) throttled() { h.refuse++ }

// turn starts a new window if the current one is over.
func (h *heat) turn(now int64) {
	w := now / heatWindow
	if w == h.window {
		return
	}
	seconds := float64(heatWindow) / float64(time.Second)
	hot := h.refuse > 0
	for d := range h.units {
		hot = hot || h.units[d] >= hotShare*seconds*partitionUnits[d]
	}
	if hot && w == h.window+1 {
		h.hot++
	} else {
		h.hot = 0
	}
	h.last, h.lastRf = h.units, h.refuse
	if w != h.window+1 {
		h.last, h.lastRf = [2]float64{}, 0
	}
	h.window, h.units, h.refuse = w, [2]float64{}, 0
}

// add counts a request. If the partition is due for a split, it returns the hash at which to split.
func (h *heat) add(d Direction, hash uint32, units float64, now int64) (split uint32, ok bool) {
	h.turn(now)
	h.units[d] += units
	if h.hot < hotWindows {
		h.n = 0
		return 0, false
	}
	h.sample[h.n] = hashUnits{hash, units / partitionUnits[d]}
	if h.n++; h.n < len(h.sample) {
		return 0, false
	}
	h.hot, h.n = 0, 0
	return h.middle()
}

// middle returns the hash that divides the sampled load most evenly. It returns false if one key has nearly all of it.
func (h *heat) middle() (uint32, bool) {
	s := h.sample[:]
	slices.SortFunc(s, func(a, b hashUnits) int {
		switch {
		case a.hash < b.hash:
			return -1
		case a.hash > b.hash:
			return 1
		}
		return 0
	})
	total := 0.0
	for _, x := range s {
		total += x.units
	}
	best, at, found := 0.0, uint32(0), false
	left := 0.0
	for i := 1; i < len(s); i++ {
		left += s[i-1].units
		if s[i].hash == s[i-1].hash {
			continue
		}
		if smaller := min(left, total-left) / total; smaller >= coldShare && smaller > best {
			best, at, found = smaller, s[i].hash, true
		}
	}
	return at, found
}

// recent returns the units per second, and the throttled requests, over the previous and the current window.
func (h *heat) recent(now int64) (units [2]float64, throttled int64) {
	h.turn(now)
	seconds := float64(now%heatWindow) / float64(time.Second)
	whole := float64(heatWindow) / float64(time.Second)
	for d := range units {
		units[d] = (h.last[d] + h.units[d]) / (whole + seconds)
	}
	return units, h.lastRf + h.refuse
}
