// Package system tests the real binary as a process of its own.
package system

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/test/process"
	"github.com/statordb/stator/test/request"
	"github.com/statordb/stator/test/workload"
)

// binary builds stator once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stator-system")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "stator")
	out, err := exec.Command("go", "build", "-o", file, "../../cmd/stator").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// server is a running stator process.
type server struct{ *process.Process }

func start(t *testing.T, args ...string) server {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Stator(file, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return server{p}
}

// call sends a request and returns the status and the answer.
func (p server) call(operation, body string) (int, []byte, error) {
	return request.Send("http://"+p.Addr, operation, []byte(body), nil)
}

// load returns the server as a workload's Call.
func (p server) load() workload.Call {
	return func(operation, body string) (int, []byte, error) {
		status, answer, err := p.call(operation, body)
		if err == nil && status >= 500 {
			err = fmt.Errorf("status %d", status)
		}
		return status, answer, err
	}
}

var kills = flag.Int("kills", 6, "how often TestKill kills the server")

// TestKill repeatedly kills the server during concurrent writes to one data directory. Each time, every acknowledged write must be there,
// no transaction may be half done, unacknowledged writes must be there completely or not at all, and `stator verify` must find each index
// equal to its table.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--data-dir", dir)
	l := workload.New(8)
	if err := l.Setup(p.load()); err != nil {
		t.Fatal(err)
	}
	for round := range *kills {
		done := make(chan error, 1)
		go func() { done <- l.Run(p.load(), nil) }()
		time.Sleep(time.Duration(20+rand.IntN(200)) * time.Millisecond)
		p.Kill()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if out, err := verify(dir); err != nil {
			t.Fatalf("kill %d: %v: %s", round, err, out)
		}
		p = start(t, "--data-dir", dir)
		if err := l.Check(p.load()); err != nil {
			t.Fatalf("kill %d: %v", round, err)
		}
	}
	if l.Acknowledged() < 100 {
		t.Errorf("only %d writes were acknowledged", l.Acknowledged())
	}
	t.Logf("%d kills, %d writes acknowledged, none lost", *kills, l.Acknowledged())
}

func verify(dir string) ([]byte, error) { return stator("verify", "--data-dir", dir) }

// stator runs a stator command to completion and returns its output.
func stator(args ...string) ([]byte, error) {
	file, err := binary()
	if err != nil {
		return nil, err
	}
	return exec.Command(file, args...).CombinedOutput()
}

func TestTerminate(t *testing.T) {
	p := start(t, "--in-memory")
	if err := p.Terminate(); err != nil {
		t.Fatalf("%v: %s", err, p.Output)
	}
}

func TestCommandLine(t *testing.T) {
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		env  string
		ok   bool
		want string
	}{
		{[]string{"version"}, "", true, "stator "},
		{[]string{"serve", "--help"}, "", true, "--durability"},
		{[]string{"serve", "--listen", "0.0.0.0:0"}, "", false, "--insecure"},
		{[]string{"serve", "--listen", "127.0.0.1:0", "--durability", "sometimes"}, "STATOR_IN_MEMORY=true", false, "must be sync"},
		{[]string{"serve"}, "STATOR_LISTEN=0.0.0.0:0", false, "--insecure"},
		{[]string{"verify"}, "STATOR_DATA_DIR=/nonexistent", false, "no data directory"},
		{[]string{"nonsense"}, "", false, "--help"},
	} {
		cmd := exec.Command(file, c.args...)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), c.env)
		out, err := cmd.CombinedOutput()
		if (err == nil) != c.ok || !bytes.Contains(out, []byte(c.want)) {
			t.Errorf("%v %s: %v: %s", c.args, c.env, err, out)
		}
	}
}
