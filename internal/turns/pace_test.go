package turns

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace checks when steps end. The clock stands still while work rests.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, urgent := range []bool{false, true} {
			p := Pace{Urgent: urgent}
			p.Yield()
			began := p.began
			time.Sleep(step - time.Nanosecond)
			if p.Yield(); p.began != began {
				t.Errorf("urgent %v: the step ended early", urgent)
			}
			time.Sleep(time.Nanosecond)
			p.Yield()
			if got := p.began.Sub(began); got != step {
				t.Errorf("urgent %v: the next step began after %v, want %v", urgent, got, step)
			}
		}
	})
}
