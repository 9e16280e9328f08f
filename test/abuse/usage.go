package abuse

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// checkMemory fails if the server has used more than MaxMemory.
func (t *Target) checkMemory() error {
	if most := t.MostMemory(); most > MaxMemory {
		return fmt.Errorf("the server took %d MiB of memory", most>>20)
	}
	return nil
}

// MostMemory returns the server's peak memory in bytes, including before restarts.
func (t *Target) MostMemory() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.PID()))
	if err != nil {
		return t.most
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return max(t.most, n<<10)
}

// Usage is what a server has consumed and holds.
type Usage struct {
	CPU               time.Duration
	Memory            int64
	Files, Goroutines int
}

var goroutineCount = regexp.MustCompile(`total (\d+)`)

// Usage returns what the server holds now.
func (t *Target) Usage() Usage {
	u := Usage{CPU: t.CPU(), Memory: t.RSS(), Files: t.Files()}
	if m := goroutineCount.FindStringSubmatch(t.profile("goroutine?debug=1")); m != nil {
		u.Goroutines, _ = strconv.Atoi(m[1])
	}
	return u
}

func (t *Target) profile(name string) string {
	res, err := http.Get("http://" + t.profiles + "/debug/pprof/" + name)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body) // a partial answer will do
	return string(raw)
}

// Collect makes the server collect garbage, including what its pools keep.
func (t *Target) Collect() {
	for range 2 {
		t.profile("heap?gc=1&debug=1")
	}
}

// slack allows for goroutines and files that come and go by themselves.
const slack = 30

// Settle waits until the server is idle and, unless before is zero, holds no more than before. It fails if that doesn't happen.
func (t *Target) Settle(before Usage) error {
	t.client.CloseIdleConnections()
	if err := t.Idle(); err != nil {
		return err
	}
	if before.Goroutines == 0 {
		return nil
	}
	var now Usage
	for deadline := time.Now().Add(ended / 2); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if now = t.Usage(); now.Goroutines <= before.Goroutines+slack && now.Files <= before.Files+slack {
			return nil
		}
		if err := t.Alive(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d goroutines and %d files are left, of %d and %d before", now.Goroutines, now.Files, before.Goroutines, before.Files)
}

// Idle waits until the server's threads sleep. A thread that waits for a processor isn't asleep, so a busy machine can't fool Idle.
func (t *Target) Idle() error { return t.asleep(8) }

// asleep is Idle with the given number of samples, 15 ms apart.
func (t *Target) asleep(samples int) error {
	asleep := 0
	for deadline := time.Now().Add(ended / 2); time.Now().Before(deadline); time.Sleep(15 * time.Millisecond) {
		if err := t.Alive(); err != nil {
			return err
		}
		switch {
		case !t.running():
			asleep++
		case asleep > 0:
			asleep -= 2 // some thread did routine work
		}
		if asleep >= samples {
			return nil
		}
	}
	return errors.New("the server goes on working")
}

// running reports whether a thread of the server is running or runnable.
func (t *Target) running() bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", t.PID()))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(raw), ") R ") {
			return true
		}
	}
	return false
}
