package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	for _, command := range leaves(commandLine(commands()...)) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", command.CommandPath(), cell(command.Short))
		if help, ok := command.Annotations[argumentHelp]; ok {
			fmt.Fprintf(&b, "\n| argument | |\n|---|---|\n| `%s` | %s |\n", argumentName(command), cell(help))
		}
		header := "\n| flag | | default | environment |\n|---|---|---|---|\n"
		command.Flags().VisitAll(func(f *pflag.Flag) {
			placeholder, help := pflag.UnquoteUsage(f)
			name := "`" + strings.TrimSpace("--"+f.Name+" "+strings.ReplaceAll(placeholder, "|", `\|`)) + "`"
			if f.Annotations[cobra.BashCompOneRequiredFlag] != nil {
				name += " (required)"
			}
			fallback := ""
			if placeholder != "" && f.DefValue != "" {
				fallback = "`" + f.DefValue + "`"
			}
			fmt.Fprintf(&b, "%s| %s | %s | %s | `%s` |\n", header, name, cell(strings.TrimSuffix(help, environmentHelp(f))), fallback,
				strings.Join(f.Annotations[environment], "`, `"))
			header = ""
		})
	}
	return b.String()
}

// leaves returns the commands below a command that have none of their own.
func leaves(cmd *cobra.Command) (list []*cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.HasSubCommands() {
			list = append(list, leaves(c)...)
		} else {
			list = append(list, c)
		}
	}
	return list
}

// cell escapes text for a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "*", `\*`).Replace(text)
}
