package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/kv"
)

const (
	// maxCheckpoints is how many checkpoints wait at a time to be fetched: each keeps files that the engine would have removed.
	maxCheckpoints = 4
	// checkpointLife is how long a checkpoint stays that nothing touches.
	checkpointLife = 10 * time.Minute

	checkpointPrefix = "checkpoint-"
)

// checkpoints makes data directories with all that a store has, for `stator backup`, which touches each while it fetches it and
// removes it afterwards. Those that are left alone go.
type checkpoints struct {
	store   kv.Store
	dataDir string
	now     func() time.Time

	mu   sync.Mutex
	seen map[string]touched
}

// touched is when a checkpoint was touched, by the clock of its files, and when that was seen, by the server's.
type touched struct{ at, seen time.Time }

// newCheckpoints returns nil if the store makes no checkpoints, or has no directory for them.
func newCheckpoints(opt *Options, store kv.Store, temp string) *checkpoints {
	if _, ok := store.(kv.Checkpointer); !ok || temp == "" {
		return nil
	}
	return &checkpoints{store: store, dataDir: opt.DataDir, now: opt.Now, seen: map[string]touched{}}
}

// checkpointer returns make as an option; nil if there are no checkpoints.
func (c *checkpoints) checkpointer() func(context.Context) (string, error) {
	if c == nil {
		return nil
	}
	return c.make
}

// make makes a checkpoint and returns its path in the data directory.
func (c *checkpoints) make(ctx context.Context) (_ string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting, err := c.clean()
	if err != nil {
		return "", err
	}
	if waiting >= maxCheckpoints {
		return "", awserr.New(awserr.LimitExceeded, fmt.Sprintf("There are %d checkpoints already that have not been fetched", waiting))
	}
	dir, err := os.MkdirTemp(filepath.Join(c.dataDir, tempDir), checkpointPrefix)
	if err != nil {
		return "", err
	}
	if err = engine.WriteCheckpoint(ctx, c.store, dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return filepath.Join(tempDir, filepath.Base(dir)), nil
}

// sweep removes the checkpoints that have been left alone.
func (c *checkpoints) sweep(context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.clean()
	return err
}

// clean is sweep, and returns how many checkpoints are left; the lock is held.
func (c *checkpoints) clean() (left int, err error) {
	temp := filepath.Join(c.dataDir, tempDir)
	entries, err := os.ReadDir(temp)
	if err != nil {
		return 0, err
	}
	seen, now := map[string]touched{}, c.now()
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), checkpointPrefix) {
			continue
		}
		info, infoErr := e.Info()
		if infoErr != nil {
			continue // it was removed meanwhile
		}
		t := c.seen[e.Name()]
		if !t.at.Equal(info.ModTime()) {
			t = touched{info.ModTime(), now}
		}
		if now.Sub(t.seen) < checkpointLife {
			seen[e.Name()] = t
			left++
		} else {
			err = errors.Join(err, os.RemoveAll(filepath.Join(temp, e.Name())))
		}
	}
	c.seen = seen
	return left, err
}

// cleanOffline removes from a data directory the checkpoints that `stator backup` makes while no server runs, and has left.
func cleanOffline(dataDir string) error {
	dirs, err := filepath.Glob(filepath.Join(dataDir, checkpointPrefix+"*"))
	for _, dir := range dirs {
		// A backup may still be under way.
		if info, infoErr := os.Stat(dir); infoErr == nil && time.Since(info.ModTime()) > checkpointLife {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}
