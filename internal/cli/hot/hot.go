// Package hot shows the most used partitions and keys of a table, as reported by a server.
package hot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/wait"
)

// Options configure Run.
type Options struct {
	Server client.Server
	Table  string
	// Once prints a single report instead of one per Interval.
	Once bool
	// JSON prints the server's answers, one per line.
	JSON     bool
	Interval time.Duration
	Out      io.Writer
}

// Target is the operation called, which AWS does not have.
const Target = "Stator_20261101.DescribeHotKeys"

// answer is the server's answer.
type answer struct {
	TableName string
	Resources []struct {
		IndexName  string
		Partitions []struct {
			Start                 string
			ReadUnits, WriteUnits float64
			Throttled             int64
		}
		Accessed, Throttled []struct {
			Key   json.RawMessage
			Count float64
		}
	}
}

// Run prints reports until ctx ends.
func Run(ctx context.Context, opt Options) error {
	for {
		var raw json.RawMessage
		err := opt.Server.Call(ctx, Target, map[string]string{"TableName": opt.Table}, &raw)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := opt.print(raw); err != nil || opt.Once {
			return err
		}
		if wait.Pause(ctx, opt.Interval) != nil {
			return nil
		}
	}
}

// shown bounds the partitions that are printed.
const shown = 10

// print prints one report.
func (opt *Options) print(raw json.RawMessage) error {
	if opt.JSON {
		_, err := fmt.Fprintf(opt.Out, "%s\n", raw)
		return err
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return err
	}
	for _, r := range a.Resources {
		name := a.TableName
		if r.IndexName != "" {
			name += " / " + r.IndexName
		}
		fmt.Fprintf(opt.Out, "%s\n", name)
		if len(r.Partitions) == 0 {
			fmt.Fprintf(opt.Out, "  no limits, so no partitions\n")
		} else {
			fmt.Fprintf(opt.Out, "  %-4s %-10s %12s %12s %10s\n", "part", "from hash", "reads/s", "writes/s", "throttled")
		}
		for i, p := range r.Partitions {
			if i == shown {
				fmt.Fprintf(opt.Out, "  … %d more\n", len(r.Partitions)-shown)
				break
			}
			fmt.Fprintf(opt.Out, "  %-4d %-10s %12.1f %12.1f %10d\n", i, p.Start, p.ReadUnits, p.WriteUnits, p.Throttled)
		}
		for _, keys := range []struct {
			title string
			list  []struct {
				Key   json.RawMessage
				Count float64
			}
		}{{"units", r.Accessed}, {"throttled", r.Throttled}} {
			for _, k := range keys.list {
				fmt.Fprintf(opt.Out, "  %12.1f %-10s %s\n", k.Count, keys.title, k.Key)
			}
		}
	}
	_, err := fmt.Fprintln(opt.Out)
	return err
}
