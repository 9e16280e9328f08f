package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/statordb/stator/internal/admin"
)

// copyCmd is `stator copy`.
type copyCmd struct {
	From string
	To   string
}

// command returns the command, whose flags are stored in c.
func (c *copyCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "copy --from DIR|URL --to DIR|URL",
		Short: "Copy all data to another data directory or shared database.",
		Args:  cobra.NoArgs,
		RunE:  action(c.run),
	}
	f := cmd.Flags()
	f.StringVar(&c.From, "from", "",
		"`DIR|URL` Data directory of a stopped server, or a shared database (postgres://… or tikv://…), whose servers may run.")
	f.StringVar(&c.To, "to", "", "`DIR|URL` New data directory, or an empty database.")
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

// run copies the data, reports progress per GiB, and prints the totals.
func (c *copyCmd) run(ctx context.Context, std streams) error {
	const every = 1 << 30
	next := int64(every)
	done, err := admin.Copy(ctx, c.From, c.To, func(bytes int64) {
		if bytes >= next {
			next += every
			fmt.Fprintf(std.err, "%d GiB copied\n", bytes>>30)
		}
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%d tables, %d records, %d bytes copied and compared (checksum %016x)\n", done.Tables, done.Records, done.Bytes, done.Checksum)
	return err
}
