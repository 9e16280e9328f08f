// Package conformance runs the request and response pairs in testdata against a server, over HTTP.
//
// Each case says in a comment where its expectation comes from (see CONTRIBUTING.md). A file is a session: its cases run in order against a
// new, empty database.
package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/smithy/smithytest"
	"github.com/statordb/stator/test/request"
)

// Run runs the cases of a directory. open starts the servers of one database and returns their URLs; requests go to them round-robin.
func Run(t *testing.T, dir string, open func(t *testing.T) []string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			urls := open(t)
			n := 0
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				n++
				got := call(t, urls[n%len(urls)], d.Cmd, smithytest.Expand(d.Input))
				if d.Rewrite || got == d.Expected {
					return got
				}
				// Report it here: datadriven would skip the rest of the session.
				t.Errorf("%s: %s\n%s\nexpected:\n%s\ngot:\n%s", d.Pos, d.Cmd, d.Input, d.Expected, got)
				return d.Expected
			})
		})
	}
}

// call sends a request and renders the answer: the status, and then an error's type and message, or the body without what changes between
// runs.
func call(t *testing.T, url, operation, body string) string {
	t.Helper()
	status, raw, err := request.Send(url, operation, []byte(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	if status == 200 {
		return strings.TrimSpace("200 "+stable(t, raw)) + "\n"
	}
	var e map[string]json.RawMessage
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatalf("answer %q: %v", raw, err)
	}
	var kind, message string
	for name, dst := range map[string]*string{"__type": &kind, "message": &message, "Message": &message} {
		if v, ok := e[name]; ok {
			if err := json.Unmarshal(v, dst); err != nil {
				t.Fatal(err)
			}
			delete(e, name)
		}
	}
	out := fmt.Sprintf("%d %s\n", status, kind)
	if message != "" {
		out += message + "\n"
	}
	if len(e) > 0 {
		rest, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out += string(rest) + "\n"
	}
	return out
}

var changing = []*regexp.Regexp{
	regexp.MustCompile(`("(?:CreationDateTime|LastUpdateToPayPerRequestDateTime|LastUpdateDateTime|LastIncreaseDateTime|LastDecreaseDateTime)":)[0-9.]+`),
	regexp.MustCompile(`("TableId":)"[0-9a-f-]{36}"`),
	regexp.MustCompile(`("LatestStreamLabel":)"[^"]*"`),
	regexp.MustCompile(`("LatestStreamArn":"[^"]*/stream/)[^"]*"`),
}

func stable(t *testing.T, raw []byte) string {
	t.Helper()
	if len(raw) == 0 {
		return ""
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		t.Fatalf("answer %q: %v", raw, err)
	}
	out := compact.Bytes()
	for i, re := range changing {
		with := `$1"…"`
		if i == 3 {
			with = `$1…"`
		}
		out = re.ReplaceAll(out, []byte(with))
	}
	return string(out)
}
