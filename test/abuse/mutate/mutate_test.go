package mutate

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/statordb/stator"
)

var (
	seeds = flag.Int("seeds", 12, "how many seeds TestSeeds runs")
	first = flag.Uint64("first-seed", 1, "the first seed of TestSeeds")
	trace = flag.Bool("trace", false, "print every request and answer of TestSeeds")
)

// errorLog collects what a server logs as errors: failed requests and jobs, and recovered panics.
type errorLog struct {
	slog.Handler
	mu    *sync.Mutex
	lines *[]string
}

func (l errorLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (l errorLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l errorLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	*l.lines = append(*l.lines, line)
	return nil
}

// serve runs a source's requests against a new server.
func serve(t testing.TB, src *Source) *Report {
	t.Helper()
	buckets := t.TempDir()
	bucket := filepath.Join(buckets, "bucket")
	if err := os.Mkdir(bucket, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"items.json": `{"Item":{"pk":{"S":"p0"},"sk":{"N":"1"},"g":{"S":"q1"},"n":{"N":"1"},"b":{"B":"YjE="}}}` + "\n",
		"items.csv":  "pk,sk,g,n,b\np1,2,q2,3,YjE=\n",
		"items.ion":  `$ion_1_0 {Item:{pk:"p2",sk:3.,g:"q3",n:4.,b:{{YjE=}}}}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(bucket, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var errs []string
	s, err := stator.Open(stator.Options{
		InMemory: true, Listen: "127.0.0.1:0", Throttling: stator.ThrottlingOff, NoChangeLimits: true, TestClock: true, S3Dir: buckets, DAX: stator.DAXOptions{Listen: "127.0.0.1:0"},
		Logger: slog.New(errorLog{slog.NewTextHandler(io.Discard, nil), &mu, &errs}),
	})
	if err != nil {
		t.Fatal(err)
	}
	report := &Report{}
	Run(s.URL(), src, report)
	if err := s.Close(); err != nil {
		report.Failures = append(report.Failures, "the server closed with "+err.Error())
	}
	for _, f := range report.Failures {
		t.Error(f)
	}
	for _, line := range errs {
		t.Errorf("the server logged: %s", line)
	}
	return report
}

// late are operations that are refused if what they would change has ended already, which depends on the machine's speed.
var late = map[string]bool{"DynamoDB_20120810.CancelBulkOperation": true}

// TestSeeds sends the requests of some seeds. At least half of them must succeed, and every operation outside of late must succeed at least
// once.
func TestSeeds(t *testing.T) {
	if *trace {
		Trace = func(status int, request string, answer []byte) { t.Logf("%d %s\n\t%s", status, request, answer) }
	}
	var mu sync.Mutex
	total := &Report{Operations: map[string][2]int{}}
	t.Run("seeds", func(t *testing.T) {
		for i := range *seeds {
			seed := *first + uint64(i)
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				r := serve(t, Seed(seed, 600))
				mu.Lock()
				defer mu.Unlock()
				total.Taken, total.Refused = total.Taken+r.Taken, total.Refused+r.Refused
				for name, n := range r.Operations {
					have := total.Operations[name]
					total.Operations[name] = [2]int{have[0] + n[0], have[1] + n[1]}
				}
			})
		}
	})
	t.Log(total)
	if total.Taken < total.Refused {
		t.Errorf("%d requests succeed and %d are refused: most would not reach the code behind the checks", total.Taken, total.Refused)
	}
	for _, op := range operations {
		if n := total.Operations[op.target]; n[0] == 0 && n[1] > 10 && !late[op.target] {
			t.Errorf("%s is never taken", op.target)
		}
	}
}

// FuzzRequests generates requests from the bytes of a fuzz input.
func FuzzRequests(f *testing.F) {
	for seed := range uint64(8) {
		src := Seed(seed, 0)
		program := make([]byte, 100*(seed+1))
		for i := range program {
			program[i] = byte(src.n(256))
		}
		f.Add(program)
	}
	f.Add([]byte(strings.Repeat("\x00", 200)))
	f.Fuzz(func(t *testing.T, program []byte) {
		serve(t, Program(program[:min(len(program), 2000)]))
	})
}
