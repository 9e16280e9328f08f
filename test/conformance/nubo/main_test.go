package main

import (
	"strings"
	"testing"
)

func TestOutdated(t *testing.T) {
	if _, err := readOutdated(outdatedList); err != nil {
		t.Error(err)
	}
	for _, list := range []string{"a | b", "a | b | author", "a"} {
		if _, err := readOutdated(list); err == nil {
			t.Errorf("%q is accepted", list)
		}
	}
}

func TestJudge(t *testing.T) {
	tests := []test{{file: "f", name: "passes", passed: true}, {file: "f", name: "a | b", message: "expected x"}}
	for _, c := range []struct {
		name     string
		outdated map[string]string
		failed   bool
		want     string
	}{
		{"a failure that isn't listed", nil, true, "FAILS: f | a | b: expected x"},
		{"a failure that is", map[string]string{"f | a | b": "AWS"}, false, "outdated: f | a | b: AWS"},
		{"a listed test that passes", map[string]string{"f | passes": "AWS", "f | a | b": "AWS"}, true, "PASSES, though outdated: f | passes: AWS"},
		{"a listed test that isn't there", map[string]string{"f | a | b": "AWS", "g | x": "AWS"}, true, "NOT FOUND: g | x"},
	} {
		report, failed := judge(tests, c.outdated)
		if failed != c.failed || !strings.Contains(report, c.want) {
			t.Errorf("%s: %v\n%s", c.name, failed, report)
		}
	}
}
