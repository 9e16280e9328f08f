package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/directio"
	"github.com/statordb/stator/internal/kv"
)

const (
	// loadPrefix is the prefix of the names of files that Load makes.
	loadPrefix = "load-"
	// loadFileSize is the target size of these files, in bytes.
	loadFileSize = 64 << 20
	// bottom is the level of Pebble for which the files are made: the lowest.
	bottom = 6
)

// Load implements kv.Store. It writes the pairs to sorted tables and ingests them all at once: Pebble links them into
// the lowest level with room for them, without rewriting anything.
func (s *Store) Load(ctx context.Context, source func(put func(key, val []byte) error) error) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	l := loader{store: s, ctx: ctx}
	// Nothing is visible until all files are ingested, in one step.
	err := errors.Join(source(l.put), l.finish())
	if err == nil && len(l.files) > 0 {
		err = s.db.Ingest(ctx, l.files)
	}
	if err != nil {
		err = errors.Join(err, l.remove())
	}
	return err
}

// loader writes the pairs of one Load.
type loader struct {
	store *Store
	ctx   context.Context
	files []string
	w     *sstable.Writer // writes the last file; nil between files
	n     int             // pairs
}

// put adds a pair, and finishes the file once it is large enough.
func (l *loader) put(key, val []byte) error {
	if l.n++; l.n%1024 == 0 && l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	if l.w == nil {
		if err := l.start(); err != nil {
			return err
		}
	}
	if err := l.w.Set(key, val); err != nil {
		return err
	}
	if l.w.Raw().EstimatedSize() < loadFileSize {
		return nil
	}
	return errors.Join(l.finish(), l.store.writable()) // fails if the disk is nearly full
}

// start begins a new file, with the options that the bottom level has.
func (l *loader) start() error {
	fs := l.store.options.FS
	name := fs.PathJoin(l.store.opt.Dir, fmt.Sprintf("%s%d.sst", loadPrefix, l.store.loads.Add(1)))
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	l.files = append(l.files, name)
	l.w = sstable.NewWriter(objstorageprovider.NewFileWritable(&directFile{f, directio.NewWriter(f)}), l.store.options.MakeWriterOptions(bottom, l.store.db.TableFormat()))
	return nil
}

func (l *loader) finish() error {
	if l.w == nil {
		return nil
	}
	err := l.w.Close()
	l.w = nil
	return err
}

// directFile writes in pieces of 1 MB. Pebble would write 4 KB at a time, which costs the system several times as much.
type directFile struct {
	vfs.File
	w *directio.Writer
}

func (f *directFile) Write(p []byte) (int, error) { return f.w.Write(p) }
func (f *directFile) Sync() error                 { return errors.Join(f.w.Flush(), f.File.Sync()) }

// remove deletes the files that still exist: those that were ingested are Pebble's.
func (l *loader) remove() error {
	var errs []error
	for _, name := range l.files {
		if _, err := l.store.options.FS.Stat(name); err == nil {
			errs = append(errs, l.store.options.FS.Remove(name))
		}
	}
	return errors.Join(errs...)
}

// removeLoads deletes the files of loads that a crash interrupted.
func (s *Store) removeLoads() error {
	if s.opt.ReadOnly || s.opt.Dir == "" {
		return nil
	}
	names, err := s.opt.FS.List(s.opt.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, loadPrefix) {
			err = errors.Join(err, s.opt.FS.Remove(s.opt.FS.PathJoin(s.opt.Dir, name)))
		}
	}
	return err
}

// Checkpoint implements kv.Checkpointer. Immutable files are hard-linked instead of copied where the file system allows.
func (s *Store) Checkpoint(_ context.Context, dir string) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	return s.db.Checkpoint(dir, pebble.WithFlushedWAL())
}

var _ kv.Checkpointer = (*Store)(nil)
