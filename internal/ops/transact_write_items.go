package ops

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/capacity"
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
	consumed  smithy.Opt[string] // the request's ReturnConsumedCapacity
	e         *expressions
}

// readPart returns the one operation that an item of the transaction must have.
func readPart(in *api.TransactWriteItem) (*transactPart, error) {
	var parts []*transactPart
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
		parts[0].texts.older = true
		return parts[0], nil
	}
	return nil, awserr.TransactItemAmbiguous()
}

// checkValues rejects values that AWS's deserializer refuses, before anything else: those that no item can hold.
func (p *transactPart) checkValues() error {
	for _, it := range []attribute.Item{p.key, p.item} {
		if _, problem, invalid := it.InvalidOlder(); invalid && !attribute.Misshapen(problem) {
			return awserr.ValidationError(problem)
		}
	}
	if _, problem, invalid := p.texts.values.InvalidOlder(); invalid && !attribute.Misshapen(problem) {
		return p.texts.checkValues()
	}
	return nil
}

// parse parses the expressions, and checks what else needs no table.
func (s *Service) parsePart(p *transactPart) (err error) {
	if p.e, err = s.parseExpressions(p.texts); err != nil {
		return err
	}
	for _, it := range []attribute.Item{p.key, p.item} {
		if err := checkOlderItem(it); err != nil {
			return err
		}
	}
	if p.item.Size() > attribute.MaxItemSize {
		return awserr.ItemTooLarge()
	}
	return nil
}

// transactWriteItems parses all parts before it looks up any table, because AWS reports errors of expressions first.
func (s *Service) transactWriteItems(ctx context.Context, req *Request, in *api.TransactWriteItemsInput) (*api.TransactWriteItemsOutput, error) {
	parts := make([]*transactPart, len(in.TransactItems))
	for i := range in.TransactItems {
		p, err := readPart(&in.TransactItems[i])
		if err != nil {
			return nil, err
		}
		if err := p.checkValues(); err != nil {
			return nil, err
		}
		p.consumed = in.ReturnConsumedCapacity
		parts[i] = p
	}
	for _, p := range parts {
		if err := s.parsePart(p); err != nil {
			return nil, err
		}
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
	results, replayed, err := s.transact(ctx, req, muts, in.ClientRequestToken, &payload, nil)
	if err != nil {
		return nil, err
	}
	out := &api.TransactWriteItemsOutput{ConsumedCapacity: s.transactionUnits(in.ReturnConsumedCapacity, muts, results, replayed)}
	out.ItemCollectionMetrics, err = s.batchMetrics(ctx, in.ReturnItemCollectionMetrics, muts)
	return out, err
}

// transactionUnits returns what a transaction of writes consumed. A replayed one consumed transactional reads instead, which are charged here.
func (s *Service) transactionUnits(mode smithy.Opt[string], muts []table.Mutation, results []table.Result, replayed bool) []api.ConsumedCapacity {
	var used ledger
	for i := range results {
		if replayed {
			units := capacity.Consumed{Table: capacity.ReplayedRead(results[i].Units.Table)}
			used.add(muts[i].Table.Name, &units, 1)
			s.chargeReplay(&muts[i], units.Table)
			continue
		}
		used.add(muts[i].Table.Name, &results[i].Units, capacity.Transactional)
	}
	if replayed {
		return used.render(mode, transactReads)
	}
	return used.render(mode, transactWrites)
}

func transactionTooLarge() error {
	return awserr.ValidationError("Transaction request size exceeded the maximum allowed size of 4 MB")
}

// transact applies a transaction's mutations, at most once per token if one is set. replayed means that an earlier request with
// the token already applied them: results then has what they consumed of the tables. payload is the request without the fields that
// may differ between retries. refused, if not nil, may add to the errors of a transaction that mutations have refused.
func (s *Service) transact(ctx context.Context, req *Request, muts []table.Mutation, token smithy.Opt[string], payload smithy.Renderer, refused func([]error)) (results []table.Result, replayed bool, err error) {
	opt := table.WriteOpt{Exclusive: true}
	var once idempotency
	if token.Set {
		done, err := s.idempotent(req, token.Value, payload, &opt, &once)
		if err != nil {
			return nil, false, err
		}
		defer done()
	}
	results, err = s.writeTransaction(ctx, muts, opt, refused)
	if errors.Is(err, errReplayed) {
		for i := range results {
			results[i].Units.Table = once.units(i)
		}
		return results, true, nil
	}
	return results, false, err
}

// gathering collects a transaction's mutations.
type gathering struct {
	muts []table.Mutation
	seen map[string]struct{}
}

func gather(n int) *gathering {
	return &gathering{muts: make([]table.Mutation, n), seen: make(map[string]struct{}, n)}
}

// add records mutation i. The first validation error cancels the transaction, as its only reason; other errors, and two mutations of one
// item, fail it as a whole.
func (g *gathering) add(i int, m table.Mutation, err error) error {
	var known *awserr.Error
	switch {
	case errors.As(err, &known) && known.Code == awserr.Validation && !known.Whole:
		reasons := make([]awserr.Reason, len(g.muts))
		reasons[i] = awserr.Reason{Code: "ValidationError", Message: known.Message}
		return canceled(reasons)
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

// done returns the mutations. size is the total of the transaction's items and keys in bytes.
func (g *gathering) done(size int) ([]table.Mutation, error) {
	if size > maxTransactionSize {
		return nil, transactionTooLarge()
	}
	return g.muts, nil
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
	key := p.key
	if in.Put != nil {
		key = p.item
	}
	on := reference{action: p.action, kind: kindTable, given: p.table}.asking(asks{
		key: key, e: p.e, consumed: p.consumed, returnOld: p.returnOld, enclosing: "TransactWriteItems",
	})
	t, err := s.serving(ctx, req, on)
	if err != nil {
		return table.Mutation{}, err
	}
	var m table.Mutation
	switch {
	case in.Put != nil:
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
func (s *Service) writeTransaction(ctx context.Context, muts []table.Mutation, opt table.WriteOpt, refused func([]error)) ([]table.Result, error) {
	results, err := s.Tables.Write(ctx, muts, opt)
	var failed *table.FailedError
	if !errors.As(err, &failed) {
		if errors.Is(err, errReplayed) {
			return results, err
		}
		return results, clientError(err)
	}
	if refused != nil {
		refused(failed.Errors)
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
		case !errors.As(clientError(e), &known) || known.Unwrap() != nil || known.Whole:
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
	awserr.ResourceNotFound:       "ResourceNotFound",
}

// errReplayed aborts a transaction whose token shows that it was already applied.
var errReplayed = errors.New("transaction already done")

// idempotency has what the transaction with a token consumed of tables: the units of each mutation as a varint.
type idempotency struct{ consumed []byte }

// units returns the write units of mutation i; 1 if an older version of this server stored the token, without them.
func (o *idempotency) units(i int) float64 {
	left := o.consumed
	for {
		units, n := binary.Uvarint(left)
		if n <= 0 {
			return 1
		}
		if i == 0 {
			return float64(units)
		}
		i, left = i-1, left[n:]
	}
}

// idempotent prepares opt so that the transaction is applied once per token: the token is stored in the same commit, with a
// digest of the request and the time at which it expires. So a retry after a crash is safe too. The caller runs done when the
// transaction has ended; meanwhile other requests with the token fail with TransactionInProgressException. If the token was used before,
// the transaction fails with errReplayed, and once has what it consumed.
func (s *Service) idempotent(req *Request, given string, payload smithy.Renderer, opt *table.WriteOpt, once *idempotency) (done func(), err error) {
	token := req.Caller.Account + "\x00" + req.Caller.Region + "\x00" + given
	if _, running := s.inFlight.LoadOrStore(token, struct{}{}); running {
		return nil, awserr.InProgress()
	}
	key, unitsKey := keyspace.Token(req.Caller.Account+req.Caller.Region, given), keyspace.TokenUnits(req.Caller.Account+req.Caller.Region, given)
	digest := sha256.Sum256(payload.AppendJSON(nil))
	opt.Hint = [][]byte{key, unitsKey}
	var expires []byte
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
			if raw, err = txn.Get(unitsKey); err != nil {
				return err
			}
			once.consumed = bytes.Clone(raw[min(8, len(raw)):])
			return errReplayed
		}
		expires = binary.BigEndian.AppendUint64(nil, uint64(now.Add(tokenLifetime).UnixMilli()))
		return txn.Put(key, append(bytes.Clone(expires), digest[:]...))
	}
	opt.Last = func(txn kv.Txn, results []table.Result) error {
		val := bytes.Clone(expires)
		for i := range results {
			val = binary.AppendUvarint(val, uint64(results[i].Units.Table))
		}
		return txn.Put(unitsKey, val)
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
