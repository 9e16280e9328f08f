package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/statordb/stator"
)

// versionCommand is `stator version`.
func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version.",
		Args:  cobra.NoArgs,
		RunE: action(func(_ context.Context, std streams) error {
			_, err := fmt.Fprintln(std.out, "stator", stator.Version)
			return err
		}),
	}
}
