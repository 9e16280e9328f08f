package cli

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/cli/hot"
)

// hotCmd is `stator hot`.
type hotCmd struct {
	Table string `arg:"" help:"Table to show."`
	connection
	Once     bool          `help:"Print once and exit."`
	JSON     bool          `name:"json" help:"Print JSON, one object per line."`
	Interval time.Duration `help:"Interval between updates (${default})." default:"2s" placeholder:"DURATION"`
}

// Run shows the busiest partitions and keys until it is interrupted.
func (c *hotCmd) Run(ctx context.Context, std streams) error {
	return hot.Run(ctx, hot.Options{Server: c.server(), Table: c.Table, Once: c.Once, JSON: c.JSON, Interval: c.Interval, Out: std.out})
}
