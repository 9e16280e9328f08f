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
	// maxCheckpoints bounds the checkpoints waiting to be fetched. Each one pins files that the engine would otherwise delete,
	// and so disk space.
	maxCheckpoints = 4
	// checkpointLife is how long a checkpoint survives without being touched.
	checkpointLife = 10 * time.Minute

	checkpointPrefix = "checkpoint-"
)

// checkpoints makes complete copies of the data directory (hard links) for `stator backup`. That command touches its checkpoint
// while it copies and removes it afterwards. Abandoned checkpoints are swept.
type checkpoints struct {
	store   kv.Store
	dataDir string
	now     func() time.Time

	mu   sync.Mutex
	seen map[string]touched
}

// touched holds a checkpoint's modification time, by the file system's clock, and when this server first saw that value, by its
// own clock. Age counts from the latter, so the two clocks need not agree.
type touched struct{ at, seen time.Time }

// newCheckpoints returns nil if the engine can't make checkpoints or there is no directory for them.
func newCheckpoints(opt *Options, store kv.Store, temp string) *checkpoints {
	if _, ok := store.(kv.Checkpointer); !ok || temp == "" {
		return nil
	}
	return &checkpoints{store: store, dataDir: opt.DataDir, now: opt.Now, seen: map[string]touched{}}
}

// checkpointer returns make for ops.Options, or nil if checkpoints are not available. c may be nil.
func (c *checkpoints) checkpointer() func(context.Context) (string, error) {
	if c == nil {
		return nil
	}
	return c.make
}

// make makes a checkpoint and returns its path relative to the data directory. It fails with LimitExceeded while maxCheckpoints
// are waiting.
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

// sweep removes abandoned checkpoints. c may be nil.
func (c *checkpoints) sweep(context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.clean()
	return err
}

// clean removes abandoned checkpoints and returns how many are left. The caller holds mu.
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
			continue // removed meanwhile by its owner
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

// cleanOffline removes abandoned checkpoints that `stator backup` left in the data directory itself. It makes them there when
// no server runs.
func cleanOffline(dataDir string) error {
	dirs, err := filepath.Glob(filepath.Join(dataDir, checkpointPrefix+"*"))
	for _, dir := range dirs {
		// A young one may belong to a backup that still copies.
		if info, infoErr := os.Stat(dir); infoErr == nil && time.Since(info.ModTime()) > checkpointLife {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}
