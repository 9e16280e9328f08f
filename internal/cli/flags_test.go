package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/flags.md anew")

// TestFlagsPage fails if docs/flags.md is stale; `make generate` updates it.
func TestFlagsPage(t *testing.T) {
	const file = "../../docs/flags.md"
	want := flagsPage()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is stale (%v): run go test ./internal/cli -run TestFlagsPage -args -update", file, err)
	}
}

// flagsPage renders the reference of all commands and flags from the command line's own model.
func flagsPage() string {
	var b strings.Builder
	b.WriteString("# Commands and flags\n\n" +
		"<!-- Written by `make generate` from internal/cli; do not edit. -->\n\n" +
		"Each flag can also be given as the environment variable in the last column; the command line wins. `stator COMMAND --help` prints the same.\n")
	for _, command := range commandLine(&commands{}).Commands {
		fmt.Fprintf(&b, "\n## stator %s\n\n%s\n", command.Name, cell(command.Help))
		for i, argument := range command.Args {
			if i == 0 {
				b.WriteString("\n| argument | |\n|---|---|\n")
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", argument.Summary(), cell(argument.Help))
		}
		for i, f := range command.Flags {
			if i == 0 {
				b.WriteString("\n| flag | | default | environment |\n|---|---|---|---|\n")
			}
			name := "`--" + f.Name
			if !f.IsBool() {
				name += " " + strings.ReplaceAll(f.Placeholder(), "|", `\|`)
			}
			name += "`"
			if f.Required {
				name += " (required)"
			}
			help, fallback := f.Help, ""
			if f.Default != "" {
				// Help texts end with their default in parentheses. Here it gets a column of its own.
				help, fallback = strings.Replace(help, " ("+f.Default+").", ".", 1), "`"+f.Default+"`"
			}
			var envs []string
			for _, env := range f.Envs {
				envs = append(envs, "`"+env+"`")
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, cell(help), fallback, strings.Join(envs, ", "))
		}
	}
	return b.String()
}

// cell escapes text for a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "*", `\*`).Replace(text)
}
