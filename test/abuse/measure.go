package abuse

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Row is the outcome of an attack in the long form.
type Row struct {
	Memory   int64   // the server's peak memory in bytes
	CPU      float64 // processors that the server kept busy, on average
	P50, P99 time.Duration
	Requests int // of the light client
	Errors   int
	// Problem is everything that isn't as it must be; nil if nothing is wrong.
	Problem error
}

// MaxLatency is how long the light client may wait for 99 % of its answers, on an otherwise idle machine.
const MaxLatency = 50 * time.Millisecond

// slowerStart is how much longer a restart may take than before the attack.
const slowerStart = time.Second

// Measure attacks for some time beside a light client. After each round the attack pauses for as long as the round took, to leave the
// machine to the server and the client.
func (a *Attack) Measure(binary, dir string, long time.Duration) (row Row, err error) {
	t, err := Start(binary, dir, a.Needs)
	if err != nil {
		return row, err
	}
	defer t.Close()
	t.Long = true
	light, err := NewLight(t)
	if err != nil {
		return row, err
	}
	usual, err := started(t)
	if err != nil {
		return row, err
	}
	if err := errors.Join(light.Both(), t.Settle(Usage{})); err != nil {
		return row, err
	}
	before := t.Usage()
	if t.light, err = light.start(); err != nil {
		return row, err
	}
	begin := time.Now()
	failed := a.rounds(t, long)
	row.CPU = (t.CPU() - before.CPU).Seconds() / time.Since(begin).Seconds()
	result, err := t.light.end()
	if t.light = nil; err != nil {
		return row, err
	}
	row.P50, row.P99, row.Requests, row.Errors = result.Within(0.5), result.Within(0.99), len(result.Latencies), result.Errors
	switch {
	case a.Ends:
		row.Errors, row.CPU = 0, 0 // errors of the client are expected while the server is down
	case result.First != "":
		failed = errors.Join(failed, errors.New("the light client: "+result.First))
	case row.P99 > MaxLatency:
		failed = errors.Join(failed, fmt.Errorf("the light client waits for %v", row.P99.Round(time.Millisecond)))
	}
	if row.Memory = t.MostMemory(); !a.Ends && failed == nil {
		failed = t.Settle(before)
	}
	// The server has crashed, so the checks below would only repeat that.
	if alive := t.Alive(); alive != nil && !a.Ends {
		row.Problem = errors.Join(failed, alive)
		return row, nil
	}
	if a.Ends {
		failed = errors.Join(failed, t.Restart())
	}
	failed = errors.Join(failed, after(t, light))
	if again, err := started(t); err != nil || again > usual+slowerStart {
		failed = errors.Join(failed, err, fmt.Errorf("a restart takes %v, %v before", again, usual))
	}
	row.Problem = failed
	return row, nil
}

// started restarts the server and returns how long that takes.
func started(t *Target) (time.Duration, error) {
	begin := time.Now()
	err := t.Restart()
	return time.Since(begin), err
}

// rounds repeats the attack until the time is over.
func (a *Attack) rounds(t *Target, long time.Duration) (failed error) {
	end := time.Now().Add(long)
	for {
		begin := time.Now()
		ctx, stop := context.WithTimeout(context.Background(), ended)
		failed = errors.Join(failed, a.Run(ctx, t))
		if ctx.Err() != nil {
			failed = errors.Join(failed, errors.New("the attack did not end"))
		}
		stop()
		if failed != nil || t.Alive() != nil {
			return failed
		}
		if a.Once || a.Ends || time.Now().After(end) {
			time.Sleep(time.Until(end)) // the light client keeps measuring the aftermath
			return failed
		}
		time.Sleep(min(time.Since(begin), 500*time.Millisecond))
	}
}

// Honest are harmless loads to compare with: none, and clients that send as fast as they get answers.
func Honest() []Attack {
	return []Attack{
		{Name: "no attack", Run: func(ctx context.Context, t *Target) error { t.hold(ctx); return nil }},
		{Name: "an honest client on 1 connection, as fast as it can", Run: honest(1)},
		{Name: "an honest client on 16 connections, as fast as it can", Run: honest(16)},
	}
}

func honest(connections int) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		ctx, stop := context.WithTimeout(ctx, 2*time.Second)
		defer stop()
		errs := make(chan error, connections)
		for range connections {
			go func() {
				c := &lightConn{light: &Light{target: t}}
				defer c.close()
				for ctx.Err() == nil {
					if _, err := c.do(Alice, "GetItem", `{"TableName":"light","Key":{"pk":{"S":"item-0"}}}`); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		var failed error
		for range connections {
			failed = errors.Join(failed, <-errs)
		}
		return failed
	}
}
