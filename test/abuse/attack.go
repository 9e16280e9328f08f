package abuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxMemory is how many bytes of memory a server may take under any attack.
const MaxMemory = 1 << 30

// Needs are what the server of an attack must have beyond its default flags.
type Needs struct {
	Credentials bool     // a credentials file with the keys Alice, Mallory and Operator
	DAX         bool     // a listener for DAX clients
	Clock       bool     // a clock that Target.Advance moves
	Flags       []string // further flags
}

// Attack is something that a client does to a server.
type Attack struct {
	// Point is the point of issue 20 that names the attack, or whose relative it is.
	Point int
	Name  string
	Needs Needs
	// Work is how much CPU time the server may spend on one round of the short form and on what follows of it; 0 for maxWork.
	Work time.Duration
	// Ends says that the attack itself ends the server, which the runner then starts again.
	Ends bool
	// Once says that rounds of the long form would show nothing else than the short form does.
	Once bool
	// LongOnly says that the attack takes too long for the short form.
	LongOnly bool
	// Run attacks once. Its error says which answers or effects were not what they must be.
	Run func(ctx context.Context, t *Target) error
}

// maxWork is the Work of an attack that names none. Honest requests of the same number and size take a tenth of it.
const maxWork = 5 * time.Second

// Attacks returns all attacks in the order of the points.
func Attacks() []Attack {
	return slices.Concat(mathAttacks, fileAttacks, workAttacks, deflateAttacks, awayAttacks, bodyAttacks, slowAttacks, answerAttacks, metricAttacks,
		daxAttacks, inputAttacks, wireAttacks, accountAttacks, pageAttacks, signatureAttacks, secretAttacks)
}

// ended is how long the short form waits for something that must happen before it says that it does not: a test must not hang.
const ended = 3 * time.Minute

// Short runs the attack once, in its short form, against a server of its own. It returns what the server worked and the most memory that
// it took, and as an error everything that is not as it must be.
func (a *Attack) Short(ctx context.Context, binary, dir string) (cost Usage, _ error) {
	t, err := Start(binary, dir, a.Needs)
	if err != nil {
		return cost, err
	}
	defer t.Close()
	light, err := NewLight(t)
	if err != nil {
		return cost, fmt.Errorf("the light client, before: %w", err)
	}
	if err := errors.Join(light.Both(), t.Settle(Usage{})); err != nil {
		return cost, fmt.Errorf("before: %w", err)
	}
	before := t.Usage()
	attacking, stop := context.WithTimeout(ctx, ended)
	failed := a.Run(attacking, t)
	if attacking.Err() != nil {
		failed = errors.Join(failed, errors.New("the attack did not end"))
	}
	stop()
	if a.Ends && failed == nil {
		cost.Memory = t.MostMemory()
		failed = t.Restart()
	} else if failed == nil {
		failed = t.Settle(before)
		if cost = (Usage{CPU: t.CPU() - before.CPU, Memory: t.MostMemory()}); cost.CPU > a.work() {
			failed = errors.Join(failed, fmt.Errorf("the server worked for %v, more than %v", cost.CPU, a.work()))
		}
	}
	if err := t.Alive(); err != nil {
		if !a.Ends {
			failed = nil // the end explains all else
		}
		return cost, errors.Join(failed, err)
	}
	return cost, errors.Join(failed, after(t, light))
}

// after looks whether the server is as it was, first as it runs and then as it starts again.
func after(t *Target, light *Light) error {
	failed := errors.Join(t.checkMemory(), t.checkLog())
	if err := light.Both(); err != nil {
		failed = errors.Join(failed, fmt.Errorf("the light client, afterwards: %w", err))
	}
	if err := light.Check(); err != nil {
		failed = errors.Join(failed, err)
	}
	if err := t.Restart(); err != nil {
		return errors.Join(failed, fmt.Errorf("restart: %w", err))
	}
	if err := light.Check(); err != nil {
		failed = errors.Join(failed, fmt.Errorf("after a restart: %w", err))
	}
	return failed
}

func (a *Attack) work() time.Duration {
	if a.Work != 0 {
		return a.Work
	}
	return maxWork
}
