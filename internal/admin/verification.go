package admin

import (
	"context"
	"errors"
	"log/slog"

	"github.com/statordb/stator/internal/admin/verify"
	"github.com/statordb/stator/internal/engine"
)

// Verification is the result of Verify.
type Verification struct {
	Tables         int
	Items, Entries int64    // items, and index entries of all tables
	Problems       []string // the first 100
	MoreProblems   int64
}

// Verify checks the data directory of a stopped server, or a storage (by URL, see Options.Storage), whose servers may run:
// every item is well-formed and stored under its own key, every index matches its table, and the counters are right. It writes
// nothing. Findings are in the result; an error means that the data could not be read.
func Verify(ctx context.Context, from string, log *slog.Logger) (*Verification, error) {
	store, err := engine.OpenTool(ctx, from, true, log)
	if err != nil {
		return nil, err
	}
	r, err := verify.Run(ctx, store)
	if err = errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	return &Verification{Tables: r.Tables, Items: r.Items, Entries: r.Entries, Problems: r.Problems, MoreProblems: r.More}, nil
}
