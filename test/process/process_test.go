package process_test

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/statordb/stator/test/process"
)

// spinEnv turns the test into a process that spins until its standard input ends.
const spinEnv = "PROCESS_SPIN"

// TestFamilyCPU checks that the CPU time of a child counts while it runs and once it has ended.
func TestFamilyCPU(t *testing.T) {
	if os.Getenv(spinEnv) != "" {
		ended := make(chan struct{})
		go func() {
			_, _ = os.Stdin.Read(make([]byte, 1))
			close(ended)
		}()
		for {
			select {
			case <-ended:
				os.Exit(0)
			default:
				runtime.Gosched()
			}
		}
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	child := exec.Command(os.Args[0], "-test.run", "^TestFamilyCPU$")
	child.Env = append(os.Environ(), spinEnv+"=1")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	of := func() time.Duration { return process.FamilyCPU(os.Getpid()) - process.CPU(os.Getpid()) }
	before := of()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	const spent = 50 * time.Millisecond
	for deadline := time.Now().Add(time.Minute); of() < before+spent; {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute, the child has taken %v", of()-before)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	// Times are rounded, and those of this process are read twice.
	if got := of() - before; got < spent/2 {
		t.Errorf("once it has ended, the child has taken %v", got)
	}
}
