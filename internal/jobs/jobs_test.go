package jobs

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// alone holds every lease.
type alone struct {
	released []string
	caughtUp func() error // nil: nothing to catch up with
}

func (*alone) Claim(context.Context, string) (bool, error) { return true, nil }
func (a *alone) Release(job string)                        { a.released = append(a.released, job) }
func (a *alone) CatchUp(context.Context) error {
	if a.caughtUp == nil {
		return nil
	}
	return a.caughtUp()
}

func due() bool { return true }

// TestEnded starts a job that another server has ended, as this server learns only after it has claimed it.
func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		status, tries := "IN_PROGRESS", 0
		claims := &alone{caughtUp: func() error {
			if tries++; tries == 1 {
				return errors.New("the store is not there")
			}
			status = "COMPLETED"
			return nil
		}}
		var reported []error
		r := New(ctx, claims, func(err error) { reported = append(reported, err) })
		ran, ended := false, make(chan struct{})
		r.Start("export", Job{
			Run:  func(context.Context) error { ran = true; return nil },
			Due:  func() bool { return status == "IN_PROGRESS" },
			Done: func() { close(ended) },
		})
		<-ended
		if ran || tries != 2 || len(reported) != 1 || !slices.Equal(claims.released, []string{"export", "export"}) {
			t.Errorf("ran %v, %d tries, reported %v, released %v", ran, tries, reported, claims.released)
		}
		cancel()
		r.Wait()
	})
}

// TestCancelEarly cancels a job before it has its lease: it runs all the same, to record that it was cancelled.
func TestCancelEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hold := make(chan struct{})
		r := New(ctx, &alone{caughtUp: func() error { <-hold; return nil }}, func(err error) { t.Error(err) })
		var seen error
		r.Start("bulk", Job{Due: due, Run: func(ctx context.Context) error { seen = ctx.Err(); return nil }})
		synctest.Wait()
		r.Cancel("bulk")
		close(hold)
		synctest.Wait()
		if !errors.Is(seen, context.Canceled) {
			t.Errorf("the job saw %v", seen)
		}
		cancel()
		r.Wait()
	})
}

// TestPanic checks that a job that panics is noted as failed and does not run again, and that other jobs continue.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var reported []error
		claims := new(alone)
		r := New(ctx, claims, func(err error) { reported = append(reported, err) })
		runs, notes, ended := 0, 0, 0
		r.Start("bad", Job{
			Due: due,
			Run: func(context.Context) error { runs++; panic("broken record") },
			Panicked: func(_ context.Context, p *PanicError) error {
				if p.Value != "broken record" || len(p.Stack) == 0 {
					t.Errorf("the panic is %v", p)
				}
				if notes++; notes < 3 {
					return errors.New("the store is not there")
				}
				return nil
			},
			Done: func() { ended++ },
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		if runs != 1 || notes != 3 || ended != 1 || !slices.Equal(claims.released, []string{"bad"}) || len(reported) != 3 {
			t.Errorf("%d runs, %d notes, %d ends, released %v, reported %v", runs, notes, ended, claims.released, reported)
		}
		if p, ok := errors.AsType[*PanicError](reported[0]); !ok || p.Value != "broken record" {
			t.Errorf("the first report is %v", reported[0])
		}
		// A job whose note panics too, and a job without a note.
		r.Start("worse", Job{
			Due:      due,
			Run:      func(context.Context) error { panic(1) },
			Panicked: func(context.Context, *PanicError) error { notes++; panic(2) },
			Done:     func() { ended++ },
		})
		synctest.Wait()
		r.Start("silent", Job{Due: due, Run: func(context.Context) error { runs++; panic(3) }, Done: func() { ended++ }})
		synctest.Wait()
		failed := 0
		r.Start("good", Job{
			Due: due,
			Run: func(context.Context) error {
				if failed++; failed < 2 {
					return errors.New("once")
				}
				return nil
			},
			Done: func() { ended++ },
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		if runs != 2 || notes != 4 || ended != 4 || failed != 2 {
			t.Errorf("%d runs, %d notes, %d ends, %d tries of the good job", runs, notes, ended, failed)
		}
		cancel()
		r.Wait()
	})
}
