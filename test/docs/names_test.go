package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	code     = regexp.MustCompile("`[^`\n]+`") // within a line: not a fenced block
	flagName = regexp.MustCompile(`(?:^|[\s(])(--[a-z][a-z0-9-]+)`)
	testName = regexp.MustCompile(`\bTest[A-Z]\w+`)
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)`)
)

// foreign are flags of other programs that the docs mention: the AWS CLI's, zstd's, archive.py's.
var foreign = map[string]bool{
	"--cluster-endpoint-encryption-type": true, "--iam-role-arn": true, "--long": true, "--target": true, "--s3-endpoint-url": true, "--once": true, "--help": true,
}

// TestNames finds flags and tests that the docs name and that do not exist.
func TestNames(t *testing.T) {
	flags, err := os.ReadFile("../../docs/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testFunctions(t)
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range code.FindAllString(string(text), -1) {
			span = strings.Trim(span, "`")
			for _, found := range flagName.FindAllStringSubmatch(span, -1) {
				if name := found[1]; !foreign[name] && !strings.Contains(string(flags), "`"+name+"`") && !strings.Contains(string(flags), "`"+name+" ") {
					t.Errorf("%s: there is no flag %s", page, name)
				}
			}
		}
		for _, name := range testName.FindAllString(string(text), -1) {
			// go test -run takes a pattern: a prefix of a test's name is enough.
			if !strings.Contains(tests, "\n"+name) {
				t.Errorf("%s: there is no test %s", page, name)
			}
		}
	}
}

// testFunctions returns the names of all tests of the project, each after a line break.
func testFunctions(t *testing.T) string {
	var names strings.Builder
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".build" || d.Name() == ".git") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, found := range testFunc.FindAllStringSubmatch(string(text), -1) {
			names.WriteString("\n" + found[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names.String()
}
