package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/statordb/stator/internal/guard"
)

// S3Options locate an S3-compatible store.
type S3Options struct {
	// Endpoint is its URL, e.g. https://s3.eu-central-1.amazonaws.com or http://127.0.0.1:7070; "" for AWS's.
	Endpoint string
	// Region is used to sign requests; "" for the environment's, or us-east-1.
	Region string
	// AccessKey and SecretKey sign requests; "" for the credentials of the environment and of the AWS SDKs' files.
	AccessKey, SecretKey string
}

// S3 is a Store over an S3-compatible service.
type S3 struct {
	client *s3.Client
	parts  *transfermanager.Client
	owner  *string // account that must own the buckets; nil for any
}

// expecting returns the store restricted to buckets of an account; "" for any.
func (s *S3) expecting(owner string) *S3 {
	if owner == "" {
		return s
	}
	other := *s
	other.owner = &owner
	return &other
}

// NewS3 returns the store. It sends no request yet.
func NewS3(ctx context.Context, opt S3Options) (*S3, error) {
	cfg, err := environment(ctx, opt)
	if err != nil {
		return nil, err
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if opt.Endpoint != "" {
			o.BaseEndpoint = aws.String(opt.Endpoint)
			// Compatible stores rarely resolve buckets as host names.
			o.UsePathStyle = true
		}
		// Many compatible stores don't support the newer checksums.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return &S3{client: client, parts: transfermanager.New(client, func(o *transfermanager.Options) {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.DisableChecksumValidation = true
		o.Concurrency = 2
		o.GetObjectType = types.GetObjectRanges
	})}, nil
}

// explain maps S3's errors to those of this package.
func explain(err error) error {
	var known smithy.APIError
	if !errors.As(err, &known) {
		return err
	}
	kind := error(nil)
	switch known.ErrorCode() {
	case "NoSuchBucket":
		kind = ErrNoBucket
	case "NoSuchKey", "NotFound":
		kind = ErrNoObject
	case "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch":
		kind = ErrAccess
	default:
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// s3Writer implements Writer: what is written goes through a pipe to a multipart upload.
type s3Writer struct {
	pipe   *io.PipeWriter
	cancel context.CancelFunc
	done   chan struct{}
	etag   string
	err    error
}

// Create implements Store.
func (s *S3) Create(ctx context.Context, bucket, key string, opt PutOptions) (Writer, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, pipe := io.Pipe()
	w := &s3Writer{pipe: pipe, cancel: cancel, done: make(chan struct{})}
	in := &transfermanager.UploadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), Body: r, ExpectedBucketOwner: s.owner}
	switch opt.Algorithm {
	case "AES256":
		in.ServerSideEncryption = types.ServerSideEncryptionAes256
	case "KMS":
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
		if opt.KMSKey != "" {
			in.SSEKMSKeyID = aws.String(opt.KMSKey)
		}
	}
	guard.Go(nil, "uploading an object", func() {
		defer close(w.done)
		w.err = guard.Run(nil, "uploading an object", func() error {
			out, err := s.parts.UploadObject(ctx, in)
			if err != nil {
				return explain(err)
			}
			w.etag = strings.Trim(aws.ToString(out.ETag), `"`)
			return nil
		})
		r.CloseWithError(w.err) // makes a Write in progress fail
	})
	return w, nil
}

func (w *s3Writer) Write(p []byte) (int, error) { return w.pipe.Write(p) }

// Commit implements Writer.
func (w *s3Writer) Commit() (string, error) {
	// The end of the pipe is the end of the object: the upload then completes.
	err := w.pipe.Close()
	<-w.done
	w.cancel()
	return w.etag, errors.Join(err, w.err)
}

// Abort implements Writer.
func (w *s3Writer) Abort() {
	w.cancel()
	w.pipe.CloseWithError(context.Canceled)
	<-w.done
}

// Open implements Store.
func (s *S3) Open(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	out, err := s.parts.GetObject(ctx, &transfermanager.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), ExpectedBucketOwner: s.owner})
	if err != nil {
		cancel()
		return nil, explain(err)
	}
	return &s3Reader{out.Body, cancel}, nil
}

// s3Reader is the body of an object. Closing it cancels the rest of the download.
type s3Reader struct {
	io.Reader
	cancel context.CancelFunc
}

func (r *s3Reader) Close() error {
	r.cancel()
	if c, ok := r.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// List implements Store.
func (s *S3) List(ctx context.Context, bucket, prefix string, visit func(Object) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(prefix), ExpectedBucketOwner: s.owner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return explain(err)
		}
		for _, o := range page.Contents {
			if err := visit(Object{aws.ToString(o.Key), aws.ToInt64(o.Size)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, bucket, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), ExpectedBucketOwner: s.owner})
	return explain(err)
}
