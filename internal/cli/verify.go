package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/statordb/stator/internal/admin"
)

// verifyCmd is `stator verify`.
type verifyCmd struct {
	DataDir string
	Storage string
}

// command returns the command, whose flags are stored in c.
func (c *verifyCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the data directory of a stopped server, or a shared database.",
		Args:  cobra.NoArgs,
		RunE:  action(c.run),
	}
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data-dir", "./stator-data", "`DIR` Data directory.")
	f.StringVar(&c.Storage, "storage", "", "`URL` Shared database to check instead of a directory; its servers may run.")
	return cmd
}

// run prints the problems that it finds, and fails if there are any.
func (c *verifyCmd) run(ctx context.Context, std streams) error {
	from := c.DataDir
	if c.Storage != "" {
		from = c.Storage
	}
	v, err := admin.Verify(ctx, from, nil)
	if err != nil {
		return err
	}
	for _, p := range v.Problems {
		fmt.Fprintln(std.out, p)
	}
	if v.MoreProblems > 0 {
		fmt.Fprintf(std.out, "and %d more\n", v.MoreProblems)
	}
	fmt.Fprintf(std.out, "%d tables, %d items, %d index entries checked\n", v.Tables, v.Items, v.Entries)
	if n := int64(len(v.Problems)) + v.MoreProblems; n > 0 {
		return fmt.Errorf("%s has %d problems", redacted(from), n)
	}
	return nil
}
