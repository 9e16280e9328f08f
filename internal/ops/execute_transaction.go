package ops

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/partiql"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

// executeTransaction runs either only reads or only writes. EXISTS counts as a write, because it is a condition of one.
func (s *Service) executeTransaction(ctx context.Context, req *Request, in *api.ExecuteTransactionInput) (*api.ExecuteTransactionOutput, error) {
	for i := range in.TransactStatements {
		if err := checkParameters(in.TransactStatements[i].Parameters); err != nil {
			return nil, err
		}
	}
	all := make([]*statement, len(in.TransactStatements))
	writes := 0
	for i := range in.TransactStatements {
		p := &in.TransactStatements[i]
		var err error
		if all[i], err = parseStatement(p.Statement.Value, p.Parameters, p.ReturnValuesOnConditionCheckFailure); err != nil {
			return nil, statementProblem(err, statementPrefix(i))
		}
		all[i].inTransaction = true
		switch st := all[i]; {
		case st.Kind == partiql.Unsupported:
			return nil, inStatement(i, "Unsupported operation in transaction.")
		case st.Returning != "":
			return nil, inStatement(i, "RETURNING clause is not supported in ExecuteTransaction.")
		case st.Kind == partiql.Exists && st.Index != "":
			return nil, inStatement(i, "Operations on indices are not supported in transactions")
		case st.Kind == partiql.Select && st.Index != "":
			return nil, inStatement(i, "Reads on indices are not supported within transactions.")
		}
		if all[i].writes() {
			writes++
		}
	}
	switch writes {
	case 0:
		return s.transactSelect(ctx, req, in, all)
	case len(all):
		return s.transactExecute(ctx, req, in, all)
	}
	return nil, awserr.ValidationError("ExecuteTransaction API does not support both read and write operations in the same request.")
}

// statementPrefix begins the sentences about the statement with index i.
func statementPrefix(i int) string {
	return "Validation failed in TransactStatements[" + strconv.Itoa(i) + "]: "
}

// inStatement returns an error about the statement with index i, which fails the transaction as a whole.
func inStatement(i int, sentence string) error {
	err := awserr.ValidationError(statementPrefix(i) + sentence)
	err.Whole = true
	return err
}

// wrongKey returns the error for a key of the wrong type in the statement with index i of n. It cancels the transaction alone.
func wrongKey(i, n int) error {
	reasons := make([]awserr.Reason, n)
	reasons[i] = awserr.Reason{Code: "ValidationError", Message: awserr.KeyMismatch().Message}
	return canceled(reasons)
}

// transactSelect reads one item per statement, all from one snapshot.
func (s *Service) transactSelect(ctx context.Context, req *Request, in *api.ExecuteTransactionInput, all []*statement) (*api.ExecuteTransactionOutput, error) {
	muts := make([]table.Mutation, len(all))
	failed := make([]error, len(all))
	seen := map[string]bool{}
	for i, st := range all {
		key, err := s.singleItem(ctx, req, st, "Select statements within ExecuteTransaction must specify the primary key in the where clause.")
		if _, ok := errors.AsType[*keyTypeError](err); ok {
			return nil, wrongKey(i, len(all))
		}
		if isNotFound(err) || tooLarge(err) {
			failed[i] = err
			continue
		}
		if err != nil {
			return nil, statementProblem(err, statementPrefix(i))
		}
		muts[i] = table.Mutation{Table: st.table, Key: key}
		storage := string(st.table.AppendItemKey(nil, key))
		if seen[storage] {
			return nil, awserr.DuplicateTransactItems()
		}
		seen[storage] = true
	}
	if anyError(failed) {
		return nil, cancel(failed)
	}
	out := &api.ExecuteTransactionOutput{Responses: make([]api.ItemResponse, len(all))}
	var used ledger
	err := s.readItems(ctx, req, muts, func(i int, item attribute.Item, units *capacity.Consumed) error {
		used.add(all[i].table.Name, units, 1)
		if project := all[i].project(); project != nil && item != nil {
			item = project(item)
		}
		out.Responses[i].Item = item
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.ConsumedCapacity = used.render(in.ReturnConsumedCapacity, transactReads)
	return out, nil
}

// transactExecute applies all writing statements or none.
func (s *Service) transactExecute(ctx context.Context, req *Request, in *api.ExecuteTransactionInput, all []*statement) (*api.ExecuteTransactionOutput, error) {
	g := gather(len(all))
	failed := make([]error, len(all))
	size := 0
	for i, st := range all {
		m, err := s.transactMutationOf(ctx, req, i, len(all), st)
		if own(err) {
			failed[i] = err
			continue
		}
		if err := g.add(i, m, err); err != nil {
			return nil, err
		}
		size += m.Key.Size()
	}
	muts, err := g.done(size)
	if err != nil {
		return nil, err
	}
	if anyError(failed) {
		return nil, s.cancellation(ctx, all, muts, failed)
	}
	payload := *in
	payload.ClientRequestToken, payload.ReturnConsumedCapacity = smithy.Opt[string]{}, smithy.Opt[string]{}
	results, replayed, err := s.transact(ctx, req, muts, in.ClientRequestToken, &payload, func(failed []error) { addAbsent(all, failed) })
	if err != nil {
		return nil, err
	}
	return &api.ExecuteTransactionOutput{
		Responses:        []api.ItemResponse{},
		ConsumedCapacity: s.transactionUnits(in.ReturnConsumedCapacity, muts, results, replayed),
	}, nil
}

// own reports whether an error is a reason to cancel a transaction that leaves AWS to look at its other statements too.
func own(err error) bool {
	e, ok := errors.AsType[*awserr.Error](err)
	return ok && !e.Whole && (e.Code == awserr.Validation || e.Code == awserr.ResourceNotFound)
}

// transactMutationOf returns the mutation of the writing statement with index i of n.
func (s *Service) transactMutationOf(ctx context.Context, req *Request, i, n int, st *statement) (m table.Mutation, err error) {
	if st.table, err = s.serving(ctx, req, st.reference()); err != nil {
		return m, err
	}
	if st.Kind == partiql.Exists {
		if _, rest, twice, ok, err := st.wholeKey(false); err != nil || !ok || rest == nil || twice != "" {
			return m, inStatement(i, "EXISTS() must contain a single item read with additional condition")
		}
	}
	m, err = st.mutation()
	if e, ok := errors.AsType[*keyTypeError](err); ok && e.never() {
		return m, inStatement(i, e.Error())
	} else if ok {
		return m, wrongKey(i, n)
	}
	return m, err
}

// errCanceled ends a transaction that must not be applied.
var errCanceled = errors.New("transaction canceled")

// cancellation returns the error for a transaction in which some statements have failed already. It reads the items of the other statements,
// so that it lists their reasons too.
func (s *Service) cancellation(ctx context.Context, all []*statement, muts []table.Mutation, failed []error) error {
	var rest []table.Mutation
	var at []int
	for i := range muts {
		if failed[i] == nil {
			rest, at = append(rest, muts[i]), append(at, i)
		}
	}
	_, err := s.Tables.Write(ctx, rest, table.WriteOpt{Exclusive: true, Last: func(kv.Txn, []table.Result) error { return errCanceled }})
	refused, ok := errors.AsType[*table.FailedError](err)
	if err != nil && !ok && !errors.Is(err, errCanceled) {
		return clientError(err)
	}
	if ok {
		for k, err := range refused.Errors {
			failed[at[k]] = err
		}
	}
	addAbsent(all, failed)
	return cancel(failed)
}

// addAbsent adds an error for each conditional DELETE of an item that doesn't exist. Such a DELETE is listed in a cancelled transaction, but
// does not cancel it.
func addAbsent(all []*statement, failed []error) {
	for i, st := range all {
		if failed[i] == nil && st.absent {
			failed[i] = st.refuse(nil)
		}
	}
}

// anyError reports whether one of the errors isn't nil.
func anyError(all []error) bool {
	return slices.ContainsFunc(all, func(err error) bool { return err != nil })
}
