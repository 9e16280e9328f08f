package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/statordb/stator/internal/admin"
)

// clusterCmd is `stator cluster`.
type clusterCmd struct {
	Storage string
	JSON    bool
	Upgrade bool
}

// command returns the command, whose flags are stored in c.
func (c *clusterCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster --storage URL",
		Short: "Show the servers of a shared database and the work each one does.",
		Args:  cobra.NoArgs,
		RunE:  action(c.run),
	}
	f := cmd.Flags()
	f.StringVar(&c.Storage, "storage", "", "`URL` The shared database.")
	f.BoolVar(&c.JSON, "json", false, "Print JSON.")
	f.BoolVar(&c.Upgrade, "upgrade", false,
		"Raise the database to the newest format. All servers must run this version; older ones no longer start.")
	_ = cmd.MarkFlagRequired("storage")
	return cmd
}

// run prints the servers, the jobs each one leads, and how far each one is behind. It upgrades the format first if asked to.
func (c *clusterCmd) run(ctx context.Context, std streams) error {
	if c.Upgrade {
		if _, err := admin.UpgradeStorage(ctx, c.Storage); err != nil {
			return err
		}
	}
	state, err := admin.ReadCluster(ctx, c.Storage)
	if err != nil {
		return err
	}
	if c.JSON {
		out := json.NewEncoder(std.out)
		out.SetIndent("", "  ")
		return out.Encode(state)
	}
	jobs := map[string][]string{}
	for job, holder := range state.Leases {
		jobs[holder] = append(jobs[holder], job)
	}
	out := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "SERVER\tURL\tVERSION\tUP\tALIVE\tBEHIND\tDOES")
	for _, s := range state.Servers {
		alive := "yes"
		if !s.Alive {
			alive = "NO"
		}
		slices.Sort(jobs[s.ID])
		fmt.Fprintf(out, "%s\t%s\t%s\t%v\t%s\t%d\t%s\n", s.ID, s.URL, s.Version, time.Since(s.Started).Round(time.Second), alive, s.Behind, strings.Join(jobs[s.ID], ", "))
		delete(jobs, s.ID)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, holder := range slices.Sorted(maps.Keys(jobs)) {
		fmt.Fprintf(std.out, "held by %s, which has gone: %s\n", holder, strings.Join(jobs[holder], ", "))
	}
	if state.Changing != "" {
		fmt.Fprintf(std.out, "%q is being changed by %s\n", state.Changing, state.ChangedBy)
	}
	fmt.Fprintf(std.out, "format %d; %d changes of tables and settings so far; streams are %v behind\n", state.Format, state.Changes, state.StreamLag)
	return nil
}
