package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/objectstore"
)

// tempDir is the directory within the data directory for files that need not survive a restart.
const tempDir = "tmp"

// openTempDir creates or empties the directory for temporary files. remove runs when the server has ended. In memory, dir is
// empty: there is none.
func openTempDir(opt *Options) (dir string, remove func() error, err error) {
	remove = func() error { return nil }
	switch {
	case opt.Storage != "":
		// Servers of one store may share DataDir too, and would delete each other's files there.
		dir, err = os.MkdirTemp("", "stator-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	case opt.InMemory || opt.fs != nil:
		return "", remove, nil
	}
	dir = filepath.Join(opt.DataDir, tempDir)
	if err := os.RemoveAll(dir); err != nil {
		return "", remove, err
	}
	return dir, remove, errors.Join(os.MkdirAll(dir, 0o700), cleanOffline(opt.DataDir))
}

// bucketDir is the directory within the data directory whose folders are the buckets.
const bucketDir = "s3"

// openBuckets opens the store of buckets. remove runs when the server has ended, and deletes buckets that must not outlive it.
func openBuckets(ctx context.Context, opt *Options) (store objectstore.Store, remove func() error, err error) {
	none := func() error { return nil }
	switch {
	case opt.S3.Endpoint != "" && opt.S3Dir != "":
		return nil, none, errors.New("buckets can be in a directory or in an S3-compatible store, not in both")
	case opt.S3.Endpoint != "":
		store, err = objectstore.NewS3(ctx, opt.S3)
		return store, none, err
	case opt.S3Dir != "":
		return objectstore.NewFolder(opt.S3Dir), none, nil
	case !opt.InMemory:
		return objectstore.NewFolder(filepath.Join(opt.DataDir, bucketDir)), none, nil
	}
	// The directory appears with the first write.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("stator-s3-%d-%016x", os.Getpid(), rand.Uint64()))
	return objectstore.NewFolder(dir), func() error { return os.RemoveAll(dir) }, nil
}

// bucketAccess limits each account to the buckets that the credentials file grants it. Without credentials it returns nil:
// every account may use every bucket.
func bucketAccess(authenticator *auth.Authenticator) objectstore.Access {
	if !authenticator.Verifies() {
		return nil
	}
	return granted{authenticator}
}

// granted implements objectstore.Access.
type granted struct{ *auth.Authenticator }

// MayUse implements objectstore.Access.
func (g granted) MayUse(account, bucket string) bool { return g.MayUseBucket(account, bucket) }
