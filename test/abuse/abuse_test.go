package abuse

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

var known = flag.String("stator", "", "the server's program; without it one is built")

// binary builds stator once.
var binary = sync.OnceValues(func() (string, error) {
	if *known != "" {
		return filepath.Abs(*known)
	}
	dir, err := os.MkdirTemp("", "stator-abuse")
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
	flag.Parse()
	code := m.Run()
	if file, err := binary(); err == nil && *known == "" {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

// brief shortens an error to a readable length.
func brief(err error) string {
	lines := strings.Split(err.Error(), "\n")
	if more := len(lines) - 25; more > 0 {
		lines = append(lines[:25], fmt.Sprintf("and %d lines more", more))
	}
	return strings.Join(lines, "\n")
}

// TestAttacks runs every attack once, each against a server of its own. A few run in parallel, since most of an attack's time is waiting
// for the server to become idle.
func TestAttacks(t *testing.T) {
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	places := make(chan struct{}, 4)
	for _, a := range Attacks() {
		t.Run(fmt.Sprintf("%d/%s", a.Point, strings.Trim(notInNames.ReplaceAllString(a.Name, "-"), "-")), func(t *testing.T) {
			if a.LongOnly {
				t.Skip("only in the long form")
			}
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			cost, err := a.Short(context.Background(), file, t.TempDir())
			t.Logf("%v of CPU time, %d MiB of memory", cost.CPU, cost.Memory>>20)
			if err != nil {
				t.Error(brief(err))
			}
		})
	}
}
