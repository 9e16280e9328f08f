package abuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxMemory is how many bytes of memory a server may use under any attack.
const MaxMemory = 1 << 30

// Needs are what an attack's server needs beyond the default flags.
type Needs struct {
	Credentials bool     // a credentials file with the keys Alice, Mallory and Operator
	DAX         bool     // a listener for DAX clients
	Clock       bool     // a clock that Target.Advance moves
	Flags       []string // further flags
}

// Attack is something that a client does to a server.
type Attack struct {
	// Point is the point of issue 20 that describes the attack or one like it.
	Point int
	Name  string
	Needs Needs
	// Work is the CPU time that the server may spend on one round of the short form and its aftermath; 0 means maxWork.
	Work time.Duration
	// Ends says that the attack ends the server, as intended. The runner restarts it.
	Ends bool
	// Once says that repeating the attack in the long form would show nothing new.
	Once bool
	// LongOnly says that the attack takes too long for the short form.
	LongOnly bool
	// Run attacks once. Its error says which answers or effects were wrong.
	Run func(ctx context.Context, t *Target) error
}

// maxWork is the default of Attack.Work. The same number of honest requests of the same size takes a tenth of it.
const maxWork = 5 * time.Second

// Attacks returns all attacks, in the order of the points.
func Attacks() []Attack {
	return slices.Concat(mathAttacks, fileAttacks, workAttacks, deflateAttacks, awayAttacks, bodyAttacks, slowAttacks, answerAttacks, metricAttacks,
		daxAttacks, inputAttacks, wireAttacks, accountAttacks, pageAttacks, signatureAttacks, secretAttacks)
}

// ended is how long the short form waits for something that must happen: a test must not hang.
const ended = 3 * time.Minute

// Short runs the attack once, in its short form, against a server of its own. It returns the server's CPU time and peak memory. The error
// is everything that isn't as it must be.
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
			failed = nil // the crash explains all other errors
		}
		return cost, errors.Join(failed, err)
	}
	return cost, errors.Join(failed, after(t, light))
}

// after checks that the server is as before the attack, first while it still runs and then after a restart.
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

// work returns the CPU time that the server may spend.
func (a *Attack) work() time.Duration {
	if a.Work != 0 {
		return a.Work
	}
	return maxWork
}
