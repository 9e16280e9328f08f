package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Class says what an expectation rests on.
type Class string

// The classes, from the strongest to the weakest.
const (
	Recorded      Class = "recorded by AWS"
	Documentation Class = "AWS's documentation"
	Model         Class = "AWS's API model"
	Peer          Class = "dynoxide or dynalite"
	Local         Class = "DynamoDB Local"
	Author        Class = "no record"
	Setup         Class = "setup"
)

// Classes are all classes, from the strongest to the weakest.
var Classes = []Class{Recorded, Documentation, Model, Peer, Local, Author, Setup}

// forms are the forms of what follows "# oracle: ". A remark may follow each of them after a semicolon.
var forms = []struct {
	class Class
	form  *regexp.Regexp
}{
	{Recorded, regexp.MustCompile(`^AWS 20[0-9]{2}-(0[1-9]|1[0-2]), \S+ .*\S$`)},
	{Documentation, regexp.MustCompile(`^AWS documentation, "[^"]+"$`)},
	{Model, regexp.MustCompile(`^AWS API model$`)},
	{Peer, regexp.MustCompile(`^(dynoxide|dynalite) [0-9.]+$`)},
	{Local, regexp.MustCompile(`^DynamoDB Local [0-9.]+$`)},
	{Author, regexp.MustCompile(`^author$`)},
	{Setup, regexp.MustCompile(`^setup$`)},
}

// ClassOf returns the class of a source, as written after "# oracle: ".
func ClassOf(source string) (Class, error) {
	named, _, _ := strings.Cut(source, ";")
	for _, f := range forms {
		if f.form.MatchString(named) {
			return f.class, nil
		}
	}
	return "", fmt.Errorf("%q is not a source; test/conformance/sources.go has their forms", source)
}

// Sources maps the position of each case in a file, as datadriven prints it, to the source of its expectation.
func Sources(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sources := map[string]string{}
	source, inCase := "", false
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, oracleMark):
			source = strings.TrimPrefix(line, oracleMark)
		case line == "" || strings.HasPrefix(line, "#"):
			inCase = inCase && line != "" // an empty line ends an answer
		case !inCase:
			if source == "" {
				return nil, fmt.Errorf("%s:%d: the case has no %q line", file, i+1, oracleMark)
			}
			sources[fmt.Sprintf("%s:%d", file, i+1)] = source
			source, inCase = "", true
		}
	}
	return sources, nil
}

// oracleMark begins the line that names the source of a case.
const oracleMark = "# oracle: "

// Count returns how many cases of a directory rest on each class.
func Count(dir string) (map[Class]int, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	count := map[Class]int{}
	for _, file := range slices.Sorted(slices.Values(files)) {
		sources, err := Sources(file)
		if err != nil {
			return nil, err
		}
		for at, source := range sources {
			class, err := ClassOf(source)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			count[class]++
		}
	}
	return count, nil
}
