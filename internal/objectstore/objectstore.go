// Package objectstore reads and writes objects in buckets: folders of this machine, or an S3-compatible store.
//
// An object appears whole when its Writer is committed, or not at all.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// The errors that callers tell apart. Others are of the store, such as a lack of permission.
var (
	ErrNoBucket   = errors.New("the bucket does not exist")
	ErrNoObject   = errors.New("the key does not exist")
	ErrAccess     = errors.New("access denied")
	ErrInvalidKey = errors.New("the key can't be the name of a file")
)

// Object is what is known of an object.
type Object struct {
	Key  string
	Size int64 // bytes
}

// PutOptions are of objects that are written.
type PutOptions struct {
	// Algorithm is the server-side encryption: "", AES256 or KMS, with KMSKey's ID if it is given. Folders only take it.
	Algorithm, KMSKey string
}

// Writer writes an object.
type Writer interface {
	io.Writer
	// Commit makes the object appear and returns its entity tag, without quotes.
	Commit() (etag string, err error)
	// Abort gives the object up. After Commit it does nothing.
	Abort()
}

// Store has buckets.
type Store interface {
	// Create begins an object, which takes the place of one with that key.
	Create(ctx context.Context, bucket, key string, opt PutOptions) (Writer, error)
	// Open reads an object.
	Open(ctx context.Context, bucket, key string) (io.ReadCloser, error)
	// List calls visit for every object whose key begins with prefix, in the order of the keys, until visit returns an error.
	List(ctx context.Context, bucket, prefix string, visit func(Object) error) error
	// Delete removes an object; it is no error if there is none.
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

// ErrTooLarge says that an object is larger than it may be.
var ErrTooLarge = errors.New("the object is too large")

// Get reads an object of at most limit bytes; ErrTooLarge for a larger one.
func Get(ctx context.Context, s Store, bucket, key string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s: %w: it has more than %d bytes", key, ErrTooLarge, limit)
	}
	return body, errors.Join(err, r.Close())
}
