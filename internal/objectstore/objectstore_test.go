package objectstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/statordb/stator/test/s3server"
)

var ctx = context.Background()

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	f := NewFolder(filepath.Join(dir, "s3"))
	if err := f.List(ctx, "bucket", "", nil); !errors.Is(err, ErrNoBucket) {
		t.Errorf("listing no bucket: %v", err)
	}
	if _, err := f.Open(ctx, "bucket", "key"); !errors.Is(err, ErrNoBucket) {
		t.Errorf("reading of no bucket: %v", err)
	}
	contract(t, f)
	for _, key := range []string{"", "/a", "a/", "a//b", "../outside", "a/../../../outside", "a\x00b", `a\b`} {
		if _, err := Put(ctx, f, "bucket", key, nil, PutOptions{}); !errors.Is(err, ErrInvalidKey) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	if err := os.Symlink(dir, filepath.Join(dir, "s3", "bucket", "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := Put(ctx, f, "bucket", "out/side", nil, PutOptions{}); err == nil {
		t.Error("a link led out of the folder")
	}
	// What a crash left is removed.
	w, err := f.Create(ctx, "bucket", "half", PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "s3", incoming)); len(left) != 1 {
		t.Fatalf("%d files are in progress", len(left))
	}
	if err := NewFolder(f.Dir()).List(ctx, "bucket", "", func(Object) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "s3", incoming)); len(left) != 0 {
		t.Fatalf("%d files were not deleted", len(left))
	}
	w.Abort()
}

func TestS3(t *testing.T) {
	url, _ := s3server.Start(t, "bucket")
	s, err := NewS3(ctx, S3Options{Endpoint: url, Region: "us-east-1", AccessKey: s3server.AccessKey, SecretKey: s3server.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	contract(t, s)
	if _, err := Put(ctx, s, "other", "key", nil, PutOptions{}); !errors.Is(err, ErrNoBucket) {
		t.Errorf("writing to no bucket: %v", err)
	}
	if err := s.List(ctx, "other", "", nil); !errors.Is(err, ErrNoBucket) {
		t.Errorf("listing no bucket: %v", err)
	}
	wrong, err := NewS3(ctx, S3Options{Endpoint: url, Region: "us-east-1", AccessKey: s3server.AccessKey, SecretKey: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Get(ctx, wrong, "bucket", "a", 1<<30); !errors.Is(err, ErrAccess) {
		t.Errorf("reading with a wrong key: %v", err)
	}
}

// contract checks the promises of Store, in a bucket named "bucket".
func contract(t *testing.T, s Store) {
	big := make([]byte, 17<<20+123) // several parts
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	for key, body := range map[string][]byte{"a": []byte("first"), "dir/b": nil, "dir/sub/c": big, "dir-2": []byte("x")} {
		if _, err := Put(ctx, s, "bucket", key, body, PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if got, err := Get(ctx, s, "bucket", key, 1<<30); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%s has %d bytes (%v), want %d", key, len(got), err, len(body))
		}
	}
	etag, err := Put(ctx, s, "bucket", "a", []byte("second"), PutOptions{Algorithm: "AES256"})
	if err != nil || etag != "a9f0e61a137d86aa9db53465e0801612" {
		t.Errorf("entity tag %s, %v", etag, err)
	}
	if got, err := Get(ctx, s, "bucket", "a", 1<<30); err != nil || string(got) != "second" {
		t.Errorf("a reads as %q, %v", got, err)
	}
	for prefix, want := range map[string][]string{
		"": {"a", "dir-2", "dir/b", "dir/sub/c"}, "dir": {"dir-2", "dir/b", "dir/sub/c"}, "dir/": {"dir/b", "dir/sub/c"},
		"dir/s": {"dir/sub/c"}, "z": nil, "a": {"a"}, "dir/sub/c": {"dir/sub/c"},
	} {
		var got []string
		err := s.List(ctx, "bucket", prefix, func(o Object) error {
			if o.Key == "dir/sub/c" && o.Size != int64(len(big)) {
				t.Errorf("%s has %d bytes", o.Key, o.Size)
			}
			got = append(got, o.Key)
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("list of %q: %v, %v, want %v", prefix, got, err, want)
		}
	}
	stop := errors.New("stop")
	if err := s.List(ctx, "bucket", "", func(Object) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped list: %v", err)
	}
	w, err := s.Create(ctx, "bucket", "given-up", PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(big); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := Get(ctx, s, "bucket", "given-up", 1<<30); !errors.Is(err, ErrNoObject) {
		t.Errorf("an aborted object: %v", err)
	}
	r, err := s.Open(ctx, "bucket", "dir/sub/c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // before the end of the object
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "bucket", "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "bucket", "a"); err != nil {
		t.Errorf("deleting a missing object: %v", err)
	}
}
