// Package engine opens storage: data directories, and databases that several servers share. It is the only importer of storage engines,
// and the home of the format version that a store is written in.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/kv/pgkv"
)

// Options say which storage to open, and how. Without Storage it is the data directory DataDir, or memory.
type Options struct {
	// Storage is the URL of a database that several servers may share: postgres:// or tikv://.
	Storage string
	// ID names this server to the others of Storage.
	ID       string
	DataDir  string
	InMemory bool
	// Durability says when a write is acknowledged: "sync" (or empty), "interval:DURATION" or "none".
	Durability string
	// Cache is how many bytes of memory the engine takes for what was read and written; 0 is its default.
	Cache int64
	// MinFree is how many bytes of the disk must be free for writes to be accepted; 0 is the engine's default, less than 0 is no limit.
	MinFree int64
	Logger  *slog.Logger
	Now     func() time.Time
	// Stamps is the clock for stamps of transactions in Storage; nil is the storage's own.
	Stamps func() time.Time

	// FS replaces the operating system's file system, Check is how often the disk's health is checked, and Test is the engine of the
	// storage test://: all for tests.
	FS    vfs.FS
	Check time.Duration
	Test  func() (kv.Store, error)
}

// Opened is an open storage.
type Opened struct {
	Store kv.Store
	// Evict ends what another server of a shared storage has under way, by its ID; nil if there is nothing to end.
	Evict func(ctx context.Context, id string) error
}

// Open opens the storage.
func Open(ctx context.Context, opt *Options) (Opened, error) {
	if opt.Storage != "" {
		return openShared(ctx, opt)
	}
	store, err := openDataDir(opt)
	return Opened{Store: store}, err
}

func openShared(ctx context.Context, opt *Options) (s Opened, err error) {
	scheme, _, _ := strings.Cut(opt.Storage, "://")
	switch scheme {
	case "test":
		s.Store, err = opt.Test()
	case "postgres", "postgresql":
		var db *pgkv.Store
		if db, err = pgkv.Open(ctx, pgkv.Options{URL: opt.Storage, Name: opt.ID, Logger: opt.Logger, Now: opt.Stamps}); err == nil {
			s = Opened{db, db.Evict}
		}
	case "tikv":
		s.Store, err = openTiKV(opt)
	default:
		return s, fmt.Errorf("storage %s://…: must be postgres:// or tikv://", scheme)
	}
	if err != nil {
		return Opened{}, err
	}
	if err := CheckFormat(ctx, s.Store); err != nil {
		return Opened{}, errors.Join(err, s.Store.Close())
	}
	return s, nil
}

// toolID is the ID of commands among the servers of a storage.
const toolID = "stator-tool"

// OpenTool opens a storage (its URL) or the data directory of a server that does not run, for a command.
func OpenTool(ctx context.Context, from string, readOnly bool, log *slog.Logger) (kv.Store, error) {
	if strings.Contains(from, "://") {
		s, err := Open(ctx, &Options{Storage: from, Logger: log, ID: toolID})
		return s.Store, err
	}
	return openOffline(from, pebblekv.Options{ReadOnly: readOnly, Sync: true, Logger: log})
}

// OpenTarget opens a storage (its URL), or a data directory that it makes if it is missing, for a command that fills it.
func OpenTarget(ctx context.Context, to string) (kv.Store, error) {
	if strings.Contains(to, "://") {
		s, err := Open(ctx, &Options{Storage: to, ID: toolID})
		return s.Store, err
	}
	if _, err := checkFormat(vfs.Default, to); err != nil {
		return nil, err
	}
	return openPebble(to, pebblekv.Options{Sync: true})
}

// CheckFormat refuses a store whose layout is newer than this Stator reads, and says in a new one which layout it has.
func CheckFormat(ctx context.Context, store kv.Store) error {
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
