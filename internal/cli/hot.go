package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/statordb/stator/internal/cli/hot"
)

// hotCmd is `stator hot`.
type hotCmd struct {
	Table string
	connection
	Once     bool
	JSON     bool
	Interval time.Duration
}

// command returns the command, whose flags are stored in c.
func (c *hotCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "hot <table>",
		Short:       "Show a table's busiest partitions and keys.",
		Args:        cobra.ExactArgs(1),
		RunE:        action(c.run, &c.Table),
		Annotations: map[string]string{argumentHelp: "Table to show."},
	}
	f := cmd.Flags()
	c.connection.addFlags(f)
	f.BoolVar(&c.Once, "once", false, "Print once and exit.")
	f.BoolVar(&c.JSON, "json", false, "Print JSON, one object per line.")
	f.DurationVar(&c.Interval, "interval", 2*time.Second, "`DURATION` Interval between updates.")
	return cmd
}

// run shows the busiest partitions and keys until it is interrupted.
func (c *hotCmd) run(ctx context.Context, std streams) error {
	return hot.Run(ctx, hot.Options{Server: c.server(), Table: c.Table, Once: c.Once, JSON: c.JSON, Interval: c.Interval, Out: std.out})
}
