package main

import (
	"os"
	"testing"
)

func TestUpToDate(t *testing.T) {
	const file = "../../docs/compatibility.md"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := update(string(old), "../../test/conformance/testdata")
	if err != nil {
		t.Fatal(err)
	}
	if text != string(old) {
		t.Errorf("%s is stale: run make generate", file)
	}
}
