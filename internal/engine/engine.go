// Package engine opens storage: data directories, and databases that several servers share. It is the only package that imports
// storage engines, except those of other modules, which register themselves; and it checks and writes the version of the format that a store has.
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

// Options say which storage to open, and how. Storage takes precedence, then InMemory, then DataDir.
type Options struct {
	// Storage is the URL of a shared database: postgres://, or that of a registered engine.
	Storage string
	// ID identifies this server among those that share Storage.
	ID       string
	DataDir  string
	InMemory bool
	// Durability says when a write to a data directory is acknowledged: "sync" (or empty), "interval:DURATION" or "none". A
	// shared database has its own settings.
	Durability string
	// Cache is the memory in bytes for the engine's caches and write buffers; 0 means the engine's default.
	Cache int64
	// MinFree is the free disk space in bytes below which writes are refused; 0 means the engine's default, a negative value
	// means no limit.
	MinFree int64
	Logger  *slog.Logger
	Now     func() time.Time
	// Stamps is the clock for the stamps of transactions in Storage; nil means the database's own clock.
	Stamps func() time.Time

	// For tests: FS replaces the operating system's file system, and Check is the interval of disk checks.
	FS    vfs.FS
	Check time.Duration
}

// Opened is an open storage. The caller must close its Store.
type Opened struct {
	Store kv.Store
	// Evict ends the transactions of another server, given its ID, and returns once none of them can commit. It is nil if the
	// store itself bounds how long a commit can take.
	Evict func(ctx context.Context, id string) error
}

// Open opens the storage that opt names, and refuses a format that is too new.
func Open(ctx context.Context, opt *Options) (Opened, error) {
	if opt.Storage != "" {
		return openShared(ctx, opt)
	}
	store, err := openDataDir(opt)
	return Opened{Store: store}, err
}

// registered holds the engines of other modules by the scheme of their URLs.
var registered = map[string]func(opt *Options) (kv.Store, error){}

// Register adds an engine of another module for storage URLs of a scheme. The engine itself must bound how long a commit can
// take: see Opened.Evict. Programs call Register before they open anything.
func Register(scheme string, open func(opt *Options) (kv.Store, error)) { registered[scheme] = open }

// openShared opens a shared storage and checks its format.
func openShared(ctx context.Context, opt *Options) (s Opened, err error) {
	scheme, _, _ := strings.Cut(opt.Storage, "://")
	switch open := registered[scheme]; {
	case open != nil:
		s.Store, err = open(opt)
	case scheme == "postgres" || scheme == "postgresql":
		var db *pgkv.Store
		if db, err = pgkv.Open(ctx, pgkv.Options{URL: opt.Storage, Name: opt.ID, Logger: opt.Logger, Now: opt.Stamps}); err == nil {
			s = Opened{db, db.Evict}
		}
	case scheme == "tikv":
		return s, errors.New("storage tikv://…: this program has no engine for TiKV; use stator-tikv")
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

// toolID is the server ID that commands use in a shared storage.
const toolID = "stator-tool"

// OpenTool opens a storage (by URL) or the data directory of a stopped server for a command.
func OpenTool(ctx context.Context, from string, readOnly bool, log *slog.Logger) (kv.Store, error) {
	if strings.Contains(from, "://") {
		s, err := Open(ctx, &Options{Storage: from, Logger: log, ID: toolID})
		return s.Store, err
	}
	return openOffline(from, pebblekv.Options{ReadOnly: readOnly, Sync: true, Logger: log})
}

// OpenTarget opens a storage (by URL) or a data directory, created if missing, for a command that fills it.
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

// CheckFormat refuses a store whose format is newer than this version reads. A store without a format is new, or a data
// directory that keeps it in formatFile; it gets the current one.
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
