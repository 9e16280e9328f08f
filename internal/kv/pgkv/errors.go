package pgkv

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/statordb/stator/internal/kv"
)

// Codes of PostgreSQL's errors that matter here ("Appendix A. PostgreSQL Error Codes").
const (
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeUnique        = "23505" // a row exists that was missing
	codeDivision      = "22012" // a row has changed: see verifyMany
	codeLockTimeout   = "55P03"
	codeDiskFull      = "53100"
)

// failure maps an error of the database to one of package kv. It must only be used where nothing was written.
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
		// Class 53 is "insufficient resources"; 25006 is read_only_sql_transaction.
		case pg.Code == codeLockTimeout, broken(pg), pg.Code[:2] == "53", pg.Code == "25006":
			return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
		return err
	case known(err), errors.Is(err, pgx.ErrNoRows):
		return err
	}
	// A network error, as pgx reports it.
	return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
}

// commitFailure is failure for a commit, which may have happened even though its answer was lost.
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

// refused reports whether the database itself rejected the statement, so that nothing was written.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && !broken(pg)
}

// broken reports whether the error ended the connection: class 08 (connection exception) or 57 (operator intervention,
// such as a shutdown).
func broken(err *pgconn.PgError) bool { return err.Code[:2] == "08" || err.Code[:2] == "57" }

// known reports whether the error is already one of package kv.
func known(err error) bool {
	for _, e := range []error{kv.ErrConflict, kv.ErrUndetermined, kv.ErrTooLarge, kv.ErrFenced, kv.ErrUnavailable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
