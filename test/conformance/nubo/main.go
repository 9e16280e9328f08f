// Command nubo runs nubo-db/dynamodb-conformance, a suite whose expectations its authors verified against AWS, against a server. It
// fails if a test fails that a newer record of AWS doesn't contradict, or if a test passes that one does.
//
// The suite is a checkout of the developer's, with its packages installed; CONTRIBUTING.md has the commands.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/statordb/stator/test/conformance/oracle"
	"github.com/statordb/stator/test/process"
)

//go:embed outdated.txt
var outdatedList string

func main() {
	binary := flag.String("stator", "bin/stator", "the server's binary")
	suite := flag.String("suite", "", "checkout of the suite")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*binary, *suite); err != nil {
		log.Fatal(err)
	}
}

// run starts a server, runs the suite, and prints what came of it.
func run(binary, suite string) error {
	outdated, err := readOutdated(outdatedList)
	if err != nil {
		return err
	}
	server, err := process.Stator(binary, "--in-memory")
	if err != nil {
		return err
	}
	defer server.Kill()
	tests, err := runSuite(suite, "http://"+server.Addr)
	if err != nil {
		return err
	}
	report, failed := judge(tests, outdated)
	fmt.Print(report)
	if failed {
		return errors.New("some tests did not end as they should")
	}
	return nil
}

// test is a test of the suite.
type test struct {
	file, name string // file relative to the suite, without .test.ts
	passed     bool
	message    string // why it failed
}

// key names the test in the list of outdated ones.
func (t *test) key() string { return t.file + " | " + t.name }

// runSuite runs the suite against an endpoint.
func runSuite(suite, endpoint string) ([]test, error) {
	out, err := os.CreateTemp("", "nubo-*.json")
	if err != nil {
		return nil, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	var printed bytes.Buffer
	cmd := exec.Command("npx", "--no-install", "vitest", "run", "--reporter=json", "--outputFile="+out.Name())
	cmd.Dir, cmd.Stdout, cmd.Stderr = suite, &printed, &printed
	cmd.Env = append(os.Environ(), "DYNAMODB_ENDPOINT="+endpoint, "AWS_REGION=us-east-1")
	runErr := cmd.Run() // an error also if tests fail
	raw, err := os.ReadFile(out.Name())
	if err != nil {
		return nil, err
	}
	tests, err := parse(raw, suite)
	if err != nil || len(tests) == 0 {
		return nil, fmt.Errorf("the suite did not run: %w\n%s", errors.Join(runErr, err), printed.String())
	}
	return tests, nil
}

// parse reads vitest's JSON report.
func parse(raw []byte, suite string) (tests []test, err error) {
	var report struct {
		TestResults []struct {
			Name             string
			AssertionResults []struct {
				FullName        string
				Status          string
				FailureMessages []string
			}
		}
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		return nil, err
	}
	root, err := filepath.Abs(filepath.Join(suite, "tests"))
	if err != nil {
		return nil, err
	}
	for _, f := range report.TestResults {
		file, err := filepath.Rel(root, f.Name)
		if err != nil {
			return nil, err
		}
		for _, a := range f.AssertionResults {
			t := test{file: strings.TrimSuffix(file, ".test.ts"), name: a.FullName, passed: a.Status == "passed"}
			if len(a.FailureMessages) > 0 {
				t.message, _, _ = strings.Cut(a.FailureMessages[0], "\n")
			}
			tests = append(tests, t)
		}
	}
	return tests, nil
}

// readOutdated reads the list of outdated tests: lines "file | name | source", where the source is a newer record of AWS.
func readOutdated(list string) (map[string]string, error) {
	outdated := map[string]string{}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndex(line, " | ")
		if i < 0 {
			return nil, fmt.Errorf("outdated.txt: %q has no source", line)
		}
		if class, err := oracle.ClassOf(line[i+3:]); err != nil || class != oracle.Recorded {
			return nil, fmt.Errorf("outdated.txt: %q is no record of AWS's (%w)", line[i+3:], err)
		}
		outdated[line[:i]] = line[i+3:]
	}
	return outdated, nil
}

// judge compares the tests with the list of outdated ones. failed means that they don't agree.
func judge(tests []test, outdated map[string]string) (report string, failed bool) {
	type count struct{ passed, outdated, wrong int }
	files := map[string]*count{}
	var notes []string
	left := map[string]bool{}
	for key := range outdated {
		left[key] = true
	}
	for _, t := range tests {
		c := files[t.file]
		if c == nil {
			c = &count{}
			files[t.file] = c
		}
		source := outdated[t.key()]
		delete(left, t.key())
		switch {
		case t.passed && source == "":
			c.passed++
		case t.passed:
			c.wrong++
			notes = append(notes, "PASSES, though outdated: "+t.key()+": "+source)
		case source != "":
			c.outdated++
			notes = append(notes, "outdated: "+t.key()+": "+source)
		default:
			c.wrong++
			notes = append(notes, "FAILS: "+t.key()+": "+t.message)
		}
	}
	for key := range left {
		notes = append(notes, "NOT FOUND: "+key)
	}
	slices.Sort(notes)
	var out strings.Builder
	all := count{}
	fmt.Fprintf(&out, "%-50s %s\n", "nubo-db/dynamodb-conformance", "passed  outdated  wrong")
	for _, file := range slices.Sorted(maps.Keys(files)) {
		c := files[file]
		fmt.Fprintf(&out, "%-50s %6d %9d %6d\n", file, c.passed, c.outdated, c.wrong)
		all.passed, all.outdated, all.wrong = all.passed+c.passed, all.outdated+c.outdated, all.wrong+c.wrong
	}
	fmt.Fprintf(&out, "%-50s %6d %9d %6d\n\n%s\n", "all", all.passed, all.outdated, all.wrong, strings.Join(notes, "\n"))
	return out.String(), all.wrong > 0 || len(left) > 0
}
