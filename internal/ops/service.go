// Package ops has DynamoDB's operations, one file each, and in operations.go the only list of them.
//
// The order in which errors are found follows AWS: types of JSON (package smithy), constraints of the model (generated
// checks), what can be said without the table (parameters that exclude each other, values that are none, expressions), the
// table, its key, then what only the item can tell.
package ops

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/faults"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/tenant"
	"github.com/statordb/stator/internal/transfer"
)

// Options configure a Service.
type Options struct {
	Tables *table.Store
	// Backups creates and restores backups of tables.
	Backups *backup.Manager
	// Transfers runs exports, imports and bulk puts.
	Transfers *transfer.Manager
	// Checkpoint makes a copy of the server's data directory and returns its path relative to the data directory. nil means that
	// checkpoints are not available.
	Checkpoint func(context.Context) (dir string, err error)
	// Meters is the registry of the tables' Meters.
	Meters *metering.Registry
	// Now is the clock of requests and of everything stored.
	Now func() time.Time
	// TransientStatus is how long tables stay in CREATING, UPDATING and DELETING.
	TransientStatus time.Duration
	// NoChangeLimits allows changes of settings without AWS's change-frequency limits.
	NoChangeLimits bool
	// Faults are the faults to inject in test mode; nil for none.
	Faults *faults.Faults
	// Tenants are the limits of accounts; nil for none.
	Tenants *tenant.Tenants
	// SharedNamespace puts all tables in one namespace, regardless of a request's account and region.
	SharedNamespace bool
}

// Service executes DynamoDB's operations.
type Service struct {
	Options
	cache    *expr.Cache
	past     past
	inFlight sync.Map // idempotency tokens of running transactions: account, region and token, separated by NUL
	// recovery is held while point-in-time recovery is changed, so that no table's history is deleted after it was enabled
	// again.
	recovery sync.Mutex
}

// New returns a Service.
func New(opt Options) *Service {
	return &Service{Options: opt, cache: expr.NewCache()}
}

// CheckProjection returns AWS's error for an invalid projection expression, or nil.
func (s *Service) CheckProjection(expression string, names smithy.Map[string]) error {
	_, err := s.parseExpressions(expressionTexts{projection: smithy.Some(expression), names: names})
	return err
}

// holds counts what was read against the request's memory budget, and returns AWS's error if that is exhausted.
func holds(req *Request, bytes int) error {
	if req.Memory != nil && !req.Memory.Take(bytes) {
		return clientError(table.ErrMemory)
	}
	return nil
}

// checkItem returns AWS's error if an item or key was decoded from invalid JSON. The decoder marks such items instead of
// failing, because other checks come first.
func checkItem(it attribute.Item) error {
	if _, problem, invalid := it.Invalid(); invalid {
		return valueError(problem)
	}
	return nil
}

// checkOlderItem is checkItem for operations that go through AWS's older layer of validation: BatchWriteItem and transactions.
func checkOlderItem(it attribute.Item) error {
	if _, problem, invalid := it.InvalidOlder(); invalid {
		return awserr.ValidationError(problem)
	}
	return nil
}

// valueError returns AWS's error for an invalid value. AWS's validator does not see values without a type, or with several.
func valueError(problem string) *awserr.Error {
	if attribute.TypingOf(problem) != 0 {
		return awserr.ValidationError(problem)
	}
	return awserr.RequestError(problem)
}

// emptyKind returns the word for an empty value in AWS's sentences.
func emptyKind(t attribute.Type) string {
	if t == attribute.TypeB {
		return "binary"
	}
	return "string"
}

// checkKey checks a request's Key against the table's key schema.
func checkKey(t *catalog.Table, key attribute.Item) error {
	if key.Len() != t.Key.Len() {
		return awserr.KeyMismatch()
	}
	for a := range t.Key.Attributes {
		if key.Get(a.Name).Type() != a.Type {
			return awserr.KeyMismatch()
		}
	}
	return checkKeyValues(t, key)
}

// checkItemKey checks the key attributes of an item that is to be put.
func checkItemKey(t *catalog.Table, it attribute.Item) error {
	for a := range t.Key.Attributes {
		v := it.Get(a.Name)
		if v == nil {
			return awserr.MissingKey(a.Name)
		}
		if v.Type() != a.Type {
			return awserr.KeyType(a.Name, a.Type.String(), v.Type().String())
		}
	}
	return checkKeyValues(t, it)
}

// checkKeyValues checks the size of key attributes whose presence and type are already checked.
func checkKeyValues(t *catalog.Table, it attribute.Item) error {
	for i, attrs := range [2][]catalog.KeyAttribute{t.Key.Partition, t.Key.Sort} {
		for _, a := range attrs {
			if a.Type == attribute.TypeN {
				continue
			}
			switch n := len(it.Get(a.Name).Bytes()); {
			case n == 0:
				return awserr.EmptyKey(a.Name, emptyKind(a.Type))
			case i == 0 && n > index.MaxPartitionKey:
				return awserr.PartitionKeyTooLarge()
			case i == 1 && n > index.MaxSortKey:
				return awserr.SortKeyTooLarge()
			}
		}
	}
	return nil
}

// checkIndexKeys checks the attributes of it that are keys of the table's indexes; old is the item that it replaces. AWS words
// the error of an update that empties one differently.
func checkIndexKeys(t *catalog.Table, old, it attribute.Item, update bool) error {
	if len(t.Indexes) == 0 {
		return nil
	}
	p := index.Check(t, old, it)
	switch {
	case p == nil:
		return nil
	case p.Empty && update:
		return awserr.UpdateIndexKeyEmpty(emptyKind(p.Attribute.Type))
	case p.Empty:
		return awserr.IndexKeyEmpty(p.Attribute.Name, emptyKind(p.Attribute.Type), p.Index.Name)
	case p.TooLarge && p.Sort:
		return awserr.SortKeyTooLarge()
	case p.TooLarge:
		return awserr.PartitionKeyTooLarge()
	}
	return awserr.IndexKeyType(p.Attribute.Name, p.Attribute.Type.String(), p.Actual.String(), p.Index.Name)
}

// clientError maps errors of lower packages to those that clients see. It is the only such mapping; unknown errors become
// InternalServerError.
func clientError(err error) error {
	if err == nil {
		return nil
	}
	var known *awserr.Error
	var full *metering.ThrottledError
	var many *catalog.TooManyTablesError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &full):
		return throttled(full)
	case errors.As(err, &many):
		return subscriberLimit("There is a limit of %d tables per subscriber", many.Max)
	case errors.Is(err, table.ErrNotFound):
		return awserr.NotFound()
	case errors.Is(err, table.ErrConflict):
		return awserr.Conflict()
	case errors.Is(err, kv.ErrConflict):
		return awserr.Conflict()
	case errors.Is(err, kv.ErrTooLarge):
		return awserr.ValidationError("The storage of this server takes no keys or items of this size")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kv.ErrUnavailable), errors.Is(err, kv.ErrFenced),
		errors.Is(err, table.ErrMemory):
		return awserr.New(awserr.ServiceUnavailable, "Service is unable to process your request")
	}
	return awserr.Internal(err)
}
