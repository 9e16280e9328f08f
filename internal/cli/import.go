package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/statordb/stator/internal/cli/importer"
)

// importCmd is `stator import`.
type importCmd struct {
	Source            string
	FromDynamoDBLocal string
	Table             string
	SourceTable       string
	Key               []string
	connection
	buckets
}

// command returns the command, whose flags are stored in c.
func (c *importCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [<source>]",
		Short: "Import exports made by AWS or Stator, or a data file of DynamoDB Local, into a running server.",
		Args:  cobra.MaximumNArgs(1),
		RunE:  action(c.run, &c.Source),
		Annotations: map[string]string{
			argumentHelp: "Folder, or s3://BUCKET/PREFIX, with exports made by AWS or Stator: the newest full export is imported, " +
				"then the incremental ones that continue it.",
		},
	}
	f := cmd.Flags()
	f.Func("from-dynamodb-local",
		"`FILE` Data file of DynamoDB Local, e.g. shared-local-instance.db; all its tables are imported.", existingFile(&c.FromDynamoDBLocal))
	f.StringVar(&c.Table, "table", "", "`NAME` Table to import into; the default is the name of the exported table.")
	f.StringVar(&c.SourceTable, "source-table", "", "`NAME` Table to choose if the source has exports of several.")
	f.StringSliceVar(&c.Key, "key", nil,
		"`NAME:TYPE,...` Key attributes of a table to create, partition key first, e.g. pk:S,sk:N; exports do not contain them.")
	c.connection.addFlags(f)
	c.buckets.addFlags(f)
	return cmd
}

// run imports exports, or a data file of DynamoDB Local, into a running server.
func (c *importCmd) run(ctx context.Context, std streams) error {
	opt := importer.Options{Server: c.server(), Out: std.out}
	switch {
	case (c.Source == "") == (c.FromDynamoDBLocal == ""):
		return errors.New("give a folder or s3://BUCKET/PREFIX with exports, or --from-dynamodb-local FILE")
	case c.FromDynamoDBLocal != "":
		return importer.FromDynamoDBLocal(ctx, c.FromDynamoDBLocal, opt)
	}
	place, err := c.locate(ctx, c.Source)
	if err != nil {
		return err
	}
	x := importer.Exports{Place: place, Table: c.Table, Source: c.SourceTable, Keys: c.Key}
	if err := x.Import(ctx, opt); err != nil {
		return fmt.Errorf("%s: %w", c.Source, err)
	}
	return nil
}
