package attempts

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
)

// record is the stored record of a job, with the number of writes.
type record struct {
	raw    []byte
	writes int
}

func (r *record) run() *Run {
	return &Run{Suspects: NewSuspects(), Change: func(ctx context.Context, change func(*Count) error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var c Count
		if len(r.raw) > 0 {
			if err := json.Unmarshal(r.raw, &c); err != nil {
				return err
			}
		}
		if err := change(&c); err != nil {
			return err
		}
		r.writes++
		var err error
		r.raw, err = json.Marshal(c)
		return err
	}}
}

// crash starts a run that does some steps and ends with its process.
func (r *record) crash(t *testing.T, steps int) {
	t.Helper()
	run := r.run()
	if err := run.Begin(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for range steps {
		if err := run.Step(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *record) givenUp(t *testing.T) bool {
	t.Helper()
	before := string(r.raw)
	err := r.run().Begin(t.Context(), 0)
	if err != nil && !errors.Is(err, ErrGivenUp) {
		t.Fatal(err)
	}
	r.raw = []byte(before)
	return err != nil
}

func TestGivenUp(t *testing.T) {
	r := &record{}
	r.crash(t, 1000)
	if r.givenUp(t) {
		t.Fatal("given up after one run")
	}
	r.crash(t, 1000)
	if !r.givenUp(t) {
		t.Error("not given up after two runs that got equally far")
	}
}

// TestWithoutSteps ends the process before the job does anything.
func TestWithoutSteps(t *testing.T) {
	r := &record{}
	r.crash(t, 0)
	r.crash(t, 0)
	if !r.givenUp(t) {
		t.Error("not given up")
	}
}

// TestFurther gets further each time, so the process must have been killed for another reason.
func TestFurther(t *testing.T) {
	r := &record{}
	for steps := 1; steps < 1<<16; steps *= 2 {
		r.crash(t, steps)
		if r.givenUp(t) {
			t.Fatalf("given up after %d steps", steps)
		}
	}
	if r.writes > 3*17 {
		t.Errorf("the record was written %d times", r.writes)
	}
	r.crash(t, 10) // does not get as far
	if !r.givenUp(t) {
		t.Error("not given up after two runs without progress")
	}
}

// TestStop stops the server repeatedly, also between crashes.
func TestStop(t *testing.T) {
	r := &record{}
	for range 5 {
		run := r.run()
		if err := run.Begin(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := run.End(stopped); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		r.crash(t, 0)
	}
	r.crash(t, 0)
	if !r.givenUp(t) {
		t.Error("not given up")
	}
}

// TestTriedAgain retries within one process, which is not a crash.
func TestTriedAgain(t *testing.T) {
	r := &record{}
	run := r.run()
	for range 10 {
		if err := run.Begin(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if err := run.Step(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
	}
	if r.writes != 2 || r.givenUp(t) {
		t.Errorf("%d writes", r.writes)
	}
}

// TestSuspects ends the process with two jobs running. Afterwards the second must wait until the first has got further
// or ended.
func TestSuspects(t *testing.T) {
	for _, further := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			first, second := &record{}, &record{}
			first.crash(t, 10)
			second.crash(t, 10)
			suspects := NewSuspects()
			a, b := first.run(), second.run()
			a.Suspects, b.Suspects = suspects, suspects
			if err := a.Begin(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			began := make(chan error, 1)
			go func() { began <- b.Begin(t.Context(), 0) }()
			synctest.Wait()
			if len(began) > 0 {
				t.Fatal("both run")
			}
			if second.givenUp(t) {
				t.Error("the waiting job was counted")
			}
			if further {
				if err := a.Step(t.Context(), 100); err != nil {
					t.Fatal(err)
				}
			} else if err := a.End(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-began; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCountedOnce writes the count but loses the answer. The retry must not count the run again.
func TestCountedOnce(t *testing.T) {
	var r record
	run := r.run()
	change := run.Change
	run.Change = func(ctx context.Context, f func(*Count) error) error {
		if err := change(ctx, f); err != nil {
			return err
		}
		return errors.New("the answer of the database is lost")
	}
	for range 3 {
		if err := run.Begin(t.Context(), 0); err == nil || errors.Is(err, ErrGivenUp) {
			t.Fatal(err)
		}
	}
	run.Change = change
	if err := run.Begin(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if r.givenUp(t) {
		t.Error("the job is given up after one run")
	}
}
