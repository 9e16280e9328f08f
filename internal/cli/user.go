package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/statordb/stator/internal/cli/identities"
)

// identityCmd is a command that manages users, keys or policies: its arguments and flags.
type identityCmd struct {
	connection
	JSON   bool
	Force  bool
	AWS    bool
	Path   string
	Format string
	First  string // arguments
	Second string
}

// options returns the options of package identities.
func (c *identityCmd) options(std streams) identities.Options {
	return identities.Options{Server: c.server(), Out: std.out, JSON: c.JSON}
}

// identity returns a command whose arguments are those in its usage, at most two.
func identity(
	use, short, help string, count int, run func(context.Context, *identityCmd, identities.Options) error, flags func(*cobra.Command, *identityCmd),
) *cobra.Command {
	c := new(identityCmd)
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(count)}
	if help != "" {
		cmd.Annotations = map[string]string{argumentHelp: help}
	}
	cmd.RunE = action(func(ctx context.Context, std streams) error { return run(ctx, c, c.options(std)) }, &c.First, &c.Second)
	c.connection.addFlags(cmd.Flags())
	if flags != nil {
		flags(cmd, c)
	}
	return cmd
}

// listFlags adds the flags of commands that list.
func listFlags(cmd *cobra.Command, c *identityCmd) {
	cmd.Flags().BoolVar(&c.JSON, "json", false, "Print a JSON list.")
}

// userCommand returns `stator user`.
func userCommand() *cobra.Command {
	return group("user", "List, create and delete users.",
		identity("list", "List the account's users.", "", 0, func(ctx context.Context, _ *identityCmd, opt identities.Options) error {
			return identities.ListUsers(ctx, opt)
		}, listFlags),
		identity("create <name>", "Create a user and print its ARN.", "Name of the user.", 1,
			func(ctx context.Context, c *identityCmd, opt identities.Options) error {
				return identities.CreateUser(ctx, opt, c.First, c.Path)
			}, func(cmd *cobra.Command, c *identityCmd) {
				cmd.Flags().StringVar(&c.Path, "path", "", "`PATH` Path of the user, e.g. /staff/.")
			}),
		identity("delete <name>", "Delete a user.", "Name of the user.", 1,
			func(ctx context.Context, c *identityCmd, opt identities.Options) error {
				return identities.DeleteUser(ctx, opt, c.First, c.Force)
			}, func(cmd *cobra.Command, c *identityCmd) {
				cmd.Flags().BoolVar(&c.Force, "force", false,
					"Delete the user's access keys and inline policies first, detach managed ones, and take the user out of groups.")
			}),
	)
}

// keyCommand returns `stator key`.
func keyCommand() *cobra.Command {
	set := func(verb, short string, enabled bool) *cobra.Command {
		return identity(verb+" <user> <id>", short, "Name of the user, and the key's id.", 2,
			func(ctx context.Context, c *identityCmd, opt identities.Options) error {
				return identities.SetKey(ctx, opt, c.First, c.Second, enabled)
			}, nil)
	}
	return group("key", "List, create and change users' access keys.",
		identity("list <user>", "List a user's access keys.", "Name of the user.", 1,
			func(ctx context.Context, c *identityCmd, opt identities.Options) error {
				return identities.ListKeys(ctx, opt, c.First)
			}, listFlags),
		identity("create <user>", "Create an access key and print it with its secret, which can't be seen again.", "Name of the user.", 1,
			func(ctx context.Context, c *identityCmd, opt identities.Options) error {
				return identities.CreateKey(ctx, opt, c.First, c.Format)
			}, func(cmd *cobra.Command, c *identityCmd) {
				cmd.Flags().Var(oneOf(&c.Format, identities.FormatText, identities.FormatText, identities.FormatEnv, identities.FormatJSON), "format",
					"`FORMAT` Format of the key: text, env (commands for a shell's eval) or json (for a file).")
			}),
		set("disable", "Disable an access key: the server refuses its requests until it is enabled.", false),
		set("enable", "Enable an access key that was disabled.", true),
		identity("delete <user> <id>", "Delete an access key.", "Name of the user, and the key's id.", 2,
			func(ctx context.Context, c *identityCmd, opt identities.Options) error {
				return identities.DeleteKey(ctx, opt, c.First, c.Second)
			}, nil),
	)
}
