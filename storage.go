package stator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/kv/pgkv"
)

// openStorage opens the store that Options.Storage names, which other servers may use too.
func openStorage(ctx context.Context, opt *Options) (store kv.Store, err error) {
	scheme, _, _ := strings.Cut(opt.Storage, "://")
	switch scheme {
	case "test":
		store, err = opt.engine()
	case "postgres", "postgresql":
		var db *pgkv.Store
		if db, err = pgkv.Open(ctx, pgkv.Options{URL: opt.Storage, Name: opt.id, Logger: opt.Logger, Now: opt.stamps}); err == nil {
			store, opt.evict = db, db.Evict
		}
	case "tikv":
		store, err = openTiKV(opt)
	default:
		return nil, fmt.Errorf("storage %s://…: must be postgres:// or tikv://", scheme)
	}
	if err != nil {
		return nil, err
	}
	if err := checkStoredFormat(ctx, store); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// openAny opens what has data: a storage, by its URL, or the data directory of a server that does not run.
func openAny(ctx context.Context, from string, readOnly bool, log *slog.Logger) (kv.Store, error) {
	if strings.Contains(from, "://") {
		return openStorage(ctx, &Options{Storage: from, Logger: log, id: "stator-tool"})
	}
	return openOffline(from, pebblekv.Options{ReadOnly: readOnly, Sync: true, Logger: log})
}

// checkStoredFormat refuses a store whose layout is newer than this Stator reads, and says in a new one which layout it has.
func checkStoredFormat(ctx context.Context, store kv.Store) error {
	return kv.Update(ctx, store, kv.TxnOpt{Hint: [][]byte{keyspace.Format()}}, func(txn kv.Txn) error {
		version, err := catalog.ReadFormat(txn)
		if err != nil {
			return err
		}
		if version > keyspace.FormatVersion {
			return fmt.Errorf("the store has format %d, which is newer than this stator reads (%d): use a newer stator", version, keyspace.FormatVersion)
		}
		if raw, err := txn.Get(keyspace.Format()); err != nil || raw != nil {
			return err
		}
		return catalog.PutFormat(txn, version)
	})
}
