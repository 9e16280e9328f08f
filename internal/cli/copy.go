package cli

import (
	"context"
	"fmt"

	"github.com/statordb/stator/internal/admin"
)

// copyCmd is `stator copy`.
type copyCmd struct {
	From string `help:"Data directory of a stopped server, or a shared database (postgres://… or tikv://…), whose servers may run." required:"" placeholder:"DIR|URL"`
	To   string `help:"New data directory, or an empty database." required:"" placeholder:"DIR|URL"`
}

// Run copies the data, reports progress per GiB, and prints the totals.
func (c *copyCmd) Run(ctx context.Context, std streams) error {
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
