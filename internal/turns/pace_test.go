package turns

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace checks when steps end. The clock stands still, so steps begin in the past.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, urgent := range []bool{false, true} {
			now := time.Now()
			p := Pace{Urgent: urgent}
			if p.Yield(); p.began != now {
				t.Errorf("urgent %v: the first step began at %v, want %v", urgent, p.began, now)
			}
			began := now.Add(time.Nanosecond - step)
			p.began = began
			if p.Yield(); p.began != began {
				t.Errorf("urgent %v: the step ended early", urgent)
			}
			began = now.Add(-step)
			p.began = began
			p.Yield()
			if got := p.began.Sub(began); got != step {
				t.Errorf("urgent %v: the next step began after %v, want %v", urgent, got, step)
			}
		}
	})
}
