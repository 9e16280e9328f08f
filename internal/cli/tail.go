package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/cli/tail"
)

// connection holds the flags of commands that talk to a server.
type connection struct {
	EndpointURL string
	Region      string
	AccessKey   string
	SecretKey   string
	Token       string
}

// addFlags adds the flags to a command's.
func (c *connection) addFlags(f *pflag.FlagSet) {
	f.StringVar(&c.EndpointURL, "endpoint-url", "http://127.0.0.1:8000", "`URL` Endpoint of the server.")
	f.StringVar(&c.Region, "region", "us-east-1", "`NAME` Region of the table.")
	f.StringVar(&c.AccessKey, "access-key", "any", "`KEY` Access key; any will do without --credentials on the server.")
	f.StringVar(&c.SecretKey, "secret-key", "any", "`SECRET` Its secret; best given in the environment.")
	f.StringVar(&c.Token, "session-token", "", "`TOKEN` Session token, if the key is a temporary one.")
	setEnvironment(f, "endpoint-url", "STATOR_ENDPOINT_URL", "AWS_ENDPOINT_URL")
	setEnvironment(f, "region", "STATOR_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
	setEnvironment(f, "access-key", "AWS_ACCESS_KEY_ID")
	setEnvironment(f, "secret-key", "AWS_SECRET_ACCESS_KEY")
	setEnvironment(f, "session-token", "AWS_SESSION_TOKEN")
}

// server returns the client of the server that the flags name.
func (c *connection) server() client.Server {
	return client.Server{Endpoint: c.EndpointURL, Region: c.Region, AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.Token}
}

// tailCmd is `stator tail`.
type tailCmd struct {
	Table string
	connection
	FromStart bool
	JSON      bool
	Interval  time.Duration
}

// command returns the command, whose flags are stored in c.
func (c *tailCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "tail <table>",
		Short:       "Print a table's changes as they happen.",
		Args:        cobra.ExactArgs(1),
		RunE:        action(c.run, &c.Table),
		Annotations: map[string]string{argumentHelp: "Table to follow; it needs a stream."},
	}
	f := cmd.Flags()
	c.connection.addFlags(f)
	f.BoolVar(&c.FromStart, "from-start", false, "Begin with the oldest record that is still there (24 hours), not with the next one.")
	f.BoolVar(&c.JSON, "json", false, "Print each record as DynamoDB Streams returns it, one per line.")
	f.DurationVar(&c.Interval, "interval", 20*time.Millisecond, "`DURATION` How long to wait after finding no new records.")
	return cmd
}

// run prints changes until it is interrupted.
func (c *tailCmd) run(ctx context.Context, std streams) error {
	return tail.Run(ctx, tail.Options{Server: c.server(), Table: c.Table, FromStart: c.FromStart, JSON: c.JSON, Interval: c.Interval, Out: std.out})
}
