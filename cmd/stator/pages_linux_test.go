package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// filePages returns how much of files, in KB, is mapped to the process and in memory.
func filePages(t *testing.T) (kb int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

func TestForgetStart(t *testing.T) {
	before := filePages(t)
	forgetStart()
	if after := filePages(t); after >= before {
		t.Errorf("%d KB of the program were in memory, %d KB are", before, after)
	}
}
