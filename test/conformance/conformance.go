// Package conformance runs the request and response pairs in testdata against a server, over HTTP.
//
// Each case says in a comment where its expectation comes from (package oracle). A file is a session: its cases run in order against a
// new, empty database. The expectation "200" is met by any answer that is no error: such a case is there for those that follow. A comment
// "# differs: reason" means that this server answers otherwise, on purpose.
package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/smithy/smithytest"
	"github.com/statordb/stator/internal/wait"
	"github.com/statordb/stator/test/conformance/oracle"
	"github.com/statordb/stator/test/request"
)

// succeeded is the expectation of a case whose answer does not matter.
const succeeded = "200\n"

// Run runs the cases of a directory. open starts the servers of one database and returns their URLs; requests go to them round-robin.
func Run(t *testing.T, dir string, open func(t *testing.T) []string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var all report
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			cases, err := oracle.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			r := newResult(name)
			all = append(all, r)
			run(t, file, cases, open(t), r)
		})
	}
	if *reportFile != "" {
		if err := os.WriteFile(*reportFile, []byte(all.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// run runs the cases of a file, and adds what comes of them to r. A failure ends the caller too.
func run(t *testing.T, file string, cases map[int]oracle.Case, urls []string, r *result) {
	n := 0
	seen := map[string]string{}
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		n++
		// until=WORD waits for background work: it repeats the request until the answer has the word or is an error.
		word := ""
		d.MaybeScanArgs(t, "until", &word)
		var got string
		if err := wait.Until(t.Context(), 10*time.Millisecond, func() (bool, error) {
			got = call(t, urls[n%len(urls)], d.Cmd, smithytest.Expand(d.Input), seen)
			return strings.Contains(got, word) || !strings.HasPrefix(got, "200 "), nil
		}); err != nil {
			t.Fatal(err)
		}
		if d.Expected == succeeded && strings.HasPrefix(got, "200 ") {
			got = succeeded
		}
		if d.Rewrite {
			return got
		}
		c, ok := cases[line(t, d.Pos)]
		if !ok {
			t.Errorf("%s: test/conformance/oracle doesn't find this case", d.Pos)
		}
		same := got == d.Expected
		r.add(d, c, same)
		// Report errors here: datadriven would skip the rest of the session.
		switch {
		case !same && c.Differs == "":
			t.Errorf("%s: %s\n%s\nexpected:\n%s\ngot:\n%s", d.Pos, d.Cmd, d.Input, d.Expected, got)
		case same && c.Differs != "":
			t.Errorf("%s: the answer is as expected, so nothing differs by %q", d.Pos, c.Differs)
		}
		return d.Expected
	})
}

// line returns the number of the line in a position, "file:line".
func line(t *testing.T, pos string) int {
	n, err := strconv.Atoi(pos[strings.LastIndexByte(pos, ':')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// call sends a request and renders the answer: the status, and then an error's type and message, or the body without what changes between
// runs. In the request <Member> stands for the value that the member had in the last answer that has it (see named).
func call(t *testing.T, url, operation, body string, seen map[string]string) string {
	t.Helper()
	given := body
	for name, value := range seen {
		body = strings.ReplaceAll(body, "<"+name+">", value)
	}
	status, raw, err := request.Send(url, operation, []byte(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	if status == 200 {
		for _, m := range named.FindAllSubmatch(raw, -1) {
			seen[string(m[1])] = string(m[2])
		}
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
		out += stableMessage(message, given) + "\n"
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

// named are the members to which later requests can refer.
var named = regexp.MustCompile(`"(BackupArn|ExportArn|ImportArn|LatestStreamArn|LatestStreamLabel|RevisionId)":"([^"]*)"`)

// changing are texts that change between runs, and what stands for them.
var changing = []struct {
	text *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`("[A-Za-z]+(?:DateTime|StartTime|EndTime|ExportTime)":|"(?:StartTime|EndTime|ExportTime)":)[0-9.e+]+`), `$1"…"`},
	{regexp.MustCompile(`("TableId":)"[0-9a-f-]{36}"`), `$1"…"`},
	{regexp.MustCompile(`("LatestStreamLabel":)"[^"]*"`), `$1"…"`},
	{regexp.MustCompile(`("LatestStreamArn":"[^"]*/stream/)[^"]*"`), `$1…"`},
	{regexp.MustCompile(`(/(?:backup|export|import)/)[0-9]{14}-[0-9a-f]{8}`), `$1…`},
	{regexp.MustCompile(`("RevisionId":|revision id )"?[0-9]{13}\b"?`), `$1…`},
	{regexp.MustCompile(`(-[A-Z]{3}-[A-Za-z0-9_.-]+-)[0-9]{13}"`), `$1…"`},
}

// changingMessage are parts of messages that change between runs.
var changingMessage = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.0-9]*Z?|[A-Z][a-z]+day, [A-Z][a-z]+ [0-9]+, [0-9]{4} at [0-9:]+ [AP]M`)

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
	for _, c := range changing {
		out = c.text.ReplaceAll(out, []byte(c.with))
	}
	return string(out)
}

// stableMessage is stable for an error's message. What the request itself names stays.
func stableMessage(message, request string) string {
	message = changingMessage.ReplaceAllStringFunc(message, func(at string) string {
		if strings.Contains(request, at) {
			return at
		}
		return "…"
	})
	for _, c := range changing {
		message = c.text.ReplaceAllStringFunc(message, func(text string) string {
			if strings.Contains(request, text) {
				return text
			}
			return c.text.ReplaceAllString(text, c.with)
		})
	}
	return message
}
