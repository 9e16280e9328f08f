package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/statordb/stator"
	"github.com/statordb/stator/internal/admin/serverbackup"
	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/objectstore"
)

// s3Login holds the flags that access to an S3-compatible store needs besides its endpoint.
type s3Login struct {
	S3Region    string `name:"s3-region" help:"Region of the S3-compatible store." placeholder:"REGION"`
	S3AccessKey string `name:"s3-access-key" help:"Access key of that store; the default is the AWS SDKs' own chain of environment and files." placeholder:"ID"`
	S3SecretKey string `name:"s3-secret-key" help:"Secret key of that store; better given as STATOR_S3_SECRET_KEY." placeholder:"KEY"`
}

// at returns the options for a store at the endpoint.
func (l *s3Login) at(endpoint string) stator.S3Options {
	return stator.S3Options{Endpoint: endpoint, Region: l.S3Region, AccessKey: l.S3AccessKey, SecretKey: l.S3SecretKey}
}

// buckets holds the flags of commands that read or write s3:// URLs.
type buckets struct {
	S3Endpoint string `name:"s3-endpoint" help:"S3-compatible store for s3:// URLs; the default is AWS." placeholder:"URL"`
	s3Login
}

// locate resolves a folder or s3:// URL.
func (b *buckets) locate(ctx context.Context, where string) (objectstore.Place, error) {
	return objectstore.Locate(ctx, where, b.at(b.S3Endpoint))
}

// backupCmd is `stator backup`.
type backupCmd struct {
	Target  string `arg:"" help:"Folder, or s3://BUCKET/PREFIX, for all backups of this server: a backup adds only what the earlier ones lack."`
	DataDir string `help:"Data directory (${default}). If a server is running on it, the command asks that server, at --endpoint-url, for a checkpoint." default:"./stator-data" placeholder:"DIR"`
	Keep    int    `help:"Keep only the newest N backups; 0 keeps all (${default})." default:"0" placeholder:"N"`
	connection
	buckets
}

// Run backs up a whole server: it makes a checkpoint, copies what earlier backups lack, and removes the checkpoint.
func (c *backupCmd) Run(ctx context.Context, std streams) error {
	at, err := c.locate(ctx, c.Target)
	if err != nil {
		return err
	}
	place := serverbackup.Place{Place: at}
	dir, err := c.checkpoint(ctx)
	if err != nil {
		return err
	}
	stop := keepCheckpoint(ctx, dir)
	r, err := place.Save(ctx, dir, stator.Version, time.Now(), c.Keep)
	stop()
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("%s: %w", c.Target, err)
	}
	fmt.Fprintf(std.out, "backup %s: %d files, %.1f MB; %d of them, %.1f MB, are new\n", r.ID, len(r.Files), float64(r.Size())/1e6, r.Added, float64(r.AddedBytes)/1e6)
	return nil
}

// checkpoint returns a directory with a consistent copy of the data directory; the caller removes it. It makes the copy itself
// if no server runs, and otherwise asks the server.
func (c *backupCmd) checkpoint(ctx context.Context) (string, error) {
	dir := filepath.Join(c.DataDir, fmt.Sprintf("checkpoint-%d", os.Getpid()))
	err := engine.Checkpoint(ctx, c.DataDir, dir, nil)
	if err == nil {
		return dir, nil
	}
	if err = errors.Join(err, os.RemoveAll(dir)); !errors.Is(err, stator.ErrInUse) {
		return "", err
	}
	server := c.server()
	var out struct{ Directory string }
	if err := server.Call(ctx, "Stator_20261101.CreateCheckpoint", struct{}{}, &out); err != nil {
		var refused *client.Error
		if errors.As(err, &refused) {
			return "", fmt.Errorf("the server at %s refuses: %w", c.EndpointURL, err)
		}
		return "", fmt.Errorf("%s is in use, and no server answers at %s: %w", c.DataDir, c.EndpointURL, err)
	}
	if !filepath.IsLocal(out.Directory) {
		return "", fmt.Errorf("the server at %s names no directory of its data: %q", c.EndpointURL, out.Directory)
	}
	// A different server may have answered, or one on another machine: make sure that its path is valid here.
	dir = filepath.Join(c.DataDir, out.Directory)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("the server at %s has its data elsewhere than in %s: %w", c.EndpointURL, c.DataDir, err)
	}
	return dir, nil
}

// keepCheckpoint touches the checkpoint every minute until stop is called, because a server removes checkpoints that are left
// untouched.
func keepCheckpoint(ctx context.Context, dir string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		jobs.Every(ctx, slog.New(slog.DiscardHandler), "keeping the checkpoint", time.Minute, func() {
			now := time.Now()
			_ = os.Chtimes(dir, now, now) // if the directory is gone, copying reports it
		})
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// restoreCmd is `stator restore`.
type restoreCmd struct {
	Source  string `arg:"" help:"Folder, or s3://BUCKET/PREFIX, with backups."`
	DataDir string `help:"Directory to create; it must be missing or empty (${default})." default:"./stator-data" placeholder:"DIR"`
	Backup  string `help:"Backup to restore; the default is the newest." placeholder:"ID"`
	List    bool   `help:"Only list the backups."`
	buckets
}

// Run restores a backup into a new data directory and verifies the result.
func (c *restoreCmd) Run(ctx context.Context, std streams) error {
	at, err := c.locate(ctx, c.Source)
	if err != nil {
		return err
	}
	place := serverbackup.Place{Place: at}
	if c.List {
		list, err := place.List(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Source, err)
		}
		for _, b := range list {
			fmt.Fprintf(std.out, "%s  %d files  %.1f MB  stator %s\n", b.ID, len(b.Files), float64(b.Size())/1e6, b.Stator)
		}
		return nil
	}
	b, err := place.Restore(ctx, c.Backup, c.DataDir)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Source, err)
	}
	fmt.Fprintf(std.out, "backup %s is restored to %s: %d files, %.1f MB\n", b.ID, c.DataDir, len(b.Files), float64(b.Size())/1e6)
	return (&verifyCmd{DataDir: c.DataDir}).Run(ctx, std)
}
