package cli

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/cli/tail"
)

// connection holds the flags of commands that talk to a server.
type connection struct {
	EndpointURL string `name:"endpoint-url" help:"Endpoint of the server (${default})." default:"http://127.0.0.1:8000" env:"STATOR_ENDPOINT_URL,AWS_ENDPOINT_URL" placeholder:"URL"`
	Region      string `help:"Region of the table (${default})." default:"us-east-1" env:"STATOR_REGION,AWS_REGION,AWS_DEFAULT_REGION" placeholder:"NAME"`
	AccessKey   string `help:"Access key; any will do without --credentials on the server." default:"any" env:"AWS_ACCESS_KEY_ID" placeholder:"KEY"`
	SecretKey   string `help:"Its secret; best given in the environment." default:"any" env:"AWS_SECRET_ACCESS_KEY" placeholder:"SECRET"`
}

// server returns the client of the server that the flags name.
func (c *connection) server() client.Server {
	return client.Server{Endpoint: c.EndpointURL, Region: c.Region, AccessKey: c.AccessKey, SecretKey: c.SecretKey}
}

// tailCmd is `stator tail`.
type tailCmd struct {
	Table string `arg:"" help:"Table to follow; it needs a stream."`
	connection
	FromStart bool          `help:"Begin with the oldest record that is still there (24 hours), not with the next one."`
	JSON      bool          `name:"json" help:"Print each record as DynamoDB Streams returns it, one per line."`
	Interval  time.Duration `help:"How long to wait after finding no new records (${default})." default:"20ms" placeholder:"DURATION"`
}

// Run prints changes until it is interrupted.
func (c *tailCmd) Run(ctx context.Context, std streams) error {
	return tail.Run(ctx, tail.Options{Server: c.server(), Table: c.Table, FromStart: c.FromStart, JSON: c.JSON, Interval: c.Interval, Out: std.out})
}
