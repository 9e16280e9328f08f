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
type alone struct{ released []string }

func (*alone) Claim(context.Context, string) (bool, error) { return true, nil }
func (a *alone) Release(job string)                        { a.released = append(a.released, job) }

// TestPanic checks that a job that panics is noted as failed and does not run again, and that other jobs continue.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var reported []error
		claims := new(alone)
		r := New(ctx, claims, func(err error) { reported = append(reported, err) })
		runs, notes, ended := 0, 0, 0
		r.Start("bad", Job{
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
			Run:      func(context.Context) error { panic(1) },
			Panicked: func(context.Context, *PanicError) error { notes++; panic(2) },
			Done:     func() { ended++ },
		})
		synctest.Wait()
		r.Start("silent", Job{Run: func(context.Context) error { runs++; panic(3) }, Done: func() { ended++ }})
		synctest.Wait()
		failed := 0
		r.Start("good", Job{
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
