package main

import (
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestMain runs the generator, which is this program in a process of its own.
func TestMain(m *testing.M) {
	if work := helper(); work != nil {
		if err := work(); err != nil {
			log.Fatal(err)
		}
		return
	}
	os.Exit(m.Run())
}

// TestGrowth runs the section growth with few items and tables. Every row must come out; their numbers don't matter.
func TestGrowth(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("the server and the generator need a core each")
	}
	*scratch = t.TempDir()
	*statorBinary = filepath.Join(*scratch, "stator")
	if out, err := exec.Command("go", "build", "-o", *statorBinary, "../../cmd/stator").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	*growthItems, *growthTables, *rounds, *seconds = 20_000, 50, 1, 0.05
	var out strings.Builder
	if err := grow(&out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, row := range []string{
		`\| loading 10000 items.*\| \d+, \d+; \d+ \|`,
		`\| loading 20000 items.*\| \d+, \d+; \d+ \|`,
		`\| at most meanwhile.*\| \d+\.\d; \d+ \|`,
		`\| disk, GB.*\| \d+\.\d; \d+ \|`,
		`\| start to the first GetItem.*\| \d+; \d+ \|`,
		`\| GetItem \| nothing \| 20000 \|( \d+\.\d\d \|){3}`,
		`\| PutItem \| nothing \| 20000 \|( \d+\.\d\d \|){3}`,
		`\| GetItem \| a Scan of all, \d+ pages so far \| 20000 \|( \d+\.\d\d \|){3}`,
		`\| GetItem and PutItem \| a GSI.*, \d+ entries/s \| 10000 \|`,
		`\| memory after these measurements.*\n.*\n\| \d+ \| \d+ \| 368 \|`,
		`\| CreateTable, tables/s \| \d+ \|`,
		`\| idle memory, MB.*\| \d+; \d+ \|`,
		`\| idle processor time(.*\n)+\| start to the first GetItem.*\| \d+; \d+ \|`,
	} {
		if !regexp.MustCompile(`(?m)^` + row).MatchString(out.String()) {
			t.Errorf("no row like %s", row)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
