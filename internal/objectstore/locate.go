package objectstore

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
)

// Place is the part of a bucket with keys that begin with a prefix.
type Place struct {
	Store  Store
	Bucket string
	Prefix string // "", or ends with a slash
}

// Locate returns the place that an argument of a command names: s3://BUCKET/PREFIX, or a directory.
func Locate(ctx context.Context, where string, opt S3Options) (p Place, err error) {
	if rest, ok := strings.CutPrefix(where, "s3://"); ok {
		p.Bucket, p.Prefix, _ = strings.Cut(rest, "/")
		if p.Bucket == "" {
			return p, errors.New("s3:// must be followed by a bucket")
		}
		if p.Prefix = strings.Trim(p.Prefix, "/"); p.Prefix != "" {
			p.Prefix += "/"
		}
		p.Store, err = NewS3(ctx, opt)
		return p, err
	}
	path, err := filepath.Abs(where)
	if err != nil {
		return p, err
	}
	return Place{Store: NewFolder(filepath.Dir(path)), Bucket: filepath.Base(path)}, nil
}
