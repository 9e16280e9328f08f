package server

import (
	"sync/atomic"
	"time"
)

// movedClock is a clock that only tests move.
type movedClock struct{ ms atomic.Int64 }

func newMovedClock() *movedClock {
	c := &movedClock{}
	c.ms.Store(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *movedClock) Now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *movedClock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }
