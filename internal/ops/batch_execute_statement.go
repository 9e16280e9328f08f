package ops

import (
	"context"
	"errors"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/partiql"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

// statementBatch is a BatchExecuteStatement in progress.
type statementBatch struct {
	in  *api.BatchExecuteStatementInput
	out *api.BatchExecuteStatementOutput
	all []*statement // nil for statements that failed
}

// batchExecuteStatement runs in three passes: parse, resolve all keys, execute. A statement that fails in any pass gets an
// error of its own and does not affect the others.
func (s *Service) batchExecuteStatement(ctx context.Context, req *Request, in *api.BatchExecuteStatementInput) (*api.BatchExecuteStatementOutput, error) {
	b := &statementBatch{
		in: in, all: make([]*statement, len(in.Statements)),
		out: &api.BatchExecuteStatementOutput{Responses: make([]api.BatchStatementResponse, len(in.Statements))},
	}
	if err := b.parse(); err != nil {
		return nil, err
	}
	muts, err := s.resolveStatements(ctx, req, b)
	if err != nil {
		return nil, err
	}
	if err := s.runStatements(ctx, req, b, muts); err != nil {
		return nil, err
	}
	return b.out, nil
}

// runStatements executes the statements that are left. One that is refused consumes what it would have written, which AWS reports if another
// statement about its table has succeeded.
func (s *Service) runStatements(ctx context.Context, req *Request, b *statementBatch, muts []table.Mutation) error {
	var used ledger
	var refused []*statement
	succeeded := map[string]bool{}
	for i, st := range b.all {
		if st == nil {
			continue
		}
		b.out.Responses[i].TableName = smithy.Some(st.table.Name)
		item, units, err := s.runBatched(ctx, req, st, muts[i], b.in.Statements[i].ConsistentRead.Value)
		if err != nil {
			if known, ok := errors.AsType[*awserr.Error](err); ok && known.Code == awserr.Validation {
				b.out.Responses[i].TableName = smithy.Opt[string]{}
			}
			if err := b.fail(i, err); err != nil {
				return err
			}
			refused = append(refused, st)
			continue
		}
		b.out.Responses[i].Item = item
		used.add(st.table.Name, &units, 1)
		succeeded[st.table.Name] = true
	}
	for _, st := range refused {
		if succeeded[st.table.Name] && st.attempted > 0 {
			used.add(st.table.Name, &capacity.Consumed{Table: st.attempted}, 1)
		}
	}
	b.out.ConsumedCapacity = used.render(b.in.ReturnConsumedCapacity, plainUnits)
	return nil
}

// fail records the error of a statement. It returns errors that are not the statement's fault.
func (b *statementBatch) fail(i int, err error) error {
	e, err := batchError(err)
	if err != nil {
		return err
	}
	if b.all[i] != nil {
		e.Item = b.all[i].refused
	}
	b.out.Responses[i].Error = e
	b.all[i] = nil
	return nil
}

// parse parses all statements. A batch either reads or writes.
func (b *statementBatch) parse() error {
	reads, writes := 0, 0
	for i := range b.in.Statements {
		in := &b.in.Statements[i]
		st, err := parseStatement(in.Statement.Value, in.Parameters, in.ReturnValuesOnConditionCheckFailure)
		if err == nil && (st.Kind == partiql.Exists || st.Kind == partiql.Unsupported) {
			err = awserr.ValidationError(misplacedExists)
		}
		if err != nil {
			if err := b.fail(i, statementProblem(err, "")); err != nil {
				return err
			}
			continue
		}
		if st.writes() {
			writes++
		} else {
			reads++
		}
		b.all[i] = st
	}
	if reads > 0 && writes > 0 {
		return awserr.ValidationError("Read and write requests together in the same batch is not supported.")
	}
	return nil
}

// resolveStatements finds the tables and items of all statements. AWS rejects the whole batch if two are about one item.
func (s *Service) resolveStatements(ctx context.Context, req *Request, b *statementBatch) ([]table.Mutation, error) {
	muts := make([]table.Mutation, len(b.all))
	seen := map[string]bool{}
	for i, st := range b.all {
		if st == nil {
			continue
		}
		var err error
		if muts[i], err = s.batched(ctx, req, st); err != nil {
			if _, ok := errors.AsType[*updatedKeyError](err); ok || tooLarge(err) {
				b.out.Responses[i].TableName = smithy.Some(st.table.Name)
			}
			if err := b.fail(i, statementProblem(keyTypeProblem(err), "")); err != nil {
				return nil, err
			}
			continue
		}
		storage := string(st.table.AppendItemKey(nil, muts[i].Key))
		if seen[storage] {
			return nil, awserr.DuplicateKeys()
		}
		seen[storage] = true
	}
	return muts, nil
}

// batched returns the mutation of a statement in a batch. For a SELECT it only holds the key.
func (s *Service) batched(ctx context.Context, req *Request, st *statement) (table.Mutation, error) {
	if !st.writes() {
		key, err := s.singleItem(ctx, req, st, "Select statements within BatchExecuteStatement must specify the primary key in the where clause.")
		return table.Mutation{Table: st.table, Key: key}, err
	}
	var err error
	if st.table, err = s.serving(ctx, req, st.reference()); err != nil {
		return table.Mutation{}, err
	}
	return st.mutation()
}

// singleItem returns the key of the one item that a SELECT reads. sentence is AWS's error for a SELECT that could read others.
func (s *Service) singleItem(ctx context.Context, req *Request, st *statement, sentence string) (attribute.Item, error) {
	refused := &partiql.Error{Message: sentence}
	_, err := s.selected(ctx, req, st)
	switch {
	case err != nil && !errors.Is(err, errUnknownIndex):
		return nil, err
	case st.Index != "":
		return nil, refused
	}
	where := readWhere(st, nil)
	if err := where.resolve(); err != nil {
		return nil, err
	}
	if overlap, _ := where.overlaps(); overlap {
		return nil, &partiql.Error{Message: overlapping}
	}
	key, rest, twice, ok, err := st.wholeKey(true)
	if err == nil && (!ok || rest != nil || twice != "") {
		err = refused
	}
	return key, err
}

// runBatched executes one statement of a batch.
func (s *Service) runBatched(ctx context.Context, req *Request, st *statement, m table.Mutation, consistent bool) (attribute.Item, capacity.Consumed, error) {
	if st.writes() {
		res, err := s.Tables.WriteOne(ctx, m, table.WriteOpt{KeepOld: st.keepOld()})
		if err != nil {
			return nil, capacity.Consumed{}, clientError(err)
		}
		return st.returned(res), res.Units, nil
	}
	storage, now := st.table.AppendItemKey(nil, m.Key), req.Time
	use := itemRead(storage, m.Key)
	if err := s.admit(ctx, st.table, use, now); err != nil {
		return nil, capacity.Consumed{}, clientError(err)
	}
	r, err := s.reader(ctx, st.table, consistent)
	if err != nil {
		return nil, capacity.Consumed{}, clientError(err)
	}
	req.OnRelease(r)
	raw, err := r.Get(storage)
	if err != nil {
		return nil, capacity.Consumed{}, clientError(err)
	}
	if err := holds(req, len(raw)); err != nil {
		return nil, capacity.Consumed{}, err
	}
	item := attribute.Item(raw)
	units := capacity.Consumed{Table: capacity.Read(item.Size(), consistent)}
	st.table.Meter.Charge(use, units.Table, now)
	if project := st.project(); project != nil && item != nil {
		item = project(item)
	}
	return item, units, nil
}

// batchError converts an error to the form in which a batch reports it for one statement. Errors that are not the statement's
// fault are returned as they are.
func batchError(err error) (*api.BatchStatementError, error) {
	var known *awserr.Error
	if !errors.As(err, &known) {
		return nil, err
	}
	codes := map[awserr.Code]string{
		awserr.AccessDenied:           api.BatchStatementErrorCodeEnumAccessdenied,
		awserr.ConditionalCheckFailed: api.BatchStatementErrorCodeEnumConditionalcheckfailed,
		awserr.DuplicateItem:          api.BatchStatementErrorCodeEnumDuplicateitem,
		awserr.ResourceNotFound:       api.BatchStatementErrorCodeEnumResourcenotfound,
		awserr.ThroughputExceededCode: api.BatchStatementErrorCodeEnumProvisionedthroughputexceeded,
		awserr.Throttling:             api.BatchStatementErrorCodeEnumThrottlingerror,
		awserr.RequestLimitExceeded:   api.BatchStatementErrorCodeEnumRequestlimitexceeded,
		awserr.TransactionConflict:    api.BatchStatementErrorCodeEnumTransactionconflict,
		awserr.Validation:             api.BatchStatementErrorCodeEnumValidationerror,
	}
	code, ok := codes[known.Code]
	if !ok {
		return nil, err
	}
	return &api.BatchStatementError{Code: smithy.Some(code), Message: smithy.Some(known.Message)}, nil
}
