package pgkv

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/statordb/stator/internal/kv"
)

// The codes of PostgreSQL's errors that matter ("Appendix A. PostgreSQL Error Codes").
const (
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeUnique        = "23505" // a row came that was missing
	codeDivision      = "22012" // a row has changed: see txn.verify
	codeLockTimeout   = "55P03"
	codeDiskFull      = "53100"
)

// failure turns an error of the database into one of package kv. Nothing was written.
func failure(err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &pg):
		switch {
		case pg.Code == codeSerialization, pg.Code == codeDeadlock, pg.Code == codeUnique, pg.Code == codeDivision:
			return kv.ErrConflict
		case pg.Code == codeLockTimeout, broken(pg), pg.Code[:2] == "53", pg.Code == "25006": // resources; read-only
			return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
		return err
	case known(err), errors.Is(err, pgx.ErrNoRows):
		return err
	}
	// The network, or what pgx says of it.
	return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
}

// commitFailure is failure for a commit, which may have happened although its answer was lost.
func commitFailure(err error) error {
	switch {
	case err == nil:
		return nil
	case refused(err):
		return failure(err)
	case pgconn.SafeToRetry(err):
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", kv.ErrUndetermined, err)
}

// refused reports whether the database said that it has not done what it was asked for.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && !broken(pg)
}

// broken reports whether the error ended the connection: classes 08 (connection exception) and 57 (operator intervention), such
// as a shutdown.
func broken(err *pgconn.PgError) bool { return err.Code[:2] == "08" || err.Code[:2] == "57" }

// known reports whether the error is one of package kv already.
func known(err error) bool {
	for _, e := range []error{kv.ErrConflict, kv.ErrUndetermined, kv.ErrTooLarge, kv.ErrFenced, kv.ErrUnavailable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
