package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// rule is a row of the table of AWS's validation (internal/api/validation.txt).
type rule struct {
	verb string
	args []string
}

// readRules reads the table: the rules of each section, by its name.
func readRules(path string) (map[string][]rule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string][]rule{}
	section := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, source, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		switch {
		case len(words) == 0:
		case text[0] != '\t' && len(words) == 1:
			section = words[0]
		case text[0] != '\t' || section == "" || strings.TrimSpace(source) == "":
			return nil, fmt.Errorf("%s: want a section's name, or an indented rule with its source: %q", path, lines.Text())
		default:
			out[section] = append(out[section], rule{words[0], words[1:]})
		}
	}
	return out, nil
}

// operationRules returns the Go expression of an operation's rules, with a leading comma, or nothing if it has none.
func (g *generator) operationRules(name string) string {
	out := ""
	for _, r := range g.rules[name] {
		switch r.verb {
		case "detects":
			var classes []string
			for _, c := range r.args {
				classes = append(classes, "awserr."+export(c))
			}
			out += ", Detects: " + strings.Join(classes, " | ")
		}
	}
	return out
}
