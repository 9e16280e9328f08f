// Package objectstore reads and writes objects in buckets: directories of this machine ([Folder]) or an S3-compatible
// store ([S3]). [For] decides whether an account may use a bucket.
//
// An object appears when its Writer is committed, and then whole.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Errors that callers distinguish. Others come from the store as they are.
var (
	ErrNoBucket   = errors.New("the bucket does not exist")
	ErrNoObject   = errors.New("the key does not exist")
	ErrAccess     = errors.New("access denied")
	ErrInvalidKey = errors.New("the key is not a valid file name")
)

// Object describes an object.
type Object struct {
	Key  string
	Size int64 // bytes
}

// PutOptions are options of a new object.
type PutOptions struct {
	// Algorithm is the server-side encryption: "", AES256 or KMS, the last optionally with the ID of a key in KMSKey.
	// Folders ignore both.
	Algorithm, KMSKey string
}

// Writer writes an object.
type Writer interface {
	io.Writer
	// Commit makes the object appear and returns its entity tag, without quotes.
	Commit() (etag string, err error)
	// Abort discards the object. After Commit it does nothing.
	Abort()
}

// Store is a store of buckets with objects.
type Store interface {
	// Create begins an object, which replaces an existing one when it is committed.
	Create(ctx context.Context, bucket, key string, opt PutOptions) (Writer, error)
	// Open opens an object for reading.
	Open(ctx context.Context, bucket, key string) (io.ReadCloser, error)
	// List calls visit for every object whose key begins with prefix, in key order, until visit returns an error.
	List(ctx context.Context, bucket, prefix string, visit func(Object) error) error
	// Delete removes an object. Deleting a missing object is no error.
	Delete(ctx context.Context, bucket, key string) error
}

// Put writes a small object.
func Put(ctx context.Context, s Store, bucket, key string, body []byte, opt PutOptions) (etag string, err error) {
	w, err := s.Create(ctx, bucket, key, opt)
	if err != nil {
		return "", err
	}
	defer w.Abort()
	if _, err := w.Write(body); err != nil {
		return "", err
	}
	return w.Commit()
}

// ErrTooLarge means that an object exceeds the limit.
var ErrTooLarge = errors.New("the object is too large")

// Get reads an object of at most limit bytes. It returns ErrTooLarge for a larger one.
func Get(ctx context.Context, s Store, bucket, key string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s: %w: more than %d bytes", key, ErrTooLarge, limit)
	}
	return body, errors.Join(err, r.Close())
}
