package table

import (
	"context"
	"errors"
	"strconv"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/stream"
)

const (
	// maxExpired is how many seconds ago, at most, an item may have expired to be deleted ("Using time to live (TTL) in
	// DynamoDB": five years).
	maxExpired = 5 * 365 * 24 * 3600
	// expireBatch is how many items one transaction deletes.
	expireBatch = 100
)

// Expiry returns when the item expires, in seconds since 1970; 0 for never. Attributes that are not numbers, or negative, don't
// expire an item.
func Expiry(ttl *catalog.TTL, it attribute.Item) int64 {
	v := it.Get(ttl.Attribute)
	if v.Type() != attribute.TypeN {
		return 0
	}
	text := v.Bytes()
	for i, c := range text {
		if c == '.' {
			text = text[:i] // ignore fractions of a second
			break
		}
	}
	seconds, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || seconds < 0 {
		return 0 // too large, or before 1970
	}
	return seconds
}

// putExpiry moves the item stored at key in the TTL index from expiry old to next, either of which may be 0 for never.
func putExpiry(txn kv.Txn, key []byte, old, next int64) error {
	if old == next {
		return nil
	}
	if old != 0 {
		if err := txn.Delete(keyspace.AppendExpiry(nil, key, old), 0); err != nil {
			return err
		}
	}
	if next != 0 {
		return txn.Put(keyspace.AppendExpiry(nil, key, next), nil)
	}
	return nil
}

// Expire deletes expired items in all tables, and returns how many. The index orders items by expiry, so the cost
// depends only on how many are deleted.
func (s *Store) Expire(ctx context.Context) (deleted int, err error) {
	for t := range s.Catalog.Tables() {
		if t.TTL == nil || t.TTL.State != catalog.Enabled || !t.Serves(s.Now()) {
			continue
		}
		for bucket := range uint8(keyspace.ExpiryBuckets) {
			n, err := s.expireBucket(ctx, t, bucket)
			deleted += n
			if err != nil && !errors.Is(err, ErrNotFound) {
				return deleted, err
			}
		}
	}
	return deleted, nil
}

// expireBucket deletes the expired items of one bucket of a table's TTL index.
func (s *Store) expireBucket(ctx context.Context, t *catalog.Table, bucket uint8) (deleted int, err error) {
	now := s.Now().Unix()
	r := kv.Range{
		Start: keyspace.AppendExpiryBound(nil, t.ID, bucket, max(1, now-maxExpired)),
		End:   keyspace.AppendExpiryBound(nil, t.ID, bucket, now+1),
	}
	for ctx.Err() == nil {
		muts, next, err := s.expired(ctx, t, r, now)
		if err != nil || len(muts) == 0 {
			return deleted, err
		}
		n, err := s.deleteExpired(ctx, muts)
		deleted += n
		if err != nil || next == nil {
			return deleted, err
		}
		r.Start = next
	}
	return deleted, ctx.Err()
}

// errNotExpired means that the item was changed before it could be deleted.
var errNotExpired = errors.New("table: item has not expired")

// expired returns mutations that delete the first items of a range of the TTL index, and where to continue; nil at the end.
func (s *Store) expired(ctx context.Context, t *catalog.Table, r kv.Range, now int64) (muts []Mutation, next []byte, err error) {
	snap, err := s.KV.Latest(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer snap.Close()
	it, err := snap.Scan(r, kv.ScanOpt{Stale: true})
	if err != nil {
		return nil, nil, err
	}
	defer kv.CloseInto(it, &err)
	for it.Next() {
		if len(muts) == expireBatch {
			next = append([]byte(nil), it.Key()...)
			break
		}
		itemKey, ok := keyspace.ExpiringItem(it.Key())
		if !ok {
			continue
		}
		// The index has only the key, which may be a digest: the item has the attributes.
		raw, err := snap.Get(itemKey)
		if err != nil {
			return nil, nil, err
		}
		if raw == nil {
			continue // already deleted
		}
		muts = append(muts, Mutation{
			Table: t, Key: KeyOf(t, nil, attribute.Item(raw)), Cause: stream.ByTTL,
			Check: func(old attribute.Item) error {
				if at := Expiry(t.TTL, old); at == 0 || at > now {
					return errNotExpired
				}
				return nil
			},
			Next: func(attribute.Item) (attribute.Item, error) { return nil, nil },
		})
	}
	return muts, next, nil
}

// deleteExpired applies the mutations in one transaction, leaving out those that it refuses.
func (s *Store) deleteExpired(ctx context.Context, muts []Mutation) (deleted int, err error) {
	for len(muts) > 0 {
		// If some items have been renewed in the meantime, delete the others without them.
		_, err := s.Write(ctx, muts, WriteOpt{Background: true})
		var failed *FailedError
		if !errors.As(err, &failed) {
			if err != nil {
				return 0, err
			}
			muts[0].Table.Meter.Expired(len(muts), s.Now())
			return len(muts), nil
		}
		var rest []Mutation
		for i, e := range failed.Errors {
			switch {
			case e == nil:
				rest = append(rest, muts[i])
			case !errors.Is(e, errNotExpired):
				return 0, e
			}
		}
		muts = rest
	}
	return 0, nil
}
