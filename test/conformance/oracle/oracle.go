// Package oracle reads what the expectations of the conformance cases rest on.
package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Class is a kind of evidence.
type Class string

// The classes.
const (
	Recorded      Class = "recorded by AWS"
	Documentation Class = "AWS's documentation"
	Model         Class = "AWS's API model"
	Peer          Class = "dynoxide or dynalite"
	Local         Class = "DynamoDB Local"
	Author        Class = "no record"
	Setup         Class = "setup"
)

// Classes are all classes, from the strongest evidence to none.
var Classes = []Class{Recorded, Documentation, Model, Peer, Local, Author, Setup}

// forms are what a source looks like. A remark may follow it after a semicolon.
var forms = []struct {
	class Class
	form  *regexp.Regexp
}{
	{Recorded, regexp.MustCompile(`^AWS 20[0-9]{2}-(0[1-9]|1[0-2]), [^ ]+ [^;]*[^ ;]$`)},
	{Documentation, regexp.MustCompile(`^AWS documentation, "[^"]+"$`)},
	{Model, regexp.MustCompile(`^AWS API model$`)},
	{Peer, regexp.MustCompile(`^(dynoxide|dynalite) [0-9.]+$`)},
	{Local, regexp.MustCompile(`^DynamoDB Local [0-9.]+$`)},
	{Author, regexp.MustCompile(`^author$`)},
	{Setup, regexp.MustCompile(`^setup$`)},
}

// ClassOf returns the class of a source, as written in a case's "# oracle:" line.
func ClassOf(source string) (Class, error) {
	named, _, _ := strings.Cut(source, ";")
	for _, f := range forms {
		if f.form.MatchString(named) {
			return f.class, nil
		}
	}
	return "", fmt.Errorf("%q is no source: test/conformance/oracle has the forms", source)
}

// Case is what the comments above a case say.
type Case struct {
	Source string
	Class  Class
	// Differs says why this server answers otherwise than the case expects; empty if it must answer as expected.
	Differs string
}

// Lines that say something of the case below them.
const (
	sourceMark  = "# oracle: "
	differsMark = "# differs: "
)

// Read returns the cases of a file by the number of the line with their operation. Each case needs a source.
func Read(file string) (map[int]Case, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	cases := map[int]Case{}
	var next Case
	for i := 0; i < len(lines); i++ {
		switch line := lines[i]; {
		case strings.HasPrefix(line, sourceMark):
			next.Source = strings.TrimPrefix(line, sourceMark)
		case strings.HasPrefix(line, differsMark):
			next.Differs = strings.TrimPrefix(line, differsMark)
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			if next.Class, err = ClassOf(next.Source); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
			}
			cases[i+1] = next
			next = Case{}
			i = endOf(lines, i)
		}
	}
	return cases, nil
}

// endOf returns the index of the last line of the case that begins at index i: the empty line that ends its answer, or the second of
// the two lines ---- that end an answer with empty lines.
func endOf(lines []string, i int) int {
	for i < len(lines) && lines[i] != "----" {
		i++
	}
	if i+1 < len(lines) && lines[i+1] == "----" {
		for i += 2; i+1 < len(lines) && (lines[i] != "----" || lines[i+1] != "----"); {
			i++
		}
		return i + 1
	}
	for i < len(lines) && strings.TrimSpace(lines[i]) != "" {
		i++
	}
	return i
}

// Count returns how many cases of a directory rest on each class.
func Count(dir string) (map[Class]int, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	count := map[Class]int{}
	for _, file := range files {
		cases, err := Read(file)
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			count[c.Class]++
		}
	}
	return count, nil
}
