package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
)

// formatFile holds the version of keyspace's layout. It is written before anything else and marks a data directory.
const formatFile = "FORMAT"

// pebbleDir is the storage engine's directory within the data directory.
const pebbleDir = "pebble"

// ErrInUse means that another process holds the data directory.
var ErrInUse = errors.New("in use by another process")

// openDataDir opens a data directory or, with InMemory, a store without one. It raises the directory's format to the current
// one.
func openDataDir(opt *Options) (kv.Store, error) {
	po := pebblekv.Options{Cache: opt.Cache, MinFree: opt.MinFree, Logger: opt.Logger, Now: opt.Now, FS: opt.FS, Check: opt.Check}
	if err := durability(opt.Durability, &po); err != nil {
		return nil, err
	}
	if opt.InMemory {
		return pebblekv.Open(po)
	}
	if po.FS == nil {
		po.FS = pebblekv.PrivateFS
	}
	version, err := checkFormat(po.FS, opt.DataDir)
	if err != nil {
		return nil, err
	}
	if opt.FS == nil {
		makePrivate(opt)
	}
	store, err := openPebble(opt.DataDir, po)
	if err == nil && version < keyspace.FormatVersion {
		// From now on this version may write what older ones can't read, so raise the format and keep them out.
		if err = writeFormat(po.FS, opt.DataDir); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	return store, err
}

// makePrivate revokes other users' access to a data directory that already existed. It only warns if that fails.
func makePrivate(opt *Options) {
	info, err := os.Stat(opt.DataDir)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = os.Chmod(opt.DataDir, 0o700)
	}
	if err != nil {
		opt.Logger.Warn("other users of this machine may be able to read the data directory", "dir", opt.DataDir, "error", err)
	}
}

// openPebble opens the engine of a data directory. Only one process can hold it; others get ErrInUse.
func openPebble(dataDir string, po pebblekv.Options) (kv.Store, error) {
	po.Dir = filepath.Join(dataDir, pebbleDir)
	store, err := pebblekv.Open(po)
	if errors.Is(err, pebblekv.ErrInUse) {
		return nil, fmt.Errorf("data directory %s is %w", dataDir, ErrInUse)
	}
	return store, err
}

// durability parses Options.Durability into po.
func durability(text string, po *pebblekv.Options) error {
	switch {
	case text == "" || text == "sync":
		po.Sync = true
	case text == "none":
	case strings.HasPrefix(text, "interval:"):
		d, err := time.ParseDuration(strings.TrimPrefix(text, "interval:"))
		if err != nil || d <= 0 {
			return fmt.Errorf("durability %q: the interval must be a duration such as 100ms", text)
		}
		po.Interval = d
	default:
		return fmt.Errorf("durability %q: must be sync, none, or interval:DURATION", text)
	}
	return nil
}

// checkFormat creates the data directory if it is missing and returns its format. It refuses a format newer than this
// version's.
func checkFormat(fs vfs.FS, dir string) (version int, err error) {
	if err := pebblekv.MkdirAll(fs, dir); err != nil {
		return 0, err
	}
	file := fs.PathJoin(dir, formatFile)
	f, err := fs.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return keyspace.FormatVersion, writeFormat(fs, dir)
	}
	if err != nil {
		return 0, err
	}
	raw, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	version, err = strconv.Atoi(strings.TrimSpace(string(raw)))
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is damaged: it must hold the version of the data directory's format", file)
	case version > keyspace.FormatVersion:
		return 0, fmt.Errorf("data directory %s has format %d, which is newer than this stator reads (%d): use a newer stator", dir, version, keyspace.FormatVersion)
	}
	return version, nil
}

// WriteCheckpoint turns dir, which must exist, into a data directory with everything that the store contains.
func WriteCheckpoint(ctx context.Context, store kv.Store, dir string) error {
	c, ok := store.(kv.Checkpointer)
	if !ok {
		return errors.New("this storage engine makes no checkpoints")
	}
	if err := c.Checkpoint(ctx, filepath.Join(dir, pebbleDir)); err != nil {
		return err
	}
	return writeFormat(pebblekv.PrivateFS, dir)
}

// Checkpoint creates dir, which must not exist, as a copy of the data directory of a stopped server. Files are hard-linked
// where the file system allows it. Opening the store replays the log, as a server's start does after a crash.
func Checkpoint(ctx context.Context, dataDir, dir string, log *slog.Logger) error {
	store, err := openOffline(dataDir, pebblekv.Options{Sync: true, Logger: log})
	if err != nil {
		return err
	}
	if err = os.Mkdir(dir, 0o700); err == nil {
		err = WriteCheckpoint(ctx, store, dir)
	}
	return errors.Join(err, store.Close())
}

// openOffline opens the data directory of a stopped server. Unlike checkFormat alone, it never creates one.
func openOffline(dataDir string, po pebblekv.Options) (kv.Store, error) {
	if _, err := os.Stat(filepath.Join(dataDir, formatFile)); err != nil {
		return nil, fmt.Errorf("%s is no data directory: %w", dataDir, err)
	}
	if _, err := checkFormat(pebblekv.PrivateFS, dataDir); err != nil {
		return nil, err
	}
	return openPebble(dataDir, po)
}

// writeFormat writes formatFile atomically: after a crash it is either missing, old or complete.
func writeFormat(fs vfs.FS, dir string) error {
	file := fs.PathJoin(dir, formatFile)
	tmp := file + ".new"
	f, err := fs.Create(tmp, "stator-format")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, keyspace.FormatVersion)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(tmp, file); err != nil {
		return err
	}
	return pebblekv.SyncDir(fs, dir)
}
