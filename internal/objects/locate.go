package objects

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
)

// Locate returns the store, bucket and prefix that a command names: s3://BUCKET/PREFIX, or a folder. The prefix is empty or ends
// with a slash.
func Locate(ctx context.Context, where string, opt S3Options) (s Store, bucket, prefix string, err error) {
	if rest, ok := strings.CutPrefix(where, "s3://"); ok {
		bucket, prefix, _ = strings.Cut(rest, "/")
		if bucket == "" {
			return nil, "", "", errors.New("s3:// must be followed by a bucket")
		}
		if prefix = strings.Trim(prefix, "/"); prefix != "" {
			prefix += "/"
		}
		s, err = NewS3(ctx, opt)
		return s, bucket, prefix, err
	}
	path, err := filepath.Abs(where)
	if err != nil {
		return nil, "", "", err
	}
	return NewFolder(filepath.Dir(path)), filepath.Base(path), "", nil
}
