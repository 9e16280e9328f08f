// Package cli is Stator's command line: commands, flags and signals. Programs call [Main]; each command has a file.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // scheduled actions name time zones

	"github.com/spf13/cobra"
)

// streams are the program's standard output and error, which tests replace.
type streams struct{ out, err io.Writer }

// Main runs the command line of the process, and exits with status 1 if it fails.
func Main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "stator:", err)
		os.Exit(1)
	}
}

// run executes a command line. It returns nil after help was printed.
func run(ctx context.Context, args []string, std streams) error {
	return execute(ctx, commandLine(commands()...), args, std)
}

// commands returns the commands in the order of help and docs/flags.md, which a test generates from them.
func commands() []*cobra.Command {
	return []*cobra.Command{
		new(serveCmd).command(),
		new(tailCmd).command(),
		new(hotCmd).command(),
		new(backupCmd).command(),
		new(restoreCmd).command(),
		new(importCmd).command(),
		userCommand(),
		keyCommand(),
		policyCommand(),
		new(verifyCmd).command(),
		new(clusterCmd).command(),
		new(copyCmd).command(),
		versionCommand(),
	}
}

// commandLine returns the program with the commands. It uses none of cobra's templates: text/template would make the linker keep all
// exported methods, 10 MB.
func commandLine(commands ...*cobra.Command) *cobra.Command {
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use: "stator",
		Long: "A DynamoDB-compatible database. Point any AWS SDK or the AWS CLI at its endpoint URL.\n" +
			"Every flag can also be given as an environment variable, e.g. STATOR_DATA_DIR for --data-dir.",
		PersistentPreRunE:  readEnvironment,
		RunE:               func(*cobra.Command, []string) error { return errors.New("a command is missing") },
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true, // they have lines of their own
		CompletionOptions:  cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetUsageFunc(usage)
	root.InitDefaultHelpFlag() // makes cobra accept it before the command too
	for _, c := range commands {
		completeAll(c)
	}
	root.AddCommand(commands...)
	return root
}

// group returns a command that only has commands of its own.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return errors.New("a command is missing") }}
	cmd.AddCommand(commands...)
	return cmd
}

// execute executes a command line. Errors of its form refer to help.
func execute(ctx context.Context, root *cobra.Command, args []string, std streams) error {
	root.SetArgs(args)
	root.SetOut(std.out)
	root.SetErr(std.err)
	cmd, err := root.ExecuteContextC(ctx)
	var failed failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return failed.error
	}
	return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
}

// redacted returns a URL with its passwords masked, and any other text unchanged. A URL that does not parse is reduced to its
// scheme.
func redacted(from string) string {
	scheme, _, isURL := strings.Cut(from, "://")
	if !isURL {
		return from
	}
	u, err := url.Parse(from)
	if err != nil {
		return scheme + "://…"
	}
	query := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if query.Has(name) {
			query.Set(name, "xxxxx")
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}
