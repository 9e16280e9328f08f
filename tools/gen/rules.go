package main

import (
	"bufio"
	"cmp"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/attribute"
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

// rulesOf returns the rules with a verb of a shape and, if it is an input, of its operations.
func (g *generator) rulesOf(shape, verb string) (out [][]string) {
	sections := []string{shape}
	for _, n := range g.operations {
		if in := g.Operations[n].Input; in != nil && in.Shape == shape {
			sections = append(sections, n)
		}
	}
	for _, s := range sections {
		for _, r := range g.rules[s] {
			if r.verb == verb {
				out = append(out, r.args)
			}
		}
	}
	return out
}

// operationRules returns the rules of an operation in Go, with a leading comma, or nothing if there is no table.
func (g *generator) operationRules(name string) string {
	if g.rules == nil {
		return ""
	}
	var head, members []string
	for _, r := range g.rules[name] {
		switch r.verb {
		case "detects":
			var classes []string
			for _, c := range r.args {
				classes = append(classes, "awserr."+export(c))
			}
			head = append(head, "Detects: "+strings.Join(classes, " | "))
		case "first":
			head = append(head, "First: true")
		case "deep":
			head = append(head, "Deep: true")
		case "asks":
			head = append(head, fmt.Sprintf("Asks: %q", r.args[0]))
		case "listed", "alone", "last", "late":
			members = append(members, memberRule(r))
		case "buckets", "require", "optional", "drop", "items", "max", "min":
		default:
			log.Fatalf("%s: unknown rule %s", name, r.verb)
		}
	}
	if members != nil {
		head = append(head, "Members: []smithy.Rule{\n"+strings.Join(members, ",\n")+",\n}")
	}
	return ", Rules: &smithy.Rules{" + strings.Join(head, ", ") + "}"
}

// memberRule returns the smithy.Rule for a row such as "alone TableName min newer".
func memberRule(r rule) string {
	path := strings.Split(r.args[0], ".")
	for i := range path {
		path[i] = wireName(path[i])
	}
	out := fmt.Sprintf("{Member: %q, Constraint: smithy.%s, Stage: smithy.%s", strings.Join(path, "."), export(r.args[1]), export(r.verb))
	for i, word := range r.args[2:] {
		switch {
		case word == "newer" || word == "bare":
			out += ", " + export(word) + ": true"
		case word[0] == '[':
			return out + fmt.Sprintf(", Set: %q}", strings.Join(r.args[2+i:], " "))
		default:
			log.Fatalf("unknown word %s in a rule", word)
		}
	}
	return out + "}"
}

// wireName returns a member's name in AWS's sentences.
func wireName(member string) string { return strings.ToLower(member[:1]) + member[1:] }

// ordered returns members in the order in which AWS checks them: as a Java HashMap iterates over their names.
func (g *generator) ordered(shape string, members []member) []member {
	if g.rules == nil {
		return members
	}
	buckets := 0
	for _, args := range g.rulesOf(shape, "buckets") {
		if _, err := fmt.Sscan(args[0], &buckets); err != nil {
			log.Fatalf("%s: %v", shape, err)
		}
	}
	out := make([]member, len(members))
	// Members that share a bucket are in alphabetical order.
	members = slices.SortedFunc(slices.Values(members), func(a, b member) int { return cmp.Compare(a.name, b.name) })
	for i, at := range attribute.HashOrder(len(members), buckets, func(i int) string { return wireName(members[i].name) }) {
		out[i] = members[at]
	}
	return out
}

// enumOrder returns an enumeration in the order in which AWS prints it. AWS iterates over a hash table of at least 32 buckets, which unlike
// Java's HashMap uses the low bits of the hash codes.
func (g *generator) enumOrder(values []string) []string {
	if g.rules == nil {
		return values
	}
	buckets := uint32(32)
	for ; len(values) > int(buckets)*3/4; buckets *= 2 {
	}
	out := slices.Sorted(slices.Values(values))
	slices.SortStableFunc(out, func(a, b string) int {
		return cmp.Compare(attribute.HashCode(a)&(buckets-1), attribute.HashCode(b)&(buckets-1))
	})
	return out
}

// has reports whether a shape has a rule with a verb and, as its first words, args.
func (g *generator) has(shape, verb string, args ...string) bool {
	return slices.ContainsFunc(g.rulesOf(shape, verb), func(have []string) bool {
		return len(have) >= len(args) && slices.Equal(have[:len(args)], args)
	})
}
