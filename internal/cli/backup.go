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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/statordb/stator"
	"github.com/statordb/stator/internal/admin/serverbackup"
	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/objectstore"
)

// s3Login holds the flags that access to an S3-compatible store needs besides its endpoint.
type s3Login struct {
	S3Region    string
	S3AccessKey string
	S3SecretKey string
}

// addFlags adds the flags to a command's.
func (l *s3Login) addFlags(f *pflag.FlagSet) {
	f.StringVar(&l.S3Region, "s3-region", "", "`REGION` Region of the S3-compatible store.")
	f.StringVar(&l.S3AccessKey, "s3-access-key", "",
		"`ID` Access key of that store; the default is the AWS SDKs' own chain of environment and files.")
	f.StringVar(&l.S3SecretKey, "s3-secret-key", "", "`KEY` Secret key of that store; better given as STATOR_S3_SECRET_KEY.")
}

// at returns the options for a store at the endpoint.
func (l *s3Login) at(endpoint string) stator.S3Options {
	return stator.S3Options{Endpoint: endpoint, Region: l.S3Region, AccessKey: l.S3AccessKey, SecretKey: l.S3SecretKey}
}

// buckets holds the flags of commands that read or write s3:// URLs.
type buckets struct {
	S3Endpoint string
	s3Login
}

// addFlags adds the flags to a command's.
func (b *buckets) addFlags(f *pflag.FlagSet) {
	f.StringVar(&b.S3Endpoint, "s3-endpoint", "", "`URL` S3-compatible store for s3:// URLs; the default is AWS.")
	b.s3Login.addFlags(f)
}

// locate resolves a folder or s3:// URL.
func (b *buckets) locate(ctx context.Context, where string) (objectstore.Place, error) {
	return objectstore.Locate(ctx, where, b.at(b.S3Endpoint))
}

// backupCmd is `stator backup`.
type backupCmd struct {
	Target  string
	DataDir string
	Keep    int
	connection
	buckets
}

// command returns the command, whose flags are stored in c.
func (c *backupCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup <target>",
		Short: "Back up a whole server, running or not, to a folder or S3.",
		Args:  cobra.ExactArgs(1),
		RunE:  action(c.run, &c.Target),
		Annotations: map[string]string{
			argumentHelp: "Folder, or s3://BUCKET/PREFIX, for all backups of this server: a backup adds only what the earlier ones lack.",
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data-dir", "./stator-data",
		"`DIR` Data directory. If a server is running on it, the command asks that server, at --endpoint-url, for a checkpoint.")
	f.IntVar(&c.Keep, "keep", 0, "`N` Keep only the newest N backups; 0 keeps all.")
	c.connection.addFlags(f)
	c.buckets.addFlags(f)
	return cmd
}

// run backs up a whole server: it makes a checkpoint, copies what earlier backups lack, and removes the checkpoint.
func (c *backupCmd) run(ctx context.Context, std streams) error {
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
	Source  string
	DataDir string
	Backup  string
	List    bool
	buckets
}

// command returns the command, whose flags are stored in c.
func (c *restoreCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "restore <source>",
		Short:       "Restore a backup into a new data directory.",
		Args:        cobra.ExactArgs(1),
		RunE:        action(c.run, &c.Source),
		Annotations: map[string]string{argumentHelp: "Folder, or s3://BUCKET/PREFIX, with backups."},
	}
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data-dir", "./stator-data", "`DIR` Directory to create; it must be missing or empty.")
	f.StringVar(&c.Backup, "backup", "", "`ID` Backup to restore; the default is the newest.")
	f.BoolVar(&c.List, "list", false, "Only list the backups.")
	c.buckets.addFlags(f)
	return cmd
}

// run restores a backup into a new data directory and verifies the result.
func (c *restoreCmd) run(ctx context.Context, std streams) error {
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
	return (&verifyCmd{DataDir: c.DataDir}).run(ctx, std)
}
