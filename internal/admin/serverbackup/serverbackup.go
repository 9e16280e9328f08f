// Package serverbackup copies the data directory of a whole server to objects and back.
//
// A file of the storage engine is immutable once written, and is stored under the checksum of its content. So a backup
// adds only files that no earlier backup has, yet every backup is complete by itself. A restore verifies the checksums.
//
//	PREFIX/files/SHA-256          the content of a file
//	PREFIX/backups/TIME.json      a backup: its files, with their names and checksums; written last
package serverbackup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/objectstore"
)

// Place is where backups are kept.
type Place struct{ objectstore.Place }

// File is a file of a backup.
type File struct {
	Name   string // relative to the data directory, with slashes
	Size   int64  // bytes
	SHA256 string // of its content, in hexadecimal
}

// Backup is a backup of a server.
type Backup struct {
	ID      string // the time at which it began
	Stator  string // the version of Stator that made it
	Created time.Time
	Files   []File
}

// Size returns the size of all files, in bytes.
func (b *Backup) Size() (n int64) {
	for _, f := range b.Files {
		n += f.Size
	}
	return n
}

// Result is the outcome of a Save.
type Result struct {
	Backup
	Added      int   // files that no earlier backup had
	AddedBytes int64 // their size
	Removed    int   // files deleted with old backups
}

// idFormat is the format of IDs, which makes them sort by time.
const idFormat = "20060102T150405.000Z"

func (p *Place) file(sum string) string  { return p.Prefix + "files/" + sum }
func (p *Place) record(id string) string { return p.Prefix + "backups/" + id + ".json" }

// Save copies a data directory, which must not change meanwhile. Afterwards it deletes all but the newest keep backups;
// 0 keeps all.
func (p *Place) Save(ctx context.Context, dir, version string, now time.Time, keep int) (*Result, error) {
	// Content that any earlier backup has is not copied again.
	have, err := p.files(ctx)
	if err != nil {
		return nil, err
	}
	r := &Result{Backup: Backup{ID: now.UTC().Format(idFormat), Stator: version, Created: now.UTC()}}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := sumOf(path)
		if err != nil {
			return err
		}
		f.Name = filepath.ToSlash(name)
		r.Files = append(r.Files, f)
		if have[f.SHA256] {
			return ctx.Err()
		}
		have[f.SHA256] = true
		r.Added++
		r.AddedBytes += f.Size
		return p.upload(ctx, path, f)
	})
	if err != nil {
		return nil, err
	}
	// The record comes last: a backup that was interrupted is never listed.
	body, err := json.MarshalIndent(&r.Backup, "", "  ")
	if err != nil {
		return nil, err
	}
	if _, err := objectstore.Put(ctx, p.Store, p.Bucket, p.record(r.ID), body, objectstore.PutOptions{}); err != nil {
		return nil, err
	}
	if keep > 0 {
		r.Removed, err = p.prune(ctx, keep)
	}
	return r, err
}

// files returns the checksums of the files that are stored already.
func (p *Place) files(ctx context.Context) (map[string]bool, error) {
	have := map[string]bool{}
	err := p.Store.List(ctx, p.Bucket, p.Prefix+"files/", func(o objectstore.Object) error {
		have[strings.TrimPrefix(o.Key, p.Prefix+"files/")] = true
		return nil
	})
	if _, folder := p.Store.(*objectstore.Folder); folder && errors.Is(err, objectstore.ErrNoBucket) {
		err = nil // the folder is made with the first write
	}
	return have, err
}

// sumOf returns the size and checksum of a file.
func sumOf(path string) (f File, err error) {
	in, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer in.Close()
	sum := sha256.New()
	f.Size, err = io.Copy(sum, in)
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return f, err
}

// upload copies a file, and fails if its content no longer has the checksum f.SHA256.
func (p *Place) upload(ctx context.Context, path string, f File) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := p.Store.Create(ctx, p.Bucket, p.file(f.SHA256), objectstore.PutOptions{})
	if err != nil {
		return err
	}
	defer w.Abort()
	sum := sha256.New()
	if _, err := io.Copy(w, io.TeeReader(in, sum)); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%s changed while it was being copied", path)
	}
	_, err = w.Commit()
	return err
}

// maxRecord bounds the record of a backup, in bytes. It has some 150 bytes per file, and the storage engine's files
// have 2 MB or more.
const maxRecord = 256 << 20

// records returns the keys of the backups' records, oldest first.
func (p *Place) records(ctx context.Context) (keys []string, err error) {
	err = p.Store.List(ctx, p.Bucket, p.Prefix+"backups/", func(o objectstore.Object) error {
		keys = append(keys, o.Key)
		return nil
	})
	slices.Sort(keys)
	return keys, err
}

// List returns the backups, oldest first.
func (p *Place) List(ctx context.Context) (list []*Backup, err error) {
	keys, err := p.records(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		b, err := p.read(ctx, key)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// read reads the record of a backup.
func (p *Place) read(ctx context.Context, key string) (*Backup, error) {
	body, err := objectstore.Get(ctx, p.Store, p.Bucket, key, maxRecord)
	if err != nil {
		return nil, err
	}
	b := new(Backup)
	if err := json.Unmarshal(body, b); err != nil {
		return nil, fmt.Errorf("backup %s: %w", key, err)
	}
	return b, nil
}

// prune deletes all but the newest keep backups, and the files that no remaining backup has. Records go first, so that
// no backup is ever incomplete.
func (p *Place) prune(ctx context.Context, keep int) (removed int, err error) {
	list, err := p.List(ctx)
	if err != nil || len(list) <= keep {
		return 0, err
	}
	old, kept := list[:len(list)-keep], list[len(list)-keep:]
	needed := map[string]bool{}
	for _, b := range kept {
		for _, f := range b.Files {
			needed[f.SHA256] = true
		}
	}
	for _, b := range old {
		if err := p.Store.Delete(ctx, p.Bucket, p.record(b.ID)); err != nil {
			return 0, err
		}
	}
	have, err := p.files(ctx)
	if err != nil {
		return 0, err
	}
	for sum := range have {
		if !needed[sum] {
			removed++
			if err := p.Store.Delete(ctx, p.Bucket, p.file(sum)); err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// ErrNoBackup means that there is no backup, or none with the given ID.
var ErrNoBackup = errors.New("no such backup")

// Restore restores a backup to dir, which must be missing or empty; it restores the newest backup if id is "". A
// restore that fails leaves nothing behind: dir appears only once it is complete.
func (p *Place) Restore(ctx context.Context, id, dir string) (*Backup, error) {
	keys, err := p.records(ctx)
	if errors.Is(err, objectstore.ErrNoBucket) {
		err = ErrNoBackup
	}
	if err != nil {
		return nil, err
	}
	i := len(keys) - 1
	if id != "" {
		i = slices.Index(keys, p.record(id))
	}
	if i < 0 {
		return nil, ErrNoBackup
	}
	backup, err := p.read(ctx, keys[i])
	if err != nil {
		return nil, err
	}
	if there, err := os.ReadDir(dir); err == nil && len(there) > 0 {
		return nil, fmt.Errorf("%s is not empty", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Restore beside dir and rename, so that dir never holds part of a backup.
	part := filepath.Clean(dir) + ".restoring"
	if err := os.RemoveAll(part); err != nil {
		return nil, err
	}
	for _, f := range backup.Files {
		if err := p.download(ctx, part, f); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", f.Name, err), os.RemoveAll(part))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, os.RemoveAll(part))
	}
	return backup, os.Rename(part, dir)
}

// download restores a file and verifies its size and checksum.
func (p *Place) download(ctx context.Context, dir string, f File) error {
	if !filepath.IsLocal(f.Name) {
		return errors.New("the file name leads out of the directory")
	}
	path := filepath.Join(dir, filepath.FromSlash(f.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	in, err := p.Store.Open(ctx, p.Bucket, p.file(f.SHA256))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, f.Size+1)) // one byte more reveals a file that is too long
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil && (n != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256) {
		err = fmt.Errorf("damaged: %d bytes differ from those of the backup", n)
	}
	return err
}
