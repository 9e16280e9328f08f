package ops

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

// This file holds what exports, imports and bulk operations have in common.

// Default and maximum of entries per page of the lists, and the minimum length of an import's page token.
const (
	transfersPerPage    = 10
	bulksPerPage        = 10
	minImportTokenChars = 112
)

// fingerprint identifies a request for idempotency. It is stored, so in must be a record's form of the request, whose JSON is
// stable across versions.
func fingerprint(in any) (string, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return "", awserr.Internal(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// repeated finds the job that an earlier request with the same client token started, or nil. conflict means that the earlier
// request had other parameters.
func repeated[T any](s *Service, list []*T, token smithy.Opt[string], print string, of func(*T) (token, print string, end int64)) (found *T, conflict bool) {
	if !token.Set {
		return nil, false
	}
	now := s.Now()
	for _, v := range list {
		t, p, end := of(v)
		if t != token.Value || end != 0 && now.UnixMilli()-end > transfer.TokenLifetime.Milliseconds() {
			continue
		}
		return v, p != print
	}
	return nil, false
}

// pageOf sorts a list, newest first, and returns up to limit entries that follow the token. Tokens are hexadecimal and have at
// least tokenChars characters, which AWS's model demands.
func pageOf[T any](list []*T, id func(*T) string, token smithy.Opt[string], limit int64, tokenChars int) (page []*T, next smithy.Opt[string], err error) {
	slices.SortFunc(list, func(a, b *T) int { return cmp.Compare(id(b), id(a)) })
	if token.Set {
		raw, err := hex.DecodeString(token.Value)
		if err != nil {
			return nil, next, awserr.ValidationError("Invalid Request: Provided nextToken is invalid: " + token.Value)
		}
		after := strings.TrimRight(string(raw), "\x00")
		i := slices.IndexFunc(list, func(v *T) bool { return id(v) < after })
		if i < 0 {
			i = len(list)
		}
		list = list[i:]
	}
	list, last := smithy.Page(list, limit, id)
	if !last.Set {
		return list, next, nil
	}
	raw := []byte(last.Value)
	for len(raw)%8 != 0 || 2*len(raw) < tokenChars {
		raw = append(raw, 0)
	}
	return list, smithy.Some(hex.EncodeToString(raw)), nil
}

// TransferRules returns the rules about items and expressions that exports and imports need from this package.
func (s *Service) TransferRules() transfer.Rules {
	return transfer.Rules{CheckItem: checkWholeItem, Filter: s.exportFilter, Condition: s.recordCondition}
}

// checkWholeItem applies PutItem's checks to an item from a file.
func checkWholeItem(t *catalog.Table, it attribute.Item) error {
	if it.Size() > attribute.MaxItemSize {
		return awserr.ItemTooLarge()
	}
	if err := checkItemKey(t, it); err != nil {
		return err
	}
	return checkIndexKeys(t, nil, it, false)
}

// exportFilter returns the function that applies a FilterSpecification to an item: it returns the projected item, or nil to
// leave the item out.
func (s *Service) exportFilter(t *catalog.Table, f *api.FilterSpecification) (func(attribute.Item) attribute.Item, error) {
	if f == nil {
		return func(it attribute.Item) attribute.Item { return it }, nil
	}
	if err := checkItem(f.ExpressionAttributeValues); err != nil {
		return nil, err
	}
	e, err := s.parseExpressions(expressionTexts{
		key: f.KeyConditionExpression, filter: f.FilterExpression, projection: f.ProjectionExpression,
		names: f.ExpressionAttributeNames, values: f.ExpressionAttributeValues,
		valuesFor: []string{"FilterExpression", "KeyConditionExpression"},
	})
	if err != nil {
		return nil, err
	}
	var selected keyRange
	if e.key != nil {
		conditions, err := readKeyExpression(e.scope, e.key.Root)
		if err != nil {
			return nil, err
		}
		if selected, err = resolveKeyConditions(t, nil, conditions); err != nil {
			return nil, err
		}
		r := reading{table: t}
		if err := r.checkFilter(e, "Filter Expression"); err != nil {
			return nil, err
		}
	}
	var key []byte
	return func(it attribute.Item) attribute.Item {
		if e.key != nil {
			if key = t.AppendItemKey(key[:0], it); !inRange(selected.Start, selected.End, key) {
				return nil
			}
		}
		if e.filter != nil && !e.scope.Matches(e.filter.Root, it) {
			return nil
		}
		if e.projector != nil {
			return e.projector.Project(it)
		}
		return it
	}, nil
}

// recordCondition returns the check for the condition of a bulk put's record, or nil if it has none.
func (s *Service) recordCondition(rec *itemfile.Record) (func(old attribute.Item) error, error) {
	if rec.Condition == "" {
		return nil, nil
	}
	texts := expressionTexts{condition: smithy.Some(rec.Condition), valuesFor: []string{"ConditionExpression"}}
	for name, to := range rec.Names {
		texts.names = append(texts.names, smithy.Entry[string]{Key: name, Value: to})
	}
	if rec.Values != nil {
		fields := make([]attribute.Field, 0, len(rec.Values))
		for name, v := range rec.Values {
			fields = append(fields, attribute.Field{Name: name, Value: v})
		}
		texts.values = attribute.NewItem(fields...)
	}
	e, err := s.parseExpressions(texts)
	if err != nil {
		return nil, err
	}
	return e.check(false), nil
}
