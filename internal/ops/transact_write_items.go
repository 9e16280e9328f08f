package ops

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

const (
	maxTransactionSize = 4 << 20          // maximum of all items together, in bytes
	tokenLifetime      = 10 * time.Minute // how long a ClientRequestToken is remembered after its transaction
)

// firstError returns the error of the first mutation that failed in a FailedError, and any other error unchanged.
func firstError(err error) error {
	var failed *table.FailedError
	if errors.As(err, &failed) {
		for _, e := range failed.Errors {
			if e != nil {
				return e
			}
		}
	}
	return err
}

// transactPart holds what Put, Update, Delete and ConditionCheck have in common.
type transactPart struct {
	action    string // IAM action
	table     string
	key, item attribute.Item // only one of them is set
	texts     expressionTexts
	returnOld bool
	e         *expressions
}

// readPart returns the one operation that an item of the transaction must have.
func readPart(in *api.TransactWriteItem) (*transactPart, error) {
	var parts []*transactPart
	allOld := func(mode smithy.Opt[string]) bool {
		return mode.Value == api.ReturnValuesOnConditionCheckFailureAllOld
	}
	if c := in.ConditionCheck; c != nil {
		parts = append(parts, &transactPart{
			action: "dynamodb:ConditionCheckItem", table: c.TableName.Value, key: c.Key,
			texts: expressionTexts{
				condition: c.ConditionExpression, names: c.ExpressionAttributeNames, values: c.ExpressionAttributeValues,
				valuesFor: []string{"ConditionExpression"},
			},
			returnOld: allOld(c.ReturnValuesOnConditionCheckFailure),
		})
	}
	if p := in.Put; p != nil {
		parts = append(parts, &transactPart{
			action: "dynamodb:PutItem", table: p.TableName.Value, item: p.Item,
			texts: expressionTexts{
				condition: p.ConditionExpression, names: p.ExpressionAttributeNames, values: p.ExpressionAttributeValues,
				valuesFor: []string{"ConditionExpression"},
			},
			returnOld: allOld(p.ReturnValuesOnConditionCheckFailure),
		})
	}
	if d := in.Delete; d != nil {
		parts = append(parts, &transactPart{
			action: "dynamodb:DeleteItem", table: d.TableName.Value, key: d.Key,
			texts: expressionTexts{
				condition: d.ConditionExpression, names: d.ExpressionAttributeNames, values: d.ExpressionAttributeValues,
				valuesFor: []string{"ConditionExpression"},
			},
			returnOld: allOld(d.ReturnValuesOnConditionCheckFailure),
		})
	}
	if u := in.Update; u != nil {
		parts = append(parts, &transactPart{
			action: "dynamodb:UpdateItem", table: u.TableName.Value, key: u.Key,
			texts: expressionTexts{
				update: u.UpdateExpression, condition: u.ConditionExpression, names: u.ExpressionAttributeNames, values: u.ExpressionAttributeValues,
				valuesFor: []string{"UpdateExpression", "ConditionExpression"},
			},
			returnOld: allOld(u.ReturnValuesOnConditionCheckFailure),
		})
	}
	switch len(parts) {
	case 0:
		return nil, awserr.TransactItemEmpty()
	case 1:
		return parts[0], nil
	}
	return nil, awserr.TransactItemAmbiguous()
}

// transactWriteItems parses all parts before it looks up any table, because AWS reports errors of expressions first.
func (s *Service) transactWriteItems(ctx context.Context, req *Request, in *api.TransactWriteItemsInput) (*api.TransactWriteItemsOutput, error) {
	parts := make([]*transactPart, len(in.TransactItems))
	for i := range in.TransactItems {
		p, err := readPart(&in.TransactItems[i])
		if err != nil {
			return nil, err
		}
		// In a part, too, an error in an expression comes first.
		if p.e, err = s.parseExpressions(p.texts); err != nil {
			return nil, err
		}
		if err := errors.Join(checkItem(p.key), checkItem(p.item)); err != nil {
			return nil, firstJoined(err)
		}
		parts[i] = p
	}
	g := gather(len(parts))
	size := 0
	for i, p := range parts {
		m, err := s.transactMutation(ctx, req, &in.TransactItems[i], p)
		if err := g.add(i, m, err); err != nil {
			return nil, err
		}
		size += p.item.Size() + p.key.Size()
	}
	muts, err := g.done(size)
	if err != nil {
		return nil, err
	}
	// A retry may ask for another ReturnConsumedCapacity without being a different request.
	payload := *in
	payload.ClientRequestToken, payload.ReturnConsumedCapacity = smithy.Opt[string]{}, smithy.Opt[string]{}
	results, replayed, err := s.transact(ctx, req, muts, in.ClientRequestToken, &payload)
	if err != nil {
		return nil, err
	}
	out := &api.TransactWriteItemsOutput{}
	kind := transactWrites
	var used ledger
	for i := range results {
		if replayed {
			// AWS answers a replayed token with the capacity of reading the items that were sent, in units of 4 KB.
			kind = transactReads
			results[i].Units.Table = float64(max(1, (parts[i].item.Size()+4095)/4096))
		}
		used.add(muts[i].Table.Name, &results[i].Units, 2)
	}
	if replayed {
		s.chargeReplay(muts, results)
	}
	out.ConsumedCapacity = used.render(in.ReturnConsumedCapacity, kind)
	out.ItemCollectionMetrics, err = s.batchMetrics(ctx, in.ReturnItemCollectionMetrics, muts)
	return out, err
}

func transactionTooLarge() error {
	return awserr.ValidationError("Transaction request size exceeded the maximum allowed size of 4 MB")
}

// transact applies a transaction's mutations, at most once per token if one is set. replayed means that an earlier request with
// the token already applied them. payload is the request without the fields that may differ between retries.
func (s *Service) transact(ctx context.Context, req *Request, muts []table.Mutation, token smithy.Opt[string], payload smithy.Renderer) (results []table.Result, replayed bool, err error) {
	opt := table.WriteOpt{Exclusive: true}
	if token.Set {
		done, err := s.idempotent(req, token.Value, payload, &opt, &replayed)
		if err != nil {
			return nil, false, err
		}
		defer done()
	}
	results, err = s.writeTransaction(ctx, muts, opt)
	if errors.Is(err, errReplayed) {
		err = nil
	}
	return results, replayed, err
}

// gathering collects a transaction's mutations, and the cancellation reasons of those that are invalid.
type gathering struct {
	muts    []table.Mutation
	reasons []awserr.Reason
	refused bool
	seen    map[string]struct{}
}

func gather(n int) *gathering {
	return &gathering{muts: make([]table.Mutation, n), reasons: make([]awserr.Reason, n), seen: make(map[string]struct{}, n)}
}

// add records mutation i, or the validation error that takes its place. Other errors, and two mutations of one item, fail the
// whole transaction at once.
func (g *gathering) add(i int, m table.Mutation, err error) error {
	var known *awserr.Error
	switch {
	case errors.As(err, &known) && known.Code == awserr.Validation:
		g.reasons[i] = awserr.Reason{Code: "ValidationError", Message: known.Message}
		g.refused = true
		return nil
	case err != nil:
		return err
	}
	storage := string(m.Table.AppendItemKey(nil, m.Key))
	if _, twice := g.seen[storage]; twice {
		return awserr.DuplicateTransactItems()
	}
	g.seen[storage] = struct{}{}
	g.muts[i] = m
	return nil
}

// done returns the mutations, or the error that cancels the transaction. size is the total of its items and keys in bytes.
func (g *gathering) done(size int) ([]table.Mutation, error) {
	switch {
	case g.refused:
		return nil, canceled(g.reasons)
	case size > maxTransactionSize:
		return nil, transactionTooLarge()
	}
	return g.muts, nil
}

// firstJoined returns the first error of a joined error, and any other error unchanged.
func firstJoined(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()[0]
	}
	return err
}

// canceled returns TransactionCanceledException; parts without a reason get "None".
func canceled(reasons []awserr.Reason) error {
	for i := range reasons {
		if reasons[i].Code == "" {
			reasons[i].Code = "None"
		}
	}
	return awserr.Canceled(reasons)
}

// transactMutation returns the mutation for one operation of a transaction.
func (s *Service) transactMutation(ctx context.Context, req *Request, in *api.TransactWriteItem, p *transactPart) (table.Mutation, error) {
	t, err := s.serving(ctx, req, reference{action: p.action, kind: kindTable, given: p.table})
	if err != nil {
		return table.Mutation{}, err
	}
	var m table.Mutation
	switch {
	case in.Put != nil:
		if p.item.Size() > attribute.MaxItemSize {
			return m, awserr.ItemTooLarge()
		}
		m, err = putMutation(t, p.item)
	case in.Delete != nil:
		m, err = deleteMutation(t, p.key)
	case in.Update != nil:
		m, err = updateMutation(t, p.key, p.e, false)
	default:
		m, err = table.Mutation{Table: t, Key: p.key}, checkKey(t, p.key)
	}
	m.Check = p.e.check(p.returnOld)
	return m, err
}

// writeTransaction applies the mutations and converts refusals to cancellation reasons.
func (s *Service) writeTransaction(ctx context.Context, muts []table.Mutation, opt table.WriteOpt) ([]table.Result, error) {
	results, err := s.Tables.Write(ctx, muts, opt)
	var failed *table.FailedError
	if !errors.As(err, &failed) {
		if errors.Is(err, errReplayed) {
			return results, err
		}
		return results, clientError(err)
	}
	return nil, cancel(failed.Errors)
}

// cancel converts the errors of a transaction's parts, nil for those that were not refused, to cancellation reasons.
func cancel(failed []error) error {
	reasons := make([]awserr.Reason, len(failed))
	for i, e := range failed {
		var known *awserr.Error
		switch {
		case e == nil:
			continue
		case errors.Is(e, table.ErrConflict):
			reasons[i] = awserr.Reason{Code: "TransactionConflict", Message: "Transaction is ongoing for the item"}
			continue
		case !errors.As(clientError(e), &known) || known.Unwrap() != nil:
			return clientError(e)
		}
		code, ok := reasonCodes[known.Code]
		if !ok {
			code = "ValidationError"
		}
		reasons[i] = awserr.Reason{Code: code, Message: known.Message}
		if known.Code == awserr.ConditionalCheckFailed && len(known.Fields) > 0 {
			reasons[i].Item = known.Fields[len(`"Item":`):]
		}
	}
	return canceled(reasons)
}

// reasonCodes maps exceptions to the codes of cancellation reasons.
var reasonCodes = map[awserr.Code]string{
	awserr.DuplicateItem:          "DuplicateItem",
	awserr.ConditionalCheckFailed: "ConditionalCheckFailed",
	awserr.ThroughputExceededCode: "ProvisionedThroughputExceeded",
	awserr.Throttling:             "ThrottlingError",
	awserr.RequestLimitExceeded:   "ThrottlingError",
}

// errReplayed aborts a transaction whose token shows that it was already applied.
var errReplayed = errors.New("transaction already done")

// idempotent prepares opt so that the transaction is applied once per token: the token is stored in the same commit, with a
// digest of the request and the time at which it expires. So a retry after a crash is safe too. The caller runs done when the
// transaction has ended; meanwhile other requests with the token fail with TransactionInProgressException.
func (s *Service) idempotent(req *Request, given string, payload smithy.Renderer, opt *table.WriteOpt, replayed *bool) (done func(), err error) {
	token := req.Caller.Account + "\x00" + req.Caller.Region + "\x00" + given
	if _, running := s.inFlight.LoadOrStore(token, struct{}{}); running {
		return nil, awserr.InProgress()
	}
	key := keyspace.Token(req.Caller.Account+req.Caller.Region, given)
	digest := sha256.Sum256(payload.AppendJSON(nil))
	opt.Hint = [][]byte{key}
	opt.First = func(txn kv.Txn) error {
		now := s.Now()
		raw, err := txn.Get(key)
		if err != nil {
			return err
		}
		if len(raw) == 8+len(digest) && now.UnixMilli() < int64(binary.BigEndian.Uint64(raw)) {
			if [sha256.Size]byte(raw[8:]) != digest {
				return awserr.IdempotentMismatch()
			}
			*replayed = true
			return errReplayed
		}
		val := binary.BigEndian.AppendUint64(nil, uint64(now.Add(tokenLifetime).UnixMilli()))
		return txn.Put(key, append(val, digest[:]...))
	}
	return func() { s.inFlight.Delete(token) }, nil
}

// SweepTokens removes expired idempotency tokens.
func (s *Service) SweepTokens(ctx context.Context) (err error) {
	snap, err := s.Tables.KV.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.Close()
	it, err := snap.Scan(kv.Prefix(keyspace.Tokens()), kv.ScanOpt{})
	if err != nil {
		return err
	}
	defer kv.CloseInto(it, &err)
	now := s.Now().UnixMilli()
	for it.Next() {
		key, expired := it.Key(), len(it.Value()) < 8 || int64(binary.BigEndian.Uint64(it.Value())) <= now
		if !expired {
			continue
		}
		key = append([]byte(nil), key...)
		err = kv.Update(ctx, s.Tables.KV, kv.TxnOpt{Hint: [][]byte{key}, NoSync: true}, func(txn kv.Txn) error {
			raw, err := txn.Get(key)
			if err != nil || len(raw) >= 8 && int64(binary.BigEndian.Uint64(raw)) > now {
				return err
			}
			return txn.Delete(key, len(key)+len(raw))
		})
		if err != nil {
			break
		}
	}
	return err
}
