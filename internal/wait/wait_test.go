package wait

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, calls := time.Now(), 0
		err := Until(t.Context(), time.Second, func() (bool, error) { calls++; return calls == 3, nil })
		if err != nil || time.Since(begin) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		failed := errors.New("failed")
		if err := Until(t.Context(), time.Second, func() (bool, error) { return false, failed }); err != failed {
			t.Errorf("the error is %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Until(ctx, time.Hour, func() (bool, error) { return false, nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		if d := time.Since(begin); d != time.Minute+2*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}
