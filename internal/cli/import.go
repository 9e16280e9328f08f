package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/statordb/stator/internal/cli/importer"
)

// importCmd is `stator import`.
type importCmd struct {
	Source            string   `arg:"" optional:"" help:"Folder, or s3://BUCKET/PREFIX, with exports made by AWS or Stator: the newest full export is imported, then the incremental ones that continue it."`
	FromDynamoDBLocal string   `name:"from-dynamodb-local" help:"Data file of DynamoDB Local, e.g. shared-local-instance.db; all its tables are imported." type:"existingfile" placeholder:"FILE"`
	Table             string   `help:"Table to import into; the default is the name of the exported table." placeholder:"NAME"`
	SourceTable       string   `help:"Table to choose if the source has exports of several." placeholder:"NAME"`
	Key               []string `help:"Key attributes of a table to create, partition key first, e.g. pk:S,sk:N; exports do not contain them." placeholder:"NAME:TYPE"`
	connection
	buckets
}

// Run imports exports, or a data file of DynamoDB Local, into a running server.
func (c *importCmd) Run(ctx context.Context, std streams) error {
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
