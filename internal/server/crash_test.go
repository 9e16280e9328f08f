package server

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/admin/verify"
	"github.com/statordb/stator/test/workload"
)

var crashes = flag.Int("crashes", 8, "how often TestCrash crashes the machine")

// load returns the server as a workload calls it. Requests count only if up returns true before and after them.
func (d *db) load(up func() bool) workload.Call {
	return func(operation, body string) (int, []byte, error) {
		if !up() {
			return 0, nil, fmt.Errorf("down")
		}
		status, answer, err := d.send(operation, []byte(body), nil)
		if err == nil && (status >= 500 || !up()) {
			err = fmt.Errorf("status %d", status)
		}
		return status, answer, err
	}
}

// checkConsistent verifies the server's data, as `stator verify` does.
func (d *db) checkConsistent() {
	d.t.Helper()
	r, err := verify.Run(context.Background(), d.store)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, p := range r.Problems {
		d.t.Error(p)
	}
}

// TestCrash runs a server on a file system that loses a random part of the unsynced data in a crash, up to all of it.
// Everything acknowledged before a crash must survive it.
func TestCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := workload.New(6)
	dir := t.TempDir()
	for round := range *crashes {
		d := open(t, Options{DataDir: dir, fs: fs})
		up := make(chan struct{})
		isUp := func() bool {
			select {
			case <-up:
				return false
			default:
				return true
			}
		}
		if round == 0 {
			if err := l.Setup(d.load(isUp)); err != nil {
				t.Fatal(err)
			}
			d.setRecovery("crash", true, 0)
		} else if err := l.Check(d.load(isUp)); err != nil {
			t.Fatalf("crash %d: %v", round, err)
		}
		d.checkConsistent()
		done := make(chan error, 1)
		go func() { done <- l.Run(d.load(isUp), nil) }()
		goal := l.Acknowledged() + rand.IntN(400)
		for l.Acknowledged() < goal {
			time.Sleep(time.Millisecond)
		}
		// Writes acknowledged from here on may be newer than the copy, so their writers count them as not acknowledged.
		close(up)
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 0, 25, 75, 100}[rand.IntN(5)], RNG: vfsRand(uint64(round))})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d crashes, %d writes acknowledged, none lost", *crashes, l.Acknowledged())
}

func vfsRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
