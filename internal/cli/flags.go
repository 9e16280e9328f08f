package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	helpWidth    = 80            // columns of help
	environment  = "environment" // annotation of a flag: the variables that give its value, the most important one first
	argumentHelp = "argument"    // annotation of a command: the help of its argument
)

// failure is an error of a command that was called correctly.
type failure struct{ error }

// action returns the RunE of a command: it stores the arguments and calls run.
func action(run func(ctx context.Context, std streams) error, arguments ...*string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		for i, arg := range args {
			*arguments[i] = arg
		}
		if err := run(cmd.Context(), streams{cmd.OutOrStdout(), cmd.ErrOrStderr()}); err != nil {
			return failure{err}
		}
		return nil
	}
}

// setEnvironment names the variables that give a flag's value, the most important one first. Other flags have STATOR_ and their name.
func setEnvironment(f *pflag.FlagSet, flag string, variables ...string) {
	_ = f.SetAnnotation(flag, environment, variables) // fails only if there is no such flag
}

// complete completes a flag whose help begins with the placeholder of its value in back quotes: "`DIR` Data directory.".
func complete(f *pflag.Flag) {
	if f.Annotations[environment] == nil {
		if f.Annotations == nil {
			f.Annotations = map[string][]string{}
		}
		f.Annotations[environment] = []string{"STATOR_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))}
	}
	if placeholder, help := pflag.UnquoteUsage(f); placeholder != "" {
		f.Value = named{f.Value, placeholder}
		f.Usage = strings.TrimPrefix(help, placeholder+" ")
		f.DefValue = strings.NewReplacer("[]", "", "m0s", "m").Replace(f.DefValue) // an empty list; 5m0s
	}
	f.Usage += environmentHelp(f)
}

// completeAll completes the flags of a command and of those below it.
func completeAll(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.Flags().VisitAll(complete)
	for _, c := range cmd.Commands() {
		completeAll(c)
	}
}

// environmentHelp is the end of a flag's help.
func environmentHelp(f *pflag.Flag) string {
	return " ($" + strings.Join(f.Annotations[environment], ", $") + ")"
}

// readEnvironment sets the flags that the command line did not set from the environment.
func readEnvironment(cmd *cobra.Command, _ []string) (err error) {
	flags := cmd.Flags()
	flags.VisitAll(func(f *pflag.Flag) {
		for _, variable := range f.Annotations[environment] {
			text, ok := os.LookupEnv(variable)
			if !ok || f.Changed || err != nil {
				continue
			}
			if e := flags.Set(f.Name, text); e != nil {
				err = fmt.Errorf("environment variable %s: %w", variable, e)
			}
		}
	})
	return err
}

// usage prints how to call a command. Cobra's own usage has no arguments and does not break lines.
func usage(cmd *cobra.Command) error {
	out := cmd.OutOrStderr()
	if !cmd.HasSubCommands() {
		fmt.Fprintf(out, "Usage:\n  %s\n", cmd.UseLine())
		if help, ok := cmd.Annotations[argumentHelp]; ok {
			fmt.Fprintf(out, "\nArgument:\n  %s  %s\n", argumentName(cmd), help)
		}
	} else {
		fmt.Fprintf(out, "Usage:\n  %s <command> [flags]\n\nCommands:\n", cmd.CommandPath())
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() { // excludes cobra's help command
				fmt.Fprintf(out, "  %-*s%s\n", c.NamePadding(), c.Name(), c.Short)
			}
		}
		fmt.Fprintf(out, "\n%s <command> --help prints the flags of a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprintf(out, "\nFlags:\n%s", cmd.LocalFlags().FlagUsagesWrapped(helpWidth))
	return err
}

// argumentName returns the argument of a command as its usage shows it.
func argumentName(cmd *cobra.Command) string { return strings.TrimPrefix(cmd.Use, cmd.Name()+" ") }

// named is the value of a flag, with the placeholder that help shows for it.
type named struct {
	pflag.Value
	placeholder string
}

func (n named) Type() string { return n.placeholder }

// choice is the value of a flag that has one of a few values.
type choice struct {
	value   *string
	allowed []string
}

// oneOf returns a flag's value that is stored at p and has the default def.
func oneOf(p *string, def string, allowed ...string) pflag.Value {
	*p = def
	return choice{p, allowed}
}

func (c choice) String() string { return *c.value }
func (c choice) Type() string   { return "string" }

func (c choice) Set(text string) error {
	if !slices.Contains(c.allowed, text) {
		return fmt.Errorf("must be one of %s", strings.Join(c.allowed, ", "))
	}
	*c.value = text
	return nil
}

// existingFile returns a function that stores the absolute path of a file, which must exist. A leading ~/ is the home directory.
func existingFile(p *string) func(path string) error {
	return existing(p, func(path string, info os.FileInfo) error {
		if info.IsDir() {
			return fmt.Errorf("%s is a directory", path)
		}
		return nil
	})
}

// existingDirectory is existingFile for a directory.
func existingDirectory(p *string) func(path string) error {
	return existing(p, func(path string, info os.FileInfo) error {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", path)
		}
		return nil
	})
}

func existing(p *string, check func(path string, info os.FileInfo) error) func(path string) error {
	return func(path string) error {
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			home, err := os.UserHomeDir()
			if err != nil {
				return err
			}
			path = filepath.Join(home, rest)
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			err = check(path, info)
		}
		if err == nil {
			*p = path
		}
		return err
	}
}
